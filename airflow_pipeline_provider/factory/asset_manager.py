"""Give asset events their partition keys in the api-server: ``[core] asset_manager_class``, for Airflow 3.2.

A task of Airflow 3.3 gives an event its key itself; there the setting is not needed, and changes nothing.
"""

from __future__ import annotations

from typing import Any

from airflow.assets.manager import AssetManager

from airflow_pipeline_provider.operators.partition_events import PARTITIONS


class PartitionAssetManager(AssetManager):
    """Airflow's asset manager; an event without a key that lists partitions becomes an event for each of them."""

    @classmethod
    def register_asset_change(
        cls, *, extra: Any = None, partition_key: str | None = None, **kwargs: Any
    ) -> Any:
        """Register the event in the transaction in which its task succeeds; return the last of the events."""
        keys: list[str | None] = [partition_key]
        if partition_key is None and extra and extra.keys() == {"pipeline", PARTITIONS}:
            keys = sorted(extra[PARTITIONS])
        event = None
        for key in keys:
            event = super().register_asset_change(extra=extra, partition_key=key, **kwargs)
        return event
