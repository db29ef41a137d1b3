"""Use what only S3 has: options of requests, expiring tokens, multipart uploads, a clock in every response.

Functions take the file system of s3fs; vendors are recognised by name, so that none must be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_pipeline_provider.connectors.encryption import is_loopback, require_encryption
from airflow_pipeline_provider.exceptions import ConfigError

_CORRUPTED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
Call = Callable[..., Any]
"""A method of botocore's client by its name and arguments: `call("head_bucket", Bucket="lake")`."""


class S3Options(BaseModel):
    """Options of `stage: {s3: {...}}`, for a path that begins with s3://."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None,
        description="Server-side encryption that every write requests; null: the default of the bucket.",
    )
    kms_key_id: str | None = Field(
        None,
        min_length=1,
        description="Id, alias or ARN of the KMS key; null: the account's key for S3.",
    )
    checksums: Literal["when_supported", "when_required"] = Field(
        "when_supported",
        description="When requests have checksum headers; when_required for a store that does not know them.",
    )
    read_back: Literal["when_required", "always"] = Field(
        "when_required",
        description="Which part files are read back before they are loaded: those whose content the store does not "
        "prove by a checksum, or all.",
    )

    @model_validator(mode="after")
    def _check_key(self) -> S3Options:
        if self.kms_key_id is not None and not (self.sse or "").startswith("aws:kms"):
            raise ValueError("kms_key_id needs sse: aws:kms or aws:kms:dsse")
        return self

    @property
    def headers(self) -> dict[str, str]:
        """Return the arguments of requests that write a file."""
        given = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def client(self) -> dict[str, Any]:
        """Return the arguments of botocore's `Config`."""
        if self.checksums == "when_supported":
            return {}
        return {
            "request_checksum_calculation": self.checksums,
            "response_checksum_validation": self.checksums,
        }


def configure(fs: Any, options: S3Options | None, conn_id: str | None, extra: dict[str, Any]) -> None:
    """Set the options on a new file system; ConfigError if credentials would leave this machine unencrypted."""
    if options is not None and options.headers:
        fs.s3_additional_kwargs = {**fs.s3_additional_kwargs, **options.headers}
    url = urlsplit(fs.s3.meta.endpoint_url)
    if fs.anon or url.scheme != "http" or is_loopback(url.hostname or ""):
        return
    where = f"http://{url.netloc.rpartition('@')[2]}"
    if conn_id is None:
        raise ConfigError(
            f"stage.path: the environment's credentials would be used unencrypted at {where}: use https, or name "
            'a connection (s3://conn_id@bucket/folder) whose extra has {"allow_http_credentials": true}'
        )
    require_encryption(conn_id, extra, url.hostname or "", where)


# --- tokens


def token_expired(error: BaseException | None) -> bool:
    """Return True if S3 refused the request because its temporary credentials had expired."""
    return _code(error) in _EXPIRED


def is_corrupted(error: BaseException | None) -> bool:
    """Return True if S3 refused bytes because they do not match their checksum."""
    return _code(error) in _CORRUPTED


def gives_checksums(fs: Any) -> bool:
    """Return True if writes have checksum headers, by the stage's options or the connection's `config_kwargs`."""
    return bool(fs.s3.meta.config.request_checksum_calculation == "when_supported")


def is_taken(error: BaseException | None) -> bool:
    """Return True if S3 did not create an object because another writer did (If-None-Match)."""
    return _code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict")


def reason(error: Exception, fs: Any, bucket: str, prefix: str) -> Exception:
    """Return the error itself, or the reason that S3 gives for a GET after it refused a HEAD (a HEAD has no body)."""
    if _code(error) != "400":
        return error
    try:
        fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except Exception as other:  # noqa: BLE001  (any error has the reason)
        return other if token_expired(other) else error
    return error


def _code(error: BaseException | None) -> str:
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__ or error.__context__
    return ""


# --- uploads in pieces


def uploads(call: Call, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Yield the unfinished uploads below the prefix."""
    marker: dict[str, str] = {}
    while True:
        page = call("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
        yield from page.get("Uploads", ())
        if not page.get("IsTruncated"):
            return
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def abort(call: Call, bucket: str, upload: dict[str, Any]) -> None:
    """Abort an upload; a completed or aborted one is ignored."""
    with suppress(FileNotFoundError):
        call("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


# --- the clock


def clock(call: Call, bucket: str, prefix: str) -> datetime | None:
    """Return the store's time by the header of a response (whole seconds), or None if it has none."""
    answer = call("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else None
