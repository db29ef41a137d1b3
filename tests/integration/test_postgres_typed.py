"""Typed views on PostgreSQL (POSTGRES_URL)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.exceptions import FatalError
from tests.connectors.physical_cases import N, PhysicalColumnCases, Stored
from tests.connectors.typed_cases import HOUR, MakeTarget, Read, TypedViewCases, column, flights

pytestmark = pytest.mark.integration

Admin = psycopg.Connection[Any]


class TestPostgres(TypedViewCases, PhysicalColumnCases):
    @pytest.fixture
    def schema(self, postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
        parts = urlsplit(postgres["POSTGRES_URL"])
        given = {"login": parts.username, "password": parts.password, "schema": parts.path[1:]}
        where = {"conn_type": "postgres", "host": parts.hostname, "port": parts.port}
        monkeypatch.setenv("AIRFLOW_CONN_TYPED", json.dumps({**where, **given}))
        return f"typed_{uuid.uuid4().hex[:8]}"

    @pytest.fixture
    def admin(self, postgres: dict[str, str], schema: str) -> Iterator[Admin]:
        with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as connection:
            connection.execute("SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'")  # a reader's own
            yield connection
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")  # type: ignore[arg-type]

    @pytest.fixture
    def stage(self, tmp_path: Path) -> ObjectStoreStage:
        options = ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "stage"))
        return ObjectStoreStage(options, Identity("flights", "UTC"))

    @pytest.fixture
    def make(self, schema: str, admin: Admin) -> MakeTarget:
        def make(identity: Identity, **options: Any) -> PostgresTarget:
            given = {"conn_id": "typed", "table": f"{schema}.flights", **options}
            return PostgresTarget(PostgresTarget.Options.model_validate(given), identity)

        return make

    @pytest.fixture
    def run(self, admin: Admin, schema: str) -> Any:
        def run(statement: str) -> None:
            own = statement.startswith("CREATE VIEW {")
            admin.execute(statement.format(_typed=f"{schema}.flights_typed") if own else statement)  # type: ignore[arg-type]

        return run

    @pytest.fixture
    def read(self, admin: Admin, schema: str) -> Read:
        def read(suffix: str, kinds: dict[str, str]) -> list[dict[str, Any]]:
            shown = {
                "timestamp": "TO_CHAR({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
                "date": "TO_CHAR({}, 'YYYY-MM-DD')",
            }
            cells = ", ".join(
                shown.get(kind, "CAST({} AS text)").format(name.lower()) for name, kind in kinds.items()
            )
            query = f"SELECT {cells} FROM {schema}.flights{suffix} ORDER BY record_id"
            rows = admin.execute(query).fetchall()  # type: ignore[arg-type]
            return [dict(zip(kinds, row, strict=True)) for row in rows]

        return read

    @pytest.fixture
    def stored(self, admin: Admin, schema: str) -> Stored:
        def stored(name: str) -> list[str | None]:
            query = f'SELECT CAST({name.lower()} AS text) FROM {schema}.flights ORDER BY "RECORD_ID"'
            return [value for (value,) in admin.execute(query).fetchall()]  # type: ignore[arg-type]

        return stored

    @pytest.fixture
    def run_on_table(self, run: Any, schema: str) -> Any:
        return lambda statement: run(statement.format(f"{schema}.flights", n="n"))

    def test_a_body_that_is_not_jsonb_fills_nothing(
        self, make: MakeTarget, stage: Any, stored: Stored, read: Read
    ) -> None:
        identity = flights(N)
        bodies = ['{"n": 1}', "{not json", '{"n": 1, "x": "\\u0000"}']
        self.load_documents(lambda given: make(given, require_jsonb=False), stage, identity, *bodies)
        assert stored("N") == ["1", None, None]
        assert [row["N"] for row in read("_typed", {"N": "integer"})] == stored("N")

    def test_a_physical_column_can_have_an_index_that_the_view_uses(
        self, make: MakeTarget, stage: Any, admin: Admin, schema: str
    ) -> None:
        self.load_documents(make, stage, flights(N), *(f'{{"n": {n}}}' for n in range(3_000)))
        table: Any = f"{schema}.flights"
        admin.execute(f"CREATE INDEX by_n ON {table} (n)")  # type: ignore[arg-type]
        admin.execute(f"ANALYZE {table}")  # type: ignore[arg-type]
        query = f"SELECT record_id FROM {table}_typed WHERE n = 2345"
        plan = admin.execute(f"EXPLAIN {query}").fetchall()  # type: ignore[arg-type]
        assert "Index Scan using by_n" in str(plan)
        assert admin.execute(query).fetchall() == [("r2345",)]  # type: ignore[arg-type]

    def test_a_body_that_is_not_jsonb_is_null_and_no_error(
        self, make: MakeTarget, stage: Any, read: Read
    ) -> None:
        bodies = [
            '{"a": 1}',
            "{not json",
            '{"a": "\\u0000"}',
            '{"a": "\\ud800"}',
            f'{{"a": 1{"0" * 140_000}}}',
        ]
        self.load_documents(
            lambda identity: make(identity, require_jsonb=False),
            stage,
            flights(column("A", "integer")),
            *bodies,
        )
        rows = read("_typed", {"A": "integer", "_REST": "json"})
        assert [row["A"] for row in rows] == ["1", None, None, None, None]
        target = make(flights(column("A", "integer")))
        assert target.count_uncastable(HOUR) == {"A": (1, 0)}

    def test_grants_and_owner_stay(self, make: MakeTarget, admin: Admin, schema: str) -> None:
        make(flights(column("A", "integer"))).prepare()
        admin.execute(f"GRANT SELECT ON {schema}.flights_typed TO PUBLIC")  # type: ignore[arg-type]
        make(flights(column("A", "text"))).prepare()
        [(acl,)] = admin.execute(
            "SELECT relacl::text FROM pg_class WHERE oid = CAST(%s AS regclass)", [f"{schema}.flights_typed"]
        ).fetchall()
        assert "=r/" in acl

    def test_a_view_in_use_does_not_stop_a_load(
        self, make: MakeTarget, admin: Admin, schema: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        make(flights(column("A", "integer"))).prepare()
        admin.execute(f"CREATE VIEW {schema}.report AS SELECT a FROM {schema}.flights_typed")  # type: ignore[arg-type]
        changed = make(flights(column("A", "text")))
        changed.prepare()
        assert any("no load needs them" in message for message in caplog.messages)
        with pytest.raises(FatalError, match="report depend on it"):
            changed.apply_columns()
        admin.execute(f"DROP VIEW {schema}.report")  # type: ignore[arg-type]
        changed.prepare()
        assert changed.apply_columns() == []

    def test_a_filter_on_time_reads_only_its_rows(
        self, make: MakeTarget, stage: Any, admin: Admin, schema: str
    ) -> None:
        identity = flights(column("A", "integer"), column("T", "timestamp"))
        self.load_documents(make, stage, identity, '{"a": 1}')
        row = "'r/' || md5(i::text), '2013-11-03'::timestamptz + i * interval '10 seconds', 's', '{\"a\": 1}'"
        stamps = "'flights', '2013-11-03', '2013-11-03', 1, now()"
        admin.execute(
            f"INSERT INTO {schema}.flights SELECT {row}, {stamps} FROM generate_series(1, 20000) i; "  # type: ignore[arg-type]
            f"ANALYZE {schema}.flights"
        )
        query = f"SELECT * FROM {schema}.flights_typed WHERE event_time < '2013-11-03 01:00' "
        plan = admin.execute(f"EXPLAIN {query}").fetchall()  # type: ignore[arg-type]
        assert not any("Seq Scan on flights own" in line for (line,) in plan)
