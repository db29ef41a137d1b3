"""Provide a state store in the memory of this process, for tests of phases: thread-safe, with a replaceable clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any, ClassVar, Literal

from msgspec.structs import replace

from airflow_pipeline_provider.config.options import StateOptions
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.state.about import NOTHING, About, merged
from airflow_pipeline_provider.state.base import Lease, Snapshot, State
from airflow_pipeline_provider.state.owners import Owner
from airflow_pipeline_provider.state.rules import (
    admit,
    claim,
    earlier_day,
    merged_runs,
    newest_token,
    rest_of,
    split_expired,
    to_release,
)


def _wall_clock() -> datetime:
    return datetime.now(timezone.utc)


class MemoryOptions(StateOptions):
    """The section `state` of type memory."""

    type: Literal["memory"] = "memory"


@dataclass
class _Pipeline:
    entries: list[Entry] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    runs: dict[str, Interval] = field(default_factory=dict)
    token: int = 0
    first_day: date | None = None
    about: About = NOTHING


@dataclass
class MemoryStore:
    """The content of one or more `MemoryState`; `clock` returns aware datetimes."""

    clock: Callable[[], datetime] = _wall_clock
    lock: threading.RLock = field(default_factory=threading.RLock)
    pipelines: dict[str, _Pipeline] = field(default_factory=dict)


class MemoryState(State):
    """A state store over a `MemoryStore`; it starts empty if none is passed."""

    Options: ClassVar[type[MemoryOptions]] = MemoryOptions
    concurrent: ClassVar[bool] = True

    def __init__(
        self, options: Any = None, identity: Identity | None = None, *, store: MemoryStore | None = None
    ) -> None:
        super().__init__(options or MemoryOptions(), identity or Identity("pipeline", "UTC"))
        self.store = store or MemoryStore()

    @property
    def _mine(self) -> _Pipeline:
        return self.store.pipelines.setdefault(self.identity.pipeline_id, _Pipeline())

    def now(self) -> datetime:
        return self.store.clock().astimezone(timezone.utc)

    def entries(self, within: Interval | None = None) -> list[Entry]:
        with self.store.lock:
            return [e for e in self._mine.entries if within is None or e.interval.overlaps(within)]

    def append(self, entry: Entry) -> None:
        with self.store.lock:
            if admit(entry, self.entries(entry.interval)):
                self._mine.entries.append(replace(entry, at=self.now(), detail=dict(entry.detail)))

    def acquire(self, interval: Interval, owner: Owner | str, ttl_seconds: float) -> Lease:
        with self.store.lock:
            held = self._mine.leases
            self._mine.leases = claim(held, interval, owner, self.now(), ttl_seconds)
            return self._mine.leases[-1]

    def release(self, interval: Interval, owner: Owner | str, *, until: datetime | None = None) -> None:
        with self.store.lock:
            for lease, rest in to_release(self._mine.leases, interval, owner, self.now(), until):
                self._mine.leases.remove(lease)
                self._mine.leases += [rest] if rest is not None else []

    def leases(self, *, expired: bool = False) -> list[Lease]:
        with self.store.lock:
            now = self.now()
            shown = (x for x in self._mine.leases if expired or x.is_live(now))
            return sorted(shown, key=lambda x: (x.interval, x.owner))

    def drop_expired(self, within: Interval | None = None) -> list[Lease]:
        with self.store.lock:
            self._mine.leases, gone = split_expired(self._mine.leases, self.now(), within)
            return gone

    def mint_token(self, floor: int = 0) -> int:
        with self.store.lock:
            self._mine.token = max(self._mine.token, floor) + 1
            return self._mine.token

    def newest_token(self) -> int:
        with self.store.lock:
            return self._mine.token

    def bind_run(self, run: str, interval: Interval, *, replace: bool = False) -> Interval:
        with self.store.lock:
            if replace:
                self._mine.runs[run] = interval
            return self._mine.runs.setdefault(run, interval)

    def bound(self, run: str) -> Interval | None:
        with self.store.lock:
            return self._mine.runs.get(run)

    def first_day(self, day: date | None) -> date | None:
        with self.store.lock:
            self._mine.first_day = earlier_day(self._mine.first_day, day)
            return self._mine.first_day

    def about(self) -> About:
        with self.store.lock:
            return self._mine.about

    def change_about(self, change: Callable[[About], About]) -> About:
        with self.store.lock:
            self._mine.about = change(self._mine.about)
            return self._mine.about

    def snapshot(self) -> Snapshot:
        with self.store.lock:
            mine = self._mine
            return Snapshot(mine.token, mine.first_day, tuple(mine.entries), dict(mine.runs), mine.about)

    def restore(self, snapshot: Snapshot) -> None:
        with self.store.lock:
            mine = self._mine
            rest = rest_of(snapshot.entries, mine.entries)
            mine.runs = merged_runs(snapshot.runs, mine.runs)
            mine.entries.extend(rest)
            mine.token = newest_token(snapshot, mine.token)
            mine.first_day = earlier_day(mine.first_day, snapshot.first_day)
            mine.about = merged(snapshot.about, mine.about)
