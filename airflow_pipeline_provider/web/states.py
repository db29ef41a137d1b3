"""Read the states of pipelines for the page, with a few queries for each store; nothing is created or changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval, merge, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.about import About
from airflow_pipeline_provider.state.base import Lease, State
from airflow_pipeline_provider.web.stores import Owned, StateUnreachable, open_state, store_of, together

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.sql_bulk import ReadState


class StateAnswer(NamedTuple):
    """A store's answer for a pipeline; `state` is None if its `mark` is the known one, `mark` if it has none."""

    state: ReadState | None
    mark: str | None


def read_one(
    owned: Owned, within: Interval | None, known: str | None = None, *, with_open: bool = False
) -> StateAnswer:
    """Return the state of one pipeline, `with_open` with what may be unresolved outside of `within`.

    Raises StateUnreachable.
    """
    name = owned.facts.pipeline_id
    marks = {name: known} if known is not None else {}
    found = read_many({name: owned}, within, marks, with_open=with_open)[name]
    if isinstance(found, StateUnreachable):
        raise found
    return found


def read_many(
    wanted: Mapping[str, Owned],
    within: Interval | None,
    known: Mapping[str, str],
    *,
    with_open: bool = False,
    with_commits: bool = True,
) -> dict[str, StateAnswer | StateUnreachable]:
    """Return the states of many pipelines, with a few queries for each store.

    Without `with_commits`, the commits are left out of a state that has a mark. `known` are marks of states that
    need not be read again.
    """
    groups: dict[str, dict[str, Owned]] = defaultdict(dict)
    for key, owned in wanted.items():
        groups[owned.key][key] = owned

    def ask(group: dict[str, Owned]) -> dict[str, StateAnswer | StateUnreachable]:
        kept = store_of(next(iter(group.values())))
        try:
            read = kept.ask(lambda state: _read(state, group, within, known, with_open, with_commits))
        except StateUnreachable as error:
            return dict.fromkeys(group, error)
        return {key: kept.unreadable(one) if isinstance(one, DataError) else one for key, one in read.items()}

    return {key: one for answers in together(ask, groups.values()) for key, one in answers.items()}


def _read(
    state: State | None,
    wanted: Mapping[str, Owned],
    within: Interval | None,
    known: Mapping[str, str],
    with_open: bool,
    with_commits: bool,
) -> dict[str, StateAnswer | DataError]:
    from airflow_pipeline_provider.state.sql import SqlState
    from airflow_pipeline_provider.state.sql_bulk import ReadState, read_states

    if state is None:
        return {key: StateAnswer(ReadState(), "none") for key in wanted}
    if isinstance(state, SqlState):
        ids = {key: owned.facts.pipeline_id for key, owned in wanted.items()}
        marks = {pipeline: known[key] for key, pipeline in ids.items() if key in known}
        with state.session():
            read = read_states(
                state,
                list(dict.fromkeys(ids.values())),
                within,
                marks,
                with_open=with_open,
                with_commits=with_commits,
            )
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


def _copy(owned: Owned, within: Interval | None) -> ReadState:
    """Read a store that knows one pipeline at a time: all of its ledger, once."""
    from airflow_pipeline_provider.state.sql_bulk import ReadState

    state = open_state(owned.facts)
    try:
        every = state.entries()
        inside = [within is not None and entry.interval.overlaps(within) for entry in every]
        return ReadState(
            first=state.first_day(None),
            covered=Coverage().after(every),
            held=state.leases(),
            written=list(compress(every, inside)),
            open=[
                entry
                for entry, shown in zip(every, inside, strict=True)
                if not shown and entry.kind in (Kind.CHECKED, Kind.REPLACING)
            ],
            remembered=state.about(),
        )
    finally:
        state.close()


class Lazy:
    """A state that was read without its ledger, whose entries are read when they are asked for.

    Those of `ahead`, which are disjoint and in order, are read together with the first that are asked for.
    """

    def __init__(self, owned: Owned, read: ReadState, ahead: Sequence[Interval] = ()) -> None:
        self._owned, self._read, self._ahead = owned, read, ahead
        self._spans: list[Interval] = []
        self._entries: list[Entry] = []

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
        if subtract(spans, self._spans):
            self._spans = merge([*spans, *self._ahead])
            group = {"": (self._owned, self._spans)}
            longest_us = self._read.longest_us
            kept = store_of(self._owned)
            found = kept.ask(lambda state: _entries(state, group, longest_us))[""]
            if isinstance(found, DataError):
                raise kept.unreadable(found) from found
            self._entries = found
        return [e for e in self._entries if any(e.interval.overlaps(span) for span in spans)]


def read_entries(
    wanted: Mapping[str, tuple[Owned, Sequence[Interval]]],
) -> dict[str, list[Entry] | StateUnreachable]:
    """Return the entries of these disjoint spans, with a query for many pipelines of one store."""
    groups: dict[str, dict[str, tuple[Owned, Sequence[Interval]]]] = defaultdict(dict)
    for key, (owned, spans) in wanted.items():
        groups[owned.key][key] = owned, spans

    def ask(group: dict[str, tuple[Owned, Sequence[Interval]]]) -> dict[str, list[Entry] | StateUnreachable]:
        kept = store_of(next(iter(group.values()))[0])
        try:
            read = kept.ask(lambda state: _entries(state, group))
        except StateUnreachable as error:
            return dict.fromkeys(group, error)
        return {key: kept.unreadable(one) if isinstance(one, DataError) else one for key, one in read.items()}

    return {key: one for entries in together(ask, groups.values()) for key, one in entries.items()}


def _entries(
    state: State | None,
    group: Mapping[str, tuple[Owned, Sequence[Interval]]],
    longest_us: int | None = None,
) -> dict[str, list[Entry] | DataError]:
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


def recorded_facts(owned: Owned, but: Collection[str]) -> dict[str, Any]:
    """Return the facts that a SQL store records of its other pipelines, by id; empty for other stores."""

    def ask(state: State | None) -> dict[str, Any]:
        from airflow_pipeline_provider.state.sql import SqlState
        from airflow_pipeline_provider.state.sql_bulk import read_recorded

        return read_recorded(state, but) if isinstance(state, SqlState) else {}

    try:
        return store_of(owned).ask(ask)
    except StateUnreachable:
        return {}
