"""Write the tables of docs/reliability.md, each between `<!-- NAME: … -->` and `<!-- end of NAME -->`."""

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
MATRIX, KILLS = "crash matrix", "random kills"
KILLS_HEAD = (
    "backends",
    "pipeline",
    "windows",
    "rows",
    "kills",
    "runs to the end",
    "rows that differ",
    "seed",
)


@dataclass
class Tally:
    """The number of crashes that were survived, and of all."""

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
    """The results of a session: `matrix` maps (column, point) to crashes, `kills` are rows of the other table."""

    matrix: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    kills: list[tuple[str, ...]] = field(default_factory=list)

    def add_cells(self, column: str, cells: Sequence[Cell]) -> None:
        for cell in cells:
            self.matrix[column, cell.point].add(not cell.problems)

    def write(self, page: Path = PAGE) -> None:
        """Rewrite the columns and rows of this session; all others stay as they are."""
        if self.matrix:
            replace_table(page, MATRIX, self.matrix_table(table_of(page, MATRIX)))
        if self.kills:
            replace_table(page, KILLS, self.kills_table(table_of(page, KILLS)))

    def matrix_table(self, old: list[list[str]]) -> str:
        columns = {name: self._cells(name) for name in {name for name, _ in self.matrix}}
        if [line[0] for line in old[2:-1]] == [f"`{point}`" for point in POINTS]:
            for i, head in enumerate(old[0][2:], 2):
                columns.setdefault(head.replace("<br>", " "), [line[i] for line in old[2:]])
        names = sorted(columns, key=_column)
        meanings = [*((f"`{point}`", meaning) for point, meaning in POINTS.items()), ("all", "")]
        rows = [(*meaning, *(columns[name][i] for name in names)) for i, meaning in enumerate(meanings)]
        heads = (name.replace("× ", "×<br>") for name in names)
        return table(("point", "the process crashes when", *heads), rows)

    def _cells(self, name: str) -> list[str]:
        """Return a column: a cell for each point, then the sum."""
        tallies = [self.matrix[name, point] for point in POINTS]
        total = Tally(sum(t.survived for t in tallies), sum(t.total for t in tallies))
        return [str(tally) for tally in (*tallies, total)]

    def kills_table(self, old: list[list[str]]) -> str:
        rows = {(line[0], line[1]): tuple(line) for line in old[2:]}
        rows |= {(line[0], line[1]): line for line in self.kills}
        return table(KILLS_HEAD, [rows[key] for key in sorted(rows)])


def _column(name: str) -> tuple[int, str]:
    names = [*COMBINATIONS, name]
    return names.index(name), name


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_table(page: Path, name: str, text: str) -> None:
    """Put `text` between the markers of `name`; raise ValueError for a page without them."""
    between = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    content, found = between.subn(lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"{page.name}: expected one pair of markers for {name!r}, found {found}")
    page.write_text(content, encoding="utf-8")


def table_of(page: Path, name: str) -> list[list[str]]:
    """Return the cells of a table on the page, its two head lines first."""
    between = re.compile(rf"<!-- {name}: [^\n]*-->\n(.*?)<!-- end of {name} -->", re.DOTALL)
    [text] = between.findall(page.read_text(encoding="utf-8"))
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in text.strip().splitlines()]
