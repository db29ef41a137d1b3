"""Report an invalid pipeline file as an import error of its own, without affecting other pipelines.

Airflow marks every DAG of a Python file stale if importing that file fails, so an error raised by the loader would
remove a hundred pipelines for a typo in one. If a DAG cannot be *serialized*, however, Airflow records an import
error for the `relative_fileloc` of this DAG only. `BrokenPipeline` is such a DAG.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from airflow.sdk import DAG

from airflow_pipeline_provider.exceptions import ConfigError


class BrokenPipeline(DAG):
    """A DAG for a pipeline file with errors; Airflow cannot serialize it, so it is never stored in the database."""

    _pipeline_file: str = ""

    @property
    def relative_fileloc(self) -> str:
        """Return the pipeline file, for which Airflow records the import error."""
        return self._pipeline_file

    @relative_fileloc.setter
    def relative_fileloc(self, value: str | None) -> None:
        """Ignore the value: Airflow assigns the Python file, and would record the error for all DAGs of it."""


def broken_pipeline(path: Path, relative_path: str, error: ConfigError) -> BrokenPipeline:
    """Return a DAG that becomes an import error with the message of `error`.

    :param relative_path: the file's path relative to the DAGs folder, which Airflow shows with the import error.
    """
    dag = BrokenPipeline(f"broken__{path.stem}", schedule=None, tags={"broken"})
    dag._pipeline_file = relative_path

    def raise_error(*_: object) -> NoReturn:
        raise error

    dag.get_serialized_fields = raise_error  # type: ignore[method-assign]
    return dag
