"""Instants and windows as people read them."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.wording import local_time, local_window


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
