"""Values that the phases pass to each other: small and frozen; they travel as XComs of a few hundred bytes."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.core.intervals import Instant, Interval
from airflow_pipeline_provider.core.windows import Window


class RunKind(str, Enum):
    """Kind of a run, which determines its window (docs/architecture.md, "Which window")."""

    LIVE = "live"  # scheduled, drained, asset-triggered, manual without Params: the planner chooses
    BACKFILL = "backfill"  # exactly the run's data interval; a committed window is replaced
    WINDOW = "window"  # Params window_start and window_end; a committed window is replaced


class RunRequest(NamedTuple):
    """Request for a window.  `run` is "dag_id/run_id"; `interval` is for backfill and window runs.

    `follows`: after the commit, this run starts another one if a window is ready (`phases.drain`).  `by` is the user
    who started it by hand.  `run_after` is when the run was due, by the clock of the process that started it (None:
    now); unlike `reference_time`, no caller of a run chooses it.  `only_drifted`: move the window only while a
    recheck's finding about it is unresolved.  `only_incomplete`: move it only while something of it is missing or in
    doubt.  `accept_shrink`: how many rows may go from the target (`phases.accept_shrink`).  `exact`: the interval
    need not be a window of the day plan.
    """

    run: str
    kind: RunKind
    reference_time: datetime
    interval: Interval | None = None
    follows: bool = False
    by: str | None = None
    run_after: datetime | None = None
    only_drifted: bool = False
    only_incomplete: bool = False
    accept_shrink: int | None = None
    exact: bool = True


class Claim(Window, frozen=True):
    """Window on which this run holds a lease, the one value about the window that the tasks of a run pass on.

    `replace`: load a committed window again.  `accept_shrink`: at most how many rows may go.  `installation`: the
    Airflow for which the lease was taken (`operators.installation`); None in a claim of an earlier version.
    """

    run: str
    kind: RunKind
    reference_time: Instant
    replace: bool = False
    by: str | None = None
    accept_shrink: int | None = None
    installation: str | None = None


class Generated(NamedTuple):
    """A claim with its record, or the reason why there is nothing to do."""

    claim: Claim | None
    record: dict[str, object] | None
    reason: str | None
    detail: str


class Validated(Struct, frozen=True):
    """Result of validate: `verdict` is run, already_loaded, skip (with `reason` and `detail`), or superseded.

    run: `attempt` and `slices` are set.  already_loaded: `staged` is what the target holds, audit comes next.
    """

    verdict: str
    detail: str
    reason: str | None = None
    attempt: str | None = None
    slices: tuple[Slice, ...] = ()
    source_rows: int | None = None
    staged: Staged | None = None


class Staged(Struct, frozen=True):
    """A published manifest: `rows` to load, and the rows that were quarantined.

    `path` is None when it is known from the target's commit row alone.
    """

    attempt: str | None
    path: str | None
    sha256: str
    token: int
    rows: int
    quarantined: int = 0


class CompleteDay(NamedTuple):
    """What a `.days` event holds; `rows` is None where the ledger does not know them exactly."""

    day: date
    interval: Interval
    rows: int | None
    token: int


class Audited(Struct, frozen=True):
    """Counts of a commit under `token`: source = staged + quarantined, and staged = target = distinct.

    `schema_changes` is a sentence for each kind of change of the documents (`phases.schema_changes`).
    """

    token: int
    source_rows: int
    staged_rows: int
    target_rows: int
    distinct_ids: int
    quarantined_rows: int = 0
    schema_changes: tuple[str, ...] = ()


class Next(NamedTuple):
    """The next window with the id of the run that is to move it, or the reason why there is none.

    `reference_time` is what that run plans from.
    """

    window: Window | None
    run_id: str | None
    detail: str
    reference_time: datetime | None = None
