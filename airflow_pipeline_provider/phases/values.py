"""What the phases hand to each other: small, frozen, JSON-safe (they travel as XComs, a few hundred bytes each)."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.windows import Window


class RunKind(str, Enum):
    """How a run came to be, which decides its window (docs/architecture.md, "Which window")."""

    LIVE = "live"  # scheduled, drained, asset-triggered, manual without Params: the planner chooses
    BACKFILL = "backfill"  # exactly the run's data interval; a committed window is replaced
    WINDOW = "window"  # Params window_start and window_end; a committed window is replaced


class RunRequest(NamedTuple):
    """Who asks for a window.  `run` is "dag_id/run_id"; `interval` is for backfill and window runs.

    `follows`: when the window is committed, this run looks whether to start another one (`phases.drain`).
    `by` is who started it by hand.  `run_after` is when the run was due, by the clock of the process that started it;
    None: now.  Unlike `reference_time`, no caller of a run chooses it.  `only_drifted`: move the window only while a
    recheck's finding about it is unresolved.
    """

    run: str
    kind: RunKind
    reference_time: datetime
    interval: Interval | None = None
    follows: bool = False
    by: str | None = None
    run_after: datetime | None = None
    only_drifted: bool = False


class Claim(Struct, frozen=True):
    """A window that this run holds a lease on.  `replace`: a committed window is loaded anew."""

    pipeline_id: str
    interval: Interval
    day: date
    run: str
    kind: RunKind
    reference_time: datetime
    replace: bool = False
    by: str | None = None

    @property
    def window(self) -> Window:
        return Window(self.pipeline_id, self.interval, self.day)


class Generated(NamedTuple):
    """Either a claim with its record, or the reason why there is nothing to do."""

    claim: Claim | None
    record: dict[str, Any] | None
    reason: str | None
    detail: str


class Validated(Struct, frozen=True):
    """`verdict` is run, already_loaded, skip (then `reason` and `detail` say why), or superseded (an operator's).

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
    """One published manifest: `rows` to load, and what was extracted beside them.

    `path` is None when it is known from the target's commit row alone.
    """

    attempt: str | None
    path: str | None
    sha256: str
    token: int
    rows: int
    quarantined: int = 0


class Audited(Struct, frozen=True):
    """Source = staged + quarantined, and staged = target = distinct, committed under `token`."""

    token: int
    source_rows: int
    staged_rows: int
    target_rows: int
    distinct_ids: int
    quarantined_rows: int = 0


class Next(NamedTuple):
    """What drain found: the next window with the id of the run that shall move it, or the reason for none.

    `reference_time` is what that run plans from.
    """

    window: Window | None
    run_id: str | None
    detail: str
    reference_time: datetime | None = None
