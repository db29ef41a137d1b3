"""The real input: identifiers are unique, instants are right, and the cut is what the package says."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import datetime, timezone

import pytest

from demo import nyc

STATIONS = {"EWR", "JFK", "LGA"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(("name", "rows"), [("flights", 336_776), ("weather", 26_115)])
def test_identifiers_are_unique_over_the_year(name: nyc.Name, rows: int) -> None:
    with nyc._open(name) as lines:
        reader = csv.reader(lines)
        header = next(reader)
        at = [header.index(key) for key in nyc.KEYS[name]]
        identities = {tuple(row[i] for i in at) for row in reader}
    assert len(identities) == rows


@pytest.mark.parametrize("name", nyc.NAMES)
def test_the_cut_is_the_packages_own_days(name: nyc.Name) -> None:
    start, end = nyc.local_days(*nyc.CUT_DAYS)
    assert (start, end) == (utc("2013-11-01T04:00"), utc("2013-11-05T05:00"))
    assert list(nyc.cut(name)) == list(nyc.documents(name, start, end))
    assert nyc.cut_path(name).stat().st_size < 500_000


@pytest.mark.parametrize("name", nyc.NAMES)
def test_the_instant_is_the_local_clock_of_the_row(name: nyc.Name) -> None:
    for document in nyc.cut(name):
        row = json.loads(document.body)
        local = document.time_hour.astimezone(nyc.NEW_YORK)
        assert (local.year, local.month, local.day, local.hour) == tuple(
            row[key] for key in ("year", "month", "day", "hour")
        )


def test_both_repeated_hours_have_weather_of_all_stations() -> None:
    start, end = nyc.local_days("2013-11-03", "2013-11-03")
    assert (end - start).total_seconds() == 25 * 3600
    hours = Counter(d.time_hour for d in nyc.cut("weather") if start <= d.time_hour < end)
    assert set(hours.values()) == {len(STATIONS)}
    # The package has no observation of any station for that day's first hour; the other 24 of 25 are whole.
    assert len(hours) == 24
    assert min(hours) == utc("2013-11-03T05:00")
    first, second = utc("2013-11-03T05:00"), utc("2013-11-03T06:00")
    assert first.astimezone(nyc.NEW_YORK).hour == second.astimezone(nyc.NEW_YORK).hour == 1
    assert hours[first] == hours[second] == len(STATIONS)


def test_flights_per_local_day_of_the_cut() -> None:
    days = Counter(f"{d.time_hour.astimezone(nyc.NEW_YORK):%Y-%m-%d}" for d in nyc.cut("flights"))
    assert days == {"2013-11-01": 986, "2013-11-02": 689, "2013-11-03": 902, "2013-11-04": 978}


def test_the_missing_hour_of_march_has_no_weather() -> None:
    start, end = nyc.local_days("2013-03-10", "2013-03-10")
    assert (end - start).total_seconds() == 23 * 3600
    hours = {d.time_hour.astimezone(nyc.NEW_YORK).hour for d in nyc.documents("weather", start, end)}
    assert {1, 3} <= hours
    assert 2 not in hours
