"""What a target cannot take, row by row: declared by the target, decided on by extract.

No vendor library is imported here, since targets declare their limits when their module is imported;
`envelope.refusals` compares rows with them.
"""

from __future__ import annotations

from typing import NamedTuple


class TargetLimits(NamedTuple):
    """The default takes everything.

    `max_body_bytes`: the longest BODY, in UTF-8 bytes.  `needs_json`: BODY must be valid JSON (RFC 8259, without
    lone surrogates), since the target parses it; `unique_keys`: and no object in it may name a key twice.
    `needs_jsonb`: BODY must be JSON that PostgreSQL can cast to jsonb (`envelope.jsonb`).
    `max_depth`: the most levels of objects and arrays in BODY.
    `takes_nul`: whether RECORD_ID, SOURCE_NAME and BODY may hold the character U+0000 itself; the six characters
    ``\\u0000`` in a document's JSON are not such a character.
    """

    max_body_bytes: int | None = None
    needs_json: bool = False
    unique_keys: bool = False
    needs_jsonb: bool = False
    max_depth: int | None = None
    takes_nul: bool = True


NO_LIMITS = TargetLimits()
