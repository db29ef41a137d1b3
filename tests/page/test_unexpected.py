"""Late days and unusual windows on the page: what the maintenance DAG recorded, until it is resolved."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.expectations import Miss, Unmet, due_at, entry_of, parse_complete_by
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Kind
from tests.page.conftest import Ask
from tests.page.place import Place
from tests.page.world import ZONE

pytestmark = pytest.mark.usefixtures("nothing_kept")


def record(place: Place) -> tuple[str, str]:
    """Record a late day and a window with few rows, as the maintenance DAG does; return their sentences."""
    zone = ZONE
    day = place.world.day(-1)
    late = Miss(Unmet.LATE, day_interval(day, zone), due=due_at(day, parse_complete_by("09:00"), zone))
    (commit,) = (entry for entry in place.entries(place.complete) if entry.kind is Kind.COMMITTED)
    few = Miss(Unmet.FEW, place.complete, commit.token, rows=3, usual=20.0, weeks=4)
    with closing(place.state()) as state:
        for miss in (late, few):
            state.append(entry_of(miss, place.world.now, "pipelines_maintenance/scheduled__1"))
    return late.sentence(zone), few.sentence(zone)


def lane_windows(place: Place, ask: Ask) -> dict[str, Any]:
    span = {"from": place.world.day(-3), "to": place.world.day(-1)}
    lanes = ask(f"/pipelines/{place.dag_id}/windows", **span)["days"]
    return {one["window"]["start"]: one["unexpected"] for lane in lanes for one in lane["windows"]}


def window_of(place: Place, interval: Interval, ask: Ask) -> list[str]:
    span = {"start": iso_utc(interval.start), "end": iso_utc(interval.end)}
    found: list[str] = ask(f"/pipelines/{place.dag_id}/window", **span)["unexpected"]
    return found


def test_recorded_misses_are_shown_in_each_view(place: Place, ask: Ask) -> None:
    before = ask(f"/pipelines/{place.dag_id}")
    assert before["unexpected"] == []
    late, few = record(place)
    page = ask(f"/pipelines/{place.dag_id}")
    assert [(one["what"], one["sentence"]) for one in page["unexpected"]] == [("few", few), ("late", late)]
    assert page["days_to_review"] == before["days_to_review"] + 1, "the other days were listed before"
    (row,) = (one for one in ask("/pipelines")["pipelines"] if one["dag_id"] == place.dag_id)
    assert row["unexpected"] == [few, late]
    shown = lane_windows(place, ask)
    assert {start: text for start, text in shown.items() if text} == {iso_utc(place.complete.start): few}
    assert window_of(place, place.complete, ask) == [few]
    assert window_of(place, place.missing[0], ask) == [late]


def test_resolved_misses_are_no_longer_shown(place: Place, ask: Ask) -> None:
    record(place)
    for window in (place.complete, *place.missing):
        place.run(window)
    assert ask(f"/pipelines/{place.dag_id}")["unexpected"] == []
    assert not any(lane_windows(place, ask).values())
    assert window_of(place, place.complete, ask) == []
    (row,) = (one for one in ask("/pipelines")["pipelines"] if one["dag_id"] == place.dag_id)
    assert row["unexpected"] == []
