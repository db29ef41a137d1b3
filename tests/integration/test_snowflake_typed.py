"""Typed views on the stand-in for Snowflake: the statements are Snowflake's, the functions are DuckDB's.

Environment: SNOWFLAKE_*, REQUESTS_CA_BUNDLE, AIRFLOW_CONN_SNOWFLAKE_DEFAULT.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.testing import faults
from tests.connectors.physical_cases import N, PhysicalColumnCases, Stored, document
from tests.connectors.typed_cases import MakeTarget, Read, TypedViewCases, column, flights

pytestmark = [
    pytest.mark.integration,
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    import snowflake.connector

    keys = ("host", "account", "user", "password", "database", "schema")
    given = {key: os.environ[f"SNOWFLAKE_{key.upper()}"] for key in keys}
    port = int(os.environ["SNOWFLAKE_PORT"])
    with snowflake.connector.connect(**given, port=port, insecure_mode=True) as connection:
        yield connection


class TestSnowflake(TypedViewCases, PhysicalColumnCases):
    @pytest.fixture
    def table(self, connection: Any) -> Iterator[str]:
        schema = f"{os.environ['SNOWFLAKE_DATABASE']}.TYPED_{uuid4().hex[:8].upper()}"
        connection.cursor().execute(f"CREATE SCHEMA {schema}")
        yield f"{schema}.FLIGHTS"
        connection.cursor().execute(f"DROP SCHEMA {schema} CASCADE")

    @pytest.fixture
    def stage(self, tmp_path: Path) -> ObjectStoreStage:
        options = ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "stage"))
        return ObjectStoreStage(options, Identity("flights", "UTC"))

    @pytest.fixture
    def make(self, table: str) -> MakeTarget:
        def make(identity: Identity, **options: Any) -> SnowflakeTarget:
            return SnowflakeTarget(SnowflakeTarget.Options(**{"table": table, **options}), identity)

        return make

    @pytest.fixture
    def run(self, connection: Any, table: str) -> Any:
        def run(statement: str) -> None:
            own = statement.startswith("CREATE VIEW {")
            connection.cursor().execute(statement.format(_typed=f"{table}_TYPED") if own else statement)

        return run

    @pytest.fixture
    def read(self, connection: Any, table: str) -> Read:
        def read(suffix: str, kinds: dict[str, str]) -> list[dict[str, Any]]:
            cells = {
                "timestamp": "TO_VARCHAR(CONVERT_TIMEZONE('UTC', {}), 'YYYY-MM-DD HH24:MI:SS.FF6')",
                "date": "TO_VARCHAR({}, 'YYYY-MM-DD')",
                **dict.fromkeys(("json", "array", "rows"), "TO_JSON({})"),
            }
            shown = ", ".join(cells.get(kind, "{}").format(f'"{name}"') for name, kind in kinds.items())
            found = connection.cursor().execute(
                f'SELECT {shown} FROM {table}{suffix.upper()} ORDER BY "RECORD_ID"'
            )
            return [dict(zip(kinds, row, strict=True)) for row in found.fetchall()]

        return read

    @pytest.fixture
    def stored(self, connection: Any, table: str) -> Stored:
        def stored(name: str) -> list[str | None]:
            found = connection.cursor().execute(f'SELECT "{name}"::VARCHAR FROM {table} ORDER BY "RECORD_ID"')
            return [value for (value,) in found.fetchall()]

        return stored

    @pytest.fixture
    def run_on_table(self, connection: Any, table: str) -> Any:
        return lambda statement: connection.cursor().execute(statement.format(table, n='"N"'))

    @pytest.mark.parametrize("point", ["columns.added", "columns.add_committed", "columns.altered"])
    @pytest.mark.parametrize("type_before", ["text", None])
    def test_a_column_is_added_in_steps_of_which_each_may_be_the_last(
        self, load: Any, apply: Any, stored: Stored, unfilled: Any, point: str, type_before: str | None
    ) -> None:
        before = flights() if type_before is None else flights(column("N", type_before, physical=True))
        load(before, 0, document(0))
        with faults.failing_at(point), pytest.raises(faults.Crash):
            apply(flights(N))
        load(flights(N), 3, document(3))
        apply(flights(N))
        assert (stored("N"), unfilled(flights(N))) == (["0", "3"], {})
