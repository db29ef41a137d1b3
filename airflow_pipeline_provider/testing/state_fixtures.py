"""Provide the fixtures of the state kits: one store, opened twice, and entries to append."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.properties.state import FAR, OpenState, StateLab, entry
from airflow_pipeline_provider.testing.sample_rows import ZONE

__all__ = ["FAR", "OpenSqlState", "OpenState", "StateFixtures", "entry"]


@dataclass(frozen=True)
class OpenSqlState:
    """An `open_state` for the sql store that can be pickled."""

    url: str
    schema: str | None = None
    table_prefix: str = "pipeline_"

    def __call__(self, pipeline_id: str, timezone: str) -> State:
        from airflow_pipeline_provider.state.sql import SqlState

        identity = Identity(pipeline_id, timezone)
        return SqlState.from_url(self.url, identity, schema=self.schema, table_prefix=self.table_prefix)


class StateFixtures:
    """Fixtures that a test class overrides or uses; `processes` is False for a store in a single process."""

    processes: ClassVar[bool] = True

    @pytest.fixture
    def open_state(self) -> OpenState:
        raise NotImplementedError("override: a function (pipeline_id, timezone) -> State over one store")

    @pytest.fixture
    def state(self, open_state: OpenState) -> Iterator[State]:
        with closing(open_state("flights", ZONE)) as state:
            yield state

    @pytest.fixture
    def lab(self, open_state: OpenState) -> StateLab:
        """Return the place for the properties that `certify` tests too."""
        return StateLab(open_state, processes=self.processes)

    @pytest.fixture
    def reopened(self, open_state: OpenState) -> Iterator[State]:
        """Yield another object over the same store, as a later task would open it."""
        with closing(open_state("flights", ZONE)) as state:
            yield state
