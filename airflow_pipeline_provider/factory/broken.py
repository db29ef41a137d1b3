"""How one unreadable pipeline file becomes one import error, and takes no other pipeline with it.

Airflow marks every DAG of a Python file stale when importing that file fails, so raising in the loader would remove
a hundred pipelines for a typo in one.  A DAG that fails to be *serialized*, however, is recorded by itself, as an
import error of its own `relative_fileloc`.  That is what a `BrokenPipeline` is made for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from airflow.sdk import DAG

from airflow_pipeline_provider.exceptions import ConfigError


class BrokenPipeline(DAG):
    """Stands in the namespace of the DAG file for a pipeline file with problems; it never reaches the database."""

    _pipeline_file: str = ""

    @property
    def relative_fileloc(self) -> str:
        return self._pipeline_file

    @relative_fileloc.setter
    def relative_fileloc(self, value: str | None) -> None:
        """Airflow would put the Python file here, and blame all its DAGs."""


def broken_pipeline(path: Path, shown: str, error: ConfigError) -> BrokenPipeline:
    """:param shown: the file's path relative to the DAGs folder, under which the import error is listed."""
    dag = BrokenPipeline(f"broken__{path.stem}", schedule=None, tags={"broken"})
    dag._pipeline_file = shown

    def refuse(*_: Any) -> NoReturn:
        raise error

    dag.get_serialized_fields = refuse  # type: ignore[method-assign]
    return dag
