"""Planning from the kept fold of a ledger is planning from all of its entries, whatever was written before."""

from __future__ import annotations

from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import Known, PlanRules, horizon, plan_live
from airflow_pipeline_provider.state import sql
from airflow_pipeline_provider.state.sql import SqlState
from tests.property.strategies import UTC

START = datetime(2013, 11, 2, tzinfo=UTC)
MAX_ATTEMPTS = 2

spans = st.tuples(st.integers(0, 60), st.sampled_from([1, 2, 3, 24])).map(
    lambda pair: Interval(START + timedelta(hours=pair[0]), START + timedelta(hours=sum(pair)))
)


def entry(kind: Kind, interval: Interval, error: str | None) -> Entry:
    return Entry(kind, interval, START, detail={"error": error} if error else {})


failures = st.builds(entry, st.just(Kind.FAILED), spans, st.sampled_from(["DataError", "TransientError"]))
others = st.builds(
    entry, st.sampled_from([Kind.WAIVED, Kind.COMMITTED, Kind.ATTEMPT, Kind.CHECKED]), spans, st.none()
)
histories = st.lists(failures | others, max_size=30)

rules = st.builds(
    lambda zone, start, size, backlog, on_blocked, larger: PlanRules(
        zone,
        Duration(0, 3600),
        Duration(0, size * 3600),
        start_day=date(2013, 11, start),
        max_backlog_days=backlog,
        on_blocked=on_blocked,
        backlog_granularity=larger,
    ),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
    st.integers(1, 4),
    st.sampled_from([1, 2, 24]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["pass", "stop"]),
    st.sampled_from([None, Duration(1, 0), Duration(0, 86_400)]),
)


def from_all(entries: list[Entry]) -> Known:
    return Known(
        committed=tuple(ledger.committed(entries)),
        waived=tuple(ledger.waived(entries)),
        blocked=tuple(ledger.blocked(entries, MAX_ATTEMPTS)),
        failed=tuple(ledger.failures_after({}, entries)),
    )


def from_fold(coverage: Coverage) -> Known:
    return Known(coverage.done, blocked=tuple(coverage.blocked(MAX_ATTEMPTS)), failed=coverage.failed)


@settings(max_examples=200)
@given(histories, st.lists(st.integers(0, 30), max_size=4))
def test_a_fold_goes_on_where_it_was_left(entries: list[Entry], cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(entries)]
    kept = Coverage().dump()
    for first, last in pairwise(bounds):
        kept = Coverage.parse(kept).after(entries[first:last]).dump()
    folded = Coverage.parse(kept)
    assert list(folded.done) == merge(ledger.committed(entries) + ledger.waived(entries))
    for attempts in (1, 2, 3):
        assert folded.blocked(attempts) == ledger.blocked(entries, attempts)


@settings(max_examples=25)
@given(st.data())
def test_planning_with_the_kept_fold_is_planning_without(data: st.DataObject) -> None:
    """Stores that come and go between the steps share nothing but the database, as tasks do."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "UNSAVED_ENTRIES", data.draw(st.sampled_from([1, 2, 5, 50])))
        url = f"sqlite:///{Path(folder)}/state.db"
        tokens = 0
        for _ in range(data.draw(st.integers(1, 4))):
            with closing(SqlState.from_url(url, Identity("flights", "UTC"))) as state:
                for new in data.draw(st.lists(failures | others, max_size=5)):
                    if new.kind is Kind.COMMITTED:
                        tokens += 1
                        state.append(Entry(Kind.REPLACING, new.interval, START, token=tokens))
                        new = Entry(Kind.COMMITTED, new.interval, START, token=tokens, rows=1)
                    state.append(new)
                asked = data.draw(rules)
                now = START + timedelta(hours=data.draw(st.integers(0, 100)))
                span = horizon(asked, now) or Interval(START, START)
                found = state.coverage(span, keep=data.draw(st.booleans()))
                assert plan_live(asked, now, from_fold(found)) == plan_live(
                    asked, now, from_all(state.entries())
                )
