"""Read the states of many pipelines together, of which one has a record that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.sql_bulk import ReadState, read_recorded, read_spans, read_states

WINDOW = Interval(datetime(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 3, 1, 1, tzinfo=timezone.utc))

EDITS = {
    "about": "UPDATE pipeline_pipelines SET about = '{\"source\": 1}' WHERE pipeline_id = 'bad'",
    "entry": "UPDATE pipeline_ledger SET detail = '{' WHERE pipeline_id = 'bad'",
    "kind": "UPDATE pipeline_ledger SET kind = 'lost' WHERE pipeline_id = 'bad'",
    "lease": "UPDATE pipeline_leases SET executions = '[' WHERE pipeline_id = 'bad'",
}


@pytest.fixture(params=EDITS)
def edited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, SqlState]]:
    """Two pipelines in one database, and the good one's state."""
    url = f"sqlite:///{tmp_path}/state.db"
    for name in ("good", "bad"):
        state = SqlState.from_url(url, Identity(name, "UTC"))
        state.append(Entry(Kind.ATTEMPT, WINDOW, WINDOW.end, token=state.mint_token(), attempt="a1"))
        state.record_act("waive", "someone", "why", WINDOW)
        state.acquire(WINDOW, f"{name}/manual__1", 3600)
        state.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        assert connection.execute(sa.text(EDITS[request.param])).rowcount > 0
    engine.dispose()
    state = SqlState.from_url(url, Identity("good", "UTC"))
    yield request.param, state
    state.close()


def test_a_bad_record_is_the_error_of_its_own_pipeline(edited: tuple[str, SqlState]) -> None:
    what, state = edited
    read = read_states(state, ["good", "bad"], WINDOW)
    good, bad = read["good"], read["bad"]
    assert isinstance(good, ReadState)
    assert (len(good.written), len(good.held), len(good.remembered.acts)) == (1, 1, 1)
    assert isinstance(bad, DataError)
    assert str(bad).startswith("state of pipeline bad: ")
    assert read_recorded(state) == {}
    if what in ("entry", "kind"):
        spans = read_spans(state, {"good": [WINDOW], "bad": [WINDOW]})
        assert len(spans["good"]) == 1  # type: ignore[arg-type]
        assert isinstance(spans["bad"], DataError)
        assert str(spans["bad"]).startswith("state of pipeline bad: ")
