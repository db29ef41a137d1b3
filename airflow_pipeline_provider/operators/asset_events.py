"""Asset events for DAGs downstream: a window was committed, a day became complete.

`EVENTS` lists the assets, `EXTRA` the keys of an event's `extra`.

An asset is known by its name alone, ``Asset("flights.days")``, so that its URI cannot be wrong.  Instants are
ISO 8601 in UTC, `day` is the local date.

Each event is sent twice: by the alias, without a partition key, and to an asset whose events have one.  Airflow
starts a partitioned DAG only by events with a key, and any other DAG only by events without.

Events leave with the success of the audit task.  One that crashes between the commit and its success sends them
when it is tried again or cleared, so they are sent at least once: by `token` a repeated event differs from that of
a replaced window.  An event of ``<id>.days`` that no audit sent leaves with the generate task of the pipeline's
next run, or with the cleanup task of the maintenance DAG (`phases.day_events`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.windows import partition_key
from airflow_pipeline_provider.operators.base import run_of
from airflow_pipeline_provider.operators.day_runs import DayRuns
from airflow_pipeline_provider.operators.partition_events import (
    add_partition,
    day_partitions_asset,
    window_partitions_asset,
)
from airflow_pipeline_provider.phases.day_events import DayEvents
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Audited, Claim, CompleteDay
from airflow_pipeline_provider.state.about import Task

if TYPE_CHECKING:
    from airflow.sdk import Context


EVENTS = {
    "<pipeline_id>.windows": "The audit committed a window.",
    "<pipeline_id>.days": "A day became complete, or the last of a complete day's windows was replaced.",
    "<pipeline_id>.window_partitions": "With `<pipeline_id>.windows`. Partition key: the window's local start, "
    "`2013-11-03T01:00:00-05:00`.",
    "<pipeline_id>.day_partitions": "With `<pipeline_id>.days`. Partition key: the day, `2013-11-03`.",
}
EXTRA = {
    "pipeline": "`pipeline_id`",
    "day": "local date of the window, `YYYY-MM-DD`",
    "start": "first instant of the window or day, ISO 8601 in UTC",
    "end": "end of the window or day, exclusive, ISO 8601 in UTC",
    "rows": "rows of the window in the target, or of the day in the ledger; null if the ledger cannot count the day",
    "token": "fencing token of the commit: the same for an event that is sent again, newer for a replaced window",
    "schema_changes": "of a window: a sentence for each kind of change of its documents (`contract`); left out "
    "without changes",
}


def windows_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event for each committed window."""
    return f"{pipeline_id}.windows"


def days_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event when a day becomes complete."""
    return f"{pipeline_id}.days"


def assets_of(pipeline: str | PipelineConfig) -> list[Asset]:
    """All assets, as outlets of the DAG file: so Airflow knows them before their first event.

    Two runs whose first events came at the same moment would both try to make the asset, and Airflow would call the
    later run failed, after its commit.  While the task executes they are no outlets: one that is gets an event
    whenever its task succeeds.  None where the DAG file gives a path: what is in there is not known yet.
    """
    if not isinstance(pipeline, PipelineConfig):
        return []
    names = (windows_asset, days_asset, window_partitions_asset, day_partitions_asset)
    return [Asset(name(pipeline.pipeline_id)) for name in names]


def alias_of(pipeline: str | PipelineConfig) -> AssetAlias:
    """Return the alias that emits the events without a partition key.

    It emits only events that are added to it, and needs no pipeline id while the DAG file is parsed.
    """
    name = pipeline.pipeline_id if isinstance(pipeline, PipelineConfig) else PurePath(pipeline).stem
    return AssetAlias(f"pipeline {name}")


def day_events(context: Context, runtime: Runtime) -> DayEvents:
    """Return the pipeline's `.days` events as this task sees them."""
    ti = context["ti"]
    return DayEvents(runtime, Task(run_of(context), ti.task_id), DayRuns(ti))


def emit(
    context: Context,
    alias: AssetAlias,
    timezone: str | tzinfo,
    claim: Claim,
    audited: Audited,
    complete: Iterable[CompleteDay],
) -> None:
    """Add the events of this commit, and of the days that are complete, to the task's outlets."""
    pipeline_id = claim.pipeline_id
    committed = CompleteDay(claim.day, claim.interval, audited.target_rows, audited.token)
    about = _about(pipeline_id, committed, audited.schema_changes)
    context["outlet_events"][alias].add(Asset(windows_asset(pipeline_id)), extra=about)
    key = partition_key(claim.start, timezone)
    add_partition(context, window_partitions_asset(pipeline_id), key, about)
    _add_days(context, alias, pipeline_id, complete)


def emit_late(context: Context, alias: AssetAlias, runtime: Runtime) -> None:
    """Add the events of complete days that earlier tasks left unsent to the task's outlets."""
    events = day_events(context, runtime)
    events.collect_all()
    _add_days(context, alias, runtime.config.pipeline_id, events.complete)


def _add_days(context: Context, alias: AssetAlias, pipeline_id: str, complete: Iterable[CompleteDay]) -> None:
    for day in complete:
        about = _about(pipeline_id, day)
        context["outlet_events"][alias].add(Asset(days_asset(pipeline_id)), extra=about)
        add_partition(context, day_partitions_asset(pipeline_id), day.day.isoformat(), about)


def _about(pipeline_id: str, what: CompleteDay, changes: Sequence[str] = ()) -> dict[str, Any]:
    extra = {
        "pipeline": pipeline_id,
        "day": what.day.isoformat(),
        "start": iso_utc(what.interval.start),
        "end": iso_utc(what.interval.end),
        "rows": what.rows,
        "token": what.token,
        "schema_changes": list(changes),
    }
    if not changes:
        del extra["schema_changes"]
    return extra
