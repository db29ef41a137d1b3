"""The counts of a day: sums for reading, and whether the four agree, which is judged commit by commit."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, hours
from airflow_pipeline_provider.views.day_cells import CommitCounts, compare_counts

DAY = hours(0, 25)
A, B = hours(0, 2), hours(2, 4)


def commit(interval: Interval, token: int, rows: int = 10, **counts: int | None) -> Entry:
    detail = {name: counts.get(name, rows) for name in ("source", "target", "distinct")}
    return Entry(Kind.COMMITTED, interval, MIDNIGHT, token, rows=rows, detail=detail)


def checked(interval: Interval, source: int, target: int, verdict: str) -> Entry:
    detail = {"source": source, "target": target, "verdict": verdict}
    return Entry(Kind.CHECKED, interval, MIDNIGHT, detail=detail)


TWO = [commit(A, 1), commit(B, 2)]
GREW, SHRANK = checked(A, 12, 10, "grew"), checked(B, 8, 10, "shrank")


@pytest.mark.parametrize(
    ("entries", "sums", "equal"),
    [
        pytest.param([], (None, None, None, None), None, id="no commit"),
        pytest.param(TWO, (20, 20, 20, 20), True, id="each window agrees"),
        pytest.param([*TWO, GREW], (22, 20, 20, 20), False, id="one grew"),
        pytest.param([*TWO, GREW, SHRANK], (20, 20, 20, 20), False, id="one grew as much as another shrank"),
        pytest.param(
            [*TWO, GREW, SHRANK, commit(A, 3, 12), commit(B, 4, 8)],
            (20, 20, 20, 20),
            True,
            id="both were moved again",
        ),
        pytest.param(
            [*TWO, GREW, checked(A, 10, 10, "equal")], (20, 20, 20, 20), True, id="it was counted again"
        ),
        pytest.param(
            [*TWO, checked(hours(0, 4), 21, 20, "grew")],
            (20, 20, 20, 20),
            False,
            id="a check of both, which is of neither commit alone",
        ),
        pytest.param(
            [commit(A, 1, source=11), commit(B, 2, source=9)],
            (20, 20, 20, 20),
            False,
            id="rows in quarantine, and rows that left the source",
        ),
        pytest.param(
            [commit(A, 1), commit(B, 2, distinct=None)], (20, 20, 20, None), None, id="one is not known"
        ),
        pytest.param(
            [commit(A, 1), commit(B, 2, source=9, distinct=None)],
            (19, 20, 20, None),
            False,
            id="one is not known, and others differ",
        ),
        pytest.param(
            [*TWO, commit(hours(1, 3), 3)], (None, None, None, None), None, id="parts were replaced"
        ),
        pytest.param(
            [commit(hours(-2, 2), 1)], (None, None, None, None), None, id="it began on the day before"
        ),
    ],
)
def test_equal_sums_are_no_proof(entries: list[Entry], sums: tuple[Any, ...], equal: bool | None) -> None:
    assert compare_counts(entries, DAY) == (CommitCounts(*sums), equal)
