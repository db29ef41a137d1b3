"""`check --connect`: what each service can and cannot do, with nothing left behind."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.state.sql import SqlState

Capture = pytest.CaptureFixture[str]


class Embedded:
    """A pipeline from SQLite over files to DuckDB with its state in SQLite, not run yet."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.source = folder / "source.db"
        with sqlite3.connect(self.source) as connection:
            connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT)")
            connection.execute("INSERT INTO events VALUES (1, '2013-11-03T12:00:00Z')")
        connection.close()
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{self.source}")
        monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_STATE", f"sqlite:///{folder / 'state.db'}")
        self.values: dict[str, Any] = {
            "pipeline_id": "events",
            "timezone": "America/New_York",
            "granularity": "1d",
            "max_backlog_days": None,
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "source": {
                "type": "sql",
                "conn_id": "shop",
                "table": "events",
                "time_column": "at",
                "key_columns": ["id"],
            },
            "stage": {"type": "object_store", "path": str(folder / "stage")},
            "target": {"type": "duckdb", "path": str(folder / "lake" / "w.duckdb"), "table": "main.events"},
            "state": {"type": "sql", "conn_id": "pipeline_state"},
        }

    def write(self) -> Path:
        path = self.folder / "events.yaml"
        path.write_text(yaml.safe_dump(self.values))
        return path

    def answers(self, capsys: Capture) -> tuple[int, dict[tuple[str, str], tuple[str, str]]]:
        capsys.readouterr()
        code = main(["check", str(self.write()), "--connect", "-o", "json"])
        (one,) = json.loads(capsys.readouterr().out)["files"]
        return code, {(s["section"], s["what"]): (s["status"], s["detail"]) for s in one["services"]}

    def content(self) -> dict[str, bytes]:
        """Every file and folder below, with what the files hold."""
        found = {str(path): path.read_bytes() if path.is_file() else b"" for path in self.folder.rglob("*")}
        return {name: data for name, data in found.items() if not name.endswith("events.yaml")}


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    return Embedded(tmp_path, monkeypatch)


def test_a_new_pipeline_can_run_and_nothing_is_created(embedded: Embedded, capsys: Capture) -> None:
    before = embedded.content()
    code, answers = embedded.answers(capsys)
    assert code == 0
    assert {status for status, _ in answers.values()} == {"ok"}
    assert answers["source", "newest event"][1] == "2013-11-03 07:00 EST"
    assert "is created by the first load" in answers["target", "tables and rights"][1]
    assert "is created in" in answers["state", "file"][1]
    assert embedded.content() == before


def test_after_a_run_the_tables_are_found_and_unchanged(embedded: Embedded, capsys: Capture) -> None:
    assert main(["run", str(embedded.write())]) == 0
    before = embedded.content()
    code, answers = embedded.answers(capsys)
    assert code == 0
    assert answers["target", "connect"] == ("ok", "newest token 1")
    assert answers["target", "tables and rights"] == ("ok", "main.events exists and may be changed")
    assert answers["state", "tables and rights"] == ("ok", "the tables exist and may be changed")
    assert embedded.content() == before


def lose_source_table(embedded: Embedded) -> None:
    embedded.values["source"]["table"] = "no_such_table"


def lose_connection(embedded: Embedded) -> None:
    embedded.values["source"]["conn_id"] = "no_such_connection"


def target_is_a_folder(embedded: Embedded) -> None:
    (embedded.folder / "lake" / "w.duckdb").mkdir(parents=True)


def target_has_another_shape(embedded: Embedded) -> None:
    import duckdb

    (embedded.folder / "lake").mkdir()
    with duckdb.connect(str(embedded.folder / "lake" / "w.duckdb")) as connection:
        for name in ("events", "events_COMMITS", "events_FENCE"):
            connection.execute(f'CREATE TABLE "{name}" (n INTEGER)')


def stage_is_a_file(embedded: Embedded) -> None:
    (embedded.folder / "stage").write_text("in the way")


def state_is_no_database(embedded: Embedded) -> None:
    (embedded.folder / "state.db").write_text("not a database, but long enough to be read as one" * 20)


@pytest.mark.parametrize(
    ("damage", "section", "sentence", "code"),
    [
        (lose_source_table, "source", "no_such_table", 5),
        (lose_connection, "source", "connection 'no_such_connection' is not defined", 5),
        (target_is_a_folder, "target", "is a folder, expected a file", 5),
        (target_has_another_shape, "target", "has another shape", 5),
        (stage_is_a_file, "stage", "stage", 5),
        (state_is_no_database, "state", "not a database", 5),
    ],
)
def test_what_is_broken_is_named_and_the_others_are_asked(
    damage: Callable[[Embedded], None],
    section: str,
    sentence: str,
    code: int,
    embedded: Embedded,
    capsys: Capture,
) -> None:
    damage(embedded)
    found, answers = embedded.answers(capsys)
    errors = {place: detail for place, (status, detail) in answers.items() if status == "error"}
    assert {place for place, _ in errors} == {section}
    assert any(sentence in detail for detail in errors.values()), errors
    assert len(set(errors.values())) == len(errors)  # one cause is one line
    assert {place for place, _ in answers} == {"source", "stage", "target", "state"}
    assert found == code


def rename_away(embedded: Embedded) -> None:
    state = state_of(embedded)
    state.change_about(lambda about: replace(about, renamed_to="trips"))
    state.close()


def change_target(embedded: Embedded) -> None:
    embedded.values["target"]["table"] = "main.other"


def copy_file(embedded: Embedded) -> None:
    embedded.values["pipeline_id"] = "copy"


def older_tables(embedded: Embedded) -> None:
    with closing(sqlite3.connect(embedded.folder / "state.db")) as connection:
        connection.execute("UPDATE pipeline_alembic_version SET version_num = '0003'")
        connection.commit()


def state_of(embedded: Embedded) -> SqlState:
    return SqlState.from_url(f"sqlite:///{embedded.folder / 'state.db'}", Identity("events", "UTC"))


@pytest.mark.parametrize(
    ("change", "status", "sentence", "code"),
    [
        (lambda _: None, "ok", "source and target are those of the loads so far", 0),
        (rename_away, "error", "'events' was renamed to 'trips'", 2),
        (change_target, "error", 'target.table was "main.events" and is "main.other"', 2),
        (copy_file, "error", "pipeline 'events' loads the same source", 2),
        (older_tables, "unknown", "upgraded the tables", 0),
    ],
)
def test_a_pipeline_whose_runs_are_refused_is_reported(
    embedded: Embedded,
    capsys: Capture,
    change: Callable[[Embedded], None],
    status: str,
    sentence: str,
    code: int,
) -> None:
    assert main(["run", str(embedded.write())]) == 0
    change(embedded)
    before = embedded.content()
    found, answers = embedded.answers(capsys)
    assert (found, answers["state", "pipeline"][0]) == (code, status)
    assert sentence in answers["state", "pipeline"][1]
    assert embedded.content() == before


def test_rows_without_a_time_and_an_empty_source_are_warnings(embedded: Embedded, capsys: Capture) -> None:
    with sqlite3.connect(embedded.source) as connection:
        connection.execute("UPDATE events SET at = NULL")
    code, answers = embedded.answers(capsys)
    assert code == 0
    assert answers["source", "newest event"][0] == "warning"
    with connection:
        connection.execute(
            "INSERT INTO events VALUES (2, '1970-01-16T19:37:34.200Z')"
        )  # seconds for milliseconds
    connection.close()
    code, answers = embedded.answers(capsys)
    assert code == 0
    assert answers["source", "rows without a time"] == (
        "warning",
        "2 rows without a usable time, in no window",
    )


def test_a_broken_file_is_not_connected(embedded: Embedded, capsys: Capture) -> None:
    embedded.values["granularity"] = "5x"
    assert main(["check", str(embedded.write()), "--connect", "-o", "json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)["files"]
    assert "services" not in one
