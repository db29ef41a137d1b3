"""The source in memory meets its contract, and its faults occur on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import pytest

from airflow_pipeline_provider.connectors.base import Identity, Slice
from airflow_pipeline_provider.exceptions import SnapshotLostError, TransientError
from airflow_pipeline_provider.testing.source_kit import (
    START,
    WINDOW,
    Expected,
    KitRow,
    Loaded,
    SnapshotConformance,
    read_all,
)
from tests.doubles.memory_source import MemorySource


def make(table: str) -> MemorySource:
    return MemorySource(
        MemorySource.Options(type="memory", table=table, page_size=50), Identity("kit", "UTC")
    )


@pytest.fixture(autouse=True)
def no_tables() -> Iterator[None]:
    MemorySource.clear()
    yield
    MemorySource.clear()


class TestMemorySource(SnapshotConformance):
    @pytest.fixture
    def load(self) -> Callable[[Sequence[KitRow]], Loaded]:
        def load(rows: Sequence[KitRow]) -> Loaded:
            table = MemorySource.table("kit")
            table.rows.clear()
            for row in rows:
                table.put(row.key, row.event_time, json.dumps({"text": row.text}))
            expected = {
                row.key: Expected(row.event_time, json.dumps({"text": row.text}))
                for row in rows
                if row.event_time
            }

            def update_all() -> None:
                for row in list(table.rows.values()):
                    table.put(*row)

            return Loaded(make("kit"), expected, table.rows.clear, update_all)

        return load

    @pytest.fixture
    def missing(self) -> MemorySource:
        return make("nowhere")


@pytest.mark.parametrize("rows", [10, 120], ids=["one page", "several pages"])
def test_a_lost_snapshot_occurs_once(rows: int) -> None:
    table = MemorySource.table("t")
    for i in range(rows):
        table.put(str(i), START)
    table.lose_snapshots = 1
    with pytest.raises(SnapshotLostError):
        read_all(make("t"), WINDOW)
    assert sum(batch.num_rows for batch in read_all(make("t"), WINDOW)) == rows
    assert (table.opened, table.open_now) == (2, 0)


def test_failed_pages_and_counts_occur_once_each() -> None:
    table = MemorySource.table("t")
    table.put("1", "2013-11-03T05:00:00Z")
    table.fail_pages = table.fail_counts = 1
    with pytest.raises(TransientError, match="page"):
        read_all(make("t"), WINDOW)
    with pytest.raises(TransientError, match="count"):
        make("t").count(WINDOW)
    assert make("t").count(WINDOW) == 1
    assert sum(batch.num_rows for batch in read_all(make("t"), WINDOW)) == 1


def test_rows_move_between_windows() -> None:
    table = MemorySource.table("t")
    table.put("1", START)
    assert make("t").count(WINDOW) == 1
    table.put("1", WINDOW.end)
    assert make("t").count(WINDOW) == 0
    table.delete("1")
    assert table.rows == {}


def test_on_page_runs_before_each_page() -> None:
    table = MemorySource.table("t")
    for i in range(101):
        table.put(str(i), START)
    pages: list[int] = []
    table.on_page = lambda: pages.append(1)
    with make("t").open(Slice(0, 1, WINDOW)) as (rows,):
        assert [batch.num_rows for batch in rows] == [50, 50, 1]
    assert len(pages) == 3
