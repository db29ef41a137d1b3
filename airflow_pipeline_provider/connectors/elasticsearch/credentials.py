"""Authorize requests: the header `authorization` for Elasticsearch, signatures for OpenSearch on AWS.

AWS gets Signature Version 4, with the credentials of an Airflow connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from airflow_pipeline_provider.connectors.airflow_connections import bind_hook, get_connection, hide
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text, register_secret


def authorization(
    conn_id: str, extra: dict[str, object], login: str | None, password: str | None
) -> str | None:
    """Return the header's value, or None for a cluster without security.

    `api_key` is the encoded text that Elasticsearch shows, `id:key`, a list of both, or any of them after "ApiKey ".
    Raise FatalError if the connection has two ways to log in, or one that cannot be a header.
    """
    given = {
        "a login": login,
        "an api_key": extra.get("api_key"),
        "a bearer_auth": extra.get("bearer_auth"),
    }
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise FatalError(f"connection {conn_id!r} has {' and '.join(names)}: remove all but one of them")
    if extra.get("api_key"):
        key = _printable(conn_id, "api_key", _api_key(conn_id, extra["api_key"]))
        hide(key)
        return f"ApiKey {key}"
    if login:
        return f"Basic {_base64(':'.join((login, password or '')))}"
    if extra.get("bearer_auth"):
        return f"Bearer {_printable(conn_id, 'bearer_auth', _without(extra['bearer_auth'], 'bearer'))}"
    return None


def _api_key(conn_id: str, value: object) -> str:
    if isinstance(value, str) and value.lstrip().startswith("["):  # a URI holds only text
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return _encoded(":".join(part.strip() for part in value))
    if not isinstance(value, str):
        raise FatalError(
            f"connection {conn_id!r}: expected the extra api_key as the encoded text, as id:key or as [id, key]"
        )
    text = _without(value, "apikey")
    return _encoded(text) if ":" in text else text  # base64 has no colon


def _encoded(id_and_key: str) -> str:
    hide(id_and_key)
    hide(id_and_key.partition(":")[2])
    return _base64(id_and_key)


def _without(value: object, word: str) -> str:
    """Return the text without the word for the scheme that it may begin with."""
    text = str(value).strip()
    first, _, rest = text.partition(" ")
    return rest.strip() if first.lower() == word else text


def _printable(conn_id: str, key: str, text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise FatalError(
            f"connection {conn_id!r}: the extra {key} holds characters that no header may have; copy it again"
        )
    return text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SIGN = "_pipeline_sign"  # where a node's configuration keeps its signer
_REGION = re.compile(
    r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.(?:es|aoss|on)\."
)  # in the host of a domain or collection
_EXPIRED = re.compile(r"token[^.]* (?:is|has) expired|ExpiredToken", re.IGNORECASE)
_WHY = "source 'elasticsearch' with aws_conn_id"


class AwsSigner:
    """Sign requests to one service; credentials of a role are refreshed automatically.  Safe for several threads.

    Called with method, URL, body and headers it returns the headers with a signature.
    """

    def __init__(self, aws_conn_id: str, service: str) -> None:
        self._conn_id, self._service = aws_conn_id, service
        self._session: Any = None
        self._lock = threading.Lock()

    def __call__(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, str]:
        auth = require("botocore.auth", "amazon", _WHY)
        request = require("botocore.awsrequest", "amazon", _WHY).AWSRequest(method, url, headers, body or b"")
        if self._service == "aoss":  # asks for the header, where a domain only computes it
            request.headers["x-amz-content-sha256"] = hashlib.sha256(body or b"").hexdigest()
        credentials, region = self._credentials(url)
        auth.SigV4Auth(credentials, self._service, region).add_auth(request)
        return dict(request.headers.items())

    def _credentials(self, url: str) -> tuple[object, str]:
        exceptions = require("botocore.exceptions", "amazon", _WHY)
        try:
            with self._lock:
                if self._session is None:
                    self._session = self._new_session()
                session = self._session
            found = session.get_credentials()
            frozen = found and found.get_frozen_credentials()  # this is where a role is assumed
        except exceptions.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            kind: type[PipelineError] = TransientError if status >= 500 or status == 429 else FatalError
            raise kind(
                f"connection {self._conn_id!r}: AWS refuses its credentials ({redact_text(str(error))})"
            ) from error
        except exceptions.BotoCoreError as error:
            raise TransientError(
                f"connection {self._conn_id!r}: no credentials from AWS ({redact_text(str(error))})"
            ) from error
        if frozen is None:
            raise FatalError(
                f"connection {self._conn_id!r} has no AWS credentials: give it an access key (login and password) or "
                "a role, or run where AWS provides them"
            )
        register_secret(frozen.secret_key)
        register_secret(frozen.token)
        host = urlsplit(url).hostname or ""
        in_host = _REGION.search(host)
        region = session.region_name or (in_host[1] if in_host else None)
        if region is None:
            raise FatalError(
                f"connection {self._conn_id!r} has no region, which a signature for {host} needs: set the extra "
                "region_name"
            )
        return frozen, region

    def _new_session(self) -> object:
        hooks = require("airflow.providers.amazon.aws.hooks.base_aws", "amazon", _WHY)
        connection = get_connection(self._conn_id)
        if connection.conn_type != "aws":
            raise FatalError(
                f"connection {self._conn_id!r} has the type {connection.conn_type!r}: expected aws, since it signs "
                "requests to OpenSearch on AWS"
            )
        hook = hooks.AwsBaseHook(aws_conn_id=self._conn_id, client_type="sts")
        return bind_hook(hook, connection).get_session()

    def has_expired(self, status: int, message: str) -> bool:
        """Return whether an answer reports expired credentials; the next request then reads the connection."""
        if status not in (401, 403) or not _EXPIRED.search(message):
            return False
        with self._lock:
            self._session = None
        return True


def signer_of(aws_conn_id: str | None, service: str) -> AwsSigner | None:
    """Return a signer, or None for a pipeline that signs nothing."""
    return AwsSigner(aws_conn_id, service) if aws_conn_id else None
