"""A pipeline is caught up only where nothing that is ready is missing, and no day needs a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.core.time_utils import Duration
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.overview import overview
from tests.doubles.memory_state import MemoryState

ZONE = "America/New_York"
AT = parse_utc("2013-11-05T12:00:00Z")
RULES = PlanRules(
    ZONE, Duration(1, 0), Duration(1, 0), start_day=date(2013, 11, 1), end_day=date(2013, 11, 30)
)
ALL = (1, 2, 3, 4)


def entry(kind: Kind, day: int, **fields: Any) -> Entry:
    return Entry(kind, day_interval(date(2013, 11, day), ZONE), AT, **fields)


def checked(verdict: str) -> Entry:
    return entry(Kind.CHECKED, 2, detail={"source": 2, "target": 1, "verdict": verdict})


FAILED = entry(Kind.FAILED, 4, detail={"error": "DataError", "phase": "audit", "message": "counts differ"})


@pytest.mark.parametrize(
    ("days", "more", "rules", "state", "behind", "caught_up"),
    [
        pytest.param(ALL, [], RULES, "complete", 0, True, id="all days"),
        pytest.param(ALL[:3], [entry(Kind.WAIVED, 4)], RULES, "waived", 0, True, id="one is waived"),
        pytest.param(
            ALL[:3],
            [],
            replace(RULES, settle_seconds=86_400),
            "not_settled",
            0,
            True,
            id="one is not settled",
        ),
        pytest.param(ALL, [checked("grew")], RULES, "drifted", 0, False, id="one grew"),
        pytest.param(ALL, [checked("shrank")], RULES, "drifted", 0, False, id="one shrank"),
        pytest.param(
            ALL, [entry(Kind.REPLACING, 2, token=9)], RULES, "unverified", 0, False, id="one is unverified"
        ),
        pytest.param(
            ALL[1:], [], replace(RULES, max_backlog_days=2), "too_old", 0, False, id="one is too old"
        ),
        pytest.param(ALL[:3], [FAILED] * 3, RULES, "blocked", 86_400, False, id="one is blocked"),
        pytest.param(ALL[:3], [], RULES, "ready", 86_400, False, id="one is ready"),
    ],
)
def test_caught_up(
    days: tuple[int, ...], more: list[Entry], rules: PlanRules, state: str, behind: int, caught_up: bool
) -> None:
    ledger = MemoryState()
    for token, day in enumerate(days, start=1):
        for kind in (Kind.REPLACING, Kind.COMMITTED):
            ledger.append(entry(kind, day, token=token, rows=1))
    for one in more:
        ledger.append(one)
    config = SimpleNamespace(
        pipeline_id="flights", timezone=ZONE, rules=rules, max_attempts=3, backlog="drain", schedule="auto"
    )
    found = overview(cast(Described, config), ledger, AT)
    assert (found.state.value, found.status.behind_seconds, found.caught_up) == (state, behind, caught_up)
