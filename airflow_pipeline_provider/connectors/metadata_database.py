"""Check Airflow's metadata database, in processes that may use it (command line, api-server)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_pipeline_provider.connectors.database_errors import database_error
from airflow_pipeline_provider.exceptions import FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text

_MISSING = ("no such table", "no such column", "doesn't exist", "unknown column")
_MISSING_CLASSES = {"UndefinedTable", "UndefinedColumn"}


@contextmanager
def metadata_errors(doing: str) -> Iterator[None]:
    """Raise what the database raises in the block as an error of this package.

    `doing` is the beginning of its message ("variable 'x' cannot be read").

    A database without Airflow's tables is a FatalError that names `airflow db migrate`.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise _mapped(error, doing) from error


def _mapped(error: Any, doing: str) -> PipelineError:
    cause = getattr(error, "orig", None) or error
    text = redact_text(" ".join(str(cause).split()))[:300]
    classes = {cls.__name__ for cls in type(cause).__mro__}
    if classes & _MISSING_CLASSES or any(words in text.lower() for words in _MISSING):
        return FatalError(
            f"{doing}: Airflow's metadata database lacks a table or column ({text}): run `airflow db migrate` with "
            "the same AIRFLOW_HOME and configuration"
        )
    doing = f"{doing}: Airflow's metadata database"
    return database_error(error, doing) or TransientError(
        f"{doing} answered {text!r}; the next try may succeed"
    )


def check_metadata_database(doing: str) -> None:
    """Raise the PipelineError of a metadata database that cannot be used.

    Airflow itself logs a traceback for a lookup that fails, and then answers as if nothing had been defined.
    """
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with metadata_errors(doing), create_session(scoped=False) as session:
        session.execute(select(Connection.conn_id).limit(1))
