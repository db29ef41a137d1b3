"""Map Snowflake's errors to those of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_pipeline_provider.connectors.load_protocol import WriteConflictError
from airflow_pipeline_provider.exceptions import (
    DataError,
    FatalError,
    PipelineError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.observability.redaction import redact_text

__all__ = ["error_for", "mapped"]

# what to do about an errno
_FATAL = {
    606: "give the connection a warehouse, or the user a default one",
    1003: "the statement does not compile; if it names a column, the table has another shape",
    2003: "create it, or grant its use to the connection's role",
    2043: "create it, or grant its use to the connection's role",
    3001: "grant the privilege to the connection's role",
    3041: "grant the privilege to the connection's role",
    90073: "resume the warehouse, or grant OPERATE or auto-resume",
    90105: "name database and schema in target.table, or in the connection",
    90106: "name database and schema in target.table, or in the connection",
    91003: "let the stage's storage integration read the bucket",
    390100: "correct login and password of the connection",
    390101: "correct login and password of the connection",
    390144: "correct the key pair of the connection",
    390189: "correct the role of the connection",
    390201: "correct the warehouse, database or role of the connection",
}
_CONFLICT = {
    604: "the statement was cancelled",
    610: "the transaction was aborted",
    625: "too many statements wait for the table",
    630: "the statement took too long",
    684: "the transaction was aborted",
}
_GONE = {91016, 253006}  # a remote file, a local file
_DATA = range(100_035, 100_400)  # values that cannot be read, converted or stored
# messages of the stand-in for tests, which has one number for all errors at run time
_STAND_IN = {
    "Conflict": WriteConflictError,
    "TransactionException": WriteConflictError,
    "write-write": WriteConflictError,
    "No files found": DataError,
    "HTTP Error": DataError,
    "Malformed JSON": DataError,
    "InvalidInputException": DataError,
    "ConversionException": DataError,
}


def error_for(error: BaseException, doing: str) -> PipelineError:
    """Return the error of this package for one of snowflake-connector-python."""
    errno = getattr(error, "errno", None) or 0
    state = getattr(error, "sqlstate", None) or ""
    text = redact_text(" ".join((getattr(error, "msg", None) or str(error)).split()))
    message = f"Snowflake, while {doing}: {text}"
    query_id = getattr(error, "sfqid", None)
    if query_id and query_id not in message:
        message = f"{message} (query id {query_id})"
    kind = type(error).__name__
    if errno in _FATAL or state == "42501":
        return FatalError(
            f"{message}; {_FATAL.get(errno, 'grant the privilege to the role of the connection')}"
        )
    if errno in _GONE:
        return DataError(f"{message}; extract the window again")
    if errno in _CONFLICT or state in ("40001", "25P02"):
        return WriteConflictError(f"{message}; the transaction was rolled back, try again")
    if errno == 100_072 and "Duplicate key" in text:  # the stand-in, when two create at once
        return WriteConflictError(message)
    if errno == 100_000:
        for word, mapped_to in _STAND_IN.items():
            if word in text:
                return mapped_to(message)
    if errno in _DATA or kind in ("DataError", "IntegrityError"):
        return DataError(f"{message}; look at the document, then extract the window again")
    if 390_000 <= errno < 391_000:
        expired = "expired" in text  # a new session is all it needs
        return TransientError(message) if expired else FatalError(f"{message}; correct the connection")
    if kind in ("ProgrammingError", "NotSupportedError", "MissingDependencyError"):
        return FatalError(message)
    if errno == 250_001:
        return TransientError(f"{message}; check account, host and port of the connection, and the network")
    return TransientError(message)


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Raise the connector's errors, and those of the network, as `error_for` maps them."""
    try:
        yield
    except (PipelineError, SupersededError):
        raise
    except OSError as error:  # requests' errors are OSErrors
        raise TransientError(f"Snowflake, while {doing}: {redact_text(str(error))}") from error
    except Exception as error:
        if not type(error).__module__.startswith("snowflake."):
            raise
        raise error_for(error, doing) from error
