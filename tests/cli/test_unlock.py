"""`unlock`: who held it since when, and expired leases only."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_pipeline_provider.core.intervals import Interval

from .conftest import Place

FAR = 3600.0


def expired(place: Place, interval: Interval) -> None:
    """A lease that has expired; taking another one would sweep it."""
    place.write()
    place.state().acquire(Interval(interval.end, interval.end + timedelta(hours=5)), "flights/alive", FAR)
    place.state().acquire(interval, "flights/dead", 60)
    place.clock_ahead = timedelta(minutes=2)


def owners(place: Place) -> list[str]:
    return [lease.owner for lease in place.state().leases(expired=True)]


def test_nothing_is_locked(place: Place) -> None:
    place.write()
    assert place("unlock", "flights").out == "no lease to unlock\n"


def test_expired_leases_go_and_live_ones_stay(place: Place, interval: Interval) -> None:
    expired(place, interval)
    result = place("unlock", "flights")
    assert result.code == 1
    assert owners(place) == ["flights/alive"]
    dead, alive = result.out.splitlines()[1:]
    assert "2013-11-03 [00:00 EDT, 04:00 EST)" in dead
    assert "flights/dead" in dead
    assert dead.endswith("unlocked")
    assert alive.endswith("held")
    assert "is held by flights/alive since " in result.err
    assert "use --force" in result.err


def test_only_expired_ones_is_well(place: Place, interval: Interval) -> None:
    place.write()
    place.state().acquire(interval, "flights/dead", 60)
    assert place("unlock", "flights").code == 1
    place.clock_ahead = timedelta(minutes=2)
    result = place("unlock", "flights", "-o", "json")
    assert (result.code, result.err) == (0, "")
    (lease,) = result.json["leases"]
    assert (lease["owner"], lease["status"]) == ("flights/dead", "unlocked")
    assert (lease["start"], lease["end"]) == ("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
    assert owners(place) == []
    assert place("unlock", "flights").code == 0


def test_force_removes_a_live_lease_and_prints_the_consequences(place: Place, interval: Interval) -> None:
    expired(place, interval)
    result = place("unlock", "flights", "--force")
    assert result.code == 0
    assert owners(place) == []
    assert "forced" in result.out
    assert "it rejects a load with an older token" in result.err


@pytest.mark.parametrize(
    ("window", "left"),
    [
        pytest.param(
            "flights.20131103T040000Z-20131103T090000Z",
            ["flights/alive"],
            id="a window id: its neighbour stays",
        ),
        pytest.param("2013-11-03", [], id="a day"),
        pytest.param("2013-11-04", ["flights/dead", "flights/alive"], id="another day"),
        pytest.param(
            "2013-11-03T09:00:00Z/2013-11-03T09:30:00Z", ["flights/dead"], id="instants inside of the other"
        ),
    ],
)
def test_one_window(place: Place, interval: Interval, window: str, left: list[str]) -> None:
    expired(place, interval)
    assert place("unlock", "flights", "--window", window, "--force").code == 0
    assert owners(place) == left


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ("noon", "--window: expected a window id, a day such as 2013-11-03"),
        ("other.20131103T040000Z-20131103T090000Z", "a window of 'other'"),
        ("2013-11-03T09:00:00Z/2013-11-03T09:00:00Z", "an end after its start"),
        ("2013-11-03T09:00:00/2013-11-03T10:00:00Z", "with an offset"),
    ],
)
def test_mistakes(place: Place, window: str, sentence: str) -> None:
    place.write()
    result = place("unlock", "flights", "--window", window)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err
