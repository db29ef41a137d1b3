"""The contracts: what a source, a stage and a target promise.  The conformance kit in `testing` checks them.

Rules for every connector:

- The class attribute `Options` is a pydantic model of its YAML section (`extra="forbid"`, a `type` literal).
- The constructor only assigns: `__init__(self, options, identity)`; connections open on first use, `close()` ends
  them.  Importing the module imports no vendor library (pyarrow included): DAG files are parsed often.
- Vendor errors are mapped to `exceptions` in one place of the module; each message says what was expected, what was
  seen and what to do, and never holds a secret.
- One instance serves one task; `Source.open` may hand out iterators that are read by different threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple

from msgspec import Struct, field
from pydantic import BaseModel

from airflow_pipeline_provider.connectors.datasets import DatasetName, table_dataset
from airflow_pipeline_provider.connectors.probes import (
    Probes,
    source_probes,
    stage_clock,
    stage_probes,
    target_probes,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.limits import NO_LIMITS
from airflow_pipeline_provider.envelope.limits import TargetLimits as TargetLimits  # a word of the contract
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_pipeline_provider.envelope.manifest import Manifest


class Identity(NamedTuple):
    """Whose connector this is.  `timezone` is the pipeline's IANA name.

    `keeps_history`: the source is one of `history: changes`, so a load deletes no older version of a record.
    """

    pipeline_id: str
    timezone: str
    keeps_history: bool = False


class Connector(ABC):
    """What all three kinds share."""

    Options: ClassVar[type[BaseModel]]

    def __init__(self, options: Any, identity: Identity) -> None:
        self.options = options
        self.identity = identity

    def dataset(self) -> dict[str, Any]:
        """Return the dataset that the pipeline file names (`core.datasets`): JSON, no credentials, no I/O.

        A source has `index` or `table` and `query`, whatever else changes its record ids or event times too.
        """
        value = {"type": self.options.type}
        if hasattr(self.options, "conn_id"):
            value["conn_id"] = self.options.conn_id
        return value

    def place(self) -> dict[str, Any]:
        """Return `server` and `database` that the connection leads to, without credentials; {} when unknown."""
        return {}

    def lineage_dataset(self) -> DatasetName | None:
        """Return the name of the dataset for OpenLineage, without credentials; None when it has none.

        By default it is the option `table` behind the connection.
        """
        conn_id = getattr(self.options, "conn_id", None)
        table = getattr(self.options, "table", None) or getattr(self.options, "name", None)
        return table_dataset(conn_id, table) if conn_id and table else None

    def close(self) -> None:  # noqa: B027  (most have nothing to close)
        """Let go of connections; may be called twice."""

    @abstractmethod
    def probes(self) -> Probes:
        """Yield the questions of `check --connect`: what is asked, and a function that asks it.

        The function returns an `Answer` or raises a PipelineError, and leaves nothing behind in the service.
        """

    def unsafe_settings(self) -> Sequence[str]:
        """Return a sentence, without a full stop, for each setting of the connection that lets another machine pose
        as the server; `doctor` reports them."""
        return ()


# --- source -------------------------------------------------------------------------------------------------------

ROWS_A_TASK, MOST_TASKS = 250_000, 16  # of `slices: auto`; a task takes seconds to start


class Slice(Struct, frozen=True, omit_defaults=True):
    """A disjoint half-open time sub-range of a window, `index` of `of` (0-based), and how many read it at once.

    `record_id` is the form of the record ids, None for the source's usual one.  Frozen by validate.
    """

    index: int = field(name="i")
    of: int
    interval: Interval
    readers: int = 1
    record_id: str | None = None


class Body(str, Enum):
    """How BODY relates to what was put into the source."""

    AS_INDEXED = "as_indexed"  # the same text
    REBUILT = "rebuilt"  # the same content, written again by the server
    FILTERED = "filtered"  # fields were left out when the document was stored: they are lost
    UNKNOWN = "unknown"  # the source may not be asked


class BodyReport(NamedTuple):
    """What BODY is, and why: sentences without a full stop that name the index and its setting."""

    kind: Body
    reasons: tuple[str, ...] = ()


class RecordIdForm(NamedTuple):
    """The form of record ids that a source needs, None for its usual one.

    `is_set`: the pipeline file says so.  Otherwise `why` it is needed, and a pipeline with commits keeps what it has.
    """

    form: str | None
    is_set: bool = False
    why: str = ""


class Source(Connector):
    """Where windows are read from.  Times are instants; the range is always `start <= event time < end`."""

    # True if every BODY is valid JSON (RFC 8259) without half surrogate pairs and without a key twice in one object,
    # whatever was put into the source.  Extract then does not parse it again for a target that needs that.
    gives_strict_json: ClassVar[bool] = False

    def probes(self) -> Probes:
        return source_probes(self)

    @abstractmethod
    def check(self) -> None:
        """Raise DataError or FatalError, one clear sentence, unless the source exists and can be read by time."""

    @abstractmethod
    def count(self, interval: Interval) -> int:
        """Exact number of rows in the interval, asked anew at each call; never an estimate, never capped."""

    def body_report(self) -> BodyReport | None:
        """Return what BODY is, asked once per validate; None where it is always built by the source itself."""
        return None

    def record_id_form(self) -> RecordIdForm | None:
        """Return the form of record ids that new pipelines need; None where there is one form only."""
        return None

    def explain_repeated(self, record_ids: Sequence[str]) -> str | None:  # noqa: ARG002
        """Return why rows share these record ids and what to do about it; None when nothing more is known."""
        return None

    def count_untimed(self) -> int | None:
        """Rows without an event time (they belong to no window), or None when the source cannot tell."""
        return None

    def newest_event_time(self) -> datetime | None:
        """The newest event time in the source, for the staleness check; None when empty or unknown."""
        return None

    def best_slices(self, rows: int) -> int:
        """What `slices: auto` means for so many rows.

        Here: tasks with enough rows for each to be worth it, or one reader.
        """
        if self.options.distribute != "tasks":
            return 1
        return max(1, min(MOST_TASKS, rows // ROWS_A_TASK))

    def plan_slices(self, interval: Interval, n: int) -> list[Slice]:
        """At most `n` disjoint sub-ranges that tile the interval; whole microseconds, here of equal length."""
        step = (interval.end - interval.start) / n if n > 1 else None
        if step is None or step < timedelta(seconds=1):
            return [Slice(0, 1, interval)]
        bounds = [interval.start + i * step for i in range(n)] + [interval.end]
        return [Slice(i, n, Interval(bounds[i], bounds[i + 1])) for i in range(n)]

    @abstractmethod
    def open(
        self, slice_: Slice, readers: int = 1
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """One consistent view of the slice, read by 1..`readers` iterators that may run in parallel threads.

        Together they yield every row of the slice exactly once, as batches of `envelope.schema.ENVELOPE`; order is
        free.  A page that is not whole (failed shards, time-out) is an error, never accepted.  If the view is lost
        the iterators raise SnapshotLostError; the caller discards everything read under this `open` and opens anew.
        Leaving the context releases the view on the server, always.
        """


# --- stage --------------------------------------------------------------------------------------------------------


class StageFile(NamedTuple):
    """`path` is relative to the stage's base; `modified` is the store's clock, aware."""

    path: str
    size: int
    modified: datetime


class Stage(Connector):
    """A place for files, by paths relative to its base (`a/b/c`, no slash at either end)."""

    def probes(self) -> Probes:
        return stage_probes(self)

    @property
    @abstractmethod
    def base(self) -> str:
        """The base as a URL without credentials or connection id, no slash at the end: `s3://lake/flights`."""

    def url(self, path: str) -> str:
        """`s3://lake/flights/<path>`: what a target that reads natively is told."""
        return f"{self.base}/{path}"

    @abstractmethod
    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Stream a new file.  It appears whole when the block ends well; when the block raises, nothing appears
        (multipart uploads are aborted).  The path must be new: callers make it unique."""

    def write(self, path: str, data: bytes) -> None:
        """A small file at once."""
        with self.open_write(path) as file:
            file.write(data)

    @abstractmethod
    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A seekable binary file; a missing one is a DataError naming the full URL."""

    def read(self, path: str) -> bytes:
        with self.open_read(path) as file:
            return file.read()

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Bytes, or None when there is no such file."""

    @abstractmethod
    def list(self, folder: str) -> list[StageFile]:
        """Every file below the folder, at any depth, sorted by path; no folder means no files."""

    @abstractmethod
    def delete(self, paths: Sequence[str]) -> None:
        """Remove these files; one that is gone already is fine."""

    def now(self) -> datetime:
        """The store's clock, the one of `StageFile.modified`.  Nothing that was written to learn it stays."""
        return stage_clock(self)

    def remove_unfinished(
        self,
        before: datetime,  # noqa: ARG002
        ours: Callable[[str], bool],  # noqa: ARG002
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        """Remove what writers that were killed left behind without a name: pieces of uploads.

        Only of files begun before the instant (by the store's clock) whose path, relative to the base, is `ours`: a
        bucket has other users.  Return a line for each; with `dry_run` nothing is removed.  A store that forgets them
        by itself has nothing to do.
        """
        return ()


# --- target -------------------------------------------------------------------------------------------------------


class TargetCounts(NamedTuple):
    rows: int
    distinct_ids: int


class CommitRow(NamedTuple):
    """The row that a load writes into the target in the same transaction as the data."""

    interval: Interval
    token: int
    manifest_sha: str
    rows: int


class LoadResult(NamedTuple):
    """`already`: this very token and manifest were in the target before the call, which then changed nothing."""

    rows: int
    distinct_ids: int
    already: bool = False


class Target(Connector):
    """Where windows are loaded to.  Deletes and counts are always by
    `PIPELINE_ID = ? AND EVENT_TIME >= ? AND EVENT_TIME < ?`.

    Where `identity.keeps_history`, a row is one version of a record, known by record id and event time: a load
    replaces the versions that its manifest holds, and keeps all others under the tokens that loaded them.
    """

    limits: TargetLimits = NO_LIMITS  # what it cannot take; extract decides on it before anything is loaded
    can_keep_history: ClassVar[bool] = False  # supports `identity.keeps_history`

    def probes(self) -> Probes:
        return target_probes(self)

    @abstractmethod
    def prepare(self) -> None:
        """Create the table, its `_LATEST` view, the commit table and the fence row where missing, outside of any
        load transaction; safe when two workers do it at once.  A table of another shape is a FatalError that names
        the columns."""

    @abstractmethod
    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        """One transaction: take the fence row, then read the newest token of any overlapping interval, delete
        `manifest.interval`, copy exactly the manifest's parts, count rows and distinct ids, write the commit row.
        Where `identity.keeps_history`, only what the manifest holds too (id and time) is deleted, and the token's
        own rows are counted.

        A commit row of this interval with the same token and sha: `already=True`, nothing changes.  A newer token,
        or the same one with another sha, on any overlapping interval: SupersededError.  Counts that differ from the
        manifest's: DataError, rolled back.
        """

    @abstractmethod
    def count(self, interval: Interval) -> TargetCounts:
        """Rows and distinct record ids of this pipeline in the interval, now."""

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:  # noqa: ARG002
        """Return the rows and distinct ids of this pipeline in the interval, for each token that loaded any."""
        raise ConfigError(self._no_history())

    def count_newest(self, interval: Interval, token: int) -> int:  # noqa: ARG002
        """Return how many of the token's rows in the interval have no version of their record with a later time."""
        raise ConfigError(self._no_history())

    def _no_history(self) -> str:
        kind = self.options.type
        return f"source.history: target {kind!r} cannot keep the history of changing records; use history: events"

    @abstractmethod
    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        """The pipeline's commit rows that overlap `within` (all without it), oldest token first; no table: []."""

    def check_stage(self, stage: Stage, sample: str | None) -> None:
        """ConfigError or FatalError unless the target can read the stage's files the way its options say.

        `sample` is the path of a file that is there, None while there is none.  A target that is handed the files
        has nothing to check.
        """

    def pipelines(self) -> dict[str, dict[str, Any]]:
        """Return what each pipeline registered that loads into this table; {} without a table.

        A target that keeps none of it returns {}, and two pipelines with one source are not noticed there.
        """
        return {}

    def register(self, entry: dict[str, Any], check: Callable[[dict[str, dict[str, Any]]], None]) -> None:  # noqa: ARG002
        """Keep `entry` (JSON) for this pipeline, with the table prepared, in one transaction with `check`.

        `check` gets the entries of the other pipelines and raises to refuse.
        """
        check({})

    def rename_pipeline(self, old: str) -> int:
        """Give rows, commit rows and entry of pipeline `old` to this pipeline in one transaction, return the rows.

        Done before: nothing changes, 0.  DataError when both have commit rows.
        """
        raise FatalError(f"target {self.options.type!r} cannot rename the pipeline {old!r} in its rows")

    def newest_token(self) -> int:
        """The newest token of the pipeline in the target, 0 without one: the floor for the next."""
        return max((row.token for row in self.commits()), default=0)

    def newest_commit(self, interval: Interval) -> CommitRow | None:
        """The newest commit row that overlaps the interval."""
        return max(self.commits(interval), key=lambda row: row.token, default=None)
