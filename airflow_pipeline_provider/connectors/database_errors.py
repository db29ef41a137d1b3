"""Errors of databases, whatever their driver, as errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text

# connection, rollback, resources, lock, intervention, system
_TRANSIENT_STATES = ("08", "40", "53", "55", "57", "58")
_TIMED_OUT = ("25P03", "25P04")  # the server ended a transaction that idled or took too long
_DATA_STATES = ("21", "22", "23")
_FATAL_WORDS = (
    "authentication failed",
    "pg_hba.conf",
    "permission denied",
    "access denied",
    "not authorized",
    "does not exist",
    "no such table",
    "no such column",
    "unable to open database file",
    "readonly database",
    "not a database",
    "malformed",
    "syntax error",
    "unknown hook type",
    "does not support ssl",
)
_ADVICE: dict[type[PipelineError], str] = {
    TransientError: "the next try may succeed",
    FatalError: "correct the name, the permission or the connection",
    DataError: "look at the data",
}


def database_error(error: BaseException, doing: str) -> PipelineError | None:
    """Return the PipelineError for a driver's exception, None for what no database raised."""
    error = getattr(error, "orig", None) or error  # SQLAlchemy's hold the driver's
    if isinstance(error, ImportError):
        return FatalError(f"{doing}: the database's driver cannot be imported ({error}): install it")
    names = {cls.__name__ for cls in type(error).__mro__}
    if not names & {
        "Error",
        "DatabaseError",
        "InterfaceError",
        "SQLAlchemyError",
        "AirflowException",
        "OSError",
    }:
        return None
    primary = getattr(
        getattr(error, "diag", None), "message_primary", None
    )  # without the statement and its caret
    text = redact_text(" ".join(str(primary or error).split()))
    kind = _kind(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None), text.lower(), names)
    shown = text if len(text) <= 400 else f"{text[:397]}..."
    mapped = kind(f"{doing}: the database answered {shown!r}; {_advice(kind, text.lower())}")
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "no SQLSTATE"
    mapped.without_content = (
        f"{doing}: the database answered {type(error).__name__} ({state}); {_ADVICE[kind]}"
    )
    return mapped


def _advice(kind: type[PipelineError], text: str) -> str:
    if "does not support ssl" in text:
        return 'give the server TLS, or, in a trusted network, set {"sslmode": "disable"} in the connection\'s extra'
    return _ADVICE[kind]


def _kind(state: str | None, text: str, names: set[str]) -> type[PipelineError]:
    if state:
        if state.startswith(_TRANSIENT_STATES) or state in _TIMED_OUT:
            return TransientError
        return DataError if state.startswith(_DATA_STATES) else FatalError
    if any(words in text for words in _FATAL_WORDS):
        return FatalError
    if "decode to utf-8" in text or names & {"DataError", "IntegrityError"}:
        return DataError
    return TransientError if names & {"OperationalError", "InterfaceError", "OSError"} else FatalError


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Raise what a database raises in the block as an error of this package.

    `doing` is the beginning of its message ("state of pipeline flights").
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        mapped = database_error(error, doing)
        if mapped is None:
            raise
        raise mapped from error
