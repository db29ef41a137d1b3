"""Three shapes of documents: tiny and flat, usual log lines, large and nested.

Each is a function of the document's row in a block.  `benchmarks/documents.py` puts the number into `sequence`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

TIME_FIELD = "@timestamp"
SEQUENCE_FIELD = "event.sequence"

TINY, USUAL, NESTED = "tiny", "usual", "nested"

_LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR")
_SERVICES = ("checkout", "größenrechner", "поиск", "在庫", "auth", "billing", "e-mail", "catalogue")
_WORDS = (
    "request", "accepted", "für", "Straße", "покупка", "注文", "completed", "after", "retry", "of",
    "upstream", "naïve", "😀", "cache", "miss", "\"quoted\"", "path\\to", "tab\there", "customer", "ñandú", "closed",
)  # fmt: skip

Build = Callable[[random.Random, str], dict[str, Any]]  # (random numbers, time) -> document, its sequence 0


class Shape(NamedTuple):
    build: Build
    documents: float  # for each of `--docs`, so that every shape has about as many bytes

    def scale(self, docs: int) -> int:
        """Return how many documents are moved where `docs` of the usual ones are, a multiple of 8."""
        return max(8, int(docs * self.documents) // 8 * 8)


def tiny(rng: random.Random, time: str) -> dict[str, Any]:
    """Return a flat document of about 96 bytes."""
    return {
        TIME_FIELD: time,
        SEQUENCE_FIELD: 0,
        "level": rng.choice(_LEVELS),
        "code": rng.randrange(10),
    }


def usual(rng: random.Random, time: str) -> dict[str, Any]:
    """Return a log line of about 555 bytes."""
    document: dict[str, Any] = {
        TIME_FIELD: time,
        "event": {"sequence": 0, "kind": "log", "took_ms": rng.randrange(1, 900_000) / 1000 + 0.0005},
        "level": rng.choice(_LEVELS),
        "message": " ".join(rng.choices(_WORDS, k=rng.randrange(9, 30))),
        "service": {"name": rng.choice(_SERVICES), "version": f"{rng.randrange(9)}.{rng.randrange(40)}"},
        "host": {
            "name": f"node-{rng.randrange(400):03}",
            "ip": [f"10.0.{rng.randrange(256)}.{rng.randrange(256)}"],
        },
    }
    if rng.random() < 0.7:
        document["http"] = {
            "request": {"method": rng.choice(("GET", "POST")), "id": f"{rng.getrandbits(64):016x}"},
            "response": {"status": rng.choice((200, 200, 201, 404, 503)), "bytes": rng.randrange(10**6)},
        }
    if rng.random() < 0.5:
        document["user"] = {"id": rng.randrange(10**9), "name": rng.choice(("Ødegård", "Иван", "Ana", None))}
    if rng.random() < 0.8:
        document["trace"] = {"id": f"{rng.getrandbits(128):032x}", "sampled": rng.random() < 0.1}
    if rng.random() < 0.3:
        document["labels"] = {
            "team": "ops",
            "région": "Île-de-France",
            "empty": "",
            "flags": [1, 2.5, True, None],
        }
    return document


def nested(rng: random.Random, time: str) -> dict[str, Any]:
    """Return an order of about 1.65 KB: objects in lists in objects."""
    return {
        TIME_FIELD: time,
        "event": {"sequence": 0, "kind": "order", "outcome": rng.choice(("paid", "refused", "cancelled"))},
        "level": rng.choice(_LEVELS),
        "service": {"name": rng.choice(_SERVICES), "version": f"{rng.randrange(9)}.{rng.randrange(40)}"},
        "customer": {
            "id": f"{rng.getrandbits(64):016x}",
            "name": rng.choice(("Ødegård", "Иван", "Ana", None)),
            "address": {
                "city": rng.choice(("Zürich", "東京", "Lagos", "São Paulo")),
                "geo": {"lat": _fraction(rng, 90), "lon": _fraction(rng, 180)},
            },
            "segments": rng.sample(_SERVICES, k=rng.randrange(1, 4)),
        },
        "cart": {"currency": "EUR", "items": [_item(rng) for _ in range(rng.randrange(3, 7))]},
        "http": {
            "request": {
                "method": "POST",
                "headers": [
                    {"name": f"x-{rng.choice(_SERVICES[4:])}", "value": f"{rng.getrandbits(96):024x}"}
                    for _ in range(rng.randrange(3, 6))
                ],
            },
            "response": {"status": rng.choice((200, 200, 201, 404, 503)), "bytes": rng.randrange(10**6)},
        },
        "trace": {
            "id": f"{rng.getrandbits(128):032x}",
            "spans": [_span(rng, depth=rng.randrange(1, 4)) for _ in range(2)],
        },
        "message": " ".join(rng.choices(_WORDS, k=rng.randrange(9, 30))),
    }  # fmt: skip


def _item(rng: random.Random) -> dict[str, Any]:
    return {
        "sku": f"{rng.getrandbits(40):010x}",
        "quantity": rng.randrange(1, 9),
        "price": {"amount": _fraction(rng, 900), "tax": {"rate": 0.19, "included": True}},
        "tags": rng.choices(_WORDS, k=rng.randrange(0, 3)),
    }


def _span(rng: random.Random, depth: int) -> dict[str, Any]:
    inner = [_span(rng, depth - 1)] if depth > 1 else []
    return {"id": f"{rng.getrandbits(64):016x}", "ms": _fraction(rng, 1000), "children": inner}


def _fraction(rng: random.Random, most: int) -> float:
    """Return a number that is never whole: JavaScript writes 1.0 as 1."""
    return rng.randrange(1, most * 1000) / 1000 + 0.0005


SHAPES = {TINY: Shape(tiny, 2.0), USUAL: Shape(usual, 1.0), NESTED: Shape(nested, 0.3)}
