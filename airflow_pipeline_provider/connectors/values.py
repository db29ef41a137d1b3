"""Values that connectors take and return."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import NamedTuple

from msgspec import Struct, field

from airflow_pipeline_provider.core.columns import Column, ColumnType
from airflow_pipeline_provider.core.intervals import Interval


class Identity(NamedTuple):
    """The pipeline that a connector works for.

    `timezone` is an IANA name.  With `keeps_history` (`source.history: changes`) a load deletes no older version of
    a record.  `columns` are the typed columns on top of BODY.
    """

    pipeline_id: str
    timezone: str
    keeps_history: bool = False
    columns: tuple[Column, ...] = ()


class Slice(Struct, frozen=True, omit_defaults=True):
    """A half-open sub-range of a window, number `index` (from 0) of `of` disjoint ones, and its concurrent readers.

    `record_id` is the form of the record ids, None for the source's usual one.  `validate` fixes all of it.
    """

    index: int = field(name="i")
    of: int
    interval: Interval
    readers: int = 1
    record_id: str | None = None


class Body(str, Enum):
    """Kinds of BODY, by how it relates to the document that was indexed."""

    AS_INDEXED = "as_indexed"  # the same text
    REBUILT = "rebuilt"  # the same content, written again by the server
    FILTERED = "filtered"  # fields were left out when the document was stored: they are lost
    UNKNOWN = "unknown"  # the source may not be asked


class BodyReport(NamedTuple):
    """The kind of BODY, with reasons: sentences without a full stop that name the index and its setting."""

    kind: Body
    reasons: tuple[str, ...] = ()


class RecordIdForm(NamedTuple):
    """The form of record ids that a source needs, None for its usual one.

    With `is_set` the pipeline file asks for it.  Otherwise `why` is the reason, and a pipeline with commits keeps the
    form that it has.
    """

    form: str | None
    is_set: bool = False
    why: str = ""


class FieldType(NamedTuple):
    """A field of the source's documents, and the type that is proposed for its column.

    Elements of type rows are fields of their own, whose paths begin with that of the rows.  `note` is a remark for
    the author of the columns, without a full stop.
    """

    path: tuple[str, ...]
    type: ColumnType
    formats: tuple[str, ...] = ()
    note: str | None = None


class StageFile(NamedTuple):
    """A file of a stage: `path` is relative to its base, `modified` an aware time by the store's clock."""

    path: str
    size: int
    modified: datetime


class TargetCounts(NamedTuple):
    """Rows, and distinct record ids among them."""

    rows: int
    distinct_ids: int


class CommitRow(NamedTuple):
    """The row that a load writes into the target in the same transaction as the data."""

    interval: Interval
    token: int
    manifest_sha: str
    rows: int


class QuarantinedCount(NamedTuple):
    """The rows that one load quarantined and that no newer load replaced.

    `reasons` has the most frequent reasons with their numbers of rows.
    """

    interval: Interval
    token: int
    rows: int
    reasons: tuple[tuple[str, int], ...] = ()


class QuarantinedRow(NamedTuple):
    r"""A row of the target's table of quarantined rows; `interval` and `token` are those of its load.

    `record_id` has the six characters `\u0000` for each NUL character.  `stage_file` is the URL of the file that
    holds the document.
    """

    record_id: str
    event_time: datetime
    reason: str
    stage_file: str
    interval: Interval
    token: int


class LoadResult(NamedTuple):
    """What a load left in the window.

    With `already` the target held this token and manifest before, and nothing was changed.
    """

    rows: int
    distinct_ids: int
    already: bool = False


class TypedView(NamedTuple):
    """A typed view; its comment in the target holds the hash of its columns (`contract`) and the pipeline."""

    name: str
    contract: str
    pipeline_id: str
    columns: tuple[str, ...]
