"""`certify`: what is tested, printed and removed, on a DuckDB file, a folder and a SQLite file."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_pipeline_provider.cli import certify
from airflow_pipeline_provider.connectors.duckdb import target as duckdb_target
from airflow_pipeline_provider.connectors.duckdb.scratch import DuckDBScratch
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.testing.properties.judging import judge
from airflow_pipeline_provider.testing.sample_rows import hours, rows
from airflow_pipeline_provider.testing.target_kit import codec_of
from tests.cli.conftest import Place

SLOW = ("document of 16 MiB", "document of 128 MiB", "rollback", "replacement", "older token", "counts")
WITHOUT = tuple(word for name in SLOW for word in ("--without", name))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_target, "BUSY_SECONDS", 0.7)


def certify_duckdb(place: Place, path: Path, *more: str) -> Any:
    return place("certify", "target", str(path), "--schema", "scratch", *more, folder=False)


@pytest.mark.usefixtures("quick")
def test_a_duckdb_file_has_the_properties_and_is_removed(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    result = certify_duckdb(place, path, *WITHOUT)
    assert result.code == 0, result.out + result.err
    assert "creates tables and views in the schema" in result.err
    lines = {line.split("  ")[0]: line for line in result.out.splitlines()}
    for name in (
        "rights",
        "load",
        "fence",
        "concurrent loads",
        "lock time-out",
        "DDL",
        "quoted names",
        "time zones",
    ):
        assert " passed " in lines[name], lines[name]
    assert " not applicable " in lines["statement time-out"]
    assert "left out by --without" in lines["rollback"]
    assert "nothing is left behind" in result.out
    assert "not certified" in result.out.splitlines()[-1]  # six were left out
    assert list(tmp_path.glob("new*")) == []


def test_a_schema_with_objects_of_others_is_refused(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "used.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA scratch; CREATE TABLE scratch.orders (n INTEGER)")
    result = certify_duckdb(place, path)
    assert result.code == 2
    assert "TABLE orders, which certify did not create" in result.err
    with duckdb.connect(str(path)) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert tables == [("orders",)]


def test_other_schemas_of_the_file_stay(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "used.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE orders (n INTEGER)")
    everything = [one.property.name for one in dry_cases(place, path)]
    without = [w for name in everything if name not in ("rights", "tables") for w in ("--without", name)]
    assert certify_duckdb(place, path, *without).code == 0
    with duckdb.connect(str(path)) as connection:
        found = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        schemas = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal").fetchall()
    assert found == [("main", "orders")]
    assert ("scratch",) not in schemas


def dry_cases(place: Place, path: Path, compression: str | None = None) -> list[Any]:
    from contextlib import ExitStack

    from airflow_pipeline_provider.cli.certify_runs import Request, build

    with ExitStack() as resources:
        request = Request("target", str(path), None, "scratch", None, None, {}, None, compression)
        return build(request, resources).cases


def test_a_dry_run_creates_nothing(place: Place, tmp_path: Path) -> None:
    result = certify_duckdb(place, tmp_path / "new.duckdb", "--dry-run")
    assert result.code == 0
    assert "lost COMMIT reply" in result.out
    assert "nothing was created" in result.out
    assert list(tmp_path.glob("new*")) == []


def test_loads_are_certified_with_part_files_of_the_named_codec(place: Place, tmp_path: Path) -> None:
    [load] = [c for c in dry_cases(place, tmp_path / "x.duckdb", "lz4") if c.property.name == "load"]
    manifest = load.lab.stage_rows(hours(0, 2), rows(hours(0, 2), 9), token=1)
    assert {codec_of(load.lab.stage, part) for part in manifest.parts} == {"LZ4"}
    assert judge(load.property, load.lab).verdict == "passed"
    refused = place("certify", "stage", str(tmp_path / "stage"), "--compression", "lz4", folder=False)
    assert refused.code == 2
    assert "--compression: only works with certify target" in refused.err


def test_the_json_of_a_failed_property(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DuckDBScratch, "slow_statement", "x")
    monkeypatch.setattr(DuckDBScratch, "time_zone", "")
    names = [one.property.name for one in dry_cases(place, tmp_path / "x.duckdb")]
    without = [w for name in names if name not in ("time zones", "tables") for w in ("--without", name)]
    result = certify_duckdb(place, tmp_path / "x.duckdb", *without, "-o", "json")
    assert result.code == 1
    answer = result.json
    assert (answer["certified"], answer["left_behind"], answer["cost"]) == (
        False,
        [],
        "none (embedded); none (a local folder)",
    )
    found = {one["name"]: one for one in answer["properties"]}
    assert found["tables"]["result"] == "passed"
    assert found["time zones"]["result"] == "not tested"
    assert "time zone" in found["time zones"]["detail"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["terminated", "Ctrl-C"]
)
def test_an_interrupted_run_removes_what_it_created(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    judge, path = certify.judge, tmp_path / "new.duckdb"
    tables: list[bool] = []

    def interrupted(of: Any, lab: Any) -> Any:
        if of.name == "load":
            tables.append(path.exists())
            os.kill(os.getpid(), number)
        return judge(of, lab)

    monkeypatch.setattr(certify, "judge", interrupted)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
    try:
        assert certify_duckdb(place, path).code == code
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert tables == [True]
    assert list(tmp_path.glob("new*")) == []


def test_what_cannot_be_removed_is_named(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise TransientError("the database is gone")

    monkeypatch.setattr(DuckDBScratch, "remove", broken)
    names = [one.property.name for one in dry_cases(place, tmp_path / "x.duckdb")]
    without = [w for name in names if name != "tables" for w in ("--without", name)]
    result = certify_duckdb(place, tmp_path / "x.duckdb", *without)
    assert result.code == 1
    assert "left behind: objects whose names begin with certify_" in result.out
    assert "the database is gone" in result.out


def test_a_folder_is_certified_and_removed(place: Place, tmp_path: Path) -> None:
    result = place("certify", "stage", str(tmp_path / "deep" / "stage"), folder=False)
    assert result.code == 0, result.out + result.err
    assert result.out.splitlines()[-1].startswith("certified: stage ")
    assert not (tmp_path / "deep").exists()


def test_a_sqlite_state_is_certified_but_for_processes(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_LITE", f'{{"conn_type": "sqlite", "host": "{path}"}}')
    without = ("--without", "concurrent tokens", "--without", "crash")
    result = place("certify", "state", "lite", *without, folder=False)
    assert result.code == 0, result.out + result.err
    assert result.out.count(" passed ") == 6
    assert list(tmp_path.glob("state*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("target", "/data/x.duckdb"), "--schema: expected"),
        (("target", "/data/x.duckdb", "--schema", "s", "--without", "rolback"), "rollback"),
        (
            ("target", "/data/x.duckdb", "--schema", "s", "--scratch", "x"),
            "--scratch: only works with certify source",
        ),
        (("target", "/data/x", "--schema", "s"), "--type: expected"),
        (("target", "/data/x.duckdb", "--schema", "s", "--set", "x"), "--set: expected KEY=VALUE"),
        (("target", "/data/x.duckdb", "--schema", "s", "--set", "no_key=1"), "no_key"),
        (("stage", "/data/x", "--schema", "s"), "--schema: only works with certify target and state"),
        (("source", "x", "--type", "memory", "--from", "2013-11-03T00:00:00Z"), "--from and --to"),
        (("source", "x", "--type", "memory", "--scratch", "x"), "cannot be certified"),
    ],
)
def test_a_wrong_argument_is_named(place: Place, arguments: tuple[str, ...], message: str) -> None:
    from tests.doubles.memory_source import MemorySource

    MemorySource.table("rows")
    result = place("certify", *arguments, folder=False)
    assert result.code == 2, result.out + result.err
    assert message in result.err
