"""`status`: what is complete, what is missing, and whether that is too far behind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval
from tests.cli.conftest import AFTER, Place

AT = ("--reference-time", AFTER)


def run(place: Place, windows: int, pipeline_id: str = "flights") -> None:
    for _ in range(windows):
        assert place("run", pipeline_id, *AT).code == 0


def test_a_pipeline_that_never_ran(place: Place) -> None:
    place.write()
    status = place("status", "flights", *AT, "-o", "json").json
    (day,) = status["days"]
    assert (day["day"], day["length"], day["percent"], day["rows"]) == ("2013-11-03", "25h", 0.0, 0)
    assert status["next"]["window"] == ["2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z"]
    assert status["behind"] == "25h"


def test_looking_does_not_begin_a_pipeline(place: Place) -> None:
    """The first day ever planned is remembered by runs only."""
    place.write(start_day=None, end_day=None)
    place.rows()
    assert place("status", "flights", "--reference-time", "2013-11-10T12:00:00Z").code == 0
    assert place.state().first_day(None) is None
    assert place("run", "flights", *AT).code == 0
    assert str(place.state().first_day(None)) == "2013-11-04"
    days = place("status", "flights", "--reference-time", "2013-11-07T12:00:00Z", "-o", "json").json["days"]
    assert [day["day"] for day in days] == ["2013-11-04", "2013-11-05", "2013-11-06"]


def test_a_day_in_the_middle(place: Place) -> None:
    place.write()
    place.seed()
    run(place, 2)
    result = place("status", "flights", *AT)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == (
        "flights at 2013-11-05 07:00 EST -05:00: 15h behind: the oldest gap begins at 2013-11-03 09:00 EST, "
        "windows are ready up to 2013-11-04 00:00 EST"
    )
    assert lines[1].startswith("next: the first gap is 2013-11-03 [09:00, 14:00) EST")
    assert lines[2].startswith("caught up: about 2013-11-05 07:")
    assert lines[3] == "day length covered rows status missing reason"
    assert lines[4].startswith("2013-11-03 25h 40.0% 20 in_progress [09:00, 24:00) EST ")


def test_json_of_a_day(place: Place) -> None:
    place.write()
    place.seed()
    run(place, 2)
    status = place("status", "flights", *AT, "-o", "json").json
    (day,) = status["days"]
    assert {key: value for key, value in day.items() if key != "reason"} == {
        "day": "2013-11-03",
        "start": "2013-11-03T04:00:00Z",
        "end": "2013-11-04T05:00:00Z",
        "length": "25h",
        "length_seconds": 90_000,
        "status": "in_progress",
        "percent": 40.0,
        "committed_seconds": 36_000.0,
        "rows": 20,
        "missing": [
            {
                "start": "2013-11-03T14:00:00Z",
                "end": "2013-11-04T05:00:00Z",
                "local_start": "2013-11-03T09:00:00-05:00",
                "local_end": "2013-11-04T00:00:00-05:00",
            }
        ],
        "waived": [],
    }
    assert (status["continuation"], status["ready_until"]) == ("2013-11-03T14:00:00Z", "2013-11-04T05:00:00Z")
    assert (status["behind_seconds"], status["leases"]) == (54_000.0, [])


def test_a_complete_day(place: Place) -> None:
    place.write()
    place.seed()
    run(place, 5)
    result = place("status", "flights", *AT, "--fail-if-behind", "0s")
    assert result.code == 0
    assert "up to date, all that is ready is committed" in result.out
    assert "100.0%" in result.out


def test_leases_are_shown(place: Place, interval: Interval) -> None:
    place.write()
    place.state().acquire(interval, "cli/other-7", 3600)
    status = place("status", "flights", *AT, "-o", "json").json
    (lease,) = status["leases"]
    assert (lease["owner"], lease["start"]) == ("cli/other-7", "2013-11-03T04:00:00Z")
    assert (
        "held: [00:00 EDT, 04:00 EST) of 2013-11-03 by cli/other-7 since " in place("status", "flights").out
    )


def test_a_blocked_window_holds_the_continuation(place: Place, interval: Interval) -> None:
    place.write(max_attempts=1)
    state = place.state()
    state.append(ledger.Entry(ledger.Kind.FAILED, interval, state.now(), detail={"error": "DataError"}))
    status = place("status", "flights", *AT, "-o", "json").json
    assert status["days"][0]["status"] == "blocked"
    assert status["continuation"] == "2013-11-03T04:00:00Z"
    assert status["next"]["window"][0] == "2013-11-03T09:00:00Z"


def test_an_unverified_window_shows_no_count(place: Place, interval: Interval) -> None:
    place.write()
    place.seed()
    run(place, 5)
    state = place.state()
    state.append(ledger.Entry(ledger.Kind.REPLACING, interval, state.now(), token=99))
    result = place("status", "flights", *AT)
    (row,) = [line.split() for line in result.out.splitlines() if line.startswith("2013-11-03")]
    assert row[2:5] == ["80.0%", "?", "unverified"]


@pytest.mark.parametrize(
    ("windows", "limit", "code"),
    [(0, "25h", 0), (0, "24h59m", 1), (2, "6h", 1), (2, "15h", 0), (5, "0s", 0)],
)
def test_fail_if_behind(place: Place, windows: int, limit: str, code: int) -> None:
    place.write()
    place.seed()
    run(place, windows)
    result = place("status", "flights", *AT, "--fail-if-behind", limit, "-o", "json")
    assert result.code == code
    assert result.json["too_far_behind"] is (code == 1)
    assert ("error: pipeline flights is " in result.err) is (code == 1)


def test_behind_counts_what_is_ready_only(place: Place) -> None:
    """A window that is not ready yet makes no pipeline late."""
    place.write(end_day=None)
    place.seed()
    at = (
        "--reference-time",
        "2013-11-04T11:00:00Z",
    )  # the first window, ready 05:00Z, and the second, 10:00Z
    assert place("status", "flights", *at, "-o", "json").json["behind"] == "10h"
    assert place("run", "flights", "--until-done", *at).code == 0
    assert place("status", "flights", *at, "--fail-if-behind", "0s").code == 0


def test_all_pipelines_a_line_each(place: Place) -> None:
    place.write("flights")
    place.write("weather", granularity="1d")
    place.seed("flights")
    place.seed("weather")
    run(place, 1, "weather")
    result = place("status", *AT)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == "pipeline target day days covered behind caught up status reason"
    assert lines[1].startswith("flights 2013-11-04 1 0.0% 25h no estimate yet in_progress 2013-11-03: ")
    assert lines[2].startswith("weather 2013-11-04 1 100.0% 0s - complete 2013-11-03: ")


def test_a_broken_pipeline_hides_no_other(place: Place) -> None:
    place.write("flights")
    place.write("broken", granularity=0)
    place.write("lost", state={"type": "sql", "conn_id": "no_such_connection"})
    result = place("status", *AT, "-o", "json")
    assert result.code == 5
    assert [one["pipeline_id"] for one in result.json["pipelines"]] == ["flights"]
    errors = {one["pipeline_id"]: one["message"] for one in result.json["errors"]}
    assert "granularity: must be" in errors[None]
    assert "pipeline lost, state: connection 'no_such_connection' is not defined" in errors["lost"]
    assert result.err.count("error: ") == 2


def test_late_among_all(place: Place) -> None:
    place.write("flights")
    place.write("weather", granularity="1d")
    place.seed("weather")
    run(place, 1, "weather")
    result = place("status", *AT, "--fail-if-behind", "6h")
    assert result.code == 1
    assert result.err.count("error: ") == 1
    assert (
        "pipeline flights is 25h behind, more than 6h: its oldest gap starts at 2013-11-03 00:00 EDT"
        in result.err
    )


def test_a_target_day_before_the_start(place: Place) -> None:
    place.write()
    result = place("status", "flights", "--reference-time", "2013-10-01T00:00:00Z", "--fail-if-behind", "0s")
    assert result.code == 0
    assert "no day is planned" in result.out
    assert "is before start_day 2013-11-03" in result.out


@pytest.mark.parametrize(("days", "expected"), [("1", 1), ("2", 2), ("9999", 3)])
def test_days(place: Place, days: str, expected: int) -> None:
    place.write(start_day="2013-11-01")
    assert len(place("status", "flights", *AT, "--days", days, "-o", "json").json["days"]) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            ["--days", "0"], "--days: expected a whole number between 1 and 10000, got '0'", id="days"
        ),
        pytest.param(["--fail-if-behind", "6"], "--fail-if-behind: expected a duration", id="behind"),
        pytest.param(["--reference-time", "now"], "--reference-time: expected ISO 8601", id="time"),
    ],
)
def test_mistakes(place: Place, arguments: list[str], sentence: str) -> None:
    place.write()
    result = place("status", "flights", *arguments)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err


def test_the_wall_clock_of_the_store_rules_leases(place: Place, interval: Interval) -> None:
    place.write()
    place.state().acquire(interval, "cli/other-7", 60)
    place.clock_ahead = timedelta(minutes=2)
    assert place("status", "flights", *AT, "-o", "json").json["leases"] == []


def test_rows_that_no_window_holds_are_reported(place: Place) -> None:
    place.write()
    place.seed()
    assert place("status", "flights", *AT, "-o", "json").json["untimed"] is None
    run(place, 1)
    assert place("status", "flights", *AT, "-o", "json").json["untimed"] == 0
    assert "source:" not in place("status", "flights", *AT).out
    for name in ("a", "b"):
        place.rows().put(name, None)
    run(place, 1)
    said = "2 rows have no usable event time"
    assert place("status", "flights", *AT, "-o", "json").json["untimed"] == 2
    for command in (("status", "flights"), ("status",), ("doctor", "flights")):
        assert said in " ".join(place(*command, *AT).out.split())


def test_a_source_whose_rows_are_all_elsewhere_is_reported(place: Place) -> None:
    place.write()
    place.rows().put("old", "2012-01-01T00:00:00Z")
    run(place, 1)
    found = place("status", "flights", *AT, "-o", "json").json["elsewhere"]
    assert found == {"newest": "2012-01-01T00:00:00Z", "side": "before"}
    assert "before the first planned day" in " ".join(place("doctor", "flights", *AT).out.split())


def test_when_it_will_be_caught_up(place: Place) -> None:
    place.write(granularity="1h")
    place.seed()
    never = place("status", "flights", *AT, "-o", "json").json["eta"]
    assert (never["at"], never["detail"][:16]) == (None, "no estimate yet:")
    run(place, 3)
    eta = place("status", "flights", *AT, "-o", "json").json["eta"]
    assert (eta["windows"], eta["at"] is None, eta["seconds"] > 0) == (3, False, True)
    assert "caught up: about 2013-11-05 07:" in place("status", "flights", *AT).out
    assert place("run", "flights", "--until-done", *AT).code == 0
    done = place("status", "flights", *AT, "-o", "json").json["eta"]
    assert (done["at"], done["seconds"]) == (None, 0)
    assert "caught up:" not in place("status", "flights", *AT).out
