"""Read the states of pipelines for the page: nothing is created or changed, and no answer is waited for too long.

One `SqlState` for each `state` section and team is kept for a while, so that its connection is not looked up and its
tables are not checked at each request.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from airflow_pipeline_provider.connectors.airflow_connections import as_team
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.deadlines import within as answered_within
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.state.about import About
from airflow_pipeline_provider.state.base import Lease, State
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.views.pipeline_status import Readable

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.sql_bulk import ReadState

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
        shared = {k: v for k, v in self.facts.state.items() if k != "lease"}
        return json.dumps([self.team, shared], sort_keys=True)


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


class StateAnswer(NamedTuple):
    """What a store said of a pipeline; `state` is None where its `mark` is the known one. No mark: it has none."""

    state: Readable | None
    mark: str | None


def read_one(owned: Owned, within: Interval | None, known: str | None = None) -> StateAnswer:
    """Return the state of one pipeline; raise StateUnreachable."""
    name = owned.facts.pipeline_id
    found = read_many({name: owned}, within, {name: known} if known is not None else {})[name]
    if isinstance(found, StateUnreachable):
        raise found
    return found


def read_many(
    wanted: Mapping[str, Owned], within: Interval | None, known: Mapping[str, str]
) -> dict[str, StateAnswer | StateUnreachable]:
    """Return the states of many pipelines, with a few queries for each store.

    `known` are marks of states that need not be read again.
    """
    groups: dict[str, dict[str, Owned]] = defaultdict(dict)
    for key, owned in wanted.items():
        groups[owned.key][key] = owned

    def ask(group: dict[str, Owned]) -> dict[str, StateAnswer | StateUnreachable]:
        kept = store_of(next(iter(group.values())))
        try:
            read = kept.ask(lambda state: _read(state, group, within, known))
        except StateUnreachable as error:
            return dict.fromkeys(group, error)
        return {key: kept.unreadable(one) if isinstance(one, DataError) else one for key, one in read.items()}

    return {key: one for answers in together(ask, groups.values()) for key, one in answers.items()}


def together(ask: Callable[[G], T], groups: Iterable[G]) -> list[T]:
    """Return an answer for each group, of a store each: those that give none are waited for at the same time."""
    asked = list(groups)
    if len(asked) < 2:
        return [ask(group) for group in asked]
    with ThreadPoolExecutor(min(len(asked), MOST_AT_ONCE), "states-of-pipelines") as pool:
        return list(pool.map(ask, asked))


def _read(
    state: State | None, wanted: Mapping[str, Owned], within: Interval | None, known: Mapping[str, str]
) -> dict[str, StateAnswer | DataError]:
    from airflow_pipeline_provider.state.sql import SqlState
    from airflow_pipeline_provider.state.sql_bulk import ReadState, read_states

    if state is None:
        return {key: StateAnswer(ReadState(), "none") for key in wanted}
    if isinstance(state, SqlState):
        ids = {key: owned.facts.pipeline_id for key, owned in wanted.items()}
        marks = {pipeline: known[key] for key, pipeline in ids.items() if key in known}
        with state.session():
            read = read_states(state, list(dict.fromkeys(ids.values())), within, marks)
        return {
            key: _answer(read[pipeline]) if pipeline in read else StateAnswer(None, marks[pipeline])
            for key, pipeline in ids.items()
        }
    answers: dict[str, StateAnswer | DataError] = {}
    for key, owned in wanted.items():
        try:
            answers[key] = StateAnswer(_copy(owned, within), None)
        except DataError as error:
            answers[key] = error
    return answers


def _answer(read: ReadState | DataError) -> StateAnswer | DataError:
    return read if isinstance(read, DataError) else StateAnswer(read, read.mark)


def _copy(owned: Owned, within: Interval | None) -> Readable:
    """Read a store that knows one pipeline at a time."""
    from airflow_pipeline_provider.core.intervals import Interval as Span
    from airflow_pipeline_provider.state.sql_bulk import ReadState

    state = open_state(owned.facts)
    try:
        span = within or Span(datetime(1970, 1, 1, tzinfo=timezone.utc), datetime.now(timezone.utc))
        return ReadState(
            first=state.first_day(None),
            covered=state.coverage(span),
            held=state.leases(),
            written=state.entries(span),
            remembered=state.about(),
        )
    finally:
        state.close()


class Lazy:
    """A state that was read without its ledger, whose entries are read when they are asked for."""

    def __init__(self, owned: Owned, read: Readable) -> None:
        self._owned, self._read = owned, read

    def first_day(self, day: date | None) -> date | None:
        """Return the first day that was ever planned."""
        return self._read.first_day(day)

    def about(self) -> About:
        """Return the pipeline's record."""
        return self._read.about()

    def coverage(self, within: Interval) -> Coverage:
        """Return the coverage."""
        return self._read.coverage(within)

    def leases(self) -> list[Lease]:
        """Return the leases that are held."""
        return self._read.leases()

    def entries(self, within: Interval) -> list[Entry]:
        """Return the entries that overlap the interval."""
        return self.entries_in([within])

    def entries_in(self, spans: Sequence[Interval]) -> list[Entry]:
        """Return the entries that overlap the spans, in the order of writing; raise StateUnreachable."""
        if not spans:
            return []
        group = {"": (self._owned, spans)}
        longest_us = getattr(self._read, "longest_us", None)
        return store_of(self._owned).ask(lambda state: _entries(state, group, longest_us))[""]


def read_entries(wanted: Mapping[str, tuple[Owned, Sequence[Interval]]]) -> dict[str, list[Entry]]:
    """Return the entries of these disjoint spans, with a query for many pipelines of one store; unreachable: none."""
    groups: dict[str, dict[str, tuple[Owned, Sequence[Interval]]]] = defaultdict(dict)
    for key, (owned, spans) in wanted.items():
        groups[owned.key][key] = owned, spans

    def ask(group: dict[str, tuple[Owned, Sequence[Interval]]]) -> dict[str, list[Entry]]:
        try:
            return store_of(next(iter(group.values()))[0]).ask(lambda state: _entries(state, group))
        except StateUnreachable:
            return {}

    return {key: one for entries in together(ask, groups.values()) for key, one in entries.items()}


def _entries(
    state: State | None,
    group: Mapping[str, tuple[Owned, Sequence[Interval]]],
    longest_us: int | None = None,
) -> dict[str, list[Entry]]:
    from airflow_pipeline_provider.state.sql import SqlState
    from airflow_pipeline_provider.state.sql_bulk import read_spans

    if state is None:
        return {key: [] for key in group}
    if isinstance(state, SqlState):
        read = read_spans(
            state, {owned.facts.pipeline_id: spans for owned, spans in group.values()}, longest_us
        )
        return {key: read[owned.facts.pipeline_id] for key, (owned, _) in group.items()}
    return {key: _alone(owned, spans) for key, (owned, spans) in group.items()}


def _alone(owned: Owned, spans: Sequence[Interval]) -> list[Entry]:
    state = open_state(owned.facts)
    try:
        return state.entries_in(spans)
    finally:
        state.close()


def known_ids(owned: Owned) -> dict[str, Any]:
    """Return the facts that a SQL store records of all its pipelines, by id; empty for other stores."""

    def ask(state: State | None) -> dict[str, Any]:
        from airflow_pipeline_provider.state.sql import SqlState
        from airflow_pipeline_provider.state.sql_bulk import read_recorded

        return read_recorded(state) if isinstance(state, SqlState) else {}

    try:
        return store_of(owned).ask(ask)
    except StateUnreachable:
        return {}


def stores(owned: Iterable[Owned]) -> list[Owned]:
    """Return one pipeline of each store."""
    return list({one.key: one for one in owned}.values())
