"""Define part files, receipts and manifests as values with a JSON form; `envelope.parts` reads and writes the rows.

File names in the attempt's folder ``<stage base>/<window.stage_path>/<attempt>/``::

    part-<slice>-<n>-<unique>.parquet     a complete file of rows
    quarantine-<slice>-<n>-<unique>.parquet
                                          rows that the target cannot accept, each with its REASON
    receipt-<slice>-<sha256>.json         the files that one execution of one extract slice wrote
    manifest-<sha256>.json                the immutable list of files that one load reads

`<unique>` differs between executions, so a stale task can add files but cannot change any. A receipt is named by the
SHA-256 of its content, since it lists what part files are compared with; earlier versions gave it a `<unique>` name.

The number of extracted rows is `rows` (to load) + `quarantined_rows`. The JSON has no key for quarantined rows if
there are none, so that files written before quarantine existed keep their hash. Nor has it a key for the fields of
the documents unless they were gathered (`columns`, `contract`), nor for what was made of the documents (`fields` and
`redact` of the source) if they are as the source returned them.
"""

from __future__ import annotations

import builtins
import hashlib
import re
from functools import cached_property

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.body_rules import Rewritten
from airflow_pipeline_provider.core.change_markers import ChangeMarker
from airflow_pipeline_provider.core.drift import FieldSet
from airflow_pipeline_provider.core.intervals import Instant, Interval

_RECEIPT = re.compile(r"(?:^|/)receipt-\d+-([0-9a-f]{64})\.json$")


class Upload(Struct, frozen=True, omit_defaults=True):
    """An object that a store accepted together with its checksum, which the writer computed from the bytes it wrote.

    `crc32` is the CRC-32 of the whole object in base64, as S3 writes it. `etag` and `version` are the store's answer:
    they differ for an object that was written later to the same path. `pieces` is the number of pieces of a multipart
    upload, 0 for an object that was sent at once.
    """

    crc32: str
    etag: str
    version: str | None = None
    pieces: int = 0


class Part(Struct, frozen=True, omit_defaults=True):
    """One file of rows.

    `path` is relative to the stage's base, `bytes` is the file's size. `sha256` is the hash of its content, None if
    it was written by a version that stored no hash. `upload` is what a store can be asked to prove the content by,
    None for a store without checksums.
    """

    path: str
    rows: int
    bytes: int
    min_event_time: Instant
    max_event_time: Instant
    sha256: str | None = None
    upload: Upload | None = None


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

    @property
    def name(self) -> str:
        """Return the file name, which holds the SHA-256 of the content."""
        return f"receipt-{self.index}-{hashlib.sha256(self.to_bytes()).hexdigest()}.json"

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Receipt:
        """Parse what `to_bytes` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(data, type=cls)

    @classmethod
    def from_file(cls, path: str, data: builtins.bytes) -> Receipt:
        """Parse the content of the file; raise ValueError if it does not match the SHA-256 in its name."""
        named = _RECEIPT.search(path)
        if named is not None and (seen := hashlib.sha256(data).hexdigest()) != named[1]:
            raise ValueError(f"expected the sha256 {named[1]}, got {seen}")
        return cls.from_bytes(data)


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
