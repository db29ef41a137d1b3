"""Report days and windows that are not as `expect` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from airflow_pipeline_provider.core.expectations import Miss, Unmet, open_misses
from airflow_pipeline_provider.phases.expectations import Judgement
from airflow_pipeline_provider.views.pipeline_status import PipelineStatus
from airflow_pipeline_provider.views.times import LocalInterval, local_fields


class MissRow(LocalInterval, frozen=True):
    """A day (`what` is late) or a window (empty, few or many rows) that is not as expected.

    `due` is when the day was due, `completed` when it was complete, if it is by now. `rows` are those of the window,
    `usual` the median of the last `weeks` weeks; null where the rows are fewer than the minimum `least`, which needs
    no other weeks. `sentence` has no full stop.
    """

    what: Unmet
    sentence: str
    due: datetime | None
    rows: int | None
    least: int | None
    usual: float | None
    weeks: int | None
    completed: datetime | None


class Unjudged(Struct, frozen=True):
    """A number of windows whose rows are not judged, and why."""

    windows: int
    reason: str


class Unexpected(Struct, frozen=True):
    """What is not as expected, in order of time, and what could not be judged."""

    misses: tuple[MissRow, ...]
    not_judged: tuple[Unjudged, ...]


def unexpected(found: Judgement, zone: str) -> Unexpected:
    """Return the judgement with local times."""
    reasons = Counter(one.sentence for one in found.not_judged)
    return Unexpected(
        tuple(miss_rows(found.misses, zone)),
        tuple(Unjudged(number, reason) for reason, number in reasons.items()),
    )


def miss_rows(misses: Iterable[Miss], zone: str) -> Iterable[MissRow]:
    """Yield the misses with local times."""
    for miss in misses:
        yield MissRow(
            **local_fields(miss.interval, zone),
            what=miss.what,
            sentence=miss.sentence(zone),
            due=miss.due,
            rows=miss.rows,
            least=miss.least,
            usual=miss.usual,
            weeks=miss.weeks,
            completed=miss.completed,
        )


def recorded_misses(status: PipelineStatus, zone: str) -> tuple[MissRow, ...]:
    """Return the misses of the shown days that the ledger has and that are not resolved.

    Unlike `unexpected`, this needs no pipeline file: the maintenance DAG has judged.
    """
    found = [miss for day in status.days for miss in open_misses(day.entries, status.covered.done)]
    return tuple(miss_rows(found, zone))
