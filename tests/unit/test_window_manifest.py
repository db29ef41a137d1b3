"""A window that several commits cover: which manifest the page names, and which quarantined rows it counts."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.views.window_page import window_page
from tests.unit.planning_examples import rules

AT = datetime(2013, 11, 7, tzinfo=timezone.utc)
RULES = rules(start_day=date(2013, 11, 4))
HOUR = timedelta(hours=1)
FIRST = datetime(2013, 11, 5, 10, tzinfo=timezone.utc)
WINDOW = Interval(FIRST, FIRST + 2 * HOUR)
BEFORE, EARLY, LATE = (Interval(FIRST + n * HOUR, FIRST + (n + 1) * HOUR) for n in (-1, 0, 1))


def commit(interval: Interval, token: int, quarantined: int | None = 0) -> Entry:
    detail = {} if quarantined is None else {"quarantined": quarantined}
    return Entry(Kind.COMMITTED, interval, AT, token=token, rows=9, manifest=f"sha{token}", detail=detail)


@pytest.mark.parametrize(
    ("entries", "manifest", "quarantined"),
    [
        pytest.param([], None, None, id="none"),
        pytest.param([commit(WINDOW, 1, 3)], "sha1", 3, id="one"),
        pytest.param([commit(WINDOW, 1, 3), commit(WINDOW, 2)], "sha2", None, id="replaced whole"),
        pytest.param([commit(WINDOW, 1, 3), commit(EARLY, 2, 4)], "sha2", 7, id="newest is the early part"),
        pytest.param([commit(EARLY, 3, 4), commit(LATE, 2)], "sha3", 4, id="only the early part has rows"),
        pytest.param([commit(EARLY, 1, None), commit(LATE, 2, 5)], "sha2", 5, id="an earlier version's"),
        pytest.param([commit(WINDOW, 1, 3), commit(EARLY, 2), commit(LATE, 3)], "sha3", None, id="in parts"),
        pytest.param([commit(BEFORE, 9, 8), commit(WINDOW, 1, 3)], "sha1", 3, id="another window's is newer"),
    ],
)
def test_the_manifest_is_of_the_newest_commit_and_all_quarantined_rows_count(
    entries: list[Entry], manifest: str | None, quarantined: int | None
) -> None:
    config = SimpleNamespace(pipeline_id="flights", timezone=RULES.timezone, rules=RULES, max_attempts=3)
    state = SimpleNamespace(
        first_day=lambda _: None,
        leases=list,
        about=lambda: SimpleNamespace(acts=()),
        coverage=lambda _: Coverage(),
    )
    page = window_page(cast("Any", config), cast("Any", state), entries, WINDOW, AT)
    assert (page.manifest.sha256 if page.manifest else None) == manifest
    assert (page.quarantine.rows if page.quarantine else None) == quarantined
