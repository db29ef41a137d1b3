"""Restrict pipeline files by settings of the deployment, from the environment or airflow.cfg."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.config import policy
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.sql.source import SqlSource
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, PipelineError
from airflow_pipeline_provider.provider import get_provider_info


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW_CONFIG", raising=False)
    for key in ("ALLOWED_MODULES", "STAGE_ROOTS", "TARGET_ROOTS"):
        monkeypatch.delenv(f"AIRFLOW__PIPELINES__{key}", raising=False)
    return tmp_path


def allow(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__PIPELINES__{key.upper()}", value)


def test_airflow_reads_each_setting() -> None:
    options = get_provider_info()["config"][policy.SECTION]["options"]
    assert set(options) == {"allowed_modules", "installation", "stage_roots", "target_roots"}


def test_the_environment_overrides_airflow_cfg(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.module_problem("mycompany.records")
    (home / "airflow.cfg").write_text("[pipelines]\nallowed_modules = other,\n    mycompany\n")
    assert policy.module_problem("mycompany.records") is None
    allow(monkeypatch, allowed_modules="")
    assert policy.module_problem("mycompany.records")


def test_an_unreadable_airflow_cfg_allows_nothing(home: Path) -> None:
    (home / "airflow.cfg").write_text("no section\n")
    with pytest.raises(ConfigError, match=r"airflow\.cfg cannot be read"):
        policy.module_problem("mycompany.records")


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        ("s3://aws@lake/pipelines/flights", True),
        ("s3://other_conn@lake/pipelines", True),
        ("s3://aws@lake/pipelines_of_others", False),
        ("s3://aws@lake", False),
        ("s3://aws@lake2/pipelines/x", False),
        ("gs://g@lake/pipelines/x", False),
        ("/data/stage/flights", True),
        ("file:///data/stage/flights", True),
        ("/data/stage", True),
        ("/data/stages", False),
        ("/etc", False),
    ],
)
def test_the_stage_must_be_inside_its_roots(monkeypatch: pytest.MonkeyPatch, path: str, fine: bool) -> None:
    ObjectStoreStage.Options(path=path)
    allow(monkeypatch, stage_roots="/data/stage, s3://lake/pipelines/")
    if fine:
        ObjectStoreStage.Options(path=path)
        return
    with pytest.raises(ValidationError, match=r"is outside the deployment's \[pipelines\] stage_roots"):
        ObjectStoreStage.Options(path=path)


def test_a_file_target_must_be_inside_its_roots_after_following_links(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "warehouse").mkdir()
    (home / "warehouse" / "link").symlink_to(home)
    allow(monkeypatch, target_roots=str(home / "warehouse"))
    DuckDBTarget.Options(path=f"{home}/warehouse/lake.duckdb", table="main.t")
    for path in ("lake.duckdb", "warehouse/../lake.duckdb", "warehouse/link/lake.duckdb"):
        with pytest.raises(ValidationError, match=r"outside the deployment's \[pipelines\] target_roots"):
            DuckDBTarget.Options(path=f"{home}/{path}", table="main.t")


# --- the query of a source


def source(query: str) -> SqlSource:
    options = SqlSource.Options(
        type="sql", conn_id="shop", query=query, time_column="at", time_column_zone="UTC", key_columns=("id",)
    )
    return SqlSource(options, Identity("flights", "UTC"))


@pytest.mark.parametrize(
    "query",
    ["SELECT 1; DELETE FROM t", "SELECT 1) AS q; COMMIT; --", "SELECT ';'", "SELECT 1 -- ; x", ";;SELECT 1"],
)
def test_a_query_must_be_one_statement(query: str) -> None:
    with pytest.raises(ValidationError, match="must be one statement"):
        source(query)


def test_a_query_of_sqlite_cannot_write_on_any_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes functions of the connection."""
    file = home / "shop.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE t (id INTEGER, at TEXT)")
        database.execute("INSERT INTO t VALUES (1, '2013-11-03T05:00:00Z')")
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f'{{"conn_type": "sqlite", "host": "{file}"}}')
    made = source("SELECT id, at FROM t")
    day = Interval(parse_utc("2013-11-03T00:00:00Z"), parse_utc("2013-11-04T00:00:00Z"))
    assert made.count(day) == 1
    with made._reader() as reader:
        for statement in ("DELETE FROM t", "CREATE TABLE u (a)", "UPDATE t SET id = 2"):
            with pytest.raises(PipelineError, match=r"readonly|attempt to write") as caught:
                reader.rows((statement, []))
            assert isinstance(caught.value, FatalError)
