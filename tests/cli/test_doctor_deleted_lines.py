"""`doctor` where somebody deleted lines of a ledger that planning has folded already."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import duckdb
import pytest

from tests.cli.conftest import AFTER, Place

AT = ("--reference-time", AFTER)


def test_a_window_that_planning_takes_for_done_is_named_and_mended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place.folder.parent
    monkeypatch.setattr("airflow_pipeline_provider.state.sql.UNSAVED_ENTRIES", 1)
    monkeypatch.setenv(
        "AIRFLOW_CONN_DELETED", json.dumps({"conn_type": "sqlite", "host": str(home / "state.db")})
    )
    place.write(state={"type": "sql", "conn_id": "deleted"})
    place.seed()
    assert place("run", "flights", "--until-done", *AT).code == 0
    with closing(sqlite3.connect(home / "state.db")) as state, state:
        gone = "window_start = (SELECT min(window_start) FROM pipeline_ledger)"
        assert state.execute(f"DELETE FROM pipeline_ledger WHERE {gone}").rowcount == 3
    with duckdb.connect(str(home / "flights.duckdb")) as target:
        target.execute("DELETE FROM main.moved WHERE TOKEN = 1")
        target.execute("DELETE FROM main.moved_COMMITS WHERE TOKEN = 1")
    assert "nothing to do" in place("run", "flights", *AT).out

    (found,) = place("doctor", "flights", *AT, "-o", "json").json["findings"]
    assert (found["kind"], found["window"]["start"]) == ("gap", "2013-11-03T04:00:00Z")
    assert "planning passes it over as done, but its lines are gone from the ledger" in found["sentence"]

    words = found["command"].split()[1:]
    assert words[0] == "reprocess"
    assert place(*words, "--here").code == 0
    assert place("doctor", "flights", *AT).code == 0
    assert place.moved() == 50
