"""`plan`: the windows of a day, with whatever the clock does to it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Place

DAYS = [
    pytest.param("America/New_York", "2h", "2013-11-03", "25h", 13, ["back 1h"], id="25-hours"),
    pytest.param("America/New_York", "2h", "2013-03-10", "23h", 12, ["forward 1h"], id="23-hours"),
    pytest.param("America/New_York", "2h", "2013-03-11", "24h", 12, [], id="24-hours"),
    pytest.param("America/New_York", "1d", "2013-11-03", "25h", 1, ["back 1h"], id="the-whole-day"),
    pytest.param("Australia/Lord_Howe", "2h", "2013-04-07", "24h30m", 13, ["back 30m"], id="24-and-a-half"),
    pytest.param("America/Sao_Paulo", "6h", "2013-10-20", "23h", 4, ["forward 1h"], id="no-midnight"),
    pytest.param("Pacific/Apia", "6h", "2011-12-30", "0s", 0, [], id="a-skipped-date"),
]


@pytest.mark.parametrize(("zone", "granularity", "day", "length", "windows", "changes"), DAYS)
def test_days(
    place: Place, zone: str, granularity: str, day: str, length: str, windows: int, changes: list[str]
) -> None:
    place.write(timezone=zone, granularity=granularity, start_day=None, end_day=None)
    planned = place("plan", "flights", "--day", day, "-o", "json").json
    assert (planned["length"], len(planned["windows"])) == (length, windows)
    assert planned["skipped"] is (windows == 0)
    texts = [change["text"] for change in planned["clock_changes"]]
    assert [change in text for change, text in zip(changes, texts, strict=True)] == [True] * len(changes)
    starts = [planned["start"], *(window["end"] for window in planned["windows"])]
    assert [window["start"] for window in planned["windows"]] == starts[:windows]
    assert starts[-1] == planned["end"]


def test_json_of_a_window(place: Place) -> None:
    place.write()
    planned = place("plan", "flights", "--day", "2013-11-03", "-o", "json").json
    change = {
        "at": "2013-11-03T06:00:00Z",
        "before": "-04:00",
        "after": "-05:00",
        "text": "clock goes back 1h: 02:00 EDT -> 01:00 EST",
    }
    assert planned["windows"][0] == {
        "index": 0,
        "window_id": "flights.20131103T040000Z-20131103T090000Z",
        "start": "2013-11-03T04:00:00Z",
        "end": "2013-11-03T09:00:00Z",
        "local_start": "2013-11-03T00:00:00-04:00",
        "local_end": "2013-11-03T04:00:00-05:00",
        "interval": "5h",
        "interval_seconds": 18_000,
        "ready_at": "2013-11-04T05:00:00Z",
        "clock_change": change,
    }
    assert [window["clock_change"] for window in planned["windows"]] == [change, None, None, None, None]
    assert {key: planned[key] for key in ("pipeline_id", "timezone", "day", "granularity")} == {
        "pipeline_id": "flights",
        "timezone": "America/New_York",
        "day": "2013-11-03",
        "granularity": "5h",
    }


def test_a_whole_day_is_one_window(place: Place) -> None:
    place.write(granularity="1d")
    result = place("plan", "flights", "--day", "2013-11-03")
    first = result.out.splitlines()[0]
    assert first == "flights: 2013-11-03 in America/New_York, a day of 25h, 1 window of 1d"


def test_the_table_shows_the_repeated_hour(place: Place) -> None:
    place.write(granularity="1h")
    result = place("plan", "flights", "--day", "2013-11-03")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "flights: 2013-11-03 in America/New_York, a day of 25h, 25 windows of 1h"
    assert lines[1] == "clock goes back 1h: 02:00 EDT -> 01:00 EST at 2013-11-03 06:00Z"
    rows = {line.split()[0]: " ".join(line.split()) for line in lines[3:]}
    assert "01:00 EDT -04:00 01:00 EST -05:00" in rows["1"]
    assert "01:00 EST -05:00 02:00 EST -05:00" in rows["2"]
    assert "<- clock goes back 1h" in rows["2"]
    assert [number for number, row in rows.items() if "<-" in row] == ["2"]
    assert "24:00 EST -05:00" in rows["24"]


def test_a_skipped_date_is_noted(place: Place) -> None:
    place.write(timezone="Pacific/Apia", start_day=None, end_day=None)
    result = place("plan", "flights", "--day", "2011-12-30")
    assert result.code == 0
    assert "Pacific/Apia skipped this date" in result.out


@pytest.mark.parametrize(
    ("day", "note"),
    [("2013-11-02", "before start_day 2013-11-03"), ("2013-11-04", "after end_day 2013-11-03")],
)
def test_days_that_no_run_moves(place: Place, day: str, note: str) -> None:
    place.write()
    assert note in place("plan", "flights", "--day", day).out


def test_without_a_day_it_is_the_target_day_of_now(place: Place) -> None:
    from datetime import datetime, timedelta, timezone

    place.write(timezone="UTC", x_time_back="10d", start_day=None, end_day=None)
    before = datetime.now(timezone.utc)
    planned: dict[str, Any] = place("plan", "flights", "-o", "json").json
    after = datetime.now(timezone.utc)
    days = {(moment - timedelta(days=10)).date().isoformat() for moment in (before, after)}
    assert planned["day"] in days


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--day", "2013-11-31"], "--day: expected a calendar day", id="no-such-day"),
        pytest.param(
            ["--day", "0001-01-01"], "--day: 0001-01-01 cannot be planned", id="before-the-calendar"
        ),
        pytest.param(["--day", "9999-12-31"], "--day: 9999-12-31 cannot be planned", id="after-the-calendar"),
        pytest.param(["--day"], "argument --day: expected one argument", id="nothing"),
    ],
)
def test_bad_days(place: Place, arguments: list[str], sentence: str) -> None:
    place.write(start_day=None, end_day=None)
    result = place("plan", "flights", *arguments, folder="--day" not in arguments[-1:])
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err
    assert result.err.count("\n") == 1


def test_every_problem_of_a_broken_file_is_printed(place: Place) -> None:
    place.write(granularity=0, max_attempts=0)
    result = place("plan", "flights", "--day", "2013-11-03")
    assert result.code == 2
    assert "flights.yaml has 2 problems" in result.err
    assert "granularity: " in result.err
    assert "max_attempts: " in result.err


def test_markup_in_names_is_text(place: Place) -> None:
    """rich would take [red] for a colour."""
    file = place.write(file="[red]x.yaml")
    assert "[red]x.yaml: ok" in place("check", str(file)).out
