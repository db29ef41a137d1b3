"""Expectations of a pipeline file, from the command line: how unusual rows are accepted, and what `check` reports."""

from __future__ import annotations

import re
import shlex
from datetime import date

import pytest

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.expectations import Miss, Unmet, entry_of
from airflow_pipeline_provider.core.intervals import parse_utc
from tests.cli.conftest import AFTER, Place

AT = ("--reference-time", AFTER)
RUN = ("run", "flights", "--until-done", *AT)


@pytest.fixture
def few(place: Place) -> Place:
    """Two windows of the day, the second with one row less than expected."""
    for time in ("2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z", "2013-11-03T18:00:00Z"):
        place.rows().put(time, time, "{}")
    return place


def test_refused_rows_are_accepted_by_the_command_that_the_error_prints(few: Place) -> None:
    few.write(granularity="13h", expect={"rows": {"min": 2}}, audit={"on_unusual": "fail"})
    refused = few(*RUN)
    assert (refused.code, "has 1 row, expected 2 or more (audit.on_unusual: fail)" in refused.err) == (
        4,
        True,
    )
    (command,) = re.findall("`(airflow-pipelines reprocess [^`]*)`", refused.err)
    assert "--accept-unusual" in command
    assert few("status", "flights", *AT, "-o", "json").json["days"][0]["status"] != "complete"
    assert few(*shlex.split(command)[1:], folder=False).code == 0
    assert few("status", "flights", *AT, "-o", "json").json["days"][0]["status"] == "complete"
    assert "accepted_rows" in few("history", "flights", "2013-11-03").out


def test_accept_unusual_needs_this_process(few: Place) -> None:
    few.write(granularity="13h")
    span = ("--from", "2013-11-03", "--to", "2013-11-03")
    result = few("reprocess", "flights", *span, "--accept-unusual")
    assert (result.code, "--accept-unusual: only works with --here" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ({"day_complete_by": 540}, 'expect.day_complete_by: must be a local time in quotes such as "09:00"'),
        ({"day_complete_by": "9:00"}, "expect.day_complete_by: must be a local time"),
        (
            {"rows": {"of_last": "4"}},
            "expect.rows.of_last: must be a number of weeks from 1w to 52w, got '4'",
        ),
        ({"rows": {"of_last": "99w"}}, "expect.rows.of_last: must be a number of weeks from 1w to 52w"),
        (
            {"rows": {"of_last": "4w", "band": 50}},
            "expect.rows.band: must be a percentage from 1% to 1000%, got 50",
        ),
        ({"rows": {"of_last": "4w", "band": "0%"}}, "expect.rows.band: must be a percentage"),
        ({"rows": {"min": 1, "band": "5%"}}, "expect.rows.band: needs of_last"),
        ({"rows": {"min": 0}}, "expect.rows.min: "),
        ({"rows": {}}, "expect.rows: needs min or of_last"),
        ({"row": {"min": 1}}, "expect.row: unknown key; did you mean 'rows'?"),
        ({}, "expect: needs day_complete_by or rows"),
    ],
)
def test_check_reports_wrong_expectations(place: Place, expect: object, problem: str) -> None:
    place.write(expect=expect)
    result = place("check")
    assert (result.code, problem in result.out + result.err) == (1, True), result.out + result.err


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"x_time_back": "1d", "expect": {"day_complete_by": "09:00"}},
            'expect.day_complete_by: "09:00" makes every day late',
        ),
        ({"x_time_back": "3d", "expect": {"day_complete_by": "09:00"}}, 'a later time such as "4d 09:00"'),
        (
            {"x_time_back": "99d", "expect": {"day_complete_by": "09:00"}},
            "no time up to 99 days after is late enough, remove the key",
        ),
        ({"audit": {"on_unusual": "fail"}}, "audit.on_unusual: has no effect without expect.rows"),
    ],
)
def test_check_warns_about_expectations_that_cannot_be_met(
    place: Place, changes: dict[str, object], warning: str
) -> None:
    place.write(**changes)
    result = place("check")
    assert (result.code, warning in " ".join((result.out + result.err).split())) == (0, True), result.out


def test_expectations_that_can_be_met_have_no_warning(place: Place) -> None:
    place.write(x_time_back="0d", expect={"day_complete_by": "09:00", "rows": {"min": 1}})
    result = place("check")
    assert (result.code, "day_complete_by" in result.out + result.err) == (0, False)


def test_status_shows_what_is_not_as_expected(few: Place) -> None:
    few.write(granularity="13h", expect={"day_complete_by": "09:00", "rows": {"min": 2, "of_last": "2w"}})
    assert few("run", "flights", *AT).code == 0  # one of the two windows
    lines = [" ".join(line.split()) for line in few("status", "flights", *AT).out.splitlines()]
    assert "not as expected: 2013-11-03 is late: it was due to be complete by 2013-11-04 09:00 EST" in lines
    assert "rows not judged: 1 window: 0 of the last 2 weeks have a committed window to compare with" in lines
    listed = few("status", *AT).out.splitlines()[-1]
    assert listed == (
        "flights: not as expected: 2013-11-03 is late: it was due to be complete by 2013-11-04 09:00 EST"
    )
    assert few(*RUN).code == 0
    (miss,) = few("status", "flights", *AT, "-o", "json").json["unexpected"]["misses"]
    assert {key: miss[key] for key in ("what", "start", "rows", "least", "usual", "sentence")} == {
        "what": "few",
        "start": "2013-11-03T17:00:00Z",
        "rows": 1,
        "least": 2,
        "usual": None,
        "sentence": "2013-11-03 [12:00, 24:00) EST has 1 row, expected 2 or more",
    }


def test_status_at_an_earlier_time_has_no_late_day(few: Place) -> None:
    few.write(granularity="13h", x_time_back="0d", expect={"day_complete_by": "09:00"})
    for at, misses in (("2013-11-04T13:59:00Z", []), ("2013-11-04T14:01:00Z", ["late"])):
        found = few("status", "flights", "--reference-time", at, "-o", "json").json["unexpected"]
        assert [miss["what"] for miss in found["misses"]] == misses


def test_a_pipeline_without_expectations_has_none(few: Place) -> None:
    few.write(granularity="13h")
    assert few("status", "flights", *AT, "-o", "json").json["unexpected"] is None


def test_history_prints_what_was_missed(few: Place) -> None:
    few.write(granularity="13h")
    day = day_interval(date(2013, 11, 3), "America/New_York")
    late = Miss(Unmet.LATE, day, due=parse_utc("2013-11-04T14:00:00Z"))
    few.state().append(entry_of(late, day.end, "pipelines_maintenance/scheduled__1"))
    lines = [line.strip() for line in few("history", "flights", "2013-11-03").out.splitlines()]
    assert "2013-11-03 is late: it was due to be complete by 2013-11-04 09:00 EST" in lines
    assert "run pipelines_maintenance/scheduled__1" in lines
