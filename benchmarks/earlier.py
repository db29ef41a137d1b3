"""Read benchmarks/results.md of an earlier run, of which a narrowed run (`--only`, `--races`) keeps the rest."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

GOALS, MACHINE = "Goals", "Machine and versions"


@dataclass
class Page:
    """The parts of the page: goals by group, work and goal; the lines of a race by its group's title and its name."""

    goals: dict[tuple[str, str, str], str] = field(default_factory=dict)
    groups: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    machines: list[str] = field(default_factory=list)
    medians: dict[str, Any] = field(default_factory=dict)

    def without(self, goals_of: Iterable[str], titles: Iterable[str]) -> Page:
        """Return the page without these groups, which have been measured again as a whole."""
        skipped, titles = set(goals_of), set(titles)
        races = {race for title in titles for race in self.groups.get(title, ())}
        return Page(
            {key: row for key, row in self.goals.items() if key[0] not in skipped},
            {title: found for title, found in self.groups.items() if title not in titles},
            self.machines,
            {race: found for race, found in self.medians.items() if race not in races},
        )

    def with_goals_of(self, group: str, keys: Collection[tuple[str, str, str]]) -> Page:
        """Return the page with only these goals of the group; a goal that it no longer has is removed."""
        goals = {key: row for key, row in self.goals.items() if key[0] != group or key in keys}
        return replace(self, goals=goals)


def read(path: Path) -> Page:
    """Return the parts of the page and of its JSON file; an empty page if there is none yet."""
    page = Page()
    if not path.exists():
        return page
    for section in path.read_text().split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        if title == GOALS:
            rows = [line for line in body.splitlines() if line.startswith("| ")][1:]
            page.goals = {goal_key(row): row for row in rows}
        elif title == MACHINE:
            page.machines = [line for line in body.splitlines() if line.startswith("- ")]
        else:
            races = (race.partition("\n") for race in body.split("\n### ")[1:])
            page.groups[title] = {race: lines.strip().splitlines() for race, _, lines in races}
    page.medians = json.loads(path.with_suffix(".json").read_text())
    return page


def goal_key(row: str) -> tuple[str, str, str]:
    """Return what a row of the table of goals is about: its group, work and goal."""
    group, work, goal = (cell.strip() for cell in row.split("|")[1:4])
    return group, work, goal
