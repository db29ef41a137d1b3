"""Suggest the known names that resemble a misspelled one."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> str | None:
    """Return "did you mean 'a' or 'b'?" with the most similar known names, None if no name is similar.

    Letter case, and the difference between hyphens, spaces and underscores, do not count. `cutoff` is the least
    similarity, from 0 (any name) to 1 (the same name).
    """
    import difflib  # imported here because only a misspelled name needs it

    names = {_normalized(candidate): candidate for candidate in sorted(known)}
    matches = difflib.get_close_matches(_normalized(name), names, n=count, cutoff=cutoff)
    return f"did you mean {' or '.join(repr(names[match]) for match in matches)}?" if matches else None


def _normalized(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
