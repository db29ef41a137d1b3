"""`status` of many pipelines in one database: read at once, and the same as read one by one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.state.sql import SqlState
from tests.cli.conftest import Place

AT = ("--reference-time", "2013-11-06T12:00:00Z", "-o", "json")
PACED = [
    "elsewhere",
    "expecting",
    "folded",
    "lost",
    "plain",
]  # their ledgers have finished windows near the gap
SQL = {"type": "sql", "conn_id": "kit_state"}
START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)


def span(start: str, end: str) -> Interval:
    return Interval(parse_utc(f"2013-11-{start}:00:00Z"), parse_utc(f"2013-11-{end}:00:00Z"))


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(
        "AIRFLOW_CONN_KIT_STATE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/s.db"})
    )
    return f"sqlite:///{tmp_path}/s.db"


def state(url: str, pipeline_id: str, zone: str = "America/New_York") -> SqlState:
    return SqlState.from_url(url, Identity(pipeline_id, zone))


def commit(made: SqlState, interval: Interval, token: int, rows: int = 7) -> None:
    attempt = f"a{token}"
    made.append(Entry(Kind.ATTEMPT, interval, START, attempt=attempt))
    for kind in (Kind.REPLACING, Kind.COMMITTED):
        made.append(Entry(kind, interval, START, token=token, rows=rows, attempt=attempt))


def fill(place: Place, url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A pipeline for each thing that may stand in a state."""
    monkeypatch.setattr("airflow_pipeline_provider.state.sql.UNSAVED_ENTRIES", 1)
    wide: dict[str, Any] = {"state": SQL, "end_day": None}
    for name, changes in {
        "empty": wide,
        "begun": {**wide, "start_day": None},
        "folded": wide,
        "lost": wide,
        "plain": wide,
        "elsewhere": {**wide, "timezone": "Asia/Kolkata", "start_day": "2013-11-01"},
        "expecting": {
            **wide,
            "start_day": "2013-10-01",
            "expect": {"day_complete_by": "2d 09:00", "rows": {"min": 1, "of_last": "2w"}},
        },
        "future": {**wide, "start_day": "2013-12-01"},
        "alone": {},
    }.items():
        place.write(name, **changes)
    state(url, "begun").first_day(parse_utc("2013-11-04T00:00:00Z").date())
    for token, day in ((11, "20"), (12, "27")):  # [07:00, 15:00) before the clock change
        earlier = Interval(*(parse_utc(f"2013-10-{day}T{hour}:00:00Z") for hour in ("11", "19")))
        commit(state(url, "expecting"), earlier, token, 20)
    for name in ("folded", "lost", "plain", "elsewhere", "expecting"):
        one = state(url, name)
        commit(one, span("03T04", "03T09"), 1)
        one.append(Entry(Kind.WAIVED, span("03T09", "03T12"), START, detail={"reason": "gone"}))
        if name in ("folded", "lost"):
            one.coverage(span("03T04", "04T05"), keep=True)
        commit(one, span("03T12", "03T20"), 2)
        one.append(Entry(Kind.REPLACING, span("03T04", "03T05"), START, token=3))
        one.append(
            Entry(Kind.CHECKED, span("03T12", "03T13"), START, detail={"verdict": "grew", "source": 8})
        )
        for _ in range(3):
            one.append(Entry(Kind.FAILED, span("05T05", "05T06"), START, detail={"error": "DataError"}))
        one.acquire(span("04T10", "04T12"), "someone", 3600)
        one.acquire(span("04T13", "04T14"), "dead", 0.001)
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM pipeline_ledger WHERE pipeline_id = 'lost' AND kind = 'waived'"
        )
    return ["alone", "begun", "elsewhere", "empty", "expecting", "folded", "future", "lost", "plain"]


@pytest.mark.parametrize("days", ["1", "7"])
def test_a_bulk_read_equals_single_reads(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch, days: str
) -> None:
    names = fill(place, url, monkeypatch)
    together = place("status", "--days", days, *AT).json
    assert together["errors"] == []
    alone = [place("status", name, "--days", days, *AT).json for name in names]
    assert all(one["eta"]["detail"] for one in alone)
    assert together["pipelines"] == alone
    assert [one["pipeline_id"] for one in alone if one["eta"]["windows"]] == PACED
    assert [len(one["leases"]) for one in alone] == [0, 0, 1, 0, 1, 1, 0, 1, 1]
    found = {one["pipeline_id"]: one["unexpected"] for one in alone}
    assert [name for name in names if found[name] is not None] == ["expecting"]
    whats = [miss["what"] for miss in found["expecting"]["misses"]]
    assert whats == (["late"] if days == "1" else [*["late"] * 7, "few"])


def test_the_number_of_queries_does_not_grow_with_the_pipelines(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, url, monkeypatch)
    seen: list[int] = []
    for more in (0, 12):
        for number in range(more):
            place.write(f"more_{number}", state=SQL)
        count = [0]

        def counted(*_: Any, count: list[int] = count) -> None:
            count[0] += 1

        sa.event.listen(sa.Engine, "before_cursor_execute", counted)
        assert place("status", *AT).code == 0
        sa.event.remove(sa.Engine, "before_cursor_execute", counted)
        seen.append(count[0])
    assert seen[0] == seen[1] < 20


def test_an_unreachable_database_is_reported_for_each_pipeline(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = {"conn_type": "sqlite", "host": "/no/such/folder/s.db"}
    monkeypatch.setenv("AIRFLOW_CONN_KIT_STATE", json.dumps(conn))
    place.write("one", state=SQL)
    place.write("two", state=SQL)
    place.write("three")
    result = place("status", *AT)
    assert result.code == exit_codes.code_of(FatalError("unable to open"))
    assert [error["pipeline_id"] for error in result.json["errors"]] == ["one", "two"]
    assert [one["pipeline_id"] for one in result.json["pipelines"]] == ["three"]


def test_the_overview_shows_when_each_is_caught_up(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, url, monkeypatch)
    place.write("done", state=SQL, start_day="2013-11-03", end_day="2013-11-03")
    commit(state(url, "done"), span("03T04", "04T05"), 1)
    lines = place("status", *AT[:2]).out.splitlines()
    shown = {line.split()[0]: line for line in lines if line.strip()}
    assert "caught up" in lines[0]
    assert "no estimate yet" in shown["empty"]
    for name in PACED:
        eta = place("status", name, *AT).json["eta"]
        assert eta["detail"].startswith("in " if eta["at"] else "no estimate, no run since")
        assert "no estimate" in shown[name] or eta["at"]
    assert "no estimate" not in shown["done"]
