"""Build the header `authorization` from an Airflow connection to Elasticsearch."""

from __future__ import annotations

import base64
import json
from typing import Any

from airflow_pipeline_provider.connectors.airflow_connections import hide
from airflow_pipeline_provider.exceptions import FatalError


def authorization(conn_id: str, extra: dict[str, Any], login: str | None, password: str | None) -> str | None:
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


def _api_key(conn_id: str, value: Any) -> str:
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


def _without(value: Any, word: str) -> str:
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
