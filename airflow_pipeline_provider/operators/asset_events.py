"""Asset events for DAGs downstream: a window was committed, a day became complete.

`EVENTS` lists the assets, `EXTRA` the keys of an event's `extra`.

An asset is known by its name alone, ``Asset("flights.days")``, so that nobody can get its URI wrong.  Instants are
ISO 8601 in UTC, `day` is the local date.

Events leave with the success of the audit task.  One that dies between the commit and its success sends them when it
is tried again or cleared, so they come at least once: `token` tells a repeated event from a window that was replaced.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.completion import made_complete
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Audited, Claim

if TYPE_CHECKING:
    from airflow.sdk import Context


EVENTS = {
    "<pipeline_id>.windows": "The audit committed a window.",
    "<pipeline_id>.days": "The commit of a window made its day complete.",
}
EXTRA = {
    "pipeline": "`pipeline_id`",
    "day": "local date of the window, `YYYY-MM-DD`",
    "start": "first instant of the window or day, ISO 8601 in UTC",
    "end": "end of the window or day, exclusive, ISO 8601 in UTC",
    "rows": "rows of the window in the target, or of the day in the ledger; null if the ledger cannot count the day",
    "token": "fencing token of the commit: the same for an event that is sent again, newer for a replaced window",
}


def windows_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event for each committed window."""
    return f"{pipeline_id}.windows"


def days_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event when a day becomes complete."""
    return f"{pipeline_id}.days"


def assets_of(pipeline: str | PipelineConfig) -> list[Asset]:
    """Both assets, as outlets of the DAG file: so Airflow knows them before their first event.

    Two runs whose first events came at the same moment would both try to make the asset, and Airflow would call the
    later run failed, after its commit.  While the task executes they are no outlets: one that is gets an event
    whenever its task succeeds.  None where the DAG file gives a path: what is in there is not known yet.
    """
    if not isinstance(pipeline, PipelineConfig):
        return []
    return [Asset(windows_asset(pipeline.pipeline_id)), Asset(days_asset(pipeline.pipeline_id))]


def alias_of(pipeline: str | PipelineConfig) -> AssetAlias:
    """Return the alias that emits the events of both assets.

    It emits only events that are added to it, and needs no pipeline id while the DAG file is parsed.
    """
    name = pipeline.pipeline_id if isinstance(pipeline, PipelineConfig) else PurePath(pipeline).stem
    return AssetAlias(f"pipeline {name}")


def emit(context: Context, alias: AssetAlias, runtime: Runtime, claim: Claim, audited: Audited) -> None:
    """Add the events of this commit to the task's outlets."""
    config, window = runtime.config, claim.window
    accessor = context["outlet_events"][alias]
    about = _about(config.pipeline_id, window.day.isoformat(), window.interval, audited.target_rows, audited)
    accessor.add(Asset(windows_asset(config.pipeline_id)), extra=about)
    day = day_interval(window.day, config.timezone)
    entries = runtime.state.entries(day)
    if made_complete(day, entries, audited.token):
        rows, exact = ledger.rows_inside(entries, day)
        about = _about(
            config.pipeline_id, window.day.isoformat(), day, (rows or 0) if exact else None, audited
        )
        accessor.add(Asset(days_asset(config.pipeline_id)), extra=about)


def _about(
    pipeline_id: str, day: str, interval: Interval, rows: int | None, audited: Audited
) -> dict[str, Any]:
    return {
        "pipeline": pipeline_id,
        "day": day,
        "start": iso_utc(interval.start),
        "end": iso_utc(interval.end),
        "rows": rows,
        "token": audited.token,
    }
