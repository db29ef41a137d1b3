"""What a pipeline makes of documents before they reach the stage: the record of it in manifests and the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.field_patterns import RedactRule

KEY = "rewritten"
"""Key of an entry's detail; without it the load has documents as the source returned them."""

UNKNOWN: dict[str, Any] = {KEY: {"body": "unknown"}}
"""Detail of a load whose manifest is gone with the state that recorded it."""


class Rewritten(Struct, frozen=True, omit_defaults=True):
    """How bodies differ from the source's: fields were left out (`filtered`), or values changed too (`redacted`).

    `rules` is a hash of the rules, without their names; `key` is the id of the key of hashes, which is no secret.
    """

    body: Literal["filtered", "redacted"]
    rules: str
    key: str | None = None

    def detail(self) -> dict[str, Any]:
        """Return the record as an entry of the ledger holds it."""
        return {KEY: msgspec.to_builtins(self)}

    def __str__(self) -> str:
        key = f", key {self.key}" if self.key else ""
        return f"{self.body} (rules {self.rules}{key})"


def rewritten_by(
    include: Iterable[str], exclude: Iterable[str], redact: Iterable[RedactRule], key: str | None = None
) -> Rewritten | None:
    """Return the record of these rules, None without any.

    The order of names in a filter changes nothing; the order of `redact` does, since the first rule counts.
    """
    rules = (sorted(include), sorted(exclude), list(redact), key)
    if not any(rules[:3]):
        return None
    digest = hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:12]
    return Rewritten("redacted" if rules[2] else "filtered", digest, key)


def rewritten_text(detail: Mapping[str, Any]) -> str:
    """Return what an entry records as text: `original`, `redacted (rules 0f…, key 3f…)`, `unknown`."""
    found = detail.get(KEY)
    if found is None:
        return "original"
    if found == UNKNOWN[KEY]:
        return "unknown"
    return str(msgspec.convert(found, Rewritten))


def named(rewritten: Rewritten | None) -> str:
    """Return the record as text for messages."""
    return "original" if rewritten is None else str(rewritten)
