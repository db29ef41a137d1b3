"""State in Airflow Variables: nothing to set up, one run at a time.

::

    <prefix>.<pipeline>.state        token, first day, leases, bindings of the newest runs, days that have a ledger
    <prefix>.<pipeline>.2013-11-03   the ledger of the windows that start on this local day

Variables have no compare-and-set, so a store that two runs change at once loses changes: `concurrent` is False, and
every change is read back and compared.  A variable that does not hold what was written here is an error, and is left
as it is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from airflow_pipeline_provider.config.options import StateOptions
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.probes import Answer, Probes
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.state import rules
from airflow_pipeline_provider.state import variable_values as values
from airflow_pipeline_provider.state.base import Lease, Snapshot, State
from airflow_pipeline_provider.state.variable_access import AirflowVariables, VariableAccess
from airflow_pipeline_provider.state.variable_values import DayLedger, PipelineState

KEPT_RUNS = 500  # bindings of older runs are dropped: a run cleared after so many others plans anew
TRIES = 3  # how often a change that did not stick is made again

_SLACK = timedelta(
    days=2
)  # two zones' dates differ by at most this: the pipeline's timezone may have been edited
_INSTANT = timedelta(microseconds=1)
T = TypeVar("T")
V = TypeVar("V", DayLedger, PipelineState)


class VariableStateOptions(StateOptions):
    """`state: {type: variable}`"""

    type: Literal["variable"] = "variable"
    prefix: str = Field(
        "pipelines",
        pattern=r"^[A-Za-z0-9_-]{1,50}$",
        description="What the names of the variables start with.",
    )


class VariableState(State):
    Options: ClassVar[type[VariableStateOptions]] = VariableStateOptions
    concurrent: ClassVar[bool] = False

    def __init__(
        self, options: VariableStateOptions, identity: Identity, *, variables: VariableAccess | None = None
    ) -> None:
        super().__init__(options, identity)
        self._variables = variables or AirflowVariables()

    def probes(self) -> Probes:
        def readable() -> Answer:
            found = self._variables.get(self._key("state"))
            return Answer("ok", "can be read" if found else "nothing written yet by this pipeline")

        yield "variables", readable

    def now(self) -> datetime:
        """This machine's clock: variables have none."""
        return datetime.now(timezone.utc)

    # --- variables

    def _key(self, last: str) -> str:
        return f"{self.options.prefix}.{self.identity.pipeline_id}.{last}"

    def _state(self) -> PipelineState:
        key = self._key("state")
        return values.read_state(key, self._variables.get(key))

    def _day(self, day: date) -> DayLedger:
        key = self._key(day.isoformat())
        return values.read_day(key, self._variables.get(key))

    def _change_state(self, change: Callable[[PipelineState], T]) -> T:
        return self._change(self._key("state"), values.read_state, change)

    def _change(self, key: str, read: Callable[[str, str | None], V], change: Callable[[V], T]) -> T:
        """Read, let `change` edit the value, write it and read it back; nothing is written when nothing changed."""
        for tries_left in reversed(range(TRIES)):
            before = self._variables.get(key)
            value = read(key, before)
            result = change(value)
            text = value.dump()
            if text == before:
                return result
            reach("state.before_commit")
            self._variables.set(key, text)
            reach("state.after_commit")
            seen = self._variables.get(key)
            if seen == text:
                return result
            if tries_left:  # another task of this run renewed its lease in the same moment
                time.sleep(random.uniform(0.05, 0.25))  # noqa: S311  (no secret hangs on it)
        raise TransientError(
            f"variable {key!r} does not keep what is written: wrote {values.excerpt(text, seen)}, "
            f"read back {values.excerpt(seen, text)}; two runs use it at once (use state.type sql), or a secrets "
            "backend shadows it (remove it there)"
        )

    # --- ledger

    def entries(self, within: Interval | None = None) -> list[Entry]:
        state = self._state()
        days = state.days
        if within is not None:
            if within.is_empty:
                return []
            first = _date_before(within.start, timedelta(seconds=state.longest_seconds) + _SLACK)
            last = _date_after(within.end, _SLACK)
            days = [day for day in days if first <= day <= last]
        found = [entry for day in days for entry in self._day(day).entries]
        if within is not None:
            found = [entry for entry in found if entry.interval.overlaps(within)]
        return sorted(found, key=lambda entry: entry.at)  # stable: a day's entries are in order already

    def append(self, entry: Entry) -> None:
        if not rules.admit(entry, self.entries(entry.interval)):
            return
        day = day_of(entry.interval.start, self.identity.timezone)

        def announce(
            state: PipelineState,
        ) -> None:  # first: a day that nobody knows of would be a lost ledger
            state.days = sorted({*state.days, day})
            state.longest_seconds = max(state.longest_seconds, int(entry.interval.seconds) + 1)

        def write(ledger: DayLedger) -> None:
            newest = max((other.at for other in ledger.entries), default=self.now())
            ledger.entries.append(replace(entry, at=max(self.now(), newest)))

        self._change_state(announce)
        self._change(self._key(day.isoformat()), values.read_day, write)

    # --- leases

    def acquire(self, interval: Interval, owner: str, ttl_seconds: float) -> Lease:
        def change(state: PipelineState) -> Lease:
            state.leases = rules.claim(state.leases, interval, owner, self.now(), ttl_seconds)
            return state.leases[-1]

        return self._change_state(change)

    def release(self, interval: Interval, owner: str) -> None:
        def change(state: PipelineState) -> None:
            state.leases = [x for x in state.leases if (x.interval, x.owner) != (interval, owner)]

        self._change_state(change)

    def leases(self, *, expired: bool = False) -> list[Lease]:
        now = self.now()
        shown = (lease for lease in self._state().leases if expired or lease.until > now)
        return sorted(shown, key=lambda lease: (lease.interval, lease.owner))

    def drop_expired(self, within: Interval | None = None) -> list[Lease]:
        def change(state: PipelineState) -> list[Lease]:
            state.leases, gone = rules.split_expired(state.leases, self.now(), within)
            return gone

        return self._change_state(change)

    # --- tokens

    def mint_token(self, floor: int = 0) -> int:
        def change(state: PipelineState) -> int:
            state.token = max(state.token, floor) + 1
            return state.token

        return self._change_state(change)

    # --- runs

    def bind_run(self, run: str, interval: Interval, *, replace: bool = False) -> Interval:
        def change(state: PipelineState) -> Interval:
            if replace or run not in state.runs:
                state.runs.pop(run, None)  # the newest binding stands last
                state.runs[run] = interval
                state.runs = dict(list(state.runs.items())[-KEPT_RUNS:])
            return state.runs[run]

        return self._change_state(change)

    def bound(self, run: str) -> Interval | None:
        return self._state().runs.get(run)

    def first_day(self, day: date | None) -> date | None:
        known = self._state().first_day
        if known is not None or day is None:
            return known

        def change(state: PipelineState) -> date | None:
            state.first_day = state.first_day or day
            return state.first_day

        return self._change_state(change)

    # --- moving house

    def snapshot(self) -> Snapshot:
        entries = tuple(self.entries())  # first: a token that is minted meanwhile is newer than all of them
        state = self._state()
        return Snapshot(state.token, state.first_day, entries, dict(state.runs))

    def restore(self, snapshot: Snapshot) -> None:
        """A variable after the other: what is cut off in between is finished by doing it again."""
        days = self._by_day(snapshot.entries)
        present = self._state().days
        for day in sorted({*days, *present}):  # look at all before the first is changed
            rules.rest_of(days.get(day, []), self._day(day).entries)

        def announce(state: PipelineState) -> None:
            runs = rules.merged_runs(snapshot.runs, state.runs)
            state.runs = dict(list(runs.items())[-KEPT_RUNS:])
            state.days = sorted({*state.days, *days})
            lengths = [int(entry.interval.seconds) + 1 for entry in snapshot.entries]
            state.longest_seconds = max([state.longest_seconds, *lengths])
            state.token = rules.newest_token(snapshot, state.token)
            state.first_day = rules.earlier_day(state.first_day, snapshot.first_day)

        self._change_state(announce)
        for day, wanted in sorted(days.items()):

            def write(ledger: DayLedger, wanted: list[Entry] = wanted) -> None:
                ledger.entries.extend(rules.rest_of(wanted, ledger.entries))

            self._change(self._key(day.isoformat()), values.read_day, write)

    def _by_day(self, entries: Iterable[Entry]) -> dict[date, list[Entry]]:
        """The entries of each day.  Here `at` alone keeps days in order, so one that runs backwards (the clock of the
        other store was set) is lifted to just after the entry before."""
        days: dict[date, list[Entry]] = {}
        newest = None
        for entry in entries:
            day = day_of(entry.interval.start, self.identity.timezone)
            if newest is not None and (entry.at, day) < newest:
                entry = replace(entry, at=newest[0] + _INSTANT)
            newest = (entry.at, day)
            days.setdefault(day, []).append(entry)
        return days


def _date_before(instant: datetime, span: timedelta) -> date:
    try:
        return (instant - span).date()
    except OverflowError:
        return date.min


def _date_after(instant: datetime, span: timedelta) -> date:
    try:
        return (instant + span).date()
    except OverflowError:
        return date.max
