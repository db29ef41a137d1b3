"""Contracts of sources, stages and targets; the conformance kits in `testing` check them.

Rules for every connector:

- The class attribute `Options` is a pydantic model of its YAML section (`extra="forbid"`, a `type` literal).
- The constructor only assigns: `__init__(self, options, identity)`; connections open on first use, `close()` ends
  them.  Importing the module imports no vendor library (pyarrow included): DAG files are parsed often.
- Vendor errors are mapped to `exceptions` in one place; each message states what happened, where, and what to do, and
  never holds a secret.
- One instance serves one task; `Source.open` may return iterators that are read by different threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from pydantic import BaseModel

from airflow_pipeline_provider.connectors.datasets import DatasetName, table_dataset
from airflow_pipeline_provider.connectors.probes import (
    Probes,
    source_probes,
    stage_clock,
    stage_probes,
    target_probes,
)
from airflow_pipeline_provider.connectors.values import (
    Body,
    BodyReport,
    CommitRow,
    FieldType,
    Identity,
    LoadResult,
    QuarantinedCount,
    QuarantinedRow,
    RecordIdForm,
    Slice,
    StageFile,
    TargetCounts,
    TypedView,
)
from airflow_pipeline_provider.core.body_rules import Rewritten, rewritten_by
from airflow_pipeline_provider.core.change_markers import (
    NOT_SUPPORTED,
    ChangeMarker,
    MarkedWindow,
    Seen,
    WindowChanges,
)
from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.canonical_json import Digest, digest_of_bytes
from airflow_pipeline_provider.envelope.limits import NO_LIMITS, TargetLimits
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_pipeline_provider.connectors.scratch import Scratch
    from airflow_pipeline_provider.envelope.manifest import Manifest


__all__ = [
    "Body",
    "BodyReport",
    "ChangeMarker",
    "CommitRow",
    "Connector",
    "FieldType",
    "Identity",
    "LoadResult",
    "MarkedWindow",
    "RecordIdForm",
    "Seen",
    "Slice",
    "Source",
    "Stage",
    "StageFile",
    "Target",
    "TargetCounts",
    "TargetLimits",
    "WindowChanges",
]


class Connector(ABC):
    """What sources, stages and targets share."""

    Options: ClassVar[type[BaseModel]]

    def __init__(self, options: Any, identity: Identity) -> None:
        self.options = options
        self.identity = identity

    def dataset(self) -> dict[str, object]:
        """Return the dataset that the pipeline file names (`core.datasets`): JSON, no credentials, no I/O.

        A source includes all options that change its record ids or event times.
        """
        value = {"type": self.options.type}
        if hasattr(self.options, "conn_id"):
            value["conn_id"] = self.options.conn_id
        return value

    def place(self) -> dict[str, object]:
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
        """Close all connections; may be called twice."""

    @abstractmethod
    def probes(self) -> Probes:
        """Yield the checks of `check --connect`: a description, and a function that runs it.

        The function returns an `Answer` or raises a PipelineError, and leaves nothing behind in the service.
        """

    def scratch(self) -> Scratch | None:
        """Return the place of `certify` that the options name; None if the connector cannot have one."""
        return None

    def unsafe_settings(self) -> Sequence[str]:
        """Return a sentence for each setting of the connection that lets another machine pose as the server.

        The sentences have no full stop; `doctor` reports them.
        """
        return ()


# --- source -------------------------------------------------------------------------------------------------------

ROWS_A_TASK, MOST_TASKS = 250_000, 16  # of `slices: auto`; a task takes seconds to start


class Source(Connector):
    """A place that windows are read from: all rows with `start <= event time < end`."""

    # True if every BODY is valid JSON (RFC 8259) without half surrogate pairs and without a key twice in one object,
    # whatever was put into the source.  Extract then does not parse it again for a target that needs that.
    gives_strict_json: ClassVar[bool] = False

    def probes(self) -> Probes:
        return source_probes(self)

    @abstractmethod
    def check(self) -> None:
        """Raise DataError or FatalError unless the source exists and can be read by time."""

    @abstractmethod
    def count(self, interval: Interval) -> int:
        """Count the rows in the interval exactly, with a new request at each call."""

    def body_report(self) -> BodyReport | None:
        """Return how BODY relates to the stored document; None where the source builds BODY itself."""
        return None

    def rewritten(self) -> Rewritten | None:
        """Return what the pipeline file makes of documents (`fields`, `redact`); None if they stay as they are.

        Raise FatalError for a source with rules of `redact` that nothing applies (`connectors.redacted_source`).
        """
        if getattr(self.options, "redact", ()):
            raise FatalError(
                "source.redact is not applied to this source: build it by phases.runtime.open_runtime"
            )
        fields = getattr(self.options, "fields", None)
        return rewritten_by(fields.include, fields.exclude, ()) if fields else None

    def redacted_ids(self, record_ids: Sequence[str]) -> list[str]:
        """Return record ids of the source as rows of `open` have them (`redact` may hash them)."""
        return list(record_ids)

    def field_types(self) -> list[FieldType] | None:
        """Return the fields with the types that the source knows, in its order; None if it knows none."""
        return None

    def record_id_form(self) -> RecordIdForm | None:
        """Return the form of record ids that new pipelines need; None if the source has only one."""
        return None

    def explain_repeated(self, record_ids: Sequence[str]) -> str | None:  # noqa: ARG002
        """Return why rows share these record ids and what to do; None when nothing more is known."""
        return None

    def count_untimed(self) -> int | None:
        """Count the rows without an event time, which are in no window; None when the source cannot."""
        return None

    def newest_event_time(self) -> datetime | None:
        """Return the newest event time in the source; None when it is empty or unknown."""
        return None

    def best_slices(self, rows: int) -> int:
        """Return the number of slices that `slices: auto` means for so many rows.

        By default it is one, or with `distribute: tasks` so many that each task has enough rows.
        """
        if self.options.distribute != "tasks":
            return 1
        return max(1, min(MOST_TASKS, rows // ROWS_A_TASK))

    def plan_slices(self, interval: Interval, n: int) -> list[Slice]:
        """Return at most `n` disjoint sub-ranges that tile the interval, by default of equal length."""
        step = (interval.end - interval.start) / n if n > 1 else None
        if step is None or step < timedelta(seconds=1):
            return [Slice(0, 1, interval)]
        bounds = [interval.start + i * step for i in range(n)] + [interval.end]
        return [Slice(i, n, Interval(bounds[i], bounds[i + 1])) for i in range(n)]

    def change_marker(self) -> ChangeMarker | None:
        """Return a marker of everything that a view opened from now on shows; None if the source has none.

        It is small, since every commit keeps one.  A source that may have one but cannot ask for it now returns the
        reason in `ChangeMarker.unknown`.
        """
        return None

    def changes(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        """Return for each window what was written since its marker; not windows without one.

        An answer other than unknown covers the whole source: a shard that did not answer, or answered for other data,
        makes it unknown.  With few requests, whatever the number of windows.
        """
        return [WindowChanges(Seen.UNKNOWN, reason=NOT_SUPPORTED) for _ in windows]

    @abstractmethod
    def open(
        self, slice_: Slice, readers: int = 1
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open one consistent view of the slice, read by up to `readers` iterators that may run in parallel threads.

        Together they yield every row of the slice exactly once, in any order, as batches of
        `envelope.schema.ENVELOPE`.  An incomplete response (failed shards, time-out) is an error.  Leaving the
        context always releases the view on the server.

        Raises:
            SnapshotLostError: By an iterator, when the view is lost.  The caller discards everything that was read
                under it and opens another one.
        """

    def open_ids(
        self, slice_: Slice, readers: int = 1
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open the slice as `open` does, for batches of which only RECORD_ID and EVENT_TIME are used.

        A source that reads these with less work than whole rows overrides it.
        """
        return self.open(slice_, readers)


# --- stage --------------------------------------------------------------------------------------------------------


class Stage(Connector):
    """A store of files, by paths relative to its base (`a/b/c`, no slash at either end)."""

    def probes(self) -> Probes:
        return stage_probes(self)

    @property
    @abstractmethod
    def base(self) -> str:
        """Return the base as a URL without credentials, connection id or slash at its end: `s3://lake/flights`."""

    def url(self, path: str) -> str:
        """Return the URL of a file, for targets that read it natively: `s3://lake/flights/<path>`."""
        return f"{self.base}/{path}"

    @abstractmethod
    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Stream a new file, which appears whole when the block ends, and not at all when it raises.

        Multipart uploads are aborted then.  Callers choose a unique path.
        """

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self.open_write(path) as file:
            file.write(data)

    @abstractmethod
    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a seekable binary file; a missing one is a DataError with the full URL."""

    def read(self, path: str) -> bytes:
        """Return the content of a small file."""
        with self.open_read(path) as file:
            return file.read()

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, None when it does not exist."""

    @abstractmethod
    def list(self, folder: str) -> list[StageFile]:
        """Return every file below the folder, at any depth, sorted by path; none if the folder does not exist."""

    @abstractmethod
    def delete(self, paths: Sequence[str]) -> None:
        """Delete these files; missing ones are ignored."""

    def now(self) -> datetime:
        """Return the time by the store's clock, which also sets `StageFile.modified`."""
        return stage_clock(self)

    def remove_unfinished(
        self,
        before: datetime,  # noqa: ARG002
        ours: Callable[[str], bool],  # noqa: ARG002
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        """Remove pieces of uploads that crashed writers left behind, and return a line for each.

        Only uploads that began before the instant (by the store's clock) and whose path, relative to the base, is
        `ours` are removed, since a bucket has other users; with `dry_run` none are.
        """
        return ()


# --- target -------------------------------------------------------------------------------------------------------


class Target(Connector):
    """A table that windows are loaded into.

    Deletes and counts are always by `PIPELINE_ID = ? AND EVENT_TIME >= ? AND EVENT_TIME < ?`.  With
    `identity.keeps_history` a row is one version of a record, identified by record id and event time: a load replaces
    the versions that its manifest holds, and keeps all others under the tokens that loaded them.
    """

    limits: TargetLimits = NO_LIMITS  # what it cannot store; extract checks it before anything is loaded
    can_keep_history: ClassVar[bool] = False  # whether `identity.keeps_history` is supported

    def probes(self) -> Probes:
        return target_probes(self)

    @abstractmethod
    def prepare(self) -> None:
        """Create the table, its `_LATEST` view, the commit table and the fence row if they are missing.

        It runs outside any load transaction, and may run in two workers at once.

        Raises:
            FatalError: A table has another shape; the message names the columns.
        """

    @abstractmethod
    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        """Replace the manifest's window in one transaction.

        It takes the fence row, reads the newest token of any overlapping interval, deletes `manifest.interval`,
        copies exactly the manifest's parts, counts rows and distinct ids, and writes the commit row.  With
        `identity.keeps_history` it deletes only what the manifest holds again (id and time), and counts the token's
        own rows.  If the interval has a commit row with this token and SHA-256, nothing changes.  A target with a
        table of quarantined rows replaces those of the interval by the manifest's, in the same transaction.

        Raises:
            SupersededError: A newer token, or this one with another SHA-256, overlaps the interval.
            DataError: The counts differ from the manifest's; the transaction was rolled back.
        """

    @abstractmethod
    def count(self, interval: Interval) -> TargetCounts:
        """Count rows and distinct record ids of this pipeline in the interval."""

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:  # noqa: ARG002
        """Count rows and distinct record ids of this pipeline in the interval for each token."""
        raise ConfigError(self._no_history())

    def count_newest(self, interval: Interval, token: int) -> int:  # noqa: ARG002
        """Count the token's rows in the interval whose record has no version with a later time."""
        raise ConfigError(self._no_history())

    def _no_history(self) -> str:
        kind = self.options.type
        return f"source.history: target {kind!r} cannot keep the history of changing records; use history: events"

    @abstractmethod
    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        """Return the pipeline's commit rows that overlap `within` (default: all), oldest token first.

        Without a table there are none.
        """

    # --- records, for `diff`

    def records(
        self,
        interval: Interval,  # noqa: ARG002
        *,
        content: bool = False,  # noqa: ARG002
    ) -> AbstractContextManager[Iterator[Sequence[Row]]]:
        """Open one consistent view of this pipeline's rows in the interval, in portions that fit into memory.

        Without `content` the digests are None; with it they are those of `digest`.  Without a table there are none.
        """
        raise ConfigError(
            f"target {self.options.type!r} cannot list its records, so `diff` cannot compare them"
        )

    def digest(self, body: bytes) -> Digest:
        """Return the digest that `records` returns for a row that was loaded with this BODY.

        A target that does not keep BODY byte for byte returns one of its content.
        """
        return digest_of_bytes(body)

    # --- the table of quarantined rows

    def quarantine_table(self) -> str | None:
        """Return the name of the table that holds the quarantined rows of loads; None if the target keeps none."""
        return None

    def quarantined(self, within: Interval | None = None) -> list[QuarantinedCount] | None:  # noqa: ARG002
        """Count the pipeline's quarantined rows by load, in order of time; None if there is no such table.

        With `within` only rows in this interval are counted.
        """
        return None

    def quarantined_rows(self, token: int, most: int) -> list[QuarantinedRow]:  # noqa: ARG002
        """Return up to `most` quarantined rows of a load, in order of time."""
        return []

    def restore_quarantine(self, manifest: Manifest, stage: Stage) -> int:  # noqa: ARG002
        """Write the quarantined rows of a loaded manifest again, where no newer load replaced it; return how many.

        It is one transaction, which changes nothing else.  If the table is missing, it is created.
        """
        raise FatalError(f"target {self.options.type!r} has no table of quarantined rows")

    # --- typed views of `identity.columns`

    def apply_columns(self, *, dry_run: bool = False) -> list[str]:  # noqa: ARG002
        """Make the typed views and physical columns follow the columns; return the statements.

        It may take long; after an interruption, another call continues where it stopped.
        """
        return []

    def typed_statements(self) -> list[str]:
        """Return the statements that create the typed views."""
        return []

    def expected_views(self) -> tuple[TypedView, ...]:
        """Return the typed views of the columns, the main one first; the target is not asked."""
        return ()

    def typed_views(self) -> tuple[TypedView, ...] | None:
        """Return the typed views that exist, the main one first; None if the target has none."""
        return None

    def unfilled_columns(self) -> dict[str, str]:
        """Return the physical columns that the views do not read yet, and why."""
        return {}

    def count_uncastable(
        self,
        interval: Interval,  # noqa: ARG002
        token: int | None = None,  # noqa: ARG002
    ) -> dict[str, tuple[int, int]]:
        """Count for each column the values in the interval, and those that do not cast to its type.

        With `token`, only rows of that load are counted.
        """
        return {}

    def check_stage(self, stage: Stage, sample: str | None) -> None:
        """Raise ConfigError or FatalError unless the target can read the stage's files by its options.

        `sample` is the path of an existing file, None while there is none.  By default the target streams the files
        and checks nothing.
        """

    def pipelines(self) -> dict[str, dict[str, object]]:
        """Return what each pipeline of this table registered; {} without a table.

        A target that keeps no registrations returns {}, and does not notice two pipelines with one source.
        """
        return {}

    def register(
        self,
        entry: dict[str, object],  # noqa: ARG002
        check: Callable[[dict[str, dict[str, object]]], None],
    ) -> None:
        """Store `entry` (JSON) for this pipeline in a prepared table, in one transaction with `check`.

        `check` gets the entries of the other pipelines, and raises to refuse.
        """
        check({})

    def rename_pipeline(self, old: str) -> int:
        """Move rows, commit rows and entry of pipeline `old` to this one in a transaction; return the rows.

        If it was done before, nothing changes, and 0 is returned.

        Raises:
            DataError: Both pipelines have commit rows.
        """
        raise FatalError(f"target {self.options.type!r} cannot rename the pipeline {old!r} in its rows")

    def newest_token(self) -> int:
        """Return the newest token of the pipeline in the target, 0 without one; the next must be greater."""
        return max((row.token for row in self.commits()), default=0)

    def newest_commit(self, interval: Interval) -> CommitRow | None:
        """Return the newest commit row that overlaps the interval."""
        return max(self.commits(interval), key=lambda row: row.token, default=None)
