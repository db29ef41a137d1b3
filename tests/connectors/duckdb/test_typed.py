"""Typed views on DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from tests.connectors.physical_cases import N, PhysicalColumnCases, document
from tests.connectors.typed_cases import TypedViewCases, column, flights


class TestDuckDB(TypedViewCases, PhysicalColumnCases):
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "warehouse.duckdb"

    @pytest.fixture
    def stage(self, tmp_path):
        options = ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "stage"))
        return ObjectStoreStage(options, Identity("flights", "UTC"))

    @pytest.fixture
    def make(self, path):
        def make(identity, **options):
            given = {"path": str(path), "table": "raw.flights", **options}
            return DuckDBTarget(DuckDBTarget.Options(type="duckdb", **given), identity)

        return make

    @pytest.fixture
    def run(self, path):
        def run(sql):
            own = sql.startswith("CREATE VIEW {")
            with duckdb.connect(str(path)) as connection:
                connection.execute(sql.format(_typed="raw.flights_typed") if own else sql)

        return run

    @pytest.fixture
    def read(self, path):
        def read(suffix, kinds):
            cells = ", ".join(
                f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%d %H:%M:%S.%f')"
                if kind == "timestamp"
                else f"CAST({name} AS VARCHAR)"
                for name, kind in kinds.items()
            )
            with duckdb.connect(str(path)) as connection:
                connection.execute("SET TimeZone = 'Asia/Kolkata'")  # a reader's own
                rows = connection.execute(
                    f"SELECT {cells} FROM raw.flights{suffix} ORDER BY record_id"
                ).fetchall()
            return [dict(zip(kinds, row, strict=True)) for row in rows]

        return read

    def test_counting_parses_each_document_once(self, make):
        """Each JSON function keeps 2,048 parsed documents in memory: 300 columns of 5 kB documents took 19 GB."""
        parts = tuple(column(f"P{n}", "integer", f"p{n}.x") for n in range(30))
        columns = [column(f"C{n}", "integer", f"o.c{n}") for n in range(300)]
        target = make(flights(*columns, column("ROWS", "rows", columns=parts)))
        queries = [query for _, query in target.typed(target.typed_sql(None), target.tables).counts()]
        target.close()
        assert [query.count("json_extract(d, ") for query in queries] == [1, 4]
        assert [query.count("json_extract(e, ") for query in queries] == [0, 1]

    @pytest.fixture
    def stored(self, path):
        def stored(name):
            with duckdb.connect(str(path)) as connection:
                rows = connection.execute(
                    f"SELECT CAST({name} AS VARCHAR) FROM raw.flights ORDER BY record_id"
                )
                return [value for (value,) in rows.fetchall()]

        return stored

    @pytest.fixture
    def run_on_table(self, run):
        return lambda sql: run(sql.format("raw.flights", n="n"))

    def test_a_column_that_was_dropped_is_forgotten(self, load, run_on_table, stored, apply, unfilled):
        load(flights(N), 0, document(0))
        run_on_table("ALTER TABLE {} DROP COLUMN {n}")
        load(flights(N), 3, document(3))
        assert unfilled(flights(N)) == {"N": "not a column of the table yet"}
        apply(flights(N))
        assert stored("N") == ["0", "3"]
