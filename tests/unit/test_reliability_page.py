"""docs/reliability.md lists every fault point, and every backend recovered from a crash at each."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_pipeline_provider.fault_points import POINTS
from tests.connector_list import crash_matrix

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def table(name: str) -> list[list[str]]:
    [text] = re.findall(rf"<!-- {name}: [^\n]*-->\n(.*?)<!-- end of {name} -->", PAGE.read_text(), re.DOTALL)
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in text.splitlines()]


def test_the_matrix_names_exactly_the_points_of_the_code() -> None:
    rows = table("crash matrix")[2:-1]
    assert [(row[0], row[1]) for row in rows] == [
        (f"`{point}`", meaning) for point, meaning in POINTS.items()
    ]


def test_every_backend_survived_a_crash_at_every_point() -> None:
    head, _, *rows = table("crash matrix")
    columns = [i for i, name in enumerate(head) if "×" in name]
    states, targets = crash_matrix("state"), crash_matrix("target")
    assert {f"{state} ×<br>{target}" for state in states for target in targets} <= {head[i] for i in columns}
    counts = {
        (row[0], head[i]): [int(n) for n in row[i].strip("*").split("/")] for row in rows for i in columns
    }
    assert {where: n for where, n in counts.items() if n[0] != n[1] or n[1] == 0} == {}


def test_every_row_of_the_random_kills_is_a_match() -> None:
    head, _, *rows = table("random kills")
    differ, kills = head.index("rows that differ"), head.index("kills")
    assert {row[differ] for row in rows} == {"0"}
    assert sum(int(row[kills].replace(",", "")) for row in rows) >= 200
