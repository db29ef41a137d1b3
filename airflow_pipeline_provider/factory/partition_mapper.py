"""Map the windows of a pipeline to their day, for a DAG that waits until all windows of a day are committed.

Airflow serializes the class under the name of this module, so it must not move.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from airflow.partition_mappers.base import PartitionMapper

from airflow_pipeline_provider.core.days import day_interval, day_of, parse_day, tile_day
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import parse_instant
from airflow_pipeline_provider.core.windows import partition_key
from airflow_pipeline_provider.exceptions import ConfigError


class WholeDayMapper(PartitionMapper):
    """Start a run for a day when each of its windows has an event: 23, 24 or 25 of one hour.

    For the assets ``<pipeline_id>.window_partitions`` of pipelines whose windows have this granularity.  Airflow's
    own ``DayWindow`` always waits for 24 hours: a day of 23 hours never starts a run, one of 25 hours too early.

    :param timezone: the pipeline's time zone.
    :param granularity: the pipeline's granularity, such as ``"1h"``.
    :raises ConfigError: a value is invalid, or Airflow is older than 3.3.
    """

    is_rollup = True

    def __init__(self, *, timezone: str, granularity: str) -> None:
        try:
            from airflow.partition_mappers.wait_policy import WaitForAll
        except ImportError as error:
            raise ConfigError(
                "WholeDayMapper needs Airflow 3.3: older versions start a run at the first window of a day; use the "
                "asset <pipeline_id>.day_partitions, which has one event for each complete day"
            ) from error
        super().__init__()
        try:
            self._granularity = parse_duration(granularity, "granularity")
            tile_day(date(2013, 11, 3), timezone, self._granularity)
        except ValueError as error:
            raise ConfigError(f"WholeDayMapper: {error}") from error
        self.timezone = timezone
        self.granularity = granularity
        self.wait_policy = WaitForAll()

    def to_downstream(self, key: str) -> str:
        """Return the local day of the window whose start is the key."""
        return day_of(parse_instant(key, "partition key"), self.timezone).isoformat()

    def to_upstream(self, downstream_key: str) -> frozenset[str]:
        """Return the keys of all windows of the day."""
        day = parse_day(downstream_key, "partition key")
        windows = tile_day(day, self.timezone, self._granularity)
        return frozenset(partition_key(window.start, self.timezone) for window in windows)

    def to_partition_date(self, downstream_key: str) -> datetime:
        """Return the first instant of the day."""
        return day_interval(parse_day(downstream_key, "partition key"), self.timezone).start

    def serialize(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"timezone": self.timezone, "granularity": self.granularity}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionMapper:
        """Build the mapper from `serialize`'s result."""
        return cls(**data)
