"""Create the typed views of a pipeline, or replace those that follow other columns."""

from __future__ import annotations

from airflow_pipeline_provider.phases.identity import datasets_of, refuse_changed
from airflow_pipeline_provider.phases.runtime import Runtime


def apply_columns(runtime: Runtime, *, dry_run: bool) -> list[str]:
    """Make the target's views follow the columns; return the statements, which `dry_run` does not execute.

    Raises:
        ConfigError: The pipeline file names another source or target than the loads so far.
        FatalError: The table does not exist yet, or a view's name is in use.
    """
    refuse_changed(runtime.config.pipeline_id, runtime.state.about(), datasets_of(runtime))
    return runtime.target.apply_columns(dry_run=dry_run)
