"""The tables of docs/reliability.md; each stands between `<!-- NAME: … -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_pipeline_provider.fault_points import POINTS

from .backends import COMBINATIONS
from .matrix import Cell

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"


@dataclass
class Tally:
    """Deaths survived, of all."""

    survived: int = 0
    total: int = 0

    def add(self, survived: bool) -> None:
        self.survived += survived
        self.total += 1

    def __str__(self) -> str:
        if not self.total:
            return "–"
        text = f"{self.survived}/{self.total}"
        return text if self.survived == self.total else f"**{text}**"


@dataclass
class Results:
    """What one session tried.  `matrix`: (column, point) -> deaths; `kills`: rows of the table of random kills."""

    matrix: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    kills: list[tuple[str, ...]] = field(default_factory=list)

    def add_cells(self, column: str, cells: Sequence[Cell]) -> None:
        for cell in cells:
            self.matrix[column, cell.point].add(not cell.problems)

    def write(self, page: Path = PAGE) -> None:
        """Rewrite the tables for which there is something new."""
        if self.matrix:
            replace_table(page, "kill matrix", self.matrix_table())
        if self.kills:
            head = (
                "backends",
                "pipeline",
                "windows",
                "rows",
                "kills",
                "runs to the end",
                "rows that differ",
                "seed",
            )
            replace_table(page, "random kills", table(head, self.kills))

    def matrix_table(self) -> str:
        names = sorted({name for name, _ in self.matrix}, key=_column)
        rows = [
            (f"`{point}`", meaning, *(str(self.matrix[name, point]) for name in names))
            for point, meaning in POINTS.items()
        ]
        sums = []
        for name in names:
            tallies = [self.matrix[name, point] for point in POINTS]
            sums.append(str(Tally(sum(t.survived for t in tallies), sum(t.total for t in tallies))))
        head = ("point", "the process dies when", *(name.replace(" × ", " ×<br>") for name in names))
        return table(head, [*rows, ("all", "", *sums)])


def _column(name: str) -> tuple[int, str]:
    names = [*COMBINATIONS, name]
    return names.index(name), name


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_table(page: Path, name: str, text: str) -> None:
    """Put `text` between the markers of `name`; a page without them is an error."""
    between = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    content, found = between.subn(lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"{page.name}: expected one pair of markers for {name!r}, found {found}")
    page.write_text(content, encoding="utf-8")


def table_of(page: Path, name: str) -> list[list[str]]:
    """The cells of a table on the page, its two head lines first."""
    between = re.compile(rf"<!-- {name}: [^\n]*-->\n(.*?)<!-- end of {name} -->", re.DOTALL)
    [text] = between.findall(page.read_text(encoding="utf-8"))
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.strip().splitlines()]
