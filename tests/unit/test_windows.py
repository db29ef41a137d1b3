"""A window's names and its JSON."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.windows import NamedRun, Window, parse_window_id


def window(start: str, end: str) -> Window:
    return Window("flights", Interval(parse_utc(start), parse_utc(end)), date(2013, 11, 3))


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        ("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", "flights.20131103T040000Z-20131103T060000Z"),
        (
            "2013-11-03T00:00:00-04:00",
            "2013-11-03T01:00:00-05:00",
            "flights.20131103T040000Z-20131103T060000Z",
        ),
        (
            "2013-11-03T04:00:00.5Z",
            "2013-11-03T06:00:00Z",
            "flights.20131103T040000.500000Z-20131103T060000Z",
        ),
    ],
    ids=["UTC", "local times of the same instants", "a fraction is kept"],
)
def test_the_name_says_the_instants(start: str, end: str, name: str) -> None:
    made = window(start.replace(".5Z", ".500000Z"), end)
    assert made.window_id == name
    assert parse_window_id(name) == ("flights", made.interval)
    assert made.stage_path == f"2013-11-03/{name}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flights",
        "20131103T040000Z-20131103T060000Z",
        "flights.20131103T040000Z",
        "flights.20131303T040000Z-20131103T060000Z",
        "flights.20131103T060000Z-20131103T040000Z",
        "flights.2013-11-03T04:00:00Z-2013-11-03T06:00:00Z",
    ],
)
def test_what_is_no_name_of_a_window(text: str) -> None:
    assert parse_window_id(text) is None


def test_a_pipeline_id_may_hold_dots() -> None:
    found = parse_window_id("a.b.20131103T040000Z-20131103T060000Z")
    assert found is not None
    assert found[0] == "a.b"


def test_windows_survive_json() -> None:
    made = window("2013-11-03T04:00:00.000001Z", "2013-11-03T06:00:00Z")
    again = msgspec.convert(msgspec.to_builtins(made), Window)
    assert again == made
    assert (again.start, again.end) == (made.interval.start, made.interval.end)


WINDOW_ID = "flights.20131103T040000Z-20131103T060000Z"


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [
        (f"reprocess__{WINDOW_ID}__20131106T120000Z", NamedRun("reprocess", WINDOW_ID, "20131106T120000Z")),
        (f"recheck__a__{WINDOW_ID}__t5", NamedRun("recheck", f"a__{WINDOW_ID}", "t5")),
        (f"reprocess__{WINDOW_ID}", None),
        ("scheduled__2013-11-03T04:00:00+00:00", None),
        ("manual", None),
    ],
    ids=["of a command", "an id with underscores", "no stamp", "scheduled", "no parts"],
)
def test_the_id_of_a_run_that_moves_a_named_window(run_id: str, expected: NamedRun | None) -> None:
    found = NamedRun.parse(run_id)
    assert found == expected
    assert found is None or found.run_id == run_id
