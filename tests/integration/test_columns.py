"""`columns infer` and `diff` for an index of the server that ELASTICSEARCH_URL names, also into POSTGRES_URL."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import yaml

from airflow_pipeline_provider.cli.main import main
from tests.connectors.elasticsearch.places import CONN_ID, ElasticsearchTests, Server

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]

PROPERTIES: dict[str, Any] = {
    "name": {"type": "text", "copy_to": "everything", "fields": {"keyword": {"type": "keyword"}}},
    "everything": {"type": "text"},
    "called": {"type": "alias", "path": "name"},
    "delay": {"type": "long", "ignore_malformed": True},
    "price": {"type": "half_float"},
    "at": {"type": "date_nanos"},
    "day": {"type": "date", "format": "yyyy/MM/dd||epoch_millis"},
    "week": {"type": "date", "format": "dd-MM-uuuu"},
    "tags": {"type": "keyword"},
    "dep": {"properties": {"time": {"type": "date"}, "gate.name": {"type": "keyword"}}},
    "legs": {"type": "nested", "properties": {"from": {"type": "keyword"}, "stops": {"type": "nested"}}},
    "raw": {"type": "object", "enabled": False},
    "place": {"type": "geo_point"},
    "unused": {"type": "boolean"},
}
DOCUMENTS: list[dict[str, Any]] = [
    {
        "name": "x",
        "delay": "n/a",
        "count": 18446744073709551615,
        "price": 12.5,
        "at": "2013-11-03T05:00:00.123456789Z",
        "day": "2013/11/03",
        "week": "03-11-2013",
        "tags": "one",
        "dep": {"time": "2013-11-03T05:00:00Z", "gate": {"name": "A1"}},
        "legs": {"from": "EWR"},
        "labels": {"k": {"v": 1}},
        "raw": {"any": ["thing"]},
        "place": {"lat": 1, "lon": 2},
        "unmapped": {"Key": 1, "key": 2},
    },
    {
        "name": ["y", "z"],
        "delay": "5",
        "count": "7",
        "price": "3.25",
        "at": 1383454800000,
        "day": 1383454800000,
        "tags": ["one", "two"],
        "dep.time": "2013-11-03T06:00:00+01:00",
        "dep.gate.name": None,
        "legs": [{"from": "JFK", "stops": [{}]}, {"from": None, "extra": 1}],
        "labels": {},
        "raw": {},
        "place": "1,2",
        "unmapped": None,
    },
]


class TestColumns(ElasticsearchTests):
    @pytest.fixture
    def url(self) -> str:
        return os.environ["ELASTICSEARCH_URL"].rstrip("/")

    @pytest.fixture
    def index(self, server: Server) -> str:
        index = server.index(properties=PROPERTIES, runtime={"computed": {"type": "long"}})
        times = ({"ts": f"2013-11-03T0{5 + n}:00:00Z"} for n in range(2))
        bodies = [{**time, **document} for time, document in zip(times, DOCUMENTS, strict=True)]
        server.put(index, {str(n): json.dumps(body) for n, body in enumerate(bodies)})
        return index

    @pytest.fixture
    def file(self, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("AIRFLOW_CONN_COLUMNS_STATE", f"sqlite:///{tmp_path}/state.db")
        values = {
            "pipeline_id": "flights",
            "granularity": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "source": {"type": "elasticsearch", "conn_id": CONN_ID, "index": index, "time_field": "ts"},
            "stage": {"type": "object_store", "path": str(tmp_path / "stage")},
            "target": {"type": "duckdb", "path": str(tmp_path / "flights.duckdb"), "table": "main.flights"},
            "state": {"type": "sql", "conn_id": "columns_state"},
        }
        (tmp_path / "stage").mkdir(mode=0o700)
        file = tmp_path / "flights.yaml"
        file.write_text(yaml.safe_dump(values))
        return file

    @pytest.fixture
    def run(self, file: Path, capsys: pytest.CaptureFixture[str]) -> Run:
        def run(*words: str) -> tuple[int, str, str]:
            capsys.readouterr()
            code = main([*words[:-1], str(file)] if words[-1] == "FILE" else list(words))
            return (code, *capsys.readouterr())

        return run

    def test_inferred_columns_show_the_documents(
        self, file: Path, run: Run, server: Server, index: str
    ) -> None:
        assert run("run", "FILE")[0] == 0
        code, out, err = run("columns", "infer", "--write", "-o", "json", "FILE")
        assert code == 0, err
        columns = {one["path"]: (one["type"], one["note"]) for one in json.loads(out)["columns"]}
        assert {path: type_ for path, (type_, _) in columns.items()} == {
            "ts": "timestamp",
            "name": "array",
            "delay": "integer",
            "count": "decimal(38,0)",
            "price": "double",
            "at": "timestamp",
            "day": "timestamp",
            "week": "text",
            "tags": "array",
            "dep.time": "timestamp",
            "dep.gate.name": "text",
            "legs": "rows",
            "labels.k.v": "integer",
            "raw": "json",
            "place": "json",
            "unused": "boolean",
            "unmapped.Key": "integer",
            "unmapped.key": "integer",
        }
        assert "NULL for 1 of 2 sampled values" in columns["delay"][1]
        assert columns["unmapped.key"][1].startswith("the name UNMAPPED_KEY belongs to unmapped.Key")
        assert run("check", "FILE")[0] == 0

        code, out, _ = run("columns", "diff", "-o", "json", "FILE")
        assert code == 1
        differences = [(one["change"], one["path"]) for one in json.loads(out)["differences"]]
        assert differences == [("uncastable", "delay"), ("not_applied", None)]
        assert run("columns", "apply", "FILE")[0] == 0
        with duckdb.connect(json_path(file)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.execute(
                'SELECT delay, "count", price, epoch_us("at"), epoch_ms("day"), epoch_ms(dep_time), dep_gate_name, '
                "unmapped_key_2 FROM flights_typed ORDER BY record_id"
            ).fetchall()
            legs = connection.execute(
                'SELECT ordinal, "from" FROM flights_legs ORDER BY record_id, 1'
            ).fetchall()
        hour = 1383454800000  # 2013-11-03T05:00:00Z
        assert rows == [
            (None, 18446744073709551615, 12.5, hour * 1000 + 123456, hour - 5 * 3_600_000, hour, "A1", 2),
            (5, 7, 3.25, hour * 1000, hour, hour, None, None),
        ]
        assert legs == [(0, "EWR"), (0, "JFK"), (1, None)]

        server.must("PUT", f"/{index}/_mapping", {"properties": {"later": {"type": "ip"}}})
        _, out, _ = run("columns", "diff", "-o", "json", "FILE")
        differences = [(one["change"], one["side"], one["path"]) for one in json.loads(out)["differences"]]
        assert differences == [("new_field", "source", "later"), ("uncastable", "documents", "delay")]

    def test_columns_are_applied_to_postgresql(
        self, file: Path, run: Run, postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_COLUMNS_TARGET", postgres["POSTGRES_URL"])
        schema = f"columns_{uuid.uuid4().hex[:8]}"
        target = {"type": "postgres", "conn_id": "columns_target", "table": f"{schema}.flights"}
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "target": target}))
        with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
            try:
                assert run("run", "FILE")[0] == 0
                assert run("columns", "infer", "--write", "FILE")[0] == 0
                assert run("columns", "apply", "FILE")[0] == 0
                _, out, _ = run("columns", "diff", "-o", "json", "FILE")
                found = json.loads(out)
                assert [(one["change"], one["path"]) for one in found["differences"]] == [
                    ("uncastable", "delay")
                ]
                assert [one["looked_at"] for one in found["looked_at"]] == [True, True, True]
                shown = admin.execute(f"SELECT delay, tags FROM {schema}.flights_typed ORDER BY record_id")  # type: ignore[arg-type]
                assert shown.fetchall() == [(None, ["one"]), (5, ["one", "two"])]
                assert run("columns", "sql", "FILE")[1].count("COMMENT ON VIEW") == 2
            finally:
                admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")  # type: ignore[arg-type]

    def test_types_are_proposed_before_the_first_window(self, run: Run) -> None:
        code, out, _ = run("columns", "infer", "FILE")
        assert code == 0
        assert len(yaml.safe_load(out)["columns"]) == 14
        assert "no window is committed yet" in out


def json_path(file: Path) -> str:
    return str(yaml.safe_load(file.read_text())["target"]["path"])
