"""Declare the limits of a target for single rows; extract enforces them.

Targets declare their limits at import time, so this module imports no vendor library. `envelope.rejections` compares
rows with the limits.
"""

from __future__ import annotations

from typing import NamedTuple


class TargetLimits(NamedTuple):
    r"""Limits of a target; by default, every row is accepted.

    `max_body_bytes`: maximum length of BODY, in UTF-8 bytes. `needs_json`: BODY must be valid JSON (RFC 8259,
    without lone surrogates), because the target parses it. `unique_keys`: no object in BODY may repeat a key.
    `needs_jsonb`: BODY must be JSON that PostgreSQL can cast to jsonb (`envelope.jsonb`). `max_depth`: maximum
    number of nested objects and arrays in BODY. `takes_nul`: RECORD_ID, SOURCE_NAME and BODY may contain the
    character U+0000 itself; the six characters ``\u0000`` in a document's JSON are not this character. `needs_body`:
    BODY must not be empty, as the redactor leaves what it cannot search.
    """

    max_body_bytes: int | None = None
    needs_json: bool = False
    unique_keys: bool = False
    needs_jsonb: bool = False
    max_depth: int | None = None
    takes_nul: bool = True
    needs_body: bool = False


NO_LIMITS = TargetLimits()
