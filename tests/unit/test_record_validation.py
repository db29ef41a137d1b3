"""The verdict on a window: one table for the rules, one for bad input."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.record_validation import Verdict, VerdictKind, judge
from airflow_pipeline_provider.exceptions import TransientError

RUN, ALREADY_LOADED, SKIP, STALE = VerdictKind
END = datetime(2024, 1, 15, 4, tzinfo=timezone.utc)
START = END - timedelta(hours=2)
MIDDLE = END - timedelta(hours=1)
WINDOW = Interval(START, END)
BEFORE = Interval(START - timedelta(hours=2), START)
LONG_AGO = START - timedelta(days=3)
PROCEED = {"on_unavailable": "proceed"}
NO_COUNT = {"unavailable": {"count": "503 from the source"}, "source_count": None}

PLAIN: dict[str, Any] = {
    "now": END + timedelta(hours=1),
    "settle_seconds": 600,
    "committed": [],
    "newest_target": None,
    "ledger_token": None,
    "replace": False,
    "source_count": 10,
    "newest_event_time": END,
    "max_staleness_seconds": None,
    "on_unavailable": "fail",
    "unavailable": {},
}


def verdict(**changes: Any) -> Verdict:
    return judge(WINDOW, **{**PLAIN, **changes})


def after(seconds: float) -> datetime:
    return END + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        pytest.param({}, RUN, None, id="nothing speaks against it"),
        pytest.param({"source_count": 0}, RUN, None, id="empty windows run too"),
        pytest.param({"source_count": None}, RUN, None, id="count not asked"),
        # the future
        pytest.param({"now": after(600)}, RUN, None, id="just settled"),
        pytest.param({"now": after(599.999999)}, SKIP, "not_settled", id="a microsecond short of settled"),
        pytest.param({"now": START}, SKIP, "not_settled", id="in the future"),
        pytest.param({"now": END, "settle_seconds": 0}, RUN, None, id="no settling, at the end"),
        pytest.param(
            {"now": after(-1), "settle_seconds": 0}, SKIP, "not_settled", id="no settling, before the end"
        ),
        pytest.param({"now": START, "replace": True}, SKIP, "not_settled", id="a replacement in the future"),
        pytest.param(
            {"now": START, "committed": [WINDOW]}, SKIP, "not_settled", id="the future is asked first"
        ),
        # processed already
        pytest.param({"committed": [WINDOW]}, SKIP, "complete", id="committed"),
        pytest.param(
            {"committed": [Interval(MIDDLE, END), Interval(START, MIDDLE)]}, SKIP, "complete", id="in halves"
        ),
        pytest.param({"committed": [Interval(START, MIDDLE)]}, RUN, None, id="half of it"),
        pytest.param({"committed": [BEFORE]}, RUN, None, id="the one before"),
        pytest.param({"committed": [WINDOW], "replace": True}, RUN, None, id="committed, to be replaced"),
        pytest.param(
            {"committed": [WINDOW], **NO_COUNT}, SKIP, "complete", id="committed, source unavailable"
        ),
        # loaded already
        pytest.param({"newest_target": (WINDOW, 5)}, ALREADY_LOADED, None, id="loaded, never committed"),
        pytest.param(
            {"newest_target": (WINDOW, 5), "ledger_token": 4}, ALREADY_LOADED, None, id="a newer load"
        ),
        pytest.param({"newest_target": (WINDOW, 5), "ledger_token": 5}, RUN, None, id="the committed load"),
        pytest.param({"newest_target": (WINDOW, 5), "ledger_token": 6}, RUN, None, id="an older load"),
        pytest.param({"newest_target": (Interval(START, MIDDLE), 5)}, RUN, None, id="a part is loaded"),
        pytest.param(
            {"newest_target": (Interval(BEFORE.start, END), 5)}, RUN, None, id="loaded by another granularity"
        ),
        pytest.param(
            {"newest_target": (WINDOW, 5), "ledger_token": 4, "committed": [WINDOW], "replace": True},
            ALREADY_LOADED,
            None,
            id="a replacement is loaded",
        ),
        pytest.param(
            {"newest_target": (WINDOW, 5), "loaded_rows": 10}, ALREADY_LOADED, None, id="all rows loaded"
        ),
        pytest.param(
            {"newest_target": (WINDOW, 5), "loaded_rows": 9}, RUN, None, id="the source has grown since"
        ),
        pytest.param(
            {"newest_target": (WINDOW, 5), "loaded_rows": 0, "source_count": 0},
            ALREADY_LOADED,
            None,
            id="0 of 0",
        ),
        pytest.param(
            {"newest_target": (WINDOW, 5), "loaded_rows": 9, **NO_COUNT, **PROCEED},
            ALREADY_LOADED,
            None,
            id="loaded, count unavailable",
        ),
        # staleness
        pytest.param(
            {"max_staleness_seconds": 3600, "newest_event_time": MIDDLE}, RUN, None, id="at the limit"
        ),
        pytest.param(
            {"max_staleness_seconds": 3599, "newest_event_time": MIDDLE}, STALE, None, id="past the limit"
        ),
        pytest.param({"max_staleness_seconds": 0, "newest_event_time": END}, RUN, None, id="up to the end"),
        pytest.param(
            {"max_staleness_seconds": None, "newest_event_time": LONG_AGO}, RUN, None, id="no limit"
        ),
        pytest.param(
            {"max_staleness_seconds": 60, "newest_event_time": END, "now": END + timedelta(days=900)},
            RUN,
            None,
            id="an old window of a source that has moved on",
        ),
        pytest.param(
            {"max_staleness_seconds": 60, "newest_event_time": LONG_AGO, "newest_target": (WINDOW, 5)},
            ALREADY_LOADED,
            None,
            id="loaded before the source went stale",
        ),
    ],
)
def test_kind_and_reason(changes: dict[str, Any], kind: VerdictKind, reason: str | None) -> None:
    seen = verdict(**changes)
    assert (seen.kind, seen.reason) == (kind, reason)
    assert seen.degraded == (("count: 503 from the source",) if "on_unavailable" in changes else ())
    assert str(WINDOW) in seen.detail


@pytest.mark.parametrize(
    ("changes", "degraded"),
    [
        (NO_COUNT, ("count: 503 from the source",)),
        ({"unavailable": {"exists": "b", "count": "a"}}, ("count: a", "exists: b")),
        (
            {
                "unavailable": {"newest_event_time": "x"},
                "newest_event_time": None,
                "max_staleness_seconds": 60,
            },
            ("newest_event_time: x",),
        ),
        (
            {"newest_event_time": None, "max_staleness_seconds": 60},
            ("newest_event_time: the source does not report it, so its staleness is not known",),
        ),
        ({"newest_event_time": None}, ()),
    ],
)
def test_what_was_not_asked_is_said(changes: dict[str, Any], degraded: tuple[str, ...]) -> None:
    seen = verdict(**PROCEED, **changes)
    assert seen.kind is RUN
    assert seen.degraded == degraded


def test_an_unavailable_probe_fails_by_default() -> None:
    with pytest.raises(TransientError, match=r"count: 503 from the source; .*on_unavailable to proceed"):
        verdict(**NO_COUNT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"now": START},
            "ends less than 10m before now (2024-01-15T02:00:00Z): its rows may not be there yet",
        ),
        ({"now": START, "settle_seconds": 0}, "ends after now (2024-01-15T02:00:00Z)"),
        ({"committed": [WINDOW]}, "is committed already"),
        ({"newest_target": (WINDOW, 5)}, "is in the target already, the audit is missing"),
        ({}, "the source has 10 rows"),
        ({"source_count": None}, "the source has an unknown number of rows"),
        (
            {"max_staleness_seconds": 3600, "newest_event_time": LONG_AGO},
            "expected the source's newest event at most 1h before the end of",
        ),
        ({"max_staleness_seconds": 3600, "newest_event_time": LONG_AGO}, "but it is of 2024-01-12T02:00:00Z"),
    ],
)
def test_the_sentence_for_people(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in verdict(**changes).detail


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"now": datetime(2024, 1, 15)}, ValueError, "now: expected an aware datetime"),
        ({"now": None}, TypeError, "now: .*None"),
        ({"settle_seconds": -1}, ValueError, "settle_seconds: .*-1"),
        ({"settle_seconds": 10**30}, ValueError, "settle_seconds: .*10000"),
        ({"settle_seconds": "10m"}, TypeError, "settle_seconds: .*'10m'"),
        ({"settle_seconds": True}, TypeError, "settle_seconds: .*True"),
        ({"max_staleness_seconds": -1}, ValueError, "max_staleness_seconds: .*-1"),
        ({"max_staleness_seconds": 1.5}, TypeError, "max_staleness_seconds: .*1.5"),
        ({"source_count": -1}, ValueError, "source_count: .*-1"),
        ({"source_count": "10"}, TypeError, "source_count: .*'10'"),
        ({"source_count": False}, TypeError, "source_count: .*False"),
        ({"loaded_rows": -1}, ValueError, "loaded_rows: .*-1"),
        ({"on_unavailable": "ignore"}, ValueError, "on_unavailable: .*'ignore'"),
        ({"on_unavailable": None}, ValueError, "on_unavailable: .*None"),
        (
            {"newest_event_time": datetime(2024, 1, 15), "max_staleness_seconds": 60},
            ValueError,
            "newest_event_time: expected an aware datetime",
        ),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        verdict(**changes)
