"""The read model: attempts of a window, and the preview of moving windows again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.views.history import attempts_of
from airflow_pipeline_provider.views.reprocess import preview_window
from tests.unit.planning_examples import rules

ZONE = "America/New_York"
NOW = datetime(2013, 11, 6, tzinfo=timezone.utc)
WINDOW = Interval(
    datetime(2013, 11, 3, 4, tzinfo=timezone.utc), datetime(2013, 11, 3, 9, tzinfo=timezone.utc)
)
FAILURE = {"error": "DataError", "phase": "audit", "message": "counts differ"}


def entry(kind: Kind, minute: int, attempt: str | None = "a1", **more: Any) -> Entry:
    return Entry(kind, WINDOW, NOW + timedelta(minutes=minute), attempt=attempt, run=f"run {attempt}", **more)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param(
            [
                entry(Kind.ATTEMPT, 0),
                entry(Kind.REPLACING, 1, token=1),
                entry(Kind.COMMITTED, 2, token=1, rows=9),
            ],
            [("a1", "committed", 1, 120.0, 9, None)],
            id="committed",
        ),
        pytest.param(
            [entry(Kind.ATTEMPT, 0), entry(Kind.REPLACING, 1, token=1)],
            [("a1", "unfinished", 1, None, None, None)],
            id="unfinished",
        ),
        pytest.param(
            [
                entry(Kind.ATTEMPT, 0),
                entry(Kind.FAILED, 1, detail=FAILURE),
                entry(Kind.ATTEMPT, 2, "a2"),
                entry(Kind.COMMITTED, 5, "a2", token=2, rows=9),
                entry(Kind.CHECKED, 9, None, detail={"verdict": "grew"}),
            ],
            [
                ("a1", "failed", None, 60.0, None, "DataError in audit: counts differ"),
                ("a2", "committed", 2, 180.0, 9, None),
            ],
            id="failed, then committed; a check is no attempt",
        ),
    ],
)
def test_attempts_of_a_window(entries: list[Entry], expected: list[tuple[Any, ...]]) -> None:
    found = attempts_of(entries, ZONE)
    assert [
        (one.attempt, one.state, one.token, one.seconds, one.rows, one.error) for one in found
    ] == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], ("missing", None, "load"), id="missing"),
        pytest.param(
            [entry(Kind.REPLACING, 0, token=1), entry(Kind.COMMITTED, 1, token=1, rows=9)],
            ("committed", 9, "replace"),
            id="committed",
        ),
        pytest.param(
            [entry(Kind.COMMITTED, 1, token=1, rows=9), entry(Kind.REPLACING, 2, "a2", token=2)],
            ("unverified", None, "replace"),
            id="unverified",
        ),
        pytest.param([entry(Kind.WAIVED, 0, None)], ("waived", None, "load"), id="waived"),
    ],
)
def test_preview_of_a_window(entries: list[Entry], expected: tuple[Any, ...]) -> None:
    config = SimpleNamespace(pipeline_id="flights", timezone=ZONE, rules=rules())
    state = SimpleNamespace(leases=list, entries=lambda _: entries)
    found = preview_window(cast(PipelineConfig, config), WINDOW, NOW, state.entries(WINDOW), state.leases())
    assert (found.now, found.rows, found.action) == expected
    assert found.window_id == "flights.20131103T040000Z-20131103T090000Z"
    assert (found.day.isoformat(), found.local_start) == ("2013-11-03", "2013-11-03T00:00:00-04:00")


def test_preview_of_a_window_that_is_not_ready() -> None:
    config = SimpleNamespace(pipeline_id="flights", timezone=ZONE, rules=rules())
    state = SimpleNamespace(leases=list, entries=lambda _: [])
    found = preview_window(
        cast(PipelineConfig, config), WINDOW, WINDOW.start, state.entries(WINDOW), state.leases()
    )
    assert found.action == "leave_out"
    assert found.detail.startswith("not_settled: ")
