"""Define part files, receipts and manifests as values with a JSON form; `envelope.parts` reads and writes the rows.

File names in the attempt's folder ``<stage base>/<window.stage_path>/<attempt>/``::

    part-<slice>-<n>-<unique>.parquet     a complete file of rows
    quarantine-<slice>-<n>-<unique>.parquet
                                          rows that the target cannot accept, each with its REASON
    receipt-<slice>-<unique>.json         the files that one execution of one extract slice wrote
    manifest-<sha256>.json                the immutable list of files that one load reads

`<unique>` differs between executions, so a stale task can add files but cannot change any.

The number of extracted rows is `rows` (to load) + `quarantined_rows`. The JSON has no key for quarantined rows if
there are none, so that files written before quarantine existed keep their hash. Nor has it a key for the fields of
the documents unless they were gathered (`columns`, `contract`), nor for what was made of the documents (`fields` and
`redact` of the source) if they are as the source returned them.
"""

from __future__ import annotations

import builtins
import hashlib
from functools import cached_property

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.body_rules import Rewritten
from airflow_pipeline_provider.core.change_markers import ChangeMarker
from airflow_pipeline_provider.core.drift import FieldSet
from airflow_pipeline_provider.core.intervals import Instant, Interval


class Part(Struct, frozen=True, omit_defaults=True):
    """One file of rows.

    `path` is relative to the stage's base, `bytes` is the file's size. `sha256` is the hash of its content, None if
    it was written by a version that stored no hash.
    """

    path: str
    rows: int
    bytes: int
    min_event_time: Instant
    max_event_time: Instant
    sha256: str | None = None


class _Files(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="version", tag=1):
    """Files to load, files of rows that the target cannot accept, and the fields of their documents if gathered.

    `marker` is the source's change marker from before their rows were read.
    `rewritten` is what was made of the documents, None for those of the source.
    """

    parts: tuple[Part, ...]
    quarantined: tuple[Part, ...] = ()
    fields: FieldSet | None = None
    marker: ChangeMarker | None = None
    rewritten: Rewritten | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows to load."""
        return sum(part.rows for part in self.parts)

    @property
    def quarantined_rows(self) -> int:
        """Return the number of rows that the target cannot accept."""
        return sum(part.rows for part in self.quarantined)

    @property
    def size_bytes(self) -> int:
        """Return the total size of the files to load."""
        return sum(part.bytes for part in self.parts)

    def to_bytes(self) -> builtins.bytes:
        """Return canonical JSON (sorted keys, no spaces), so that equal values have equal hashes."""
        return msgspec.json.encode(self, order="sorted")


class Receipt(_Files, frozen=True, omit_defaults=True):
    """The complete files that one execution of one extract slice wrote; `interval` is the slice's."""

    index: int
    of: int
    interval: Interval

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Receipt:
        """Parse what `to_bytes` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(data, type=cls)


class Manifest(_Files, frozen=True, omit_defaults=True, dict=True):
    """The `parts` that a load reads, and the quarantined files; the manifest of an empty window has no parts."""

    pipeline_id: str
    interval: Interval
    attempt: str
    token: int

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of `to_bytes` in hexadecimal digits, which is part of the manifest's file name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Manifest:
        """Parse what `to_bytes` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(data, type=cls)
