"""Map the exceptions of object stores to errors of this package."""

from __future__ import annotations

import errno

from airflow_pipeline_provider.connectors.object_store import s3
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text

_FATAL_ERRNO = {errno.EINVAL, errno.EPERM, errno.ENAMETOOLONG}


def store_error(action: str, url: str, error: Exception, conn_id: str | None) -> PipelineError:
    """Return the error of this package for a store's exception; vendors are recognised by name, not imported."""
    text = redact_text(f"{type(error).__name__}: {error}")
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    credentials = f"connection {conn_id!r}" if conn_id else "the environment's credentials"
    if s3.token_expired(error):
        return TransientError(
            f"cannot {action} {url}: the session token of {credentials} has expired ({text}); renew it where it is "
            "kept, the next try reads it again"
        )
    denied = isinstance(error, PermissionError) or status in (401, 403)
    if denied or "Credentials" in type(error).__name__ or "Authentication" in type(error).__name__:
        return FatalError(
            f"cannot {action} {url}: access was denied with {credentials} ({text}); grant it, or correct them"
        )
    if type(error).__name__ == "FileExpired":
        return DataError(f"{url} changed while it was read; find the other process that writes to the stage")
    if s3.is_corrupted(error):
        return TransientError(
            f"cannot {action} {url}: other bytes arrived than were sent ({text}); if it happens again, check network "
            "and memory, or set stage.s3.checksums: when_required for a store that compares checksums wrongly"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSYS:
        return FatalError(
            f"cannot {action} {url}: the store does not implement the request ({text}); if it knows no checksum "
            "headers, set stage.s3.checksums: when_required"
        )
    if isinstance(error, OSError) and error.errno in _FATAL_ERRNO:
        return FatalError(
            f"cannot {action} {url}: the store refused ({text}); check stage.path and {credentials}"
        )
    if isinstance(error, TypeError | AttributeError | NameError):  # a bug, not the store
        raise error
    return TransientError(
        f"cannot {action} {url} ({text}); if it happens again, check the endpoint of {credentials}"
    )
