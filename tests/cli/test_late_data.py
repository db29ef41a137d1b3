"""`recheck` and `reprocess`: what grew is reloaded, what shrank waits for a person, any window can be moved again."""

from __future__ import annotations

import shlex

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from tests.cli.conftest import AFTER, Place, lines

pytestmark = pytest.mark.usefixtures("short_pauses")

AT = ("--reference-time", AFTER)
DAY = ("--from", "2013-11-03", "--to", "2013-11-03")
RECHECK = ("recheck", "flights", "--days", "3", *AT)
REPROCESS = ("reprocess", "flights")
SECOND_HALF = ("--from", "2013-11-03T12:00:00-05:00", "--to", "2013-11-03")


def day_status(place: Place) -> tuple[str, str]:
    (day,) = place("status", "flights", *AT, "-o", "json").json["days"]
    return day["status"], day["reason"]


def test_nothing_new(moved: Place) -> None:
    result = moved(*RECHECK, "--here")
    assert (result.code, lines(result.out)) == (
        0,
        ["flights, 2013-11-03 to 2013-11-03: 2 committed windows counted again, 2 equal, 0 grown, 0 shrunk"],
    )


def test_growth_is_reloaded_here(moved: Place) -> None:
    moved.rows().put("late", "2013-11-03T05:00:00Z", "{}")
    seen = moved(*RECHECK, "--no-reload")
    assert seen.code == 0
    assert lines(seen.out)[2] == "2013-11-03 [00:00 EDT, 12:00 EST) 27 26 grew by 1: will be loaded again"
    assert day_status(moved)[0] == "drifted"
    result = moved(*RECHECK, "--here", "-o", "json")
    assert result.code == 0
    (found,) = result.json["findings"]
    assert (found["verdict"], found["status"], found["rows"], found["token"]) == ("grew", "committed", 27, 3)
    assert (result.json["checked"], result.json["equal"]) == (2, 1)
    assert (moved.moved(), day_status(moved)[0]) == (51, "complete")


def test_a_window_that_shrank_is_not_changed(moved: Place) -> None:
    del moved.rows().rows["r001"]
    result = moved(*RECHECK, "--here")
    assert result.code == 4
    assert "25 26 shrank by 1: nothing is changed" in lines(result.out)[2]
    assert "1 window shrank in the source" in result.err
    assert moved.moved() == 50
    status, reason = day_status(moved)
    assert (status, "drifted (shrunk)" in reason) == ("drifted", True)
    assert moved(*RECHECK, "--here", "--accept-shrink").code == 0
    assert (moved.moved(), day_status(moved)[0]) == (49, "complete")


@pytest.mark.parametrize(("number", "rows"), [(0, 49), (1, 50)], ids=["delete them", "keep them"])
def test_what_recheck_prints_about_shrinkage_runs_as_printed(moved: Place, number: int, rows: int) -> None:
    del moved.rows().rows["r001"]
    printed = [
        line.strip() for line in moved(*RECHECK, "--here").err.splitlines() if "airflow-pipelines" in line
    ]
    assert [line.split()[1] for line in printed] == ["reprocess", "waive"]
    assert moved(*shlex.split(printed[number])[1:], folder=False).code == 0
    assert (moved.moved(), day_status(moved)[0]) == (rows, "complete")


def test_a_pipeline_that_was_named_by_its_file_is_so_in_what_is_printed(
    moved: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    del moved.rows().rows["r001"]
    file = str(moved.folder / "flights.yaml")
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    result = moved("recheck", file, "--days", "3", *AT, "--here", folder=False)
    (line,) = [line.strip() for line in result.err.splitlines() if "--accept-shrink" in line]
    assert moved(*shlex.split(line)[1:], folder=False).code == 0
    assert moved.moved() == 49


def test_shrinkage_that_the_file_accepts_ends_with_an_error_once(moved: Place) -> None:
    moved.write(granularity="13h", audit={"on_shrink": "accept"})
    del moved.rows().rows["r001"]
    assert moved(*RECHECK, "--here").code == 4
    again = moved(*RECHECK, "--here")
    assert (again.code, again.err) == (0, "")
    assert "shrank by 1: nothing is changed (as before)" in lines(again.out)[2]
    assert moved.moved() == 50


def test_a_waive_keeps_the_rows_of_a_window_that_shrank(moved: Place) -> None:
    del moved.rows().rows["r001"]
    moved(*RECHECK, "--here")
    result = moved("waive", "flights", *DAY, "--reason", "retention at the source")
    assert result.code == 0
    assert lines(result.out) == [
        "waived: 2013-11-03 [00:00 EDT, 12:00 EST): retention at the source",
        "left out: 2013-11-03 [12:00, 24:00) EST: already committed: only time that is not committed can be waived",
    ]
    again = moved(*RECHECK, "--here")
    assert (again.code, "kept, waived" in again.out) == (0, True)
    assert (moved.moved(), day_status(moved)[0]) == (50, "complete")
    moved.rows().put("r003", moved.rows().rows["r003"].event_time, '{"n":"x"}')
    changed = moved(*RECHECK, "--here")
    assert lines(changed.out)[2].endswith("25 26 shrank by 1: kept, waived; 1 row written since, not loaded")
    assert changed.code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(RECHECK, "--here: DAG runs can only be started by `airflow pipelines`", id="recheck"),
        pytest.param((*REPROCESS, *DAY), "--here: DAG runs can only be started by", id="reprocess"),
        pytest.param((*RECHECK, "--accept-shrink"), "--accept-shrink: only works with --here", id="accept"),
        pytest.param(
            (*REPROCESS, *DAY, "--accept-shrink"),
            "--accept-shrink: only works with --here",
            id="accept again",
        ),
        pytest.param((*RECHECK, "--here", "--wait", "x"), "--wait: expected a duration", id="wait"),
        pytest.param(
            (*REPROCESS, "--from", "2013-11-04", "--to", "2013-11-03", "--here"),
            "--to: expected a time after --from 2013-11-04 00:00 EST, got 2013-11-04 00:00 EST",
            id="back in time",
        ),
        pytest.param(
            (*REPROCESS, "--from", "2013-11-03T01:00:00", "--to", "2013-11-03", "--here"),
            "--from: expected ISO 8601 with an offset",
            id="which of the two hours?",
        ),
        pytest.param(
            (*REPROCESS, "--from", "2013-02-30", "--to", "2013-11-03", "--here"),
            "--from: expected a calendar day",
            id="no such day",
        ),
        pytest.param(
            (*REPROCESS, "--from", "1013-11-03", "--to", "2013-11-03", "--here"),
            "--to: expected at most 3660 days",
            id="a thousand years",
        ),
    ],
)
def test_mistakes(place: Place, arguments: tuple[str, ...], sentence: str) -> None:
    place.write()
    result = place(*arguments)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err


def test_a_dry_run_shows_the_plan_and_touches_nothing(moved: Place) -> None:
    before = moved.state().entries()
    result = moved(*REPROCESS, *SECOND_HALF, "--dry-run")
    assert result.code == 0
    assert lines(result.out) == [
        "window now rows what detail",
        "2013-11-03 [12:00, 24:00) EST committed 24 replace -",
        "dry run: 1 of 1 window would be moved, nothing was changed",
    ]
    assert moved.state().entries() == before


def test_windows_are_replaced_and_never_doubled(moved: Place) -> None:
    moved.rows().put("late", "2013-11-03T05:00:00Z", "{}")
    result = moved(*REPROCESS, *DAY, "--here", "-o", "json")
    assert result.code == 0
    assert [(one["now"], one["action"], one["status"], one["rows"]) for one in result.json["windows"]] == [
        ("committed", "replace", "committed", 27),
        ("committed", "replace", "committed", 24),
    ]
    assert moved.moved() == 51


def test_a_piece_of_a_window_is_moved_alone(moved: Place) -> None:
    hour = ("--from", "2013-11-03T01:00:00-04:00", "--to", "2013-11-03T01:00:00-05:00")
    result = moved(*REPROCESS, *hour, "--here")
    assert result.code == 0
    assert lines(result.out)[-1] == "1 window committed, 2 rows: source = staged = target = distinct"
    assert moved.moved() == 50


def test_a_window_that_fails_does_not_keep_the_others_back(moved: Place) -> None:
    del moved.rows().rows["r001"]
    result = moved(*REPROCESS, *DAY, "--here", "-o", "json")
    assert result.code == 4
    assert [one["status"] for one in result.json["windows"]] == ["failed", "committed"]
    assert "nothing was changed" in result.json["error"]["message"]
    assert moved.moved() == 50
    assert moved(*REPROCESS, *DAY, "--here", "--accept-shrink").code == 0
    assert moved.moved() == 49


def test_days_that_are_not_the_pipelines_are_left_out(place: Place) -> None:
    place.write()
    place.seed()
    result = place(*REPROCESS, "--from", "2013-11-02", "--to", "2013-11-02", "--here")
    assert result.code == 1
    assert (
        "leave out before_start_day: 2013-11-02 [00:00, 05:00) EDT is before start_day"
        in lines(result.out)[1]
    )
    assert "error: no window to move" in result.err


def test_what_another_run_holds_is_waited_for(moved: Place, interval: Interval) -> None:
    moved.state().acquire(interval, "flights/other", 3600)
    result = moved(*REPROCESS, *DAY, "--here", "--wait", "0s")
    assert result.code == 3
    assert "held by flights/other now: waits for its lease" in result.out
    assert "is held by flights/other" in result.err


def test_a_failing_source_is_an_error_and_nothing_is_written(moved: Place) -> None:
    before = moved.state().entries()
    moved.write(
        granularity="13h", source={"type": "sql", "conn_id": "nowhere", "table": "t", "time_column": "at"}
    )
    result = moved(*RECHECK, "--here")
    assert result.code != 0
    assert result.out == ""
    assert "error: " in result.err
    assert moved.state().entries() == before
