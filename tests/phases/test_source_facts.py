"""Rows that no window can hold are counted, recorded and reported; a source that has nothing else is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Body, BodyReport
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.change_markers import NO_MARKER
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.source_facts import fact_warnings, latest
from tests.doubles.memory_source import MemorySource

from .conftest import LATER, Pipeline

INSIDE = "2013-11-03T04:30:00Z"
EPOCH_SECONDS = "1970-01-16T19:37:34.200Z"  # 1383454200 taken for milliseconds
LONG_AGO = "2012-01-01T00:00:00Z"


class Gauges:
    """A sink that keeps the gauges."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def count(self, name: str, by: int, tags: metrics.Tags) -> None:
        """Not looked at."""

    def gauge(self, name: str, value: float, tags: metrics.Tags) -> None:
        self.seen[name] = value

    def timing(self, name: str, seconds: float, tags: metrics.Tags) -> None:
        """Not looked at."""


def committed(pipeline: Pipeline) -> dict[str, Any]:
    return [entry.detail for entry in pipeline.entries() if entry.kind is ledger.Kind.COMMITTED][-1]


@pytest.mark.parametrize(
    ("times", "untimed"),
    [
        ([INSIDE], 0),
        ([INSIDE, LONG_AGO], 0),
        ([INSIDE, None, None], 2),
        ([INSIDE, EPOCH_SECONDS, "1970-01-01T00:00:00Z"], 2),
        ([INSIDE, EPOCH_SECONDS, None], 2),
        ([INSIDE, "1970-02-20T00:00:00Z"], 0),
    ],
    ids=["none", "history", "no time", "seconds for milliseconds", "both", "later in 1970"],
)
def test_rows_without_a_usable_time_are_counted(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, times: list[str | None], untimed: int
) -> None:
    for number, moment in enumerate(times):
        pipeline.rows.put(str(number), moment)
    gauges = Gauges()
    with metrics.sending_to(gauges):
        pipeline.move(pipeline.runtime())
    assert set(pipeline.target_rows()) == {"0"}
    assert committed(pipeline)["untimed"] == untimed
    assert gauges.seen["pipeline.untimed_rows"] == untimed
    assert ("no usable event time" in caplog.text) is bool(untimed)
    assert len(fact_warnings(latest(pipeline.entries()))) == bool(untimed)


def test_a_pipeline_of_1970_has_rows_of_1970(pipeline: Pipeline) -> None:
    pipeline.rows.put("a", "1970-01-05T12:00:00Z")
    pipeline.move(pipeline.runtime(start_day="1970-01-05", end_day="1970-01-05", granularity="1d"))
    assert committed(pipeline)["untimed"] == 0


@pytest.mark.parametrize(
    ("times", "policy", "says"),
    [
        ([None, None], "warn", "every row of the source"),
        ([EPOCH_SECONDS], "warn", "every row of the source"),
        ([INSIDE, None], "fail", "validate.on_untimed is fail"),
    ],
    ids=["no times at all", "only seconds for milliseconds", "fail on any"],
)
def test_a_source_without_usable_times_is_refused(
    pipeline: Pipeline, times: list[str | None], policy: str, says: str
) -> None:
    for number, moment in enumerate(times):
        pipeline.rows.put(str(number), moment)
    with pytest.raises(DataError, match=says) as caught:
        pipeline.move(pipeline.runtime(validate={"on_untimed": policy}))
    assert "correct the time field" in str(caught.value)
    failed = pipeline.entries()[-1]
    assert (failed.kind, failed.detail["error"]) == (ledger.Kind.FAILED, "DataError")
    assert latest(pipeline.entries())["untimed"] == sum(moment != INSIDE for moment in times)


def test_an_empty_source_is_not_refused(pipeline: Pipeline) -> None:
    assert pipeline.move(pipeline.runtime(validate={"on_untimed": "fail"})).audited is not None
    assert committed(pipeline)["untimed"] == 0


FUTURE = (LATER + timedelta(days=400)).isoformat()


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ([FUTURE, FUTURE], "2 rows are more than a day in the future"),
        ([LONG_AGO], "newest row is of 2012-01-01T00:00:00Z, before the first planned day"),
        ([LONG_AGO, "2013-11-03T20:00:00Z"], None),
        ([(LATER + timedelta(hours=2)).isoformat()], None),
        ([INSIDE, FUTURE], None),
    ],
    ids=["future", "only history", "another window has rows", "a little ahead", "the window has rows"],
)
def test_an_empty_window_of_a_source_that_grows_elsewhere_is_reported(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, times: list[str], says: str | None
) -> None:
    for number, moment in enumerate(times):
        pipeline.rows.put(str(number), moment)
    assert pipeline.move(pipeline.runtime()).audited is not None
    found = [
        sentence
        for sentence in fact_warnings(latest(pipeline.entries()))
        if "last window was empty" in sentence
    ]
    assert [says in sentence for sentence in found] == ([True] if says else [])
    assert ("the window is empty, but" in caplog.text) is bool(says)


def test_a_later_look_takes_the_report_back(pipeline: Pipeline) -> None:
    pipeline.rows.put("old", LONG_AGO)
    runtime = pipeline.runtime()
    pipeline.move(runtime)
    assert "elsewhere" in latest(pipeline.entries())
    pipeline.rows.put("new", "2013-11-03T07:00:00Z")
    pipeline.move(runtime)
    assert latest(pipeline.entries()) == {"untimed": 0, "not_seen": None}


def test_commits_of_an_earlier_version_report_nothing(pipeline: Pipeline) -> None:
    """Their detail has none of the keys."""
    pipeline.rows.put("a", INSIDE)
    pipeline.move(pipeline.runtime())
    for entry in pipeline.entries():
        entry.detail.pop("untimed", None)
        entry.detail.pop("marker", None)
    assert latest(pipeline.entries()) == {"not_seen": NO_MARKER}
    assert fact_warnings({}) == []


@pytest.mark.parametrize(
    ("kind", "warned", "reported"),
    [
        (Body.AS_INDEXED, False, False),
        (Body.REBUILT, True, False),
        (Body.FILTERED, True, True),
        (Body.UNKNOWN, True, True),
    ],
)
def test_what_body_is_goes_into_log_and_ledger(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: Body,
    warned: bool,
    reported: bool,
) -> None:
    monkeypatch.setattr(MemorySource, "body_report", lambda self: BodyReport(kind, ("index i: so it is",)))
    pipeline.rows.put("a", INSIDE)
    pipeline.move(pipeline.runtime())
    assert committed(pipeline)["body"] == kind.value
    assert (f"BODY is {kind.value}" in caplog.text and "index i: so it is" in caplog.text) is warned
    assert bool(fact_warnings(latest(pipeline.entries()))) is reported


def test_an_audit_that_extracts_again_keeps_the_facts(pipeline: Pipeline) -> None:
    pipeline.rows.put("a", INSIDE)
    pipeline.rows.put("timeless", None)
    late = iter(["b"])

    def arrive() -> None:
        for name in late:
            pipeline.rows.put(name, INSIDE)

    pipeline.rows.on_page = arrive
    outcome = pipeline.move(pipeline.runtime())
    assert outcome.audited is not None
    assert outcome.audited.target_rows == 2
    assert committed(pipeline)["untimed"] == 1
