"""The contract of a state store: the ledger, leases, tokens and run bindings of one pipeline.

Stores: `state.variable` (Airflow Variables, one writer at a time), `state.sql` (a metadata table, compare-and-set).
The store's own clock decides about leases; callers pass durations, never instants of theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from msgspec import Struct
from pydantic import BaseModel

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.probes import Answer, Probes, clock_answer
from airflow_pipeline_provider.connectors.scratch import Scratch
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import Instant, Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.wording import lease_holder
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.state.about import NOTHING, About, Act
from airflow_pipeline_provider.state.owners import Execution, Owner, is_same_run

T = TypeVar("T")


class Lease(Struct, frozen=True, omit_defaults=True):
    """The owner of an interval; `since` and `until` by the store's clock.

    `owner` is the run, or the name of another writer.  `seconds` is what the lease was taken or renewed for;
    `installation` is the Airflow of the run, if any; both are None in a lease of an earlier version.
    `executions` are the processes that share it, one a task.
    """

    interval: Interval
    owner: str
    since: Instant
    until: Instant
    seconds: float | None = None
    installation: str | None = None
    executions: tuple[Execution, ...] = ()

    @property
    def holder(self) -> str:
        """Return the owner as messages name it: the run and, if it has one, its installation."""
        return lease_holder(self.owner, self.installation)

    def belongs_to(self, owner: Owner) -> bool:
        """Return whether it is a lease of the owner's run."""
        return is_same_run(self.owner, self.installation, owner)

    def is_live(self, now: datetime) -> bool:
        """Return False also for one that ends later than its length from now: the clock was ahead when it was taken.

        The length of a lease of an earlier version is not known, it was taken or renewed for no more than its whole.
        """
        length = self.until - self.since if self.seconds is None else timedelta(seconds=self.seconds)
        return now < self.until <= now + length


class Snapshot(Struct, frozen=True):
    """Everything of a pipeline that another store needs to continue; leases belong to processes and are left out.

    `entries` are in the order of writing, with their original `at`; `runs` (run -> its window) oldest first; `token`
    is the newest fencing token.
    """

    token: int = 0
    first_day: date | None = None
    entries: tuple[Entry, ...] = ()
    runs: dict[str, Interval] = {}
    about: About = NOTHING


class State(ABC):
    """All methods speak of one pipeline.  Constructed without I/O; connections open on first use."""

    Options: ClassVar[type[BaseModel]]
    concurrent: ClassVar[
        bool
    ]  # may two runs write to it at once?  Else a lease of the whole pipeline parts them
    shared: ClassVar[bool] = True  # may several Airflow installations use one store?

    def __init__(self, options: Any, identity: Identity) -> None:
        self.options = options
        self.identity = identity

    def close(self) -> None:  # noqa: B027
        """Close the connections; may be called twice."""

    def scratch(self) -> Scratch | None:
        """Return the place of `certify` that the options name; None if the store cannot have one."""
        return None

    def probes(self) -> Probes:
        """Yield the questions of `check --connect`, as `connectors.base.Connector.probes`; nothing is created."""

        def clock() -> Answer:
            return clock_answer(self.now())

        yield "clock", clock

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let this thread's reads and writes in the block share one connection; keep the block short."""
        yield

    @contextmanager
    def local_session(self) -> Iterator[None]:
        """Share one connection as `session` does, for a block of any length, where the store is a local file.

        Elsewhere it does nothing: a connection to a server must not be held while a phase waits for another service.
        """
        yield

    def together(self, work: Callable[[], T]) -> T:
        """Run `work` and make its writes to this state take effect at once, or not at all where it raises.

        `work` reads and writes this state only, in this thread, and may be run again.  A store without transactions
        writes one after the other, so a crash may separate the writes: their order must be safe.
        """
        return work()

    @abstractmethod
    def now(self) -> datetime:
        """Return the time of the store's clock, aware UTC."""

    # --- ledger

    @abstractmethod
    def entries(self, within: Interval | None = None) -> list[Entry]:
        """Return the entries whose interval overlaps `within` (None: all), in the order of writing."""

    def entries_in(self, spans: Sequence[Interval]) -> list[Entry]:
        """Return the entries that overlap one of the disjoint spans, which are in order, in the order of writing.

        This reads everything between the spans too; a store that can read less should.
        """
        if not spans:
            return []
        found = self.entries(Interval(spans[0].start, spans[-1].end))
        return [entry for entry in found if any(entry.interval.overlaps(span) for span in spans)]

    def coverage(self, within: Interval, *, keep: bool = False) -> Coverage:  # noqa: ARG002
        """Return the coverage of `within` for planning; it may also contain what is outside.

        With `keep` a store may write down how far it has folded, so that the next look is shorter.
        """
        return Coverage().after(self.entries(within))

    @abstractmethod
    def append(self, entry: Entry) -> None:
        """Write one entry; `entry.at` is replaced by the store's clock.

        A replacing, committed or missed entry is keyed by (kind, interval, token): writing it again changes nothing.
        What `ledger.check_transition` refuses is refused, so a newer token on an overlapping interval is a
        SupersededError, also for an entry that was written before it; check and write are one atomic step where
        `concurrent`.
        """

    def latest_timestamp_available(self, target_day: date | datetime) -> datetime | None:
        """Return the end of the committed or waived prefix of the day in UTC; None when there is none.

        `target_day` is the day's date, or any aware instant of it.
        """
        if isinstance(target_day, datetime):
            target_day = day_of(target_day, self.identity.timezone)
        day = day_interval(target_day, self.identity.timezone)
        return ledger.continuation(self.entries(day), day)

    # --- leases

    @abstractmethod
    def acquire(self, interval: Interval, owner: Owner | str, ttl_seconds: float) -> Lease:
        """Acquire the lease, or renew the owner's own (`since` stays); expired leases of others are removed.

        Raises LeaseHeldError for a live lease of another owner on an overlapping interval, or on any interval where
        not `concurrent`; SupersededError for an execution that another one of the same task overtook
        (`owners.executions_after`).  The tasks of a run share its lease.
        """

    @abstractmethod
    def release(self, interval: Interval, owner: Owner | str, *, until: datetime | None = None) -> None:
        """Release the lease; without one, or for a stale execution, do nothing.

        An execution of a mapped task takes only itself out while another one of the task is at work
        (`owners.executions_left`).  With `until` the lease stays if it ends at another time: it was renewed since the
        caller read it.  Comparing and releasing are one atomic step where `concurrent`.
        """

    @abstractmethod
    def leases(self, *, expired: bool = False) -> list[Lease]:
        """Return the live leases (`Lease.is_live`), by interval and owner; with `expired` all leases."""

    def known(self, within: Interval, *, keep: bool = False) -> tuple[Coverage, list[Lease]]:
        """Return `coverage` and `leases` of one moment, for planning."""
        return self.coverage(within, keep=keep), self.leases()

    @abstractmethod
    def drop_expired(self, within: Interval | None = None) -> list[Lease]:
        """Remove the expired leases that overlap `within` (None: all), and return them.

        It is one atomic step, so a lease that is renewed at the same moment stays.
        """

    @contextmanager
    def exclusive(
        self,
        owner: Owner | str,  # noqa: ARG002
        ttl_seconds: float,  # noqa: ARG002
        *,
        follows: bool | None = None,  # noqa: ARG002
    ) -> Iterator[None]:
        """Keep all other writers of the pipeline away during the block where not `concurrent`; else do nothing.

        LeaseHeldError when another owner is at work.  A window that `acquire` takes inside of the block keeps them
        away afterwards too.  `follows`: the owner's commit starts a run that plans again (`ask_to_follow`).
        """
        yield

    def ask_to_follow(self, holder: LeaseHeldError, reference_time: datetime) -> bool:  # noqa: ARG002
        """Ask the holder of the pipeline's lease to plan for this reference time after its commit.

        False: it will not (it does not start runs, or its lease is gone by now), so the caller waits itself.
        """
        return False

    def asked_to_follow(self) -> datetime | None:
        """Return the newest reference time that `ask_to_follow` left."""
        return None

    def lost_writes(self) -> bool:
        """Return whether a suspended process overwrote a newer write.  Never where `concurrent`."""
        return False

    def recover(self, days: Iterable[date]) -> None:  # noqa: B027
        """Find the ledgers of these days again, and forget the lost writes."""

    # --- tokens

    @abstractmethod
    def mint_token(self, floor: int = 0) -> int:
        """Create the next fencing token: greater than `floor` and than every earlier token of the pipeline."""

    def newest_token(self) -> int:
        """Return the newest token that was minted, 0 without one."""
        return self.snapshot().token

    # --- runs

    @abstractmethod
    def bind_run(self, run: str, interval: Interval, *, replace: bool = False) -> Interval:
        """Bind the run ("dag_id/run_id") to a window; return the binding. The first one wins unless `replace`."""

    @abstractmethod
    def bound(self, run: str) -> Interval | None:
        """Return the window of the run, if it has one."""

    @abstractmethod
    def first_day(self, day: date | None) -> date | None:
        """Return the first day ever planned, after `day` was remembered unless an earlier one is.

        Pass None to read without setting; None is the answer when no day is remembered.
        """

    # --- the pipeline as a whole

    @abstractmethod
    def about(self) -> About:
        """Return what is remembered of the pipeline's source and target, and of what people did by hand."""

    def peek_about(self) -> About | None:
        """Return `about`, None where reading it would create or upgrade something: for `check --connect`."""
        return self.about()

    @abstractmethod
    def change_about(self, change: Callable[[About], About]) -> About:
        """Write what `change` makes of it, in one atomic step where `concurrent`; return that."""

    def record_act(
        self, what: str, by: str, why: str = "", interval: Interval | None = None, **detail: object
    ) -> None:
        """Record a manual change."""
        act = Act(self.now(), what, by, why, interval, detail)
        self.change_about(lambda about: about.with_act(act))

    # --- moving house

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Return what `restore` takes; a run at work may be included or not."""

    @abstractmethod
    def restore(self, snapshot: Snapshot) -> None:
        """Write a snapshot: entries with their `at` and in their order, bindings, first day, newest token.

        What is there must be the beginning of the snapshot's entries, so that a restore that was cut off may be done
        again, and no run may be bound to another window: otherwise ConfigError, and nothing changes.  Tokens only
        grow, the earlier first day stays.  One atomic step where `concurrent`.
        """
