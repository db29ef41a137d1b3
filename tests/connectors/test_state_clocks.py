"""A clock that was ahead when a lease was taken: the lease counts as expired once the clock is right again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.state import sql_database
from airflow_pipeline_provider.state.base import Lease, State
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.testing.sample_rows import hours
from tests.doubles.memory_state import MemoryState, MemoryStore
from tests.doubles.memory_variables import DictVariables

IDENTITY = Identity("flights", "America/New_York")
TTL = 120.0


class Clock:
    """The store's clock; `ahead` is by how much it is wrong."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead


def memory(_path: Path, _monkeypatch: pytest.MonkeyPatch, clock: Clock) -> State:
    return MemoryState(identity=IDENTITY, store=MemoryStore(clock.now))


def sql(path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> State:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.now().astimezone(tz)

    monkeypatch.setattr(sql_database, "datetime", Wrong)
    return SqlState.from_url(f"sqlite:///{path}/state.db", IDENTITY)


def variable(_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> State:
    options = VariableStateOptions(type="variable")
    state = VariableState(options, IDENTITY, variables=DictVariables(), pause_seconds=0)
    monkeypatch.setattr(state, "now", clock.now)
    return state


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[memory, sql, variable], ids=lambda kind: kind.__name__)
def state(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> Iterator[State]:
    make: Callable[..., State] = request.param
    with closing(make(tmp_path, monkeypatch, clock)) as state:
        yield state


@pytest.mark.parametrize("renewed", [False, True], ids=["taken", "renewed"])
@pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(days=365)], ids=["minutes", "a year"])
def test_a_lease_of_a_clock_that_was_ahead_counts_as_expired(
    state: State, clock: Clock, renewed: bool, ahead: timedelta
) -> None:
    if renewed:  # since is right then, and until alone is not
        state.acquire(hours(0, 2), "flights/dead", TTL)
    clock.ahead = ahead
    dead = state.acquire(hours(0, 2), "flights/dead", TTL)
    assert [lease.owner for lease in state.leases()] == ["flights/dead"]
    clock.ahead = timedelta(0)
    assert state.leases() == []
    assert state.leases(expired=True) == [dead]
    assert state.acquire(hours(1, 3), "flights/next", TTL).owner == "flights/next"
    assert [lease.owner for lease in state.leases()] == ["flights/next"]


def test_such_a_lease_is_dropped_with_the_expired_ones(state: State, clock: Clock) -> None:
    clock.ahead = timedelta(days=365)
    dead = state.acquire(hours(0, 2), "flights/dead", TTL)
    clock.ahead = timedelta(0)
    assert state.drop_expired() == [dead]
    assert state.leases(expired=True) == []


def test_its_own_run_renews_it_by_the_right_clock(state: State, clock: Clock) -> None:
    clock.ahead = timedelta(days=365)
    state.acquire(hours(0, 2), "flights/alive", TTL)
    clock.ahead = timedelta(0)
    lease = state.acquire(hours(0, 2), "flights/alive", TTL)
    assert lease.since <= clock.now()
    assert state.leases() == [lease]
    with pytest.raises(LeaseHeldError):
        state.acquire(hours(0, 2), "flights/next", TTL)


def test_a_long_lease_is_live_whatever_the_next_one_asks_for(state: State) -> None:
    state.acquire(hours(0, 2), "flights/long", 3600)
    with pytest.raises(LeaseHeldError):
        state.acquire(hours(0, 2), "flights/short", 1)


NOW = datetime(2013, 11, 6, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("since", "until", "live"),
    [
        pytest.param(-60, 60, True, id="an ordinary one"),
        pytest.param(-7200, 60, True, id="renewed for hours"),
        pytest.param(-60, 0, False, id="ended"),
        pytest.param(86_400, 86_520, False, id="taken in the future"),
    ],
)
def test_a_lease_of_an_earlier_version_has_no_length(since: int, until: int, live: bool) -> None:
    moments = (NOW + timedelta(seconds=seconds) for seconds in (since, until))
    assert Lease(hours(0, 2), "flights/old", *moments).is_live(NOW) is live


def test_a_table_of_the_version_before_keeps_its_leases(tmp_path: Path) -> None:
    from alembic import command

    with closing(SqlState.from_url(f"sqlite:///{tmp_path}/state.db", IDENTITY)) as state:
        database = state._database()
        with database.engine.begin() as connection:
            config = sql_database.migration_config(connection=connection, tables=database.tables)
            command.upgrade(config, "0003")
        with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
            until = f"{datetime.now(timezone.utc) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S.%fZ}"
            connection.execute(
                "INSERT INTO pipeline_leases VALUES ('flights', '2013-11-03T04:00:00.000000Z', "
                "'2013-11-03T06:00:00.000000Z', 'flights/old', '2013-11-06T00:00:00.000000Z', ?)",
                [until],
            )
            connection.commit()
        with pytest.raises(LeaseHeldError, match="flights/old"):
            state.acquire(hours(0, 2), "flights/next", TTL)
