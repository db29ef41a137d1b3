"""State in Airflow Variables: no set-up, one writer at a time.

::

    <prefix>.<pipeline>.state        token, first day, bindings of the newest runs, days that have a ledger
    <prefix>.<pipeline>.2013-11-03   the ledger of the windows that start on this local day
    <prefix>.<pipeline>.lease        the owner of the pipeline (`variable_lease`)
    <prefix>.<pipeline>.waiting      the newest reference time of a run that left its window to the holder's follower

Variables have no compare-and-set, so a store that two runs change at once loses changes: `concurrent` is False, every
change is made under the pipeline's lease, and is read back and compared.  A variable that this
package did not write is an error and is not changed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import ClassVar, Literal, TypeVar

from msgspec.structs import replace
from pydantic import Field

from airflow_pipeline_provider.config.options import DurationSeconds, StateOptions
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.probes import Answer, Probes
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import LeaseHeldError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.state import rules
from airflow_pipeline_provider.state import variable_values as values
from airflow_pipeline_provider.state.about import About, merged
from airflow_pipeline_provider.state.base import Lease, Snapshot, State
from airflow_pipeline_provider.state.owners import Owner, as_owner
from airflow_pipeline_provider.state.variable_access import AirflowVariables, VariableAccess
from airflow_pipeline_provider.state.variable_lease import LeaseValue, PipelineLease, version_of
from airflow_pipeline_provider.state.variable_values import DayLedger, PipelineState

KEPT_RUNS = 500  # bindings of older runs are dropped: a run cleared after so many others plans again
TRIES = 3  # how often a change that did not stick is made again

_SLACK = timedelta(
    days=2
)  # two zones' dates differ by at most this: the pipeline's timezone may have been edited
_INSTANT = timedelta(microseconds=1)
T = TypeVar("T")
V = TypeVar("V", DayLedger, PipelineState)


class VariableStateOptions(StateOptions):
    """Options of `state: {type: variable}`."""

    type: Literal["variable"] = "variable"
    prefix: str = Field(
        "pipelines",
        pattern=r"^[A-Za-z0-9_-]{1,50}$",
        description="Prefix of the variable names.",
    )
    verify_after: DurationSeconds = Field(
        2,
        ge=1,
        le=60,
        description="Pause before a new lease is verified, longer than Airflow takes to write a Variable: 2s.",
    )


class VariableState(State):
    """State of a pipeline in Airflow Variables."""

    Options: ClassVar[type[VariableStateOptions]] = VariableStateOptions
    concurrent: ClassVar[bool] = False
    shared: ClassVar[bool] = False  # Variables belong to one Airflow

    def __init__(
        self,
        options: VariableStateOptions,
        identity: Identity,
        *,
        variables: VariableAccess | None = None,
        pause_seconds: float | None = None,
    ) -> None:
        super().__init__(options, identity)
        self._variables = variables or AirflowVariables()
        self._lease = PipelineLease(
            self._variables,
            self._key("lease"),
            lambda: self.now(),
            pause_seconds=options.verify_after if pause_seconds is None else pause_seconds,
            ttl_seconds=options.lease_seconds,
        )

    def probes(self) -> Probes:
        def readable() -> Answer:
            found = self._variables.get(self._key("state"))
            return Answer("ok", "can be read" if found else "nothing written yet by this pipeline")

        yield "variables", readable

    def now(self) -> datetime:
        """Return this machine's clock: variables have none."""
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
        return self._change("state", values.read_state, change)

    def _change(self, name: str, read: Callable[[str, str | None], V], change: Callable[[V], T]) -> T:
        """Read, let `change` edit the value, write it and read it back; nothing is written when nothing changed.

        Under the pipeline's lease: LeaseHeldError when another process has it.
        """
        key = self._key(name)
        if self._lease.owner is None:  # only a change needs the lease
            before = self._variables.get(key)
            value = read(key, before)
            result = change(value)
            if value.dump() == before:
                return result
        with self._lease.block():
            return self._change_as_owner(name, read, change)

    def _change_as_owner(
        self, name: str, read: Callable[[str, str | None], V], change: Callable[[V], T]
    ) -> T:
        key, seen, text, written = self._key(name), None, "", False
        for tries_left in reversed(range(TRIES)):
            before = self._variables.get(key)
            value = read(key, before)
            result = change(value)
            text = value.dump()
            if text == before:
                return result
            token = value.token if isinstance(value, PipelineState) else 0
            if not self._lease.announce(name, before, text, token):
                continue  # the lease had ended and is taken again: what was read may be old
            reach("state.before_commit")
            self._variables.set(key, text)
            written = True
            reach("state.after_commit")
            seen = self._variables.get(key)
            if seen == text:
                return result
            if tries_left:  # another task of this run wrote in the same moment
                time.sleep(random.uniform(0.05, 0.25))  # noqa: S311  (no secret hangs on it)
        if not written:
            raise TransientError(
                f"variable {key!r} was not written: the pipeline's lease ended before each of {TRIES} tries; Airflow "
                "answers slowly, so raise state.lease"
            )
        raise TransientError(
            f"variable {key!r} does not keep what is written: wrote {values.excerpt(text, seen)}, "
            f"read back {values.excerpt(seen, text)}; two processes write to it at once (use state.type sql), or a "
            "secrets backend shadows it (remove it there)"
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
        if self._lease.owner is None and not rules.admit(entry, self.entries(entry.interval)):
            return  # only a change needs the lease
        with self._lease.block():
            if rules.admit(entry, self.entries(entry.interval)):
                self._append(entry)

    def _append(self, entry: Entry) -> None:
        day = day_of(entry.interval.start, self.identity.timezone)

        def announce(
            state: PipelineState,
        ) -> None:  # first: an unlisted day would be a lost ledger
            state.days = sorted({*state.days, day})
            state.longest_seconds = max(state.longest_seconds, int(entry.interval.seconds) + 1)
            state.leases = []  # of the version before; a live one was refused when the lease was taken

        def write(ledger: DayLedger) -> None:
            newest = max((other.at for other in ledger.entries), default=self.now())
            ledger.entries.append(replace(entry, at=max(self.now(), newest)))

        self._change_state(announce)
        self._change(day.isoformat(), values.read_day, write)

    # --- leases

    def acquire(self, interval: Interval, owner: Owner | str, ttl_seconds: float) -> Lease:
        owner = as_owner(owner)
        self._refuse_older(owner)
        return _lease_of(interval, self._lease.take(owner, ttl_seconds, interval))

    @contextmanager
    def exclusive(
        self, owner: Owner | str, ttl_seconds: float, *, follows: bool | None = None
    ) -> Iterator[None]:
        owner = as_owner(owner)
        self._refuse_older(owner)
        with self._lease.block(owner, ttl_seconds, follows):
            yield

    def _refuse_older(self, owner: Owner) -> None:
        """Raise LeaseHeldError while a run of the previous version holds a lease in the state's own variable."""
        now = self.now()
        for lease in self._state().leases:
            if not lease.belongs_to(owner) and lease.is_live(now):
                raise rules.lease_held(lease)

    def release(self, interval: Interval, owner: Owner | str, *, until: datetime | None = None) -> None:
        self._lease.release(as_owner(owner), interval, until)

    def leases(self, *, expired: bool = False) -> list[Lease]:
        now, value = self.now(), self._lease.read()
        held = [lease for lease in self._state().leases if lease.is_live(now)]
        if value.is_live(now) or expired:
            held += [_lease_of(window, value) for window in value.windows]
        return sorted(held, key=lambda lease: (lease.interval, lease.owner))

    def drop_expired(self, within: Interval | None = None) -> list[Lease]:
        found = {lease.interval: lease for lease in self.leases(expired=True)}
        return [found[interval] for interval in self._lease.drop_expired(within) if interval in found]

    def ask_to_follow(self, holder: LeaseHeldError, reference_time: datetime) -> bool:
        """Write the note, then read the lease: a run that still holds it reads the note after its commit."""
        if not holder.follows:
            return False
        key, asked = self._key("waiting"), self.asked_to_follow()
        if asked is None or asked < reference_time:
            self._variables.set(key, values.dump_waiting(reference_time))
        value = self._lease.read()
        return value.is_live(self.now()) and value.owner == holder.owner and value.follows

    def asked_to_follow(self) -> datetime | None:
        key = self._key("waiting")
        return values.read_waiting(key, self._variables.get(key))

    def lost_writes(self) -> bool:
        value = self._lease.read()
        return bool(value.lost) or any(
            version_of(self._variables.get(self._key(name))) not in versions
            for name, versions in value.wrote.items()
        )

    def recover(self, days: Iterable[date]) -> None:
        value = self._lease.read()
        named = [values.day_named(name) for name in value.wrote]
        known = {day for day in (*days, *named) if day is not None and self._day(day).entries}

        def find(state: PipelineState) -> None:
            state.days = sorted({*state.days, *known})
            state.token = max(state.token, value.token)
            lengths = [int(e.interval.seconds) + 1 for day in known for e in self._day(day).entries]
            state.longest_seconds = max([state.longest_seconds, *lengths])

        with self._lease.block():
            self._change_state(find)
            self._lease.forget_lost()

    # --- tokens

    def mint_token(self, floor: int = 0) -> int:
        def change(state: PipelineState) -> int:
            state.token = max(state.token, floor, self._lease.read().token) + 1
            return state.token

        return self._change_state(change)

    def newest_token(self) -> int:
        return max(self._state().token, self._lease.read().token)

    # --- runs

    def bind_run(self, run: str, interval: Interval, *, replace: bool = False) -> Interval:
        def change(state: PipelineState) -> Interval:
            if replace or run not in state.runs:
                state.runs.pop(run, None)  # the newest binding is last
                state.runs[run] = interval
                state.runs = dict(list(state.runs.items())[-KEPT_RUNS:])
            return state.runs[run]

        return self._change_state(change)

    def bound(self, run: str) -> Interval | None:
        return self._state().runs.get(run)

    def first_day(self, day: date | None) -> date | None:
        known = self._state().first_day
        if day is None or (known is not None and known <= day):
            return known

        def change(state: PipelineState) -> date | None:
            state.first_day = rules.earlier_day(state.first_day, day)
            return state.first_day

        return self._change_state(change)

    # --- the pipeline as a whole

    def about(self) -> About:
        return self._state().about

    def change_about(self, change: Callable[[About], About]) -> About:
        def edit(state: PipelineState) -> About:
            state.about = change(state.about)
            return state.about

        return self._change_state(edit)

    # --- moving house

    def snapshot(self) -> Snapshot:
        entries = tuple(self.entries())  # first: a token that is minted meanwhile is newer than all of them
        state = self._state()
        return Snapshot(state.token, state.first_day, entries, dict(state.runs), state.about)

    def restore(self, snapshot: Snapshot) -> None:
        """Write one variable after the other; a restore that was interrupted is finished by repeating it."""
        with self._lease.block():
            self._restore(snapshot)

    def _restore(self, snapshot: Snapshot) -> None:
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
            state.about = merged(snapshot.about, state.about)

        self._change_state(announce)
        for day, wanted in sorted(days.items()):

            def write(ledger: DayLedger, wanted: list[Entry] = wanted) -> None:
                ledger.entries.extend(rules.rest_of(wanted, ledger.entries))

            self._change(day.isoformat(), values.read_day, write)

    def _by_day(self, entries: Iterable[Entry]) -> dict[date, list[Entry]]:
        """Group the entries by day.

        Only `at` orders entries of several days here, so an earlier `at` (the other store's clock was set back) is
        moved to just after the entry before.
        """
        days: dict[date, list[Entry]] = {}
        newest = None
        for entry in entries:
            day = day_of(entry.interval.start, self.identity.timezone)
            if newest is not None and (entry.at, day) < newest:
                entry = replace(entry, at=newest[0] + _INSTANT)
            newest = (entry.at, day)
            days.setdefault(day, []).append(entry)
        return days


def _lease_of(window: Interval, value: LeaseValue) -> Lease:
    """Return the pipeline's lease as the lease of one of its windows."""
    return Lease(
        window,
        value.owner or "",
        value.since,
        value.until,
        value.seconds,
        value.installation,
        value.executions,
    )


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
