"""Kill `columns apply` at each of its points over many windows, while others load, and let it continue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.core.columns import Column, parse_type
from airflow_pipeline_provider.fault_points import ACTION_POINTS
from airflow_pipeline_provider.testing import faults
from airflow_pipeline_provider.testing.sample_rows import Loader, Row, hours

pytestmark = pytest.mark.integration

WINDOWS, ROWS = 36, 3
OF_SNOWFLAKE = {"columns.altered"}
POINTS = [point for point in ACTION_POINTS if point.startswith("columns.") and point not in OF_SNOWFLAKE]
LOAD_POINTS = ("load.fence_taken", "load.deleted", "load.copied", "load.commit_row_written")
BEFORE = Identity("flights", "UTC", columns=(Column("n", ("n",), parse_type("integer")),))
AFTER = Identity("flights", "UTC", columns=(Column("n", ("n",), parse_type("integer"), physical=True),))


class Warehouse:
    """A DuckDB file and a stage."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "warehouse.duckdb"
        options = ObjectStoreStage.Options(type="object_store", path=str(folder / "stage"))
        self.stage = ObjectStoreStage(options, Identity("flights", "UTC"))
        self.expected: dict[str, int | None] = {}

    def target(self, identity: Identity) -> DuckDBTarget:
        return DuckDBTarget(
            DuckDBTarget.Options(type="duckdb", path=str(self.path), table="flights"), identity
        )

    def load(self, identity: Identity, windows: range, token: int) -> None:
        target = self.target(identity)
        loader = Loader(lambda _: target, self.stage)
        target.prepare()
        for n in windows:
            values = [n * 10 + i if i else None for i in range(ROWS)]  # NULL is a value
            found = {
                f"r{n:03}-{i}": None if value is None else value + token for i, value in enumerate(values)
            }
            at = hours(n, n + 1).start
            rows = [
                Row(name, at, "{}" if value is None else f'{{"n": {value}}}') for name, value in found.items()
            ]
            target.load(loader.manifest(hours(n, n + 1), rows, token=token), self.stage)
            self.expected |= found
        target.close()

    def apply(self) -> list[str]:
        target = self.target(AFTER)
        try:
            return target.apply_columns()
        finally:
            target.close()

    def read(self, query: str) -> dict[str, int | None]:
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return dict(connection.execute(query).fetchall())

    def view(self) -> dict[str, int | None]:
        return self.read("SELECT record_id, n FROM flights_typed")

    def table(self) -> dict[str, int | None]:
        return self.read("SELECT record_id, n FROM flights")


def killed(work: Callable[[], object], point: str, visit: int) -> bool:
    """Run in a process of its own that ends in mid-work at a visit of the point; return whether it did."""
    child = os.fork()
    if child == 0:
        try:
            with faults.hooked(faults.at(point, visit, faults.kill_process)):
                work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == faults.EXIT_CODE


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Load the past once; each test gets a copy."""
    made = Warehouse(tmp_path_factory.mktemp("past"))
    made.load(BEFORE, range(WINDOWS), token=1)
    return made


@pytest.fixture
def warehouse(past: Warehouse, tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path)
    shutil.copy(past.path, made.path)
    made.expected = dict(past.expected)
    return made


@pytest.mark.parametrize("point", POINTS)
def test_a_rerun_fills_every_row_after_a_kill_at_each_point(warehouse: Warehouse, point: str) -> None:
    assert killed(warehouse.apply, point, 1)
    assert warehouse.view() == warehouse.expected
    warehouse.load(AFTER, range(2), token=2)
    warehouse.load(BEFORE, range(WINDOWS - 2, WINDOWS + 2), token=2)
    assert warehouse.view() == warehouse.expected
    assert warehouse.apply()
    assert warehouse.view() == warehouse.expected == warehouse.table()
    assert warehouse.apply() == []


def test_kills_over_many_windows(warehouse: Warehouse) -> None:
    kills = 0
    while killed(
        warehouse.apply, POINTS[3 + kills % 3], 7
    ):  # rows_filled, progress_written, window_committed
        kills += 1
        assert warehouse.view() == warehouse.expected
        n = (kills * 23) % WINDOWS
        warehouse.load((BEFORE, AFTER)[kills % 2], range(n, n + 2), token=1 + kills)
        assert warehouse.view() == warehouse.expected
    assert kills >= WINDOWS // 7
    assert warehouse.view() == warehouse.expected == warehouse.table()
    assert warehouse.apply() == []


@pytest.mark.parametrize("point", LOAD_POINTS)
@pytest.mark.parametrize("filled", [False, True])
def test_a_load_that_is_killed_fills_all_or_nothing(warehouse: Warehouse, point: str, filled: bool) -> None:
    assert killed(warehouse.apply, "columns.window_committed", WINDOWS // 2)
    if filled:
        warehouse.apply()
    windows = range(WINDOWS // 2 - 1, WINDOWS // 2 + 2)  # on both sides of where the past is filled
    before = dict(warehouse.expected)
    assert killed(lambda: warehouse.load(AFTER, windows, token=2), point, 2)
    seen = warehouse.view()
    assert seen.keys() == before.keys()
    assert all(seen[name] in (value, value and value + 1) for name, value in before.items())
    warehouse.load(AFTER, windows, token=3)
    assert warehouse.view() == warehouse.expected
    warehouse.apply()
    assert warehouse.view() == warehouse.expected == warehouse.table()
