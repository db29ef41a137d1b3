"""Commands where somebody deleted or damaged lines of a state in SQL."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import duckdb
import pytest

from tests.cli.conftest import AFTER, Place

AT = ("--reference-time", AFTER)


@pytest.fixture
def moved(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Everything is moved, by a state in SQLite that has folded its ledger."""
    monkeypatch.setattr("airflow_pipeline_provider.state.sql.UNSAVED_ENTRIES", 1)
    database = {"conn_type": "sqlite", "host": str(place.folder.parent / "state.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DELETED", json.dumps(database))
    place.write(state={"type": "sql", "conn_id": "deleted"})
    place.seed()
    assert place("run", "flights", "--until-done", *AT).code == 0
    return place


def edit(place: Place, statement: str) -> int:
    with closing(sqlite3.connect(place.folder.parent / "state.db")) as state, state:
        return state.execute(statement).rowcount


def test_a_window_with_deleted_entries_is_found_and_repaired(moved: Place) -> None:
    gone = "window_start = (SELECT min(window_start) FROM pipeline_ledger)"
    assert edit(moved, f"DELETE FROM pipeline_ledger WHERE {gone}") == 3
    with duckdb.connect(str(moved.folder.parent / "flights.duckdb")) as target:
        target.execute("DELETE FROM main.moved WHERE TOKEN = 1")
        target.execute("DELETE FROM main.moved_COMMITS WHERE TOKEN = 1")
    assert "nothing to do" in moved("run", "flights", *AT).out

    (found,) = moved("doctor", "flights", *AT, "-o", "json").json["findings"]
    assert (found["kind"], found["window"]["start"]) == ("gap", "2013-11-03T04:00:00Z")
    assert "planning skips it as done, but its entries are missing in the ledger" in found["sentence"]

    words = found["command"].split()[1:]
    assert words[0] == "reprocess"
    assert moved(*words, "--here").code == 0
    assert moved("doctor", "flights", *AT).code == 0
    assert moved.moved() == 50


@pytest.mark.parametrize("fold", ["garbage", "{}", "null", '{"done": [["x", "y"]], "failures": []}'])
def test_a_damaged_fold_is_rebuilt(moved: Place, fold: str) -> None:
    """It is a shortcut: the ledger has all of it."""
    edit(moved, f"UPDATE pipeline_pipelines SET coverage = '{fold}'")
    assert "nothing to do" in moved("run", "flights", *AT).out
    assert moved("gaps", "flights", *AT).code == 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("detail = '{'", id="detail"),
        pytest.param("kind = 'mended'", id="kind"),
        pytest.param("window_end = '2013-11-02 00:00:00.000000'", id="an end before the start"),
        pytest.param("window_start = 'yesterday'", id="no time"),
    ],
)
def test_a_damaged_line_is_named(moved: Place, damage: str) -> None:
    edit(moved, f"UPDATE pipeline_ledger SET {damage} WHERE id = 3")
    done = moved("doctor", "flights", *AT)
    assert done.code != 0
    assert "a row of pipeline_ledger" in done.err
    assert "it was edited" in done.err
