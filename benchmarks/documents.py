"""The documents that every contestant moves, in the shapes of benchmarks/shapes.py; the same ones for the same seed.

Document `i` (0, 1, ...) has the number START_MILLIS + i; its id is `log-<number>`, its `event.sequence` the number,
and its `@timestamp` the number taken as milliseconds and floored to 8.  So eight documents share a time, and a range
of times is a range of documents.  All else repeats itself every 10,000 documents.

`Lines` writes ranges of them in any form, several million a second, in the memory of one block: what changes from
block to block is marked by a byte that is replaced by its digits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import Any

from benchmarks.shapes import SHAPES, TIME_FIELD, USUAL, Build

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
START_MILLIS = int(START.timestamp()) * 1000
BLOCK = 10_000  # documents, and milliseconds
PIECE = 1_000  # documents written at once: text that stays in the cache, seven times as fast as whole pages
MOST = 86_400_000  # one a millisecond of a day
SAME_TIME = 8

NUMBER, CLOCK, PADDING = b"\x01", b"\x02", b"\x03"  # all but the last four digits of a number; `hh:mm:s`

MAPPING = {
    "settings": {"number_of_replicas": 0, "refresh_interval": "-1"},
    "mappings": {
        "dynamic": False,
        "properties": {
            TIME_FIELD: {"type": "date"},
            "event": {"properties": {"sequence": {"type": "long"}}},
            "level": {"type": "keyword"},
            "service": {"properties": {"name": {"type": "keyword"}}},
        },
    },
}


def interval(docs: int) -> tuple[datetime, datetime]:
    """The half-open range of times that holds exactly the first `docs` documents."""
    if docs % SAME_TIME or not 0 < docs <= MOST:
        raise ValueError(f"expected a multiple of {SAME_TIME} documents, at most {MOST:,}, got {docs:,}")
    return START, START + timedelta(milliseconds=docs)


def time_query(docs: int) -> dict[str, Any]:
    """The same range in Elasticsearch's words."""
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z" for moment in interval(docs))
    return {"range": {TIME_FIELD: {"gte": start, "lt": end}}}


class Lines:
    """Documents `first` to `first + count` as one text, each by `form(number, millis, source)`.

    The texts that `form` is given hold marks instead of some digits, so it may only put them somewhere.  `padding`
    bytes of text are added to each document.
    """

    def __init__(
        self,
        form: Callable[[bytes, bytes, bytes], bytes],
        shape: str = USUAL,
        seed: int = 5,
        padding: int = 0,
    ) -> None:
        rng, build = random.Random(seed), SHAPES[shape].build
        lines = [
            form(_number(row), _number(_floored(row)), _source(build, rng, row, bool(padding)))
            for row in range(BLOCK)
        ]
        self._padding = _padding(rng, padding)
        self._text = b"".join(lines)
        self._ends = [0, *accumulate(map(len, lines))]
        self.mean_bytes = len(self._text) // BLOCK + padding

    def write(self, first: int, count: int) -> Iterator[bytes]:
        """In pieces, which are whole documents as long as there is no padding."""
        while count > 0:
            block, row = divmod(first, BLOCK)
            rows = min(count, BLOCK - row, PIECE)
            text = self._text[self._ends[row] : self._ends[row + rows]]
            clock = START + timedelta(milliseconds=block * BLOCK)
            text = text.replace(NUMBER, b"%d" % (START_MILLIS // BLOCK + block))
            yield from self._padded(text.replace(CLOCK, f"{clock:%H:%M:%S}"[:-1].encode()))
            first, count = first + rows, count - rows

    def _padded(self, text: bytes) -> Iterator[bytes]:
        if not self._padding:
            yield text
            return
        first, *others = text.split(PADDING)
        yield first
        for other in others:
            yield self._padding
            yield other


def _number(row: int) -> bytes:
    return NUMBER + b"%04d" % row


def _floored(row: int) -> int:
    return row - row % SAME_TIME


def _padding(rng: random.Random, size: int) -> bytes:
    """Words that compress about as well as text does."""
    words = [f"{rng.getrandbits(32):x}" for _ in range(min(size, 50_000))]
    text, room = " ".join(words), size
    pieces = []
    while room > 0:
        pieces.append(text[:room])
        room -= len(pieces[-1])
    return "".join(pieces).encode()


def _source(build: Build, rng: random.Random, row: int, padded: bool) -> bytes:
    floored = f"{_floored(row):04}"
    document = build(rng, f"{START:%Y-%m-%d}T\x02{floored[0]}.{floored[1:]}Z")
    if padded:
        document["padding"] = "\x03"
    text = json.dumps(document, ensure_ascii=rng.random() < 0.1, separators=(",", ":"))
    text = text.replace("\\u0002", "\x02").replace("\\u0003", "\x03")
    return text.encode().replace(b'sequence":0', b'sequence":' + _number(row))
