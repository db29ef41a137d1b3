"""Name columns after their paths: valid on every target, and unique whatever the case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from airflow_pipeline_provider.core.columns import CHILD_COLUMNS, SIBLINGS, VIEW_COLUMNS

LONGEST_NAME = 63  # bytes of a name in PostgreSQL
RESERVED = {*VIEW_COLUMNS, *CHILD_COLUMNS, *SIBLINGS}
_OTHER = re.compile(r"[^A-Z0-9]+")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Names:
    """The names given so far; `taken` are names of columns that exist already."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken} | {name.casefold() for name in RESERVED}
        self._first: dict[str, str] = {}

    def give(self, path: Sequence[str], shown: str, longest: int = LONGEST_NAME) -> tuple[str, str | None]:
        """Return a new name for the path, and a sentence where another path has the plain name.

        `shown` is the path as text, which the sentence of a later collision names.
        """
        plain = _name_of(path, longest)
        name, number = plain, 1
        while name.casefold() in self._taken:
            number += 1
            suffix = f"_{number}"
            name = plain[: longest - len(suffix)] + suffix
        self._taken.add(name.casefold())
        first = self._first.setdefault(plain, shown)
        if number == 1:
            return name, None
        if first != shown:
            return name, f"the name {plain} belongs to {first}"
        return name, f"the name {plain} is in use"


def _name_of(path: Sequence[str], longest: int) -> str:
    """Return `DEP_TIME` for `dep.time` and for `depTime`; letters with accents lose them."""
    text = "_".join(_WORDS.sub("_", key) for key in path)
    plain = unicodedata.normalize("NFKD", text.upper()).encode("ascii", "ignore").decode()
    name = _OTHER.sub("_", plain).strip("_")[:longest].rstrip("_")
    if not name:
        return "FIELD"[:longest]
    return f"F_{name}"[:longest] if name[0].isdigit() else name
