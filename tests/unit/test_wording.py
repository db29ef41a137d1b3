"""Instants and windows as people read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.wording import counted, local_time, local_window


@pytest.mark.parametrize(
    ("instant", "zone", "text"),
    [
        pytest.param("2013-11-03T05:30:00Z", "America/New_York", "2013-11-03 01:30 EDT", id="first of two"),
        pytest.param("2013-11-03T06:30:00Z", "America/New_York", "2013-11-03 01:30 EST", id="second of two"),
        pytest.param("2013-11-03T06:30:07Z", "UTC", "2013-11-03 06:30:07 UTC", id="seconds"),
        pytest.param("2013-11-03T06:30:00.250000Z", "UTC", "2013-11-03 06:30:00.250000 UTC", id="a fraction"),
        pytest.param(
            "2013-11-03T06:30:00Z", "Asia/Dubai", "2013-11-03 10:30 +04", id="a zone without letters"
        ),
    ],
)
def test_local_time(instant: str, zone: str, text: str) -> None:
    assert local_time(parse_utc(instant), zone) == text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        pytest.param("03T11:00", "03T13:00", "2013-11-03 [06:00, 08:00) EST", id="one offset"),
        pytest.param("03T05:00", "03T06:00", "2013-11-03 [01:00 EDT, 01:00 EST)", id="the repeated hour"),
        pytest.param("04T03:00", "04T05:00", "2013-11-03 [22:00, 24:00) EST", id="up to midnight"),
        pytest.param("03T04:00", "04T05:00", "2013-11-03 [00:00 EDT, 24:00 EST)", id="the whole day"),
        pytest.param("04T03:00", "04T06:00", "2013-11-03 [22:00, 2013-11-04 01:00) EST", id="over midnight"),
        pytest.param("04T03:00", "06T05:00", "2013-11-03 [22:00, 2013-11-06 00:00) EST", id="over days"),
    ],
)
def test_local_window(start: str, end: str, text: str) -> None:
    interval = Interval(parse_utc(f"2013-11-{start}:00Z"), parse_utc(f"2013-11-{end}:00Z"))
    assert local_window(interval, "America/New_York") == text


@pytest.mark.parametrize(
    ("zone", "start", "end", "text"),
    [
        pytest.param(
            "America/Sao_Paulo",
            "2018-11-04T01:00",
            "2018-11-04T03:00",
            "2018-11-03 [22:00, 24:00) -03",
            id="skipped",
        ),
        pytest.param(
            "Asia/Beirut",
            "2022-03-26T20:00",
            "2022-03-26T22:00",
            "2022-03-26 [22:00, 24:00) EET",
            id="skipped, later",
        ),
        pytest.param(
            "America/Sao_Paulo",
            "2018-02-18T01:00",
            "2018-02-18T03:00",
            "2018-02-17 [23:00 -02, 24:00 -03)",
            id="twice",
        ),
        pytest.param(
            "Pacific/Apia",
            "2011-12-30T08:00",
            "2011-12-30T10:00",
            "2011-12-29 [22:00, 24:00) -10",
            id="a skipped date",
        ),
        pytest.param(
            "Africa/Algiers",
            "1971-04-25T21:00",
            "1971-04-25T23:00",
            "1971-04-25 [21:00 WET, 24:00 WEST)",
            id="up to it",
        ),
        pytest.param(
            "America/St_Johns",
            "2006-10-29T01:31",
            "2006-10-29T03:30",
            "2006-10-28 [23:01 NDT, 24:00 NST)",
            id="over",
        ),
    ],
)
def test_the_end_of_a_day_where_the_clock_changes_at_midnight(
    zone: str, start: str, end: str, text: str
) -> None:
    interval = Interval(parse_utc(f"{start}:00Z"), parse_utc(f"{end}:00Z"))
    assert local_window(interval, zone) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "row", "no rows"),
        (1, "row", "1 row"),
        (2, "row", "2 rows"),
        (1234, "committed window", "1,234 committed windows"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (None, "row", "an unknown number of rows"),
    ],
)
def test_counted(number: int | None, noun: str, text: str) -> None:
    assert counted(number, noun) == text


PLURALS = (
    "attempts|bytes|clusters|columns|commits|days|documents|entries|errors|files|findings|gaps|ids|leases|lines|"
    "parts|pipelines|problems|receipts|records|rows|runs|shards|slices|times|tries|values|versions|windows"
)
AFTER_A_NUMBER = re.compile(rf" (?:[a-z]+ )?(?:{PLURALS})\b")
NEVER_ONE = {  # number in the source text: more than one there
    ("problems.py", "len(lines)"),
    ("fields.py", "len(found)"),
    ("reload.py", "len(windows)"),
    ("reprocess.py", "len(windows)"),
    ("client.py", "most_bytes"),
    ("portable.py", "_LONGEST_INTERVAL.days"),
}
NO_NUMBERS = {"statements.table", "self._arguments['granularity']"}


def numbers_before_plurals(path: Path) -> Iterator[str]:
    """Yield what stands before a plural in the f-strings of a module, except constants."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in pairwise(node.values):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                text = ast.unparse(value.value)
                if AFTER_A_NUMBER.match(str(after.value)) and not text.isupper():
                    yield text


def test_messages_count_in_one_way() -> None:
    """Otherwise they report `1 rows`."""
    root = Path(airflow_pipeline_provider.__file__).parent
    found = {
        (path.name, text)
        for path in root.rglob("*.py")
        if "testing" not in path.relative_to(root).parts
        for text in numbers_before_plurals(path)
        if "counted(" not in text and text not in NO_NUMBERS
    }
    assert found == NEVER_ONE
