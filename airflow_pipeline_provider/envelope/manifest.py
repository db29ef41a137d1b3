"""Parts, receipts and manifests as values, and their JSON.  Files of rows are `envelope.parts`.

Names below the attempt's folder ``<stage base>/<window.stage_path>/<attempt>/``::

    part-<slice>-<n>-<unique>.parquet     a finished file of rows
    quarantine-<slice>-<n>-<unique>.parquet
                                          rows that the target cannot take, each with its REASON
    receipt-<slice>-<unique>.json         what one execution of one extract slice wrote
    manifest-<sha256>.json                the immutable list that one load reads

Unique means that no two executions ever write the same name, so a zombie can add files but change none.

What was extracted is `rows` (to load) + `quarantined_rows`.  Without quarantined rows the JSON has no such key, so
that files written before there was a quarantine keep their hash.
"""

from __future__ import annotations

import builtins
import hashlib
from datetime import datetime
from functools import cached_property

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.intervals import Interval


class Part(Struct, frozen=True, omit_defaults=True):
    """One file of rows.  `path` is relative to the stage's base; `bytes` is the file's size, `sha256` its content's
    (None: written before parts had one)."""

    path: str
    rows: int
    bytes: int
    min_event_time: datetime
    max_event_time: datetime
    sha256: str | None = None


class _Files(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="version", tag=1):
    """What receipts and manifests share: files to load, and files of rows that the target cannot take."""

    parts: tuple[Part, ...]
    quarantined: tuple[Part, ...] = ()

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def quarantined_rows(self) -> int:
        return sum(part.rows for part in self.quarantined)

    @property
    def size_bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    def to_bytes(self) -> builtins.bytes:
        """Return canonical JSON (sorted keys, no spaces), so that equal values have equal hashes."""
        return msgspec.json.encode(self, order="sorted")


class Receipt(_Files, frozen=True, omit_defaults=True):
    """What one extract of one slice wrote: only its own finished parts.  `interval` is the slice's."""

    index: int
    of: int
    interval: Interval

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Receipt:
        """Parse what `to_bytes` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(data, type=cls)


class Manifest(_Files, frozen=True, omit_defaults=True, dict=True):
    """What a load reads: `parts`; `quarantined` is kept beside them.  An empty window is a manifest without parts."""

    pipeline_id: str
    interval: Interval
    attempt: str
    token: int

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of `to_bytes`, in hexadecimal digits: the manifest's name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Manifest:
        """Parse what `to_bytes` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(data, type=cls)
