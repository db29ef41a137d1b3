"""Schedule a run for each window when it is ready (`schedule: auto`), or when a day is due (`expect`).

Airflow serializes the classes under the name of this module, so they must not move. `core.planning` and
`core.expectations` do the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.expectations import Deadline, parse_complete_by
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import PlanRules, day_plan, ready_at, target_day
from airflow_pipeline_provider.core.time_utils import parse_duration

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction

_DAY = timedelta(days=1)
LONGEST_SEARCH_DAYS = (
    10  # more than the longest time without a window, caused by skipped dates and clock changes
)


class DayPlanTimetable(Timetable):
    """The windows of `granularity` in each local day of `timezone`; a run starts when its window is ready.

    Durations are written as in the pipeline file; days are ISO dates or None.
    """

    def __init__(
        self,
        *,
        timezone: str,
        granularity: str,
        x_time_back: str,
        settle_seconds: int = 0,
        start_day: str | None = None,
        end_day: str | None = None,
    ) -> None:
        self._arguments = {
            "timezone": timezone,
            "granularity": granularity,
            "x_time_back": x_time_back,
            "settle_seconds": settle_seconds,
            "start_day": start_day,
            "end_day": end_day,
        }
        self.rules = PlanRules(
            timezone=timezone,
            x_time_back=parse_duration(x_time_back),
            granularity=parse_duration(granularity),
            settle_seconds=settle_seconds,
            start_day=date.fromisoformat(start_day) if start_day else None,
            end_day=date.fromisoformat(end_day) if end_day else None,
        )
        self.description = f"every {granularity} of a day in {timezone}, {x_time_back} back"

    def serialize(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return dict(self._arguments)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Build the timetable from `serialize`'s result."""
        return cls(**data)

    @property
    def summary(self) -> str:
        """Return the text in Airflow's list of DAGs."""
        return f"{self._arguments['granularity']} windows, {self._arguments['timezone']}"

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return an empty interval: the planner or the Params choose the window of a manual run."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next window in time, None after the last one.

        Without catchup, skip to the latest window that is ready; the planner moves the skipped ones.
        """
        starts: list[datetime | None] = [restriction.earliest]
        if last_automated_data_interval is not None:
            starts.append(last_automated_data_interval.end)
        if not restriction.catchup:
            starts.append(self._latest_ready_start(pendulum.now("UTC")))
        bounds = [start for start in starts if start is not None]
        window = self._first_window(max(bounds)) if bounds else None
        if window is None or (restriction.latest is not None and window.start > restriction.latest):
            return None
        return DagRunInfo(
            run_after=pendulum.instance(ready_at(self.rules, window)),
            data_interval=DataInterval(pendulum.instance(window.start), pendulum.instance(window.end)),
            partition_date=None,  # required by Airflow 3.2, like partition_key
            partition_key=None,
        )

    def _first_window(self, start: datetime) -> Interval | None:
        """Return the first window that starts at or after the instant, None if there is no such window."""
        day = day_of(start, self.rules.timezone)
        if self.rules.start_day is not None:
            day = max(day, self.rules.start_day)
        for offset in range(LONGEST_SEARCH_DAYS):
            candidate = day + timedelta(days=offset)
            if self.rules.end_day is not None and candidate > self.rules.end_day:
                return None
            for window in day_plan(self.rules, candidate):
                if window.start >= start:
                    return window
        return None

    def _latest_ready_start(self, now: datetime) -> datetime | None:
        """Return the start of the newest ready window; after `end_day` that of the last window, whose run drains."""
        day = target_day(self.rules, now)
        if self.rules.end_day is not None:
            day = min(day, self.rules.end_day)
        for offset in range(LONGEST_SEARCH_DAYS):
            ready = [
                w
                for w in day_plan(self.rules, day - timedelta(days=offset))
                if ready_at(self.rules, w) <= now
            ]
            if ready:
                return ready[-1].start
        return None


class DeadlineTimetable(Timetable):
    """A run at each instant at which a day of one of the zones is due; its data interval begins with the run before.

    :param deadlines: pairs of time zone and `day_complete_by`, such as ``["Europe/Berlin", "09:00"]``.
    """

    def __init__(self, deadlines: Iterable[Iterable[str]]) -> None:
        self._pairs = sorted({(zone, text) for zone, text in deadlines})
        self._deadlines = [Deadline(zone, parse_complete_by(text)) for zone, text in self._pairs]
        self.description = "when days are due: " + ", ".join(f"{text} {zone}" for zone, text in self._pairs)

    def serialize(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"deadlines": [list(pair) for pair in self._pairs]}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Build the timetable from `serialize`'s result."""
        return cls(**data)

    @property
    def summary(self) -> str:
        """Return the text in Airflow's list of DAGs."""
        more = "…" if len(self._pairs) > 2 else ""
        return ", ".join(f"{text} {zone}" for zone, text in self._pairs[:2]) + more

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return the day before: a manual run judges all pipelines."""
        return DataInterval(run_after - _DAY, run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run of the next instant; after an outage that of the last one, for all that was due in it."""
        last = last_automated_data_interval.end if last_automated_data_interval is not None else None
        newest = max(deadline.last_until(pendulum.now("UTC")) for deadline in self._deadlines)
        begin = max(
            at for at in (last, restriction.earliest, newest - timedelta(microseconds=1)) if at is not None
        )
        due = min(deadline.first_after(begin) for deadline in self._deadlines)
        if restriction.latest is not None and due > restriction.latest:
            return None
        return DagRunInfo(
            run_after=pendulum.instance(due),
            data_interval=DataInterval(pendulum.instance(last or due - _DAY), pendulum.instance(due)),
            partition_date=None,  # required by Airflow 3.2, like partition_key
            partition_key=None,
        )
