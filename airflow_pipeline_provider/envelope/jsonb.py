"""Find JSON documents that PostgreSQL cannot cast to `jsonb`.

One regular expression searches all documents; only documents that it matches, and long ones, are parsed token by
token. The limits are those of PostgreSQL 12 to 18, for a database with the encoding UTF8 and a `max_stack_depth` of
at least the default, 2 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from airflow_pipeline_provider.envelope.schema import integer_scalar

MAX_DEPTH = 5_000  # PostgreSQL reaches its stack limit of 2 MB at about 13,000 levels
MAX_INTEGER_DIGITS = 131_072  # of `numeric`, before the decimal point
MAX_FRACTION_DIGITS = 16_383  # and after it
MAX_VALUES = 8_000_000  # of one array or object; PostgreSQL doubles its arrays up to 8,388,608 pairs
MAX_JSONB_BYTES = 2**28 - 1  # of the values in one array or object

_LARGEST_EXPONENT = 2**30 - 1
_JSONB_BYTES_PER_VALUE = (
    14  # upper bound of what jsonb adds to the text of a value: entry, headers, alignment
)
_LONG = 8_192  # bytes; a shorter document can exceed a limit only by an escape or an exponent
_LARGE = 2**25  # bytes; a smaller document cannot have too many values

# A number starts after one of these characters, so that the digits of a hash in a string do not match.
_SUSPICIOUS = r"\\u0000|(?:^|[\[,:\s])-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{4}"
_TOKEN = re.compile(
    r'(?P<quote>")'
    r"|(?P<nul>\\u0000)|\\."
    r"|(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?(?:[eE](?P<exponent>[+-]?[0-9]+))?",
    re.DOTALL,
)
_STRING = re.compile(rb'"[^"]*"')
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
_OTHERS = bytes(byte for byte in range(256) if byte not in b'"[]{},')


def uncastable(bodies: pa.Array) -> Iterator[tuple[int, str]]:
    """Yield (row number, reason) for each document in `bodies` that does not cast to jsonb.

    The documents must be valid JSON without lone surrogates; for others the result is undefined.
    """
    suspicious = set(pc.indices_nonzero(pc.match_substring_regex(bodies, _SUSPICIOUS)).to_pylist())
    lengths = pc.binary_length(bodies)
    long = set(pc.indices_nonzero(pc.greater_equal(lengths, integer_scalar(_LONG))).to_pylist())
    for row in sorted(suspicious | long):
        body: str = bodies[row].as_py()
        reason = _too_large(body.encode()) if row in long else None
        if reason is None and (row in suspicious or _has_long_number(body)):
            reason = _bad_token(body)
        if reason is not None:
            yield row, reason


def _bad_token(body: str) -> str | None:
    inside = False
    for token in _TOKEN.finditer(body):
        kind = token.lastgroup
        if kind == "quote":
            inside = not inside
        elif kind == "nul":
            return r"its body contains the escape \u0000, which PostgreSQL cannot cast to jsonb"
        elif (
            not inside and token["whole"] and not _fits_numeric(*token.group("whole", "fraction", "exponent"))
        ):
            return "its body contains a number beyond the range of numeric, which PostgreSQL cannot cast to jsonb"
    return None


def _fits_numeric(whole: str, fraction: str | None, exponent: str | None) -> bool:
    fraction, exponent = fraction or "", exponent or ""
    digits = exponent.lstrip("+-").lstrip("0")
    if len(digits) > 10 or int(digits or 0) > _LARGEST_EXPONENT:
        return False
    shift = int(digits or 0) * (-1 if exponent.startswith("-") else 1)
    if len(fraction) - shift > MAX_FRACTION_DIGITS:
        return False
    significant = (whole + fraction).lstrip("0")
    first = len(significant) - len(fraction)  # digits before the point, negative for leading zeros after it
    return not significant or first + shift <= MAX_INTEGER_DIGITS


def _has_long_number(body: str) -> bool:
    return b"0" * _LONG in body.encode().translate(_DIGITS)


def _too_large(body: bytes) -> str | None:
    """Return the reason if a long document has too many levels or values, else None."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > MAX_DEPTH and is_deeper(body, MAX_DEPTH):
        return f"its body is nested deeper than {MAX_DEPTH:,} levels, which PostgreSQL cannot cast to jsonb"
    if len(body) >= _LARGE:
        structure = _structure(body)
        values = structure.count(b",") + brackets + 1
        if values > MAX_VALUES or len(body) + values * _JSONB_BYTES_PER_VALUE > MAX_JSONB_BYTES:
            return "its body has more values than PostgreSQL can cast to jsonb"
    return None


def _structure(body: bytes) -> bytes:
    """Return the brackets and commas outside strings."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # removing an empty pair of quotes does not change which brackets are inside a string
    body = body.translate(None, _OTHERS).replace(b'""', b"")
    return _STRING.sub(b"", body) if b'"' in body else body


def is_deeper(body: bytes, levels: int) -> bool:
    """Return whether a JSON document has more than `levels` nested objects and arrays."""
    brackets = _structure(body).replace(b",", b"").replace(b"{", b"[").replace(b"}", b"]")
    for _ in range(8):  # few documents are deeper, and their remaining brackets are few
        brackets = brackets.replace(b"[]", b"")
    depth = 8
    for bracket in brackets:
        depth += 1 if bracket == ord("[") else -1
        if depth > levels:
            return True
    return False
