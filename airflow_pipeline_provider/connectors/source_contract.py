"""The contract of sources."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from airflow_pipeline_provider.connectors.connector import Connector
from airflow_pipeline_provider.connectors.probes import Probes, source_probes
from airflow_pipeline_provider.connectors.values import BodyReport, FieldType, RecordIdForm, Slice
from airflow_pipeline_provider.core.body_rules import Rewritten, rewritten_by
from airflow_pipeline_provider.core.change_markers import (
    NOT_SUPPORTED,
    ChangeMarker,
    MarkedWindow,
    Seen,
    WindowChanges,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    import pyarrow as pa

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
