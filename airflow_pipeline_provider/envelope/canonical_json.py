"""Digest the content of a JSON document, whatever a database does to its text: key order, white space, digits.

Numbers are equal if their values are.  A database that stores a number as a double keeps 15 significant digits, so a
document with a longer one, or with a key twice in one object, can be proven equal and never proven different.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

DOUBLE_DIGITS = 15  # significant ones that every double keeps
DOUBLE_EXPONENT = 300  # of ten, that every double has
INTEGER_DIGITS = 38  # of an integer that Snowflake stores exactly

Digest = tuple["bytes | None", bool]
"""The digest of a content, None where it cannot be read, and whether another digest proves that it differs."""


class _Number(NamedTuple):
    text: str
    exact: bool


class _Object(NamedTuple):
    members: dict[str, Any]
    repeats: bool


def digest_of_bytes(body: bytes) -> Digest:
    """Return the SHA-256 of a document that the target keeps byte for byte."""
    return hashlib.sha256(body).digest(), True


def digest_of_json(body: bytes | str) -> Digest:
    """Return the SHA-256 of the document's content."""
    try:
        value = json.loads(
            body,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse,
            object_pairs_hook=_object,
        )
        proves = [True]
        text: list[str] = []
        _write(value, text, proves)
    except (ValueError, RecursionError):
        return None, False
    return hashlib.sha256("".join(text).encode()).digest(), proves[0]


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _number(text: str) -> _Number:
    """Return a number as sign, significant digits and exponent, with its zeros on either side removed."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return _Number("0", True)
    exponent = int(power or 0) - len(fraction) + len(digits) - len(significant)
    magnitude = exponent + len(significant)
    exact = len(significant) <= DOUBLE_DIGITS and abs(magnitude) <= DOUBLE_EXPONENT
    plain_integer = not power and not fraction and len(digits) <= INTEGER_DIGITS
    sign = "-" if text.startswith("-") else ""
    return _Number(f"{sign}{significant}e{exponent}", exact or plain_integer)


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    members = dict(pairs)
    return _Object(members, len(members) < len(pairs))


def _write(value: Any, text: list[str], proves: list[bool]) -> None:
    """Append the value's canonical text; set `proves` to False at what a database may change."""
    if isinstance(value, _Object):
        proves[0] = proves[0] and not value.repeats
        text.append("{")
        for key in sorted(value.members):
            text.append(f"{encode_basestring_ascii(key)}:")
            _write(value.members[key], text, proves)
            text.append(",")
        text.append("}")
    elif isinstance(value, _Number):
        proves[0] = proves[0] and value.exact
        text.append(value.text)
    elif isinstance(value, list):
        text.append("[")
        for one in value:
            _write(one, text, proves)
            text.append(",")
        text.append("]")
    else:
        text.append(encode_basestring_ascii(value) if isinstance(value, str) else json.dumps(value))
