"""The pipeline-wide lease of the variable state store: one writer at a time, without compare-and-set.

::

    <prefix>.<pipeline>.lease     owner, since, until, windows, newest token, versions of what the owner wrote

Airflow Variables can only be read and overwritten.  Taking the lease is therefore Fischer's algorithm: read that
it is free, write a unique mark, pause longer than any other process needs from its read to its write, read
again.  Of all processes that saw the lease free, exactly the one that wrote last finds its mark.  An owner renews
without a pause while its lease has enough time left, since no other process may take it before it ends.

What remains is a process that is suspended for longer than the pause between a read and the write that follows.  It
overwrites what another one wrote.  To notice that, the lease records the version (a hash) of each variable before and
after every change; a variable with any other version has lost a write (`lost`).
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Instant, Interval
from airflow_pipeline_provider.core.wording import lease_holder
from airflow_pipeline_provider.exceptions import DataError, LeaseHeldError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.state.owners import (
    Execution,
    Owner,
    executions_after,
    executions_left,
    is_same_run,
    may_release,
)
from airflow_pipeline_provider.state.variable_access import VariableAccess

VERSION = 1
TRIES = 5
LEAST_PAUSES = 5  # a lease lasts at least so many pauses: one that ends before a change is written is useless
SLOW_FACTOR = 3  # the pause is at least so many times what this process's own read and write took
KEPT_VERSIONS = 4  # variables whose version is recorded, the newest: all are read when the lease is taken
CLOCK_DIFFERENCE = timedelta(seconds=5)  # between machines; each uses its own clock here
_NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


class LeaseValue(Struct, frozen=True, rename={"token": "fence"}, tag_field="version", tag=VERSION):
    """The variable's content.

    `owner` is the run, or the name of another writer, `installation` its Airflow, if any,
    `executions` the processes that share the lease.  `mark` is new each time the lease is taken.  `follows`: a run
    that plans again starts after the owner's commit.  `wrote` maps a variable's last name to its
    versions before and after the owner's last change of it.
    """

    owner: str | None
    since: Instant
    until: Instant
    seconds: float
    installation: str | None = None
    executions: tuple[Execution, ...] = ()
    windows: tuple[Interval, ...] = ()
    mark: str = ""
    follows: bool = False
    token: int = 0
    wrote: dict[str, tuple[str, str]] = {}
    lost: tuple[str, ...] = ()

    def is_live(self, now: datetime) -> bool:
        """Return False for a lease that ends later than its length allows: the clock of its owner was wrong."""
        longest = timedelta(seconds=self.seconds) + CLOCK_DIFFERENCE
        return self.owner is not None and now < self.until <= now + longest

    def belongs_to(self, owner: Owner) -> bool:
        """Return whether it is a lease of the owner's run."""
        return is_same_run(self.owner, self.installation, owner)

    def dump(self) -> str:
        """Return the variable's text."""
        return msgspec.json.encode(self).decode()


FREE = LeaseValue(None, _NEVER, _NEVER, 0.0)


def read_lease(key: str, text: str | None) -> LeaseValue:
    """Parse the variable; None is a free lease.  Raise DataError for a value that this package did not write."""
    if text is None:
        return FREE
    try:
        return msgspec.json.decode(text, type=LeaseValue)
    except ValueError as error:
        raise DataError(
            f"variable {key!r} does not hold what this package writes ({error}), it begins with {text[:60]!r}: "
            "delete it while no run of the pipeline is at work; it was not changed"
        ) from error


def version_of(text: str | None) -> str:
    """Return the version of a variable's text; a missing variable has one too."""
    return hashlib.sha256((text or "").encode()).hexdigest()[:16]


class PipelineLease:
    """This process's view of the lease.  `owner` is as whom it writes, None while it holds nothing."""

    def __init__(
        self,
        variables: VariableAccess,
        key: str,
        now: Callable[[], datetime],
        *,
        pause_seconds: float,
        ttl_seconds: float,
    ) -> None:
        self._variables, self._key, self._now = variables, key, now
        self._pause, self._ttl = pause_seconds, ttl_seconds
        self._lock = threading.RLock()  # the thread that renews, and the one that works
        self._blocks = 0
        self.owner: Owner | None = None

    def read(self) -> LeaseValue:
        return read_lease(self._key, self._variables.get(self._key))

    def _write(self, value: LeaseValue) -> None:
        reach("state.before_commit")
        self._variables.set(self._key, value.dump())
        reach("state.after_commit")

    # --- taking and releasing

    def take(
        self,
        owner: Owner,
        ttl_seconds: float,
        window: Interval | None = None,
        *,
        follows: bool | None = None,
    ) -> LeaseValue:
        """Take the lease or renew one's own.

        LeaseHeldError when another owner has it, SupersededError for a stale execution.
        """
        if not ttl_seconds > 0:
            raise ValueError(f"ttl_seconds: expected more than 0, got {ttl_seconds!r}")
        ttl_seconds = max(ttl_seconds, LEAST_PAUSES * self._pause)
        with self._lock:
            for _ in range(TRIES):
                began, now = time.monotonic(), self._now()
                found = self.read()
                if not found.belongs_to(owner) and found.is_live(now):
                    raise self.held(found)
                safe = self._is_safe(found, owner, now)
                wanted = self._wanted(found if safe else _fresh(found, owner, now), now, ttl_seconds, window)
                wanted = _shared(wanted, owner, now)
                if follows is not None:
                    wanted = replace(wanted, follows=follows)
                self._write(wanted)
                if not safe:
                    time.sleep(max(self._pause, SLOW_FACTOR * (time.monotonic() - began)))
                seen = self.read()
                if seen.belongs_to(owner) and seen.mark == wanted.mark:
                    self.owner, self._ttl = owner, ttl_seconds
                    return seen
            raise TransientError(
                f"variable {self._key!r} does not keep what is written: wrote the owner {owner.run}, read back "
                f"{seen.owner}; a secrets backend shadows it (remove it there), or too many runs start at once"
            )

    def _is_safe(self, value: LeaseValue, owner: Owner, now: datetime) -> bool:
        """Return whether the lease lasts long enough for a write to arrive before another process can take it."""
        return value.belongs_to(owner) and value.is_live(now) and value.until - now > self._margin

    @property
    def _margin(self) -> timedelta:
        return timedelta(seconds=self._pause)

    @staticmethod
    def _wanted(value: LeaseValue, now: datetime, ttl: float, window: Interval | None) -> LeaseValue:
        windows = value.windows
        if window is not None and window not in windows:
            windows = tuple(sorted((*windows, window)))
        return replace(value, until=now + timedelta(seconds=ttl), seconds=ttl, windows=windows)

    def release(self, owner: Owner, window: Interval | None = None, until: datetime | None = None) -> None:
        """Release one window, or all; the lease is free with the last one, unless a `block` needs it.

        With `until` only a lease that ends then.  A stale execution releases nothing, one of a mapped task only
        itself while others of the task are at work.
        """
        with self._lock:
            found, mine = self.read(), self.owner is not None and self.owner[:2] == owner[:2]
            windows = tuple(w for w in found.windows if w != window) if window is not None else ()
            if until is not None and found.until != until:
                return
            held = found.belongs_to(owner) and may_release(found.executions, owner.execution)
            left = executions_left(found.executions, owner.execution, self._now(), found.seconds)
            if held and left:
                self._write(replace(found, executions=left))
                if mine and not self._blocks:
                    self.owner = None
                return
            if held and (windows or (mine and self._blocks)):
                self._write(replace(found, windows=windows))
                return
            if held:
                free = replace(found, owner=None, installation=None, executions=(), windows=(), follows=False)
                self._write(replace(free, until=self._now()))
            if mine:
                self.owner = None

    def drop_expired(self, within: Interval | None) -> list[Interval]:
        """Remove the windows of an expired lease that overlap `within`, and return them."""
        found = self.read()
        gone = [w for w in found.windows if within is None or w.overlaps(within)]
        if not gone or found.is_live(self._now()):
            return []
        owner = _anonymous()
        self.take(owner, self._ttl)
        left = tuple(window for window in found.windows if window not in gone)
        with self._lock:
            owner_left, installation = (found.owner, found.installation) if left else (None, None)
            rest = replace(self.read(), owner=owner_left, installation=installation)
            self._write(replace(rest, windows=left, until=found.until))
            self.owner = None
        return gone

    def held(self, value: LeaseValue) -> LeaseHeldError:
        return LeaseHeldError(
            value.owner or "no run",
            value.since,
            value.until,
            windows=value.windows,
            follows=value.follows,
            holder=lease_holder(value.owner or "no run", value.installation),
        )

    # --- writing under it

    @contextmanager
    def block(
        self, owner: Owner | None = None, ttl: float | None = None, follows: bool | None = None
    ) -> Iterator[None]:
        """Hold the lease during the block: the one that this process has, or one for the block alone."""
        taken = self.owner is None
        if self.owner is None or follows is not None:
            self.take(self.owner or owner or _anonymous(), ttl or self._ttl, follows=follows)
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            if taken and self.owner is not None and not self.read().windows:
                self.release(self.owner)

    def announce(self, name: str, before: str | None, after: str, token: int) -> bool:
        """Record that the variable `name` is about to change, and renew the lease.

        False: the lease had to be taken again, so what was read before may be old.  LeaseHeldError: it is lost.
        """
        owner = self.owner or _anonymous()
        with self._lock:
            now, found = self._now(), self.read()
            if not self._is_safe(found, owner, now):
                self.take(owner, self._ttl)
                return False
            known = found.wrote.get(name)
            lost = found.lost
            if known is not None and version_of(before) not in known and name not in lost:
                lost = (*lost, name)
            wrote = {key: value for key, value in found.wrote.items() if key != name}
            wrote[name] = (version_of(before), version_of(after))
            wrote = dict(list(wrote.items())[-KEPT_VERSIONS:])
            renewed = _shared(self._wanted(found, now, self._ttl, None), owner._replace(renews=True), now)
            self._write(replace(renewed, wrote=wrote, lost=lost, token=max(found.token, token)))
            return True

    def forget_lost(self) -> None:
        with self._lock:
            self._write(replace(self.read(), lost=(), wrote={}))


def _fresh(found: LeaseValue, owner: Owner, now: datetime) -> LeaseValue:
    """Return the value with a new owner; earlier versions and lost writes stay recorded."""
    mine = found.belongs_to(owner)
    live = mine and found.is_live(now)
    return replace(
        found,
        owner=owner.run,
        executions=found.executions if live else (),
        since=found.since if live else now,
        windows=found.windows if mine else (),
        mark=uuid.uuid4().hex,
        follows=found.follows if mine else False,
    )


def _shared(value: LeaseValue, owner: Owner, now: datetime) -> LeaseValue:
    """Return the value with this execution added; raise SupersededError for a stale one."""
    executions = executions_after(value.executions, owner, now)
    return replace(value, installation=owner.installation, executions=executions)


def _anonymous() -> Owner:
    """Return the owner of a writer that is not a run."""
    return Owner(f"process {os.getpid()} on {socket.gethostname()}")
