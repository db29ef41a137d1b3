"""Make the typed views and physical columns of a pipeline's target follow its columns."""

from __future__ import annotations

from airflow_pipeline_provider.phases.identity import datasets_of, refuse_changed
from airflow_pipeline_provider.phases.runtime import Runtime


def apply_columns(runtime: Runtime, *, dry_run: bool) -> list[str]:
    """Make the target's views and physical columns follow the columns; return the statements.

    With `dry_run` nothing is executed.

    Raises:
        ConfigError: The pipeline file names another source or target than the loads so far.
        FatalError: The table does not exist yet, or the name of a view or column is in use.
    """
    refuse_changed(runtime.config.pipeline_id, runtime.state.about(), datasets_of(runtime))
    return runtime.target.apply_columns(dry_run=dry_run)
