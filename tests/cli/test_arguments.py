"""What people type: what it means, or one sentence that says what was expected."""

from __future__ import annotations

from datetime import date

import pytest

from airflow_pipeline_provider.cli.arguments import read_count, read_seconds
from airflow_pipeline_provider.core.days import parse_day
from airflow_pipeline_provider.core.intervals import parse_instant, parse_utc
from airflow_pipeline_provider.exceptions import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "2013-11-03T06:00:00Z",
        "2013-11-03T06:00Z",
        "2013-11-03t06:00:00z",
        "2013-11-03 01:00:00-05:00",
        "2013-11-03T02:00:00.000-04:00",
        " 2013-11-03T06:00:00+00:00 ",
    ],
)
def test_instants(text: str) -> None:
    assert parse_instant(text, "--t") == parse_utc("2013-11-03T06:00:00Z")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("2013-11-03T01:30:00", "without an offset: add Z", id="no-offset"),
        pytest.param("2013-11-03 01:30", "without an offset: add Z", id="no-offset-no-seconds"),
        pytest.param("2013-11-03", "got '2013-11-03'", id="a-date"),
        pytest.param("yesterday", "got 'yesterday'", id="words"),
        pytest.param("", "got ''", id="empty"),
        pytest.param("2013-13-03T00:00:00Z", "got '2013-13-03T00:00:00Z'", id="month"),
        pytest.param("2013-11-03T25:00:00Z", "got '2013-11-03T25:00:00Z'", id="hour"),
        pytest.param("0001-01-01T00:00:00+14:00", "got '0001-01-01", id="before-the-calendar"),
        pytest.param("2013-11-03T00:00:00+25:00", "got '2013-11-03T00:00:00+25:00'", id="offset"),
    ],
)
def test_bad_instants(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_instant(text, "--reference-time")
    assert str(caught.value).startswith("--reference-time: expected ISO 8601 with an offset")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["0999-12-31T23:59:59Z", "9001-01-01T00:00:00Z"])
def test_instants_too_near_to_the_calendars_ends(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--t: expected a year from 1000 to 9000, got '{text}'"):
        parse_instant(text, "--t")


def test_days() -> None:
    assert parse_day("2013-11-03", "--day") == date(2013, 11, 3)


@pytest.mark.parametrize("text", ["2013-11-31", "2013-1-1", "20131103", "today", "", "2013-11-03T00:00:00Z"])
def test_bad_days(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--day: expected a calendar day such as 2013-11-03, got "):
        parse_day(text, "--day")


@pytest.mark.parametrize(("text", "seconds"), [("6h", 21_600), ("1d6h", 108_000), ("30s", 30), ("0s", 0)])
def test_durations(text: str, seconds: int) -> None:
    assert read_seconds(text, "--wait") == seconds


@pytest.mark.parametrize("text", ["", "6", "-6h", "6h ", "h6", "six hours", "10001d"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--wait: expected .*, got "):
        read_seconds(text, "--wait")


@pytest.mark.parametrize("text", ["0", "11", "-1", "1.0", "one", "", "1e1", "99999999999999"])
def test_bad_counts(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--days: expected a whole number between 1 and 10, got "):
        read_count(text, "--days", least=1, most=10)
