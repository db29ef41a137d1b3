"""The sql state store on SQLite files; PostgreSQL is in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_pipeline_provider.testing.state_kit import OpenSqlState, OpenState, StateConformance


class TestSqliteState(StateConformance):
    @pytest.fixture
    def open_state(self, tmp_path: Path) -> OpenState:
        return OpenSqlState(f"sqlite:///{tmp_path}/state.db")
