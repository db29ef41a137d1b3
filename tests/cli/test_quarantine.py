"""`quarantine`: what the target rejected is listed, shown, loaded again, and written to its table again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.views import quarantine as view

from .conftest import AFTER, Place
from .test_json_shapes import printed_as, struct_of

LONGEST = 40  # bytes that the target accepts
FIRST = ("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
FIRST_ID = "flights.20131103T040000Z-20131103T090000Z"
LONG = "its body has 62 bytes, the target accepts at most 40"
TABLE = "main.moved_QUARANTINE"


@pytest.fixture
def rejecting(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A day of five windows; three documents of the first are rejected, and one of the second."""
    limit(monkeypatch, LONGEST)
    place.write(audit={"on_reject": "quarantine"})
    place.seed()
    for record_id in ("r002", "r003"):
        put(place, record_id, '"' + "x" * 60 + '"')
    put(place, "r004", '"' + "\x1b[31m\u202e" * 9 + "}" * 10 + '"')
    put(place, "r015", '"' + "x" * 70 + '"')
    return place


def limit(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    monkeypatch.setattr(DuckDBTarget, "limits", TargetLimits(max_body_bytes=size))


def put(place: Place, record_id: str, body: str) -> None:
    place.rows().put(record_id, place.rows().rows[record_id].event_time, body)


def move(place: Place) -> None:
    assert place("run", "flights", "--until-done", "--reference-time", AFTER).code == 0


def sql(place: Place, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        return connection.execute(statement).fetchall()


def as_json(place: Place, *words: str, code: int = 0) -> Any:
    action, *more = words
    result = place("quarantine", action, "flights", *more, "-o", "json")
    assert result.code == code, result.err or result.out
    assert printed_as(struct_of("quarantine", action), result.json) == result.json
    return result.json


def files(place: Place) -> list[Path]:
    return sorted((place.folder.parent / "stage" / "flights").rglob("quarantine-*.parquet"))


def drop_table(place: Place) -> None:
    """As it was when an earlier version had loaded the windows."""
    sql(place, f"DROP TABLE {TABLE}")


# --- list


@pytest.mark.parametrize("known_in", ["table", "stage"])
def test_each_window_is_listed_with_number_and_reasons(rejecting: Place, known_in: str) -> None:
    move(rejecting)
    if known_in == "stage":
        drop_table(rejecting)
    answer = as_json(rejecting, "list")
    assert answer["table"] == (TABLE if known_in == "table" else None)
    assert [(w["start"], w["rows"], w["known_in"], w["detail"]) for w in answer["windows"]] == [
        ("2013-11-03T04:00:00Z", 3, known_in, ""),
        ("2013-11-03T09:00:00Z", 1, known_in, ""),
    ]
    text = "its body has … bytes, the target accepts at most …"
    assert answer["windows"][0]["reasons"] == [{"reason": text, "rows": 3}]
    assert answer["windows"][0]["window_id"] == FIRST_ID
    printed = rejecting("quarantine", "list", "flights")
    assert printed.code == 0
    assert f"3 × {text}" in printed.out
    looked = f"looked in {TABLE}, and" if known_in == "table" else "no table of them: looked in the files"
    assert "4 quarantined rows in 2 windows; " in printed.out
    assert looked in printed.out


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (("--window", FIRST_ID), [4]),
        (("--window", "2013-11-03"), [4, 9]),
        (("--from", "2013-11-03T09:30:00Z", "--to", "2013-11-03T10:00:00Z"), [9]),
        (("--from", "2013-11-04", "--to", "2013-11-04"), []),
    ],
)
def test_a_selection_lists_the_windows_that_overlap(
    rejecting: Place, words: tuple[str, ...], starts: list[int]
) -> None:
    move(rejecting)
    windows = as_json(rejecting, "list", *words)["windows"]
    assert [int(window["start"][11:13]) for window in windows] == starts


@pytest.mark.parametrize(
    "words",
    [("--from", "2013-11-03"), ("--window", "2013-11-03", "--from", "2013-11-03", "--to", "2013-11-03")],
)
def test_half_a_selection_is_refused(rejecting: Place, words: tuple[str, ...]) -> None:
    result = rejecting("quarantine", "list", "flights", *words)
    assert result.code == 2
    assert "--window: expected --window, or --from and --to, or neither" in result.err


def test_an_option_of_another_action_is_refused(rejecting: Place) -> None:
    result = rejecting("quarantine", "list", "flights", "--body")
    assert result.code == 2
    assert "--body: only works with quarantine show: remove it" in result.err


def test_without_quarantined_rows_nothing_is_listed(place: Place) -> None:
    place.write()
    place.seed()
    move(place)
    assert as_json(place, "list")["windows"] == []
    assert as_json(place, "show")["rows"] == []
    assert place("quarantine", "load", "flights", "--here").code == 1
    assert sql(place, "SELECT table_name FROM duckdb_tables() WHERE table_name ILIKE '%quarantine'") == []


def test_rows_that_are_gone_are_named_and_not_left_out(rejecting: Place) -> None:
    move(rejecting)
    drop_table(rejecting)
    files(rejecting)[0].unlink()
    answer = as_json(rejecting, "list", code=1)
    first, second = answer["windows"]
    assert (first["rows"], first["known_in"], first["reasons"]) == (3, "ledger", [])
    assert "gone from the stage" in first["detail"]
    assert (second["rows"], second["known_in"]) == (1, "stage")
    printed = rejecting("quarantine", "list", "flights")
    assert (printed.code, "4 quarantined rows in 2 windows" in printed.out) == (1, True)
    shown = as_json(rejecting, "show", code=1)
    assert [row["record_id"] for row in shown["rows"]] == ["r015"]
    assert f"{FIRST_ID}: 3 rows cannot be shown: the files" in shown["gone"][0]


def test_what_is_left_of_a_load_is_listed_with_its_own_rows(rejecting: Place) -> None:
    """r002 is in the half hour that is loaded again, without a rejected document this time."""
    move(rejecting)
    put(rejecting, "r002", '"short"')
    again = ("--window-start", "2013-11-03T04:30:00Z", "--window-end", "2013-11-03T05:00:00Z", "--exact")
    assert rejecting("run", "flights", *again).code == 0
    for _ in range(2):
        first = as_json(rejecting, "list", "--window", FIRST_ID)["windows"][0]
        assert (first["rows"], first["replaced"]) == (2, True)
        shown = as_json(rejecting, "show", "--window", FIRST_ID)["rows"]
        assert [row["record_id"] for row in shown] == ["r003", "r004"]
        if _ == 0:
            drop_table(rejecting)


# --- show


@pytest.mark.parametrize("known_in", ["table", "stage"])
def test_rows_are_shown_with_reason_and_file(rejecting: Place, known_in: str) -> None:
    move(rejecting)
    if known_in == "stage":
        drop_table(rejecting)
    answer = as_json(rejecting, "show", "--window", FIRST_ID)
    assert [row["record_id"] for row in answer["rows"]] == ["r002", "r003", "r004"]
    one = answer["rows"][0]
    assert (one["event_time"], one["reason"], one["body"]) == ("2013-11-03T04:30:00Z", LONG, None)
    assert one["stage_file"] == f"file://{files(rejecting)[0]}"
    printed = rejecting("quarantine", "show", "flights", "--window", FIRST_ID)
    assert "r002" in printed.out
    assert LONG in printed.out


def test_rows_beyond_the_limit_are_counted(rejecting: Place) -> None:
    move(rejecting)
    answer = as_json(rejecting, "show", "--limit", "2")
    assert ([row["record_id"] for row in answer["rows"]], answer["left"]) == (["r002", "r003"], 2)
    drop_table(rejecting)
    answer = as_json(rejecting, "show", "--limit", "2")
    assert ([row["record_id"] for row in answer["rows"]], answer["left"]) == (["r002", "r003"], 2)
    assert "2 more: raise --limit" in rejecting("quarantine", "show", "flights", "--limit", "2").out


def test_documents_are_shown_escaped_and_cut(rejecting: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    move(rejecting)
    printed = rejecting("quarantine", "show", "flights", "--window", FIRST_ID, "--body")
    assert printed.code == 0
    assert '"' + "x" * 60 + '"' in printed.out
    assert "\\x1b[31m\\u202e" in printed.out
    assert "\x1b" not in printed.out
    assert "\u202e" not in printed.out
    monkeypatch.setattr(view, "MOST_CHARACTERS", 5)
    row = as_json(rejecting, "show", "--limit", "1", "--body")["rows"][0]
    assert (row["body"], row["body_characters"]) == ('"xxxx', 62)
    printed = rejecting("quarantine", "show", "flights", "--limit", "1", "--body")
    assert '"xxxx … (57 more characters are in the file)' in printed.out


def test_documents_whose_file_is_gone_are_named(rejecting: Place) -> None:
    move(rejecting)
    gone = files(rejecting)[0]
    gone.unlink()
    answer = as_json(rejecting, "show", "--body", code=1)
    assert [row["body"] is None for row in answer["rows"]] == [True, True, True, False]
    assert answer["gone"] == [
        f"3 documents of file://{gone} cannot be shown: the file is gone or was changed"
    ]
    printed = rejecting("quarantine", "show", "flights", "--body")
    assert printed.code == 1
    assert printed.out.count("(the document is gone)") == 3


# --- load


@pytest.mark.parametrize("cause", ["limit", "documents"])
def test_rows_are_loaded_after_the_cause_was_fixed(
    rejecting: Place, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    move(rejecting)
    assert rejecting.moved() == 46
    if cause == "limit":
        limit(monkeypatch, None)
    else:
        for record_id in ("r002", "r003", "r004", "r015"):
            put(rejecting, record_id, '"short"')
    before = ledger.committed(rejecting.state().entries())
    answer = as_json(rejecting, "load", "--here")
    assert [(w["start"], w["status"], w["quarantined"], w["rows"]) for w in answer["windows"]] == [
        ("2013-11-03T04:00:00Z", "committed", 3, 10),
        ("2013-11-03T09:00:00Z", "committed", 1, 10),
    ]
    assert answer["still_quarantined"] == 0
    assert rejecting.moved() == 50
    assert sql(rejecting, f"SELECT count(*) FROM {TABLE}") == [(0,)]
    assert ledger.committed(rejecting.state().entries()) == before
    assert as_json(rejecting, "list")["windows"] == []


def test_rows_that_are_rejected_again_are_counted(rejecting: Place) -> None:
    move(rejecting)
    put(rejecting, "r002", '"short"')
    result = rejecting("quarantine", "load", "flights", "--window", FIRST_ID, "--here")
    assert result.code == 1
    assert (
        "8 rows (2 more quarantined): source = staged + quarantined, staged = target = distinct" in result.out
    )
    assert "2 rows still quarantined" in result.out
    assert sorted(sql(rejecting, f"SELECT RECORD_ID FROM {TABLE}")) == [("r003",), ("r004",), ("r015",)]


def test_a_dry_run_loads_nothing(rejecting: Place) -> None:
    move(rejecting)
    before = rejecting.state().entries()
    result = rejecting("quarantine", "load", "flights", "--dry-run")
    assert result.code == 0
    assert "dry run: 2 of 2 windows would be moved, nothing was changed" in result.out
    assert rejecting.state().entries() == before


def test_without_airflow_a_run_cannot_be_started(rejecting: Place) -> None:
    move(rejecting)
    result = rejecting("quarantine", "load", "flights")
    assert result.code == 2
    assert "add --here to move the windows in this process" in result.err


def test_a_run_of_the_dag_is_started_for_each_window(
    rejecting: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(rejecting)
    started: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "airflow_pipeline_provider.cli.reload._trigger",
        lambda _, run_id, conf: started.append((run_id, conf)),
    )
    monkeypatch.setattr("airflow_pipeline_provider.cli.quarantine_load.require_airflow", lambda _: None)
    answer = as_json(rejecting, "load", "--window", FIRST_ID)
    [(run_id, conf)] = started
    assert run_id.startswith(f"quarantine__{FIRST_ID}__")
    assert (conf["window_start"], conf["window_end"], conf["exact"]) == (*FIRST, True)
    [window] = answer["windows"]
    assert (window["status"], window["run_id"], answer["still_quarantined"]) == ("started", run_id, None)


# --- rebuild, and doctor


def doctor(place: Place, *words: str) -> Any:
    return place("doctor", "flights", "--reference-time", AFTER, "-o", "json", *words)


def rows_of_table(place: Place) -> list[tuple[Any, ...]]:
    return sql(place, f"SELECT * EXCLUDE (LOADED_AT) FROM {TABLE} ORDER BY RECORD_ID")


def test_tables_of_an_earlier_version_get_theirs_without_a_load(rejecting: Place) -> None:
    move(rejecting)
    before, entries = rows_of_table(rejecting), rejecting.state().entries()
    drop_table(rejecting)
    diagnosis = doctor(rejecting)
    assert diagnosis.code == 0, "the rows are in the stage: nothing needs to be repaired"
    [finding] = [f for f in diagnosis.json["findings"] if f["kind"] == "no_quarantine_table"]
    assert finding["sentence"].startswith("4 rows of 2 windows are quarantined in files of the stage only")
    assert (finding["safe"], finding["harmless"]) == (True, True)
    assert "quarantine rebuild flights" in finding["command"]
    fixed = doctor(rejecting, "--fix")
    assert (fixed.code, len(fixed.json["fixed"])) == (0, 1)
    assert [f for f in fixed.json["findings"] if "quarantine" in f["kind"]] == []
    assert rows_of_table(rejecting) == before
    assert rejecting.state().entries() == entries


@pytest.mark.parametrize(
    "edit",
    ["DELETE FROM {} WHERE RECORD_ID = 'r003'", "INSERT INTO {} SELECT * FROM {}"],
    ids=["less", "more"],
)
def test_a_table_that_differs_from_the_ledger_is_found_and_repaired(rejecting: Place, edit: str) -> None:
    move(rejecting)
    before = rows_of_table(rejecting)
    sql(rejecting, edit.replace("{}", TABLE))
    diagnosis = doctor(rejecting)
    assert diagnosis.code == 1
    findings = [f for f in diagnosis.json["findings"] if f["kind"] == "quarantine_differs"]
    assert "the ledger has 3 quarantined rows there, and main.moved_QUARANTINE has" in findings[0]["sentence"]
    assert all(finding["safe"] and not finding["harmless"] for finding in findings)
    rebuilt = as_json(rejecting, "rebuild")
    assert rebuilt["table"] == TABLE
    assert rows_of_table(rejecting) == before
    assert doctor(rejecting).code == 0
    assert as_json(rejecting, "rebuild")["written"] == []


def test_rows_whose_files_are_gone_are_left_out(rejecting: Place) -> None:
    move(rejecting)
    drop_table(rejecting)
    files(rejecting)[0].unlink()
    result = as_json(rejecting, "rebuild", code=1)
    assert [(one["start"], one["rows"]) for one in result["written"]] == [("2013-11-03T09:00:00Z", 1)]
    [left] = result["left_out"]
    assert (left["start"], "gone from the stage" in left["why"]) == ("2013-11-03T04:00:00Z", True)
    [finding] = [f for f in doctor(rejecting).json["findings"] if f["kind"] == "quarantine_differs"]
    assert (
        "and main.moved_QUARANTINE has 0; the files of its quarantined rows are gone" in finding["sentence"]
    )
    assert "run flights --window-start 2013-11-03T04:00:00Z" in finding["command"]
    assert doctor(rejecting, "--fix").code == 0, "the source still has the documents"
    assert len(rows_of_table(rejecting)) == 4


def test_a_stage_that_is_gone_is_reported(rejecting: Place) -> None:
    move(rejecting)
    shutil.rmtree(rejecting.folder.parent / "stage")
    assert len(as_json(rejecting, "list")["windows"]) == 2, "the table has the rows"
    assert len(as_json(rejecting, "show", "--body", code=1)["gone"]) == 2


def test_the_rows_of_a_lost_state_are_listed_from_the_table(rejecting: Place) -> None:
    move(rejecting)
    rejecting.store.pipelines.clear()
    windows = as_json(rejecting, "list")["windows"]
    assert [(w["rows"], w["known_in"], w["detail"]) for w in windows] == [
        (3, "table", "the ledger has no commit of this load"),
        (1, "table", "the ledger has no commit of this load"),
    ]
    assert rejecting("state", "rebuild", "flights").code == 0
    assert [w["detail"] for w in as_json(rejecting, "list")["windows"]] == ["", ""]


def test_a_renamed_pipeline_keeps_its_quarantined_rows(rejecting: Place) -> None:
    move(rejecting)
    (rejecting.folder / "flights.yaml").unlink()
    stage = {"type": "object_store", "path": str(rejecting.folder.parent / "stage" / "flights")}
    target = {
        "type": "duckdb",
        "path": str(rejecting.folder.parent / "flights.duckdb"),
        "table": "main.moved",
    }
    source = {"type": "memory", "table": "flights"}
    rejecting.write("trips", stage=stage, target=target, source=source, audit={"on_reject": "quarantine"})
    assert rejecting("state", "rename", "flights", "trips").code == 0
    result = rejecting("quarantine", "show", "trips", "--body", "-o", "json")
    assert result.code == 0
    answer = json.loads(result.out)
    assert [len(row["body"]) for row in answer["rows"]] == [62, 62, len(answer["rows"][2]["body"]), 72]


def test_rows_that_a_version_without_the_table_left_there_are_found(
    rejecting: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(rejecting)
    for record_id in ("r002", "r003", "r004"):
        put(rejecting, record_id, '"short"')
    with monkeypatch.context() as older:
        older.setattr(DuckDBTarget, "replace_quarantined", lambda *_: None)
        assert rejecting("quarantine", "load", "flights", "--window", FIRST_ID, "--here").code == 0
    window = as_json(rejecting, "list")["windows"][0]
    assert (window["rows"], "also has 3 rows of older loads" in window["detail"]) == (0, True)
    [finding] = [f for f in doctor(rejecting).json["findings"] if f["kind"] == "quarantine_differs"]
    assert "no quarantined rows there, and main.moved_QUARANTINE has 0 and 3 of older" in finding["sentence"]
    assert doctor(rejecting, "--fix").code == 0
    assert [row[0] for row in sql(rejecting, f"SELECT RECORD_ID FROM {TABLE}")] == ["r015"]
