"""Asset events with a partition key, for DAGs with a `PartitionedAssetTimetable`.

An alias cannot give its events a key, so the asset is an outlet of the task, from when it has an event to send: an
outlet without one sends an event all the same.  The events of one task and asset share one `extra`, so what is known
of each partition is below its key: ``event.extra["partitions"]["2013-11-03"]["rows"]``.

In Airflow 3.2 a task cannot give an event a key.  There the api-server does, if the deployment has set `SETTING`
(`factory.asset_manager`); otherwise no event with a key is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

PARTITIONS = "partitions"  # the key of `extra`
MANAGER = "airflow_pipeline_provider.factory.asset_manager.PartitionAssetManager"
SETTING = f"[core] asset_manager_class = {MANAGER}"


def day_partitions_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event with the day as key when it becomes complete."""
    return f"{pipeline_id}.day_partitions"


def window_partitions_asset(pipeline_id: str) -> str:
    """Name of the asset that gets an event with the window's local start as key for each commit."""
    return f"{pipeline_id}.window_partitions"


def add_partition(context: Context, name: str, key: str, about: dict[str, Any]) -> None:
    """Send an event of this asset with this key when the task succeeds."""
    asset = Asset(name)
    accessor: Any = context["outlet_events"][asset]
    if hasattr(accessor, "add_partitions"):
        accessor.add_partitions(key)
    elif conf.get("core", "asset_manager_class", fallback=None) != MANAGER:
        return
    known = accessor.extra.get(PARTITIONS, {})
    accessor.extra = {"pipeline": about["pipeline"], PARTITIONS: {**known, key: about}}
    task: Any = context["ti"].task
    if asset not in task.outlets:
        task.outlets = [*task.outlets, asset]
