"""Drop, hash or mask values of JSON documents; every byte outside of them stays as it is.

A document is never built and written again, which would change numbers, escapes and repeated keys: the values are
found in its text, and only they are replaced.  A document that is not valid JSON cannot be searched, so nothing of
it is left: its body becomes empty, and the part writer rejects an empty body.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from airflow_pipeline_provider.core.field_patterns import (
    RECORD_ID,
    KeyWalk,
    RedactRule,
    advance,
    begin,
    parse_pattern,
)
from airflow_pipeline_provider.envelope.schema import text as text_column
from airflow_pipeline_provider.envelope.schema import utf8

MASKED = "***"
_MOST_KEYS = 10_000  # remembered below one place; keys may be values, such as addresses

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_SPACE = rb"[ \t\r\n]*"
_SCALAR = rb'%s|[^ \t\r\n"{}\[\],:]+' % _STRING
_FLAT = rb'[{\[][^"{}\[\]]*(?:%s[^"{}\[\]]*)*[}\]]' % _STRING  # an object or array of scalars
_NESTED = rb'[{\[][^"{}\[\]]*(?:(?:%s|%s)[^"{}\[\]]*)*[}\]]' % (
    _STRING,
    _FLAT,
)  # or of objects or arrays of scalars
_WHOLE = re.compile(_NESTED)
# a key; a scalar and what follows it, or the bracket that opens another value
_MEMBER = re.compile(
    rb"%s(%s)%s:%s(?:(%s)%s([,}])|([{\[]))" % (_SPACE, _STRING, _SPACE, _SPACE, _SCALAR, _SPACE)
)
_NEXT = re.compile(rb"%s([,}])" % _SPACE)
_ELEMENT = re.compile(rb"[ \t\r\n,]*(?:(%s)|([{\[\]]))" % _SCALAR)
_BRACKET = re.compile(rb'[^"{}\[\]]*(?:%s[^"{}\[\]]*)*([{}\[\]])' % _STRING)
_VALID = msgspec.json.Decoder(msgspec.Raw)  # validates the document without building values
_TEXT = msgspec.json.Decoder(str)
_NUMBER_STARTS = frozenset(b"-0123456789")

_Edit = tuple[int, int, bytes]


class HashKey:
    """The secret key of hashes; `id` tells keys apart and reveals nothing of them."""

    def __init__(self, secret: bytes) -> None:
        self._begun = hmac.new(secret, digestmod="sha256")  # copied for each value: the key is hashed once
        self.id = self._digest(b"key id")[:8]

    def hashed(self, value: bytes) -> str:
        """Return `hmac:<key id>:<HMAC-SHA-256 in hexadecimal digits>`, which is equal for equal values."""
        return f"hmac:{self.id}:{self._digest(value)}"

    def _digest(self, value: bytes) -> str:
        mac = self._begun.copy()
        mac.update(value)
        return mac.hexdigest()


class Redactor:
    """Apply rules to batches of the envelope; several threads may use one."""

    def __init__(self, rules: Sequence[RedactRule], key: HashKey | None) -> None:
        if key is None and any(rule.how == "hash" for rule in rules):
            raise ValueError("rules with how: hash need a key")
        self._key = key
        self._rules = [rule for rule in rules if rule.path != RECORD_ID]
        self._patterns = [parse_pattern(rule.path) for rule in self._rules]
        self._places: dict[frozenset[tuple[int, int]], _Place] = {}
        self._root = self._place(begin(self._patterns))
        self.hashes_ids = len(self._rules) < len(rules)

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with its bodies and record ids as they may be stored; a body without JSON is empty."""
        if self._rules:
            bodies = batch.column("BODY").cast(pa.binary()).to_pylist()
            batch = _with(batch, "BODY", utf8([self.body(body) or b"" for body in bodies]))
        return self.ids(batch)

    def ids(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with its record ids as they may be stored."""
        if self.hashes_ids:
            ids = batch.column("RECORD_ID").to_pylist()
            batch = _with(batch, "RECORD_ID", text_column(map(self.record_id, ids)))
        return batch

    def record_id(self, record_id: str) -> str:
        """Return the record id as it may be stored: the hash of the whole id, or the id if no rule is for it."""
        return self._key.hashed(record_id.encode()) if self.hashes_ids and self._key else record_id

    def body(self, body: bytes) -> bytes | None:
        """Return the document as it may be stored; None if it is not valid JSON, or nested too deeply."""
        edits: list[_Edit] = []
        try:
            _VALID.decode(body)
            first = body.lstrip(b" \t\r\n")[:1]
            if first == b"{":
                self._object(body, body.index(b"{") + 1, self._root, edits)
            elif first == b"[":
                self._array(body, body.index(b"[") + 1, self._root, edits)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        if not edits:
            return body
        pieces: list[bytes] = []
        copied = 0
        for start, end, replacement in edits:
            pieces += (body[copied:start], replacement)
            copied = end
        pieces.append(body[copied:])
        return b"".join(pieces)

    # --- the walk; positions are offsets into the document

    def _object(self, body: bytes, at: int, place: _Place, edits: list[_Edit]) -> int:
        """Collect the edits of an object from behind its `{` on; return the position behind its `}`."""
        kept = False  # whether a member before this one stays, and with it the comma between them
        while True:
            if place.others is not None and (passed := _found(place.others.match(body, at)).end()) > at:
                kept, at = True, passed
            member = _MEMBER.match(body, at)
            if member is None:
                return _end_of_empty(body, at)
            below, rule = place.below.get(member[1]) or self._below(place, member[1])
            opened = member.start(4)
            if opened < 0:
                start, end, after, closing = member.start(2), member.end(2), member.end(), member[3]
            else:
                start = opened
                if below is not None:
                    walk = self._object if member[4] == b"{" else self._array
                    end = walk(body, opened + 1, below, edits)
                else:
                    end = _skip(body, opened + 1)
                following = _found(_NEXT.match(body, end))
                after, closing = following.end(), following[1]
            if rule is None:
                kept = True
            elif rule.how != "drop":
                self._replace(body, start, end, rule, edits)
                kept = True
            elif kept:
                edits.append((at - 1, end, b""))
            else:
                edits.append((at, after if closing == b"," else end, b""))
            if closing == b"}":
                return after
            at = after

    def _array(self, body: bytes, at: int, place: _Place, edits: list[_Edit]) -> int:
        """Collect the edits of the objects in an array from behind its `[` on; return the position behind its `]`."""
        while True:
            bracket = _found(_BRACKET.match(body, at))
            at = bracket.end()
            if bracket[1] == b"]":
                return at
            walk = self._object if bracket[1] == b"{" else self._array
            at = walk(body, at, place, edits)

    def _replace(self, body: bytes, start: int, end: int, rule: RedactRule, edits: list[_Edit]) -> None:
        """Replace a value, or each element of an array; null stays."""
        if body[start : start + 1] != b"[":
            value = body[start:end]
            if value != b"null":
                edits.append((start, end, self._redacted(value, rule)))
            return
        at, depth = start + 1, 1
        while depth:
            element = _found(_ELEMENT.match(body, at))
            at = element.end()
            if element[2] == b"[":
                depth += 1
            elif element[2] == b"]":
                depth -= 1
            else:
                group = 2 if element[2] else 1
                at = _skip(body, at) if element[2] else at
                self._replace(body, element.start(group), at, rule, edits)

    def _redacted(self, value: bytes, rule: RedactRule) -> bytes:
        is_text = value.startswith(b'"')
        if rule.how == "hash" and self._key is not None:
            plain = _TEXT.decode(value).encode() if is_text else _hashed_text(value)
            return b'"%s"' % self._key.hashed(plain).encode()
        shown = ""
        if rule.keep and (is_text or value[0] in _NUMBER_STARTS):
            whole = _TEXT.decode(value) if is_text else value.decode()
            shown = whole[-rule.keep :] if len(whole) >= 2 * rule.keep else ""
        return msgspec.json.encode(MASKED + shown)

    # --- places in documents, each found once

    def _place(self, step: KeyWalk) -> _Place:
        place = self._places.get(step.positions)
        if place is None:
            place = self._places[step.positions] = _Place(step, self._others(step))
        return place

    def _others(self, step: KeyWalk) -> re.Pattern[bytes] | None:
        """Return an expression that passes members which no rule is for, many at once; None for wildcards."""
        wanted = {self._patterns[number][at] for number, at in step.positions}
        if any("*" in key for key in wanted):
            return None
        names = b"|".join(re.escape(key.encode()) for key in sorted(wanted))
        # a key that is escaped somehow is not passed, nor one that begins like a wanted one and continues with a dot
        key = rb'"(?!(?:%s)["\\.])[^"\\]*"' % names
        value = rb"(?:%s|%s)" % (_SCALAR, _NESTED)
        return re.compile(rb"(?:%s%s%s:%s%s%s,)*" % (_SPACE, key, _SPACE, _SPACE, value, _SPACE))

    def _below(self, place: _Place, key: bytes) -> tuple[_Place | None, RedactRule | None]:
        step = advance(self._patterns, place.step, _TEXT.decode(key))
        found: tuple[_Place | None, RedactRule | None] = (None, None)
        if step.reached is not None:
            found = (None, self._rules[step.reached])
        elif step.positions:
            found = (self._place(step), None)
        if len(place.below) >= _MOST_KEYS:
            place.below.clear()
        place.below[key] = found
        return found


class _Place:
    """A place in documents: what is below each key, as the key is written; `others` passes what no rule is for."""

    __slots__ = ("below", "others", "step")

    def __init__(self, step: KeyWalk, others: re.Pattern[bytes] | None) -> None:
        self.step, self.others = step, others
        self.below: dict[bytes, tuple[_Place | None, RedactRule | None]] = {}


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    columns = [column if field.name == name else batch.column(field.name) for field in batch.schema]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _found(match: re.Match[bytes] | None) -> re.Match[bytes]:
    if match is None:
        raise ValueError("not JSON")
    return match


def _end_of_empty(body: bytes, at: int) -> int:
    following = _found(_NEXT.match(body, at))
    if following[1] != b"}":
        raise ValueError("not JSON")
    return following.end()


def _skip(body: bytes, at: int) -> int:
    """Return the position behind the value whose opening bracket was read."""
    whole = _WHOLE.match(body, at - 1)
    if whole is not None:
        return whole.end()
    depth = 1
    while depth:
        bracket = _found(_BRACKET.match(body, at))
        depth += 1 if bracket[1] in b"{[" else -1
        at = bracket.end()
    return at


class _NumberText(str):
    """The text of a number, which must not become a float."""

    __slots__ = ()


def _hashed_text(value: bytes) -> bytes:
    """Return a value as JSON without spaces, with sorted keys and plain characters; numbers as they are written.

    Not the form of `canonical_json`, where 1.0 equals 1: users compute this one themselves, so it must never change.
    """
    if value[:1] not in b"{[":
        return value
    found = json.loads(value, parse_int=_NumberText, parse_float=_NumberText, object_pairs_hook=_sorted_pairs)
    return _written(found).encode()


def _sorted_pairs(pairs: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """Return the members in the order of their keys; of a repeated key all stay, in their order."""
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _written(value: Any) -> str:
    if isinstance(value, _NumberText):
        return str(value)
    if isinstance(value, tuple):
        return "{" + ",".join(f"{_quoted(key)}:{_written(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
