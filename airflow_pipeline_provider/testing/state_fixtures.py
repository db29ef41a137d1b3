"""What the tests of a state store begin with: one store, opened twice, and entries to write into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.sample_day import MIDNIGHT, ZONE

OpenState = Callable[[str, str], State]

FAR = 3600.0  # a lease that no test outlives


def entry(kind: Kind, interval: Interval, token: int | None = None, **fields: Any) -> Entry:
    return Entry(kind, interval, MIDNIGHT, token, **fields)


@dataclass(frozen=True)
class OpenSqlState:
    """A picklable `open_state` for the sql store."""

    url: str
    schema: str | None = None
    table_prefix: str = "pipeline_"

    def __call__(self, pipeline_id: str, timezone: str) -> State:
        from airflow_pipeline_provider.state.sql import SqlState

        identity = Identity(pipeline_id, timezone)
        return SqlState.from_url(self.url, identity, schema=self.schema, table_prefix=self.table_prefix)


class StateFixtures:
    processes: ClassVar[bool] = True

    @pytest.fixture
    def open_state(self) -> OpenState:
        raise NotImplementedError("override: a function (pipeline_id, timezone) -> State over one store")

    @pytest.fixture
    def state(self, open_state: OpenState) -> Iterator[State]:
        with closing(open_state("flights", ZONE)) as state:
            yield state

    @pytest.fixture
    def reopened(self, open_state: OpenState) -> Iterator[State]:
        """Another object over the same store, as the next task has it."""
        with closing(open_state("flights", ZONE)) as state:
            yield state
