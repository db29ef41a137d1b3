"""Leases that an earlier version wrote: their owner is a run id alone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.state import sql_database
from airflow_pipeline_provider.state.owners import Execution, Owner
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.testing.sample_rows import hours
from tests.doubles.memory_variables import DictVariables

IDENTITY = Identity("flights", "America/New_York")
TTL = 120.0


def test_a_lease_of_a_table_without_installations_belongs_to_its_run(tmp_path: Path) -> None:
    """A run that began before an upgrade continues after it, in whatever installation."""
    with closing(SqlState.from_url(f"sqlite:///{tmp_path}/state.db", IDENTITY)) as state:
        database = state._database()
        with database.engine.begin() as connection:
            config = sql_database.migration_config(connection=connection, tables=database.tables)
            command.upgrade(config, "0004")
        with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
            since = datetime.now(timezone.utc) - timedelta(seconds=10)
            connection.execute(
                "INSERT INTO pipeline_leases VALUES ('flights', '2013-11-03T04:00:00.000000Z', "
                "'2013-11-03T06:00:00.000000Z', 'flights/run', ?, ?, 3600.0)",
                [f"{at:%Y-%m-%dT%H:%M:%S.%fZ}" for at in (since, since + timedelta(seconds=3600))],
            )
            connection.commit()
        [old] = state.leases()
        assert (old.installation, old.executions, old.holder) == (None, (), "flights/run")
        with pytest.raises(LeaseHeldError, match="held by flights/run since"):
            state.acquire(hours(0, 2), Owner("flights/next", "blue"), TTL)
        renewed = state.acquire(hours(0, 2), Owner("flights/run", "blue", Execution("load", 1, "p")), TTL)
        assert (renewed.since, renewed.installation) == (since, "blue")
        assert state.leases() == [renewed]
        with pytest.raises(LeaseHeldError, match="installation blue"):
            state.acquire(hours(0, 2), Owner("flights/run", "green"), TTL)


def test_a_lease_variable_without_installation_belongs_to_its_run() -> None:
    now = datetime.now(timezone.utc)
    written = {
        "version": 1,
        "owner": "flights/run",
        "since": iso_utc(now),
        "until": iso_utc(now + timedelta(seconds=TTL)),
        "seconds": TTL,
        "windows": [[iso_utc(hours(0, 2).start), iso_utc(hours(0, 2).end)]],
        "mark": "m",
        "follows": True,
        "fence": 3,
        "wrote": {},
        "lost": [],
    }
    variables = DictVariables({"pipelines.flights.lease": json.dumps(written)})
    state = VariableState(
        VariableStateOptions(type="variable"), IDENTITY, variables=variables, pause_seconds=0
    )
    with pytest.raises(LeaseHeldError, match="held by flights/run since"):
        state.acquire(hours(0, 2), Owner("flights/next", "blue"), TTL)
    renewed = state.acquire(hours(0, 2), Owner("flights/run", "blue", Execution("load", 1, "p")), TTL)
    assert (renewed.since, renewed.installation) == (now, "blue")
    assert state.leases() == [renewed]
