"""Keep the state stores that this process reads: one for each `state` section and team.

A store is kept for a while, so that its connection is not looked up and its tables are not checked at each request.
One that gives no answer is not waited for too long, and not asked again at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from airflow_pipeline_provider.connectors.airflow_connections import as_team
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.deadlines import within as answered_within
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.facts import PipelineFacts

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
AGAIN_SECONDS = 10.0  # an unreachable store is not asked again before
KEPT_SECONDS = 300.0  # a connection that was changed in Airflow is used after that
MOST_AT_ONCE = 8  # stores that are waited for together
G = TypeVar("G")
T = TypeVar("T")


class StateUnreachable(Exception):
    """A state store gave no answer, or none that can be read; `last_good_at` is when this process read it last."""

    def __init__(self, message: str, conn_id: str | None, last_good_at: datetime | None) -> None:
        super().__init__(message)
        self.message, self.conn_id, self.last_good_at = message, conn_id, last_good_at

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the arguments of `__init__`, which are not those of Exception."""
        return type(self), (self.message, self.conn_id, self.last_good_at)


class Owned(NamedTuple):
    """The facts of a pipeline and the team that its DAG belongs to, whose connections it uses."""

    facts: PipelineFacts
    team: str | None = None

    @property
    def key(self) -> str:
        """Return a text that pipelines with one store share."""
        return f"{self.team!r} {self.facts.store_key}"


class _Kept:
    """A state store of this process."""

    def __init__(self, owned: Owned) -> None:
        self.owned, self.lock = owned, threading.Lock()
        self.state: State | None = None
        self.opened_at = 0.0
        self.last_good: datetime | None = None
        self.failed: tuple[float, str] | None = None

    @property
    def conn_id(self) -> str | None:
        found = self.owned.facts.state.get("conn_id")
        return str(found) if found is not None else None

    def open(self) -> State | None:
        """Return the store; None while a SQL store has no tables yet."""
        with self.lock:
            if self.state is None or time.monotonic() - self.opened_at > KEPT_SECONDS:
                self._forget()
                self.state, self.opened_at = open_state(self.owned.facts), time.monotonic()
            state = self.state
        if self.owned.facts.state.get("type") == "sql":
            from airflow_pipeline_provider.state.sql_probe import exists

            if not exists(state):  # type: ignore[arg-type]
                self.forget()
                return None
        return state

    def forget(self) -> None:
        with self.lock:
            self._forget()

    def _forget(self) -> None:
        if self.state is not None:
            self.state.close()
        self.state = None

    def ask(self, question: Callable[[State | None], T]) -> T:
        """Return the answer of the store; StateUnreachable where it gives none, at once if it just gave none."""
        if self.failed is not None and time.monotonic() - self.failed[0] < AGAIN_SECONDS:
            raise StateUnreachable(self.failed[1], self.conn_id, self.last_good)

        def answer() -> T:
            with as_team(self.owned.team):
                return question(self.open())

        what = f"connection {self.conn_id!r}" if self.conn_id else str(self.owned.facts.state.get("type"))
        try:
            found = answered_within(PATIENCE_SECONDS, f"the state ({what})", answer)
        except DataError as error:  # of one pipeline; the store answers
            raise self.unreadable(error) from error
        except PipelineError as error:
            message = redact_values(str(error))
            logger.warning("the page cannot read the state (%s): %s", what, message)
            self.failed = time.monotonic(), message
            self.forget()
            raise StateUnreachable(message, self.conn_id, self.last_good) from error
        self.failed, self.last_good = None, datetime.now(timezone.utc)
        return found

    def unreadable(self, error: DataError) -> StateUnreachable:
        """Return the answer for the pipeline whose record cannot be read; the others of the store have their own."""
        message = redact_values(str(error))
        logger.warning("%s", message)
        return StateUnreachable(message, self.conn_id, self.last_good)


_stores: dict[str, _Kept] = {}
_lock = threading.Lock()


def store_of(owned: Owned) -> _Kept:
    """Return the kept store of the pipeline."""
    with _lock:
        return _stores.setdefault(owned.key, _Kept(owned))


def forget_stores() -> None:
    """Close everything that is kept; for tests."""
    with _lock:
        for kept in _stores.values():
            kept.forget()
        _stores.clear()


def open_state(facts: PipelineFacts, pipeline_id: str | None = None) -> State:
    """Return the pipeline's state store, without I/O; ConfigError if its section is not understood here."""
    kind = str(facts.state.get("type"))
    cls = connector_class("state", kind)
    try:
        options = cls.Options.model_validate(facts.state)
    except ValidationError as error:
        raise ConfigError(
            f"state: the section of pipeline {facts.pipeline_id} has here "
            f"{counted(error.error_count(), 'problem')}: "
            "install the same version of airflow-pipeline-provider on the api-server as on the workers"
        ) from error
    state: State = cls(options, Identity(pipeline_id or facts.pipeline_id, facts.timezone))
    return state


def stores(owned: Iterable[Owned]) -> list[Owned]:
    """Return one pipeline of each store."""
    return list({one.key: one for one in owned}.values())


def together(ask: Callable[[G], T], groups: Iterable[G]) -> list[T]:
    """Return an answer for each group, of a store each: those that give none are waited for at the same time."""
    asked = list(groups)
    if len(asked) < 2:
        return [ask(group) for group in asked]
    with ThreadPoolExecutor(min(len(asked), MOST_AT_ONCE), "states-of-pipelines") as pool:
        return list(pool.map(ask, asked))
