"""Passwords that are looked for in everything that a pipeline writes.

Each has a core of letters and digits that every encoding but base64 leaves alone, between characters that URLs, JSON,
shells and HTML escape; base64 is looked for at its three alignments.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Canary:
    """`name` says whose password it is."""

    name: str
    core: str

    @property
    def password(self) -> str:
        return f"p@/{self.core}:&=+%41\"'<é> #?\\"

    @property
    def plain(self) -> str:
        """For those who take letters and digits alone."""
        return f"Key{self.core}"

    @property
    def traces(self) -> set[str]:
        """What shows that a text holds it; compared without regard to case, but for base64."""
        found = {self.core}
        for before in ("", "x", "xx"):
            encoded = base64.b64encode(f"{before}{self.core}".encode()).decode()
            # the first characters hold what stands before, the last ones what comes after
            found.add(encoded[4 if before else 0 : -4])
        return found


def canary(name: str) -> Canary:
    return Canary(name, f"Canary{name.title().replace(' ', '')}7Qx93ZvK")


def leaks(canaries: Iterable[Canary], text: str | bytes) -> list[str]:
    """`name: …surroundings…` of each canary that the text holds in any form."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    low = text.lower()
    found = []
    for one in canaries:
        for trace in one.traces:
            at = low.find(trace.lower()) if trace == one.core else text.find(trace)
            if at >= 0:
                found.append(f"{one.name}: …{text[max(0, at - 120) : at + 60]!r}…")
                break
    return found
