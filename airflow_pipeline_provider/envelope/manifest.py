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
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc


class Part(NamedTuple):
    """One file of rows.  `path` is relative to the stage's base; `bytes` is the file's size, `sha256` its content's
    (None: written before parts had one)."""

    path: str
    rows: int
    bytes: int
    min_event_time: datetime
    max_event_time: datetime
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "rows": self.rows,
            "bytes": self.bytes,
            "min_event_time": iso_utc(self.min_event_time),
            "max_event_time": iso_utc(self.max_event_time),
            **({"sha256": self.sha256} if self.sha256 else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Part:
        return cls(
            value["path"],
            value["rows"],
            value["bytes"],
            parse_utc(value["min_event_time"]),
            parse_utc(value["max_event_time"]),
            value.get("sha256"),
        )


@dataclass(frozen=True)
class Receipt:
    """What one extract of one slice wrote: only its own finished parts.  `interval` is the slice's."""

    index: int
    of: int
    interval: Interval
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
        return _dump(
            {
                "version": 1,
                "index": self.index,
                "of": self.of,
                "interval": self.interval.to_json(),
                **_parts_to_json(self.parts, self.quarantined),
            }
        )

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Receipt:
        value = json.loads(data)
        return cls(
            value["index"],
            value["of"],
            Interval.from_json(value["interval"]),
            *_parts_from_json(value),
        )


class Manifest(NamedTuple):
    """What a load reads: `parts`; `quarantined` is kept beside them.  An empty window is a manifest without parts."""

    pipeline_id: str
    interval: Interval
    attempt: str
    token: int
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

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> builtins.bytes:
        return _dump(
            {
                "version": 1,
                "pipeline_id": self.pipeline_id,
                "interval": self.interval.to_json(),
                "attempt": self.attempt,
                "token": self.token,
                **_parts_to_json(self.parts, self.quarantined),
            }
        )

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Manifest:
        value = json.loads(data)
        return cls(
            value["pipeline_id"],
            Interval.from_json(value["interval"]),
            value["attempt"],
            value["token"],
            *_parts_from_json(value),
        )


def _parts_to_json(parts: tuple[Part, ...], quarantined: tuple[Part, ...]) -> dict[str, Any]:
    listed = {"parts": [part.to_json() for part in parts]}
    if quarantined:
        listed["quarantined"] = [part.to_json() for part in quarantined]
    return listed


def _parts_from_json(value: dict[str, Any]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    return (
        tuple(Part.from_json(part) for part in value["parts"]),
        tuple(Part.from_json(part) for part in value.get("quarantined", ())),
    )


def _dump(value: dict[str, Any]) -> bytes:
    """Canonical: sorted keys, no spaces, so that equal manifests have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
