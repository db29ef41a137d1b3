"""`diff`: prints and writes which records differ, and loads their windows again in the ordinary way."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.operators import start_run
from tests.cli.conftest import AFTER, Place, lines

pytestmark = pytest.mark.usefixtures("short_pauses")

AT = ("--reference-time", AFTER)
DAY = ("--from", "2013-11-03", "--to", "2013-11-03")
DIFF = ("diff", "flights", *DAY)
FIRST_HALF = "2013-11-03 [00:00 EDT, 12:00 EST)"


def late(place: Place) -> None:
    place.rows().put("late", "2013-11-03T05:00:00Z", "{}")


def update(place: Place) -> None:
    place.rows().put("r040", place.rows().rows["r040"].event_time, '{"n":"x"}')


def test_nothing_differs(moved: Place) -> None:
    result = moved(*DIFF)
    assert (result.code, lines(result.out)) == (
        0,
        [
            "flights: ids and event times of 2 committed windows compared, 2 equal, 0 differ; 50 rows in the "
            "source, 50 in the target"
        ],
    )
    found = moved(*DIFF, "--content", "-o", "json")
    assert (found.code, found.json["result"], found.json["content"]) == (0, "equal", True)
    assert (found.json["compared"], found.json["equal"], found.json["windows"]) == (2, 2, [])


def test_quarantined_records_are_counted_where_nothing_differs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise 50 rows would equal 49 without a word."""
    monkeypatch.setattr(DuckDBTarget, "limits", TargetLimits(max_body_bytes=40))
    place.write(granularity="13h", audit={"on_reject": "quarantine"})
    place.seed()
    place.rows().put("r002", place.rows().rows["r002"].event_time, '"' + "x" * 60 + '"')
    assert place("run", "flights", "--until-done", *AT).code == 0
    result = place(*DIFF, "--content")
    assert result.code == 0
    assert "50 rows in the source, 49 in the target; 1 record quarantined" in " ".join(result.out.split())
    found = place(*DIFF, "-o", "json").json
    assert (found["result"], found["source"], found["target"], found["quarantined"]) == ("equal", 50, 49, 1)


def test_records_that_differ_are_printed(moved: Place) -> None:
    late(moved)
    moved.rows().delete("r003")
    update(moved)
    result = moved(*DIFF, "--content")
    assert result.code == 1
    assert lines(result.out)[1:] == [
        "window source target missing extra different repeated quarantined unproven verdict",
        f"{FIRST_HALF} 26 26 1 1 0 0 0 0 differs",
        "2013-11-03 [12:00, 24:00) EST 24 24 0 0 1 0 0 0 differs",
        "window record difference detail",
        f"{FIRST_HALF} late missing 2013-11-03T01:00:00-04:00",
        f"{FIRST_HALF} r003 extra 2013-11-03T01:00:00-04:00",
        "2013-11-03 [12:00, 24:00) EST r040 different content",
    ]


def test_the_json_has_the_first_records_and_all_numbers(moved: Place) -> None:
    late(moved)
    moved.rows().delete("r003")
    result = moved(*DIFF, "--limit", "1", "-o", "json")  # in the order of ids
    assert (result.code, result.json["result"]) == (1, "differs")
    [window] = result.json["windows"]
    assert (window["verdict"], window["missing"], window["extra"], window["status"]) == (
        "differs",
        1,
        1,
        None,
    )
    assert window["records"] == [
        {
            "kind": "missing",
            "record_id": "late",
            "source_rows": 1,
            "target_rows": 0,
            "source_event_time": "2013-11-03T05:00:00Z",
            "target_event_time": None,
            "content_differs": None,
        }
    ]


def test_every_record_is_in_the_file(moved: Place, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    for n in range(30):
        moved.rows().put(f"late {n}", "2013-11-03T05:00:00Z", "{}")
    update(moved)
    result = moved(*DIFF, "--content", "--records", str(file))
    assert "20 records not shown: raise --limit, or give --records FILE" in result.out
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(written) == 31
    assert {one["kind"] for one in written} == {"missing", "different"}
    assert {one["window_start"] for one in written} == {"2013-11-03T04:00:00Z", "2013-11-03T17:00:00Z"}
    assert [one["content_differs"] for one in written if one["record_id"] == "r040"] == [True]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = moved(*DIFF, "--records", str(file))
    assert (again.code, again.out) == (2, "")
    assert "--records: cannot create" in again.err


def test_an_event_time_that_differs_is_shown_in_full(moved: Place) -> None:
    moved.rows().put("r003", "2013-11-03T05:00:00.000001Z", '{"n":3}')
    assert (
        f"{FIRST_HALF} r003 different event time: source 2013-11-03T01:00:00.000001-04:00, target "
        "2013-11-03T01:00:00-04:00"
    ) in lines(moved(*DIFF).out)


def test_repeated_records_are_shown_with_their_rows(moved: Place) -> None:
    import duckdb

    with duckdb.connect(str(moved.folder.parent / "flights.duckdb")) as connection:
        connection.execute("INSERT INTO main.moved SELECT * FROM main.moved WHERE RECORD_ID = 'r003'")
    result = moved(*DIFF)
    assert result.code == 1
    assert f"{FIRST_HALF} r003 repeated 1 row in the source, 2 in the target" in lines(result.out)
    assert moved(*DIFF, "--repair", "--here").code == 4
    assert moved(*DIFF, "--repair", "--here", "--accept-shrink").code == 0
    assert moved.moved() == 50


def test_time_that_is_not_compared_is_no_success(moved: Place) -> None:
    days = ("--from", "2013-11-02", "--to", "2013-11-03")
    result = moved("diff", "flights", *days)
    assert result.code == 1
    assert "not compared: not_committed: 2013-11-02 [00:00, 24:00) EDT: it is not committed" in result.out
    found = moved("diff", "flights", *days, "-o", "json").json
    assert (found["result"], found["equal"]) == ("incomplete", 2)
    assert [one["reason"] for one in found["left_out"]] == ["not_committed"]


def test_a_leased_window_is_reported(moved: Place, interval: Interval) -> None:
    moved.state().acquire(interval, "flights/other", 3600)
    result = moved(*DIFF)
    assert (result.code, "not compared: leased: " in result.out) == (1, True)


def test_history_shows_no_extra_records(place: Place) -> None:
    place.write(granularity="13h", source={"type": "memory", "table": "flights", "history": "changes"})
    place.seed()
    assert place("run", "flights", "--until-done", *AT).code == 0
    late(place)
    place.rows().delete("r003")
    result = place(*DIFF)
    assert (result.code, lines(result.out)[2]) == (1, f"{FIRST_HALF} 26 26 1 - 0 0 0 0 differs")
    assert place(*DIFF, "-o", "json").json["windows"][0]["extra"] is None


# --- repair


def test_windows_that_differ_are_loaded_again_here(moved: Place) -> None:
    late(moved)
    update(moved)
    result = moved(*DIFF, "--content", "--repair", "--here", "-o", "json")
    assert result.code == 0
    assert [(one["status"], one["rows"]) for one in result.json["windows"]] == [
        ("committed", 27),
        ("committed", 24),
    ]
    assert moved(*DIFF, "--content").code == 0
    assert moved.moved() == 51


def test_a_repair_without_differences_moves_nothing(moved: Place) -> None:
    before = moved.state().entries()
    assert moved(*DIFF, "--repair", "--here").code == 0
    assert moved.state().entries() == before


def test_a_repair_says_that_time_was_not_compared(moved: Place) -> None:
    late(moved)
    result = moved("diff", "flights", "--from", "2013-11-02", "--to", "2013-11-03", "--repair", "--here")
    assert result.code == 1
    assert moved.moved() == 51


def test_extra_rows_are_not_deleted_unasked(moved: Place) -> None:
    """An insert hides the delete from `audit.on_shrink`, which compares numbers of rows."""
    late(moved)
    moved.rows().delete("r003")
    update(moved)
    result = moved(*DIFF, "--content", "--repair", "--here")
    assert result.code == 4
    assert "1 window not repaired, since the target holds rows there that the source does not" in result.err
    assert moved.moved() == 50
    assert moved(*DIFF).code == 1
    printed = [line.strip() for line in result.err.splitlines() if "airflow-pipelines" in line]
    assert [line.split()[1] for line in printed] == ["reprocess", "waive"]
    assert moved(*shlex.split(printed[0])[1:], folder=False).code == 0
    assert moved(*DIFF, "--content").code == 0


@pytest.mark.parametrize("accepts", ["by the option", "by the file"])
def test_extra_rows_are_deleted_on_request(moved: Place, accepts: str) -> None:
    late(moved)
    moved.rows().delete("r003")
    moved.rows().delete("r004")
    more = ["--accept-shrink"] if accepts == "by the option" else []
    if not more:
        moved.write(granularity="13h", audit={"on_shrink": "accept"})
    assert moved(*DIFF, "--repair", "--here", *more).code == 0
    assert moved(*DIFF).code == 0
    assert moved.moved() == 49


def test_runs_of_the_dag_are_started(moved: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.cli import diff as command

    started: list[tuple[str, str, dict[str, Any]]] = []
    monkeypatch.setattr(start_run, "start_run", lambda dag, run, conf, by: started.append((dag, run, conf)))
    monkeypatch.setattr(command, "require_airflow", lambda _: None)
    late(moved)
    result = moved(*DIFF, "--repair")
    assert result.code == 0
    [(dag, run, conf)] = started
    assert (dag, conf["exact"]) == ("flights", True)
    assert run.startswith("reprocess__flights.20131103T040000Z-20131103T170000Z__")
    assert f"started: {FIRST_HALF}: run {run}" in result.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param((*DIFF, "--repair"), "--here: DAG runs can only be started by", id="no Airflow"),
        pytest.param((*DIFF, "--here"), "--here: only works with --repair", id="nothing to move"),
        pytest.param(
            (*DIFF, "--repair", "--accept-shrink"), "--accept-shrink: only works with --here", id="accept"
        ),
        pytest.param((*DIFF, "--limit", "-1"), "--limit: expected a whole number", id="limit"),
        pytest.param(
            (*DIFF, "--records", "/no/such/folder/file"), "--records: cannot create", id="folder of records"
        ),
    ],
)
def test_mistakes(moved: Place, arguments: tuple[str, ...], sentence: str) -> None:
    result = moved(*arguments)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err


def test_a_failing_source_is_a_temporary_failure(moved: Place, tmp_path: Path) -> None:
    moved.rows().fail_pages = 1
    result = moved(*DIFF, "--records", str(tmp_path / "file"))
    assert (result.code, result.out) == (3, "")
