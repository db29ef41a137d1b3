"""Read pages that hold documents nested deeper than the JSON parser goes.

Older servers store documents of any depth.  The parser recurses and refuses about 1,000 levels; here a page is walked
token by token, without recursion, which is slow and so only done for such a page.
"""

from __future__ import annotations

import re

LEVELS = 200  # deeper documents are taken out of the page
_HIT_LEVEL = 4  # of a document: {"hits": {"hits": [{
_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?|[{}\[\]]', re.DOTALL)


def lift_deep_sources(body: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Return the page with `{}` in place of each deep `_source`, and these by the number of their hit."""
    path: list[bytes] = []  # the key before each bracket that is open
    key, number, start, deepest, copied = b"", -1, None, 0, 0
    pieces: list[bytes] = []
    lifted: dict[int, bytes] = {}
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first == ord('"'):
            if token[2] and len(path) <= _HIT_LEVEL:
                key = token[1]
        elif first in b"{[":
            path.append(key)
            deepest = max(deepest, len(path))
            if len(path) == _HIT_LEVEL and path[1:3] == [b"hits", b"hits"]:
                number += 1
            elif len(path) == _HIT_LEVEL + 1 and path[1:3] == [b"hits", b"hits"] and key == b"_source":
                start, deepest = token.start(), len(path)
        elif path:
            path.pop()
            if start is not None and len(path) == _HIT_LEVEL:
                if deepest > LEVELS + _HIT_LEVEL:
                    lifted[number] = body[start : token.end()]
                    pieces += [body[copied:start], b"{}"]
                    copied = token.end()
                start = None
    return b"".join([*pieces, body[copied:]]), lifted
