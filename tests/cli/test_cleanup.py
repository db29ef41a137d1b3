"""`cleanup`: says what goes and why, removes it, and can only say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind

from .conftest import Place

FOLDER = "2013-11-03/flights.20131103T040000Z-20131103T090000Z/dddddddddddd"


@pytest.fixture
def littered(place: Place, interval: Interval) -> Place:
    """A file of an attempt that began before its window's commit, and an expired lease."""
    place.write()
    state = place.state()
    state.append(Entry(Kind.ATTEMPT, interval, interval.start, attempt="d" * 12))
    for kind in (Kind.REPLACING, Kind.COMMITTED):
        state.append(Entry(kind, interval, interval.start, token=1, attempt="e" * 12))
    file = place.folder.parent / "stage" / "flights" / FOLDER / "part-0-0-x.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"12345")
    state.acquire(interval, "flights/dead", 60)
    place.clock_ahead = timedelta(minutes=2)
    return place


def test_removed_files_are_printed(littered: Place) -> None:
    result = littered("cleanup", "flights")
    assert result.code == 0
    assert "dddddddddddd" in result.out
    assert "committed with the newer token 1" in result.out
    assert "expired lease of flights/dead" in result.out
    assert result.out.splitlines()[-1].startswith(
        "removed: 1 file of 1 abandoned attempt (5 bytes), 1 expired lease, no unfinished uploads"
    )
    assert littered("cleanup", "flights").out.startswith("removed: no files of no abandoned attempts")


def test_a_dry_run_removes_nothing(littered: Place) -> None:
    for _ in range(2):
        result = littered("cleanup", "flights", "--dry-run", "-o", "json")
        assert (result.code, result.json["dry_run"], result.json["files"], result.json["bytes"]) == (
            0,
            True,
            1,
            5,
        )
        assert [attempt["folder"] for attempt in result.json["attempts"]] == [FOLDER]
        assert [lease["owner"] for lease in result.json["leases"]] == ["flights/dead"]


WINDOW = "2013-11-03/flights.20131103T040000Z-20131103T090000Z/eeeeeeeeeeee"


@pytest.fixture
def old(place: Place, interval: Interval) -> Place:
    """A window that was committed more than 30 days ago, with one part file and its manifest."""
    path = place.folder.parent / "stage" / "flights"
    place.write(stage={"type": "object_store", "path": str(path), "keep": "30d"})
    state = place.state()
    committed = {"attempt": "e" * 12, "manifest": "a" * 64}
    state.append(Entry(Kind.ATTEMPT, interval, interval.start, attempt="e" * 12))
    for kind in (Kind.REPLACING, Kind.COMMITTED):
        state.append(Entry(kind, interval, interval.start, token=1, **committed))
    folder = path / WINDOW
    folder.mkdir(parents=True)
    for name in ("part-0-0-x.parquet", f"manifest-{'a' * 64}.json"):
        (folder / name).write_bytes(b"12345")
    place.clock_ahead = timedelta(days=31)
    return place


def test_old_part_files_are_printed_recorded_and_removed(old: Place, interval: Interval) -> None:
    dry = old("cleanup", "flights", "--dry-run")
    assert "stage.keep is 30d" in dry.out
    assert dry.out.splitlines()[-1].startswith(
        "would be removed: 1 file of no abandoned attempts and 1 old commit (5 bytes), "
    )
    result = old("cleanup", "flights", "-o", "json").json
    assert (result["files"], [one["folder"] for one in result["expired"]]) == (1, [WINDOW])
    assert old("cleanup", "flights", "-o", "json").json["expired"] == []
    history = old("history", "flights", "2013-11-03").out
    assert "1 part file, 5 bytes, removed by stage.keep (30d): the manifest stays" in " ".join(
        history.split()
    )
    status = old("status", "flights", "--reference-time", "2013-11-05T12:00:00Z").out
    assert "stage: 1 window of 2013-11-03: the files were removed on " in status
    assert "by stage.keep, so moving them again reads the source" in status


def test_mistakes(place: Place) -> None:
    place.write()
    result = place("cleanup", "flights", "--older-than", "a week")
    assert (result.code, result.out) == (2, "")
    assert "--older-than" in result.err
