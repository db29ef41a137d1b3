"""The store in memory, which the tests of phases use, keeps the contract too."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.testing.sample_rows import hours
from airflow_pipeline_provider.testing.state_fixtures import OpenState
from airflow_pipeline_provider.testing.state_kit import StateConformance
from tests.doubles.memory_state import MemoryState, MemoryStore


class TestMemoryState(StateConformance):
    processes = False

    @pytest.fixture
    def open_state(self) -> OpenState:
        store = MemoryStore()
        return lambda pipeline_id, timezone: MemoryState(
            identity=Identity(pipeline_id, timezone), store=store
        )


def test_its_clock_can_be_moved() -> None:
    now = datetime(2013, 11, 3, tzinfo=timezone.utc)
    state = MemoryState(store=MemoryStore(clock=lambda: now))
    assert state.acquire(hours(0, 2), "one", 60).until == now + timedelta(seconds=60)
    now += timedelta(seconds=61)
    assert state.leases() == []
    assert state.acquire(hours(0, 2), "two", 60).since == now
