"""Random kills over four days of weather: a table in SQLite, files, a state in SQLite, a target in DuckDB."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from demo import nyc
from demo.prepare import make_weather_db

from .child import ForkServers
from .random_kills import LEASE_SECONDS, Campaign
from .report import Results

pytestmark = pytest.mark.integration

KILLS, KILLS_FULL = 15, 200
KILLS_LARGER = 6


@pytest.fixture
def campaign(
    folder: Path,
    fork_servers: ForkServers,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Campaign:
    environment = {
        "AIRFLOW_CONN_RELIABILITY_WEATHER": sqlite(folder / "weather.sqlite"),
        "AIRFLOW_CONN_RELIABILITY_STATE": sqlite(folder / "state.sqlite"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    make_weather_db(folder / "weather.sqlite")
    lake = folder / "lake.duckdb"
    config = {
        "pipeline_id": "weather",
        "timezone": "America/New_York",
        "granularity": "6h",
        **(getattr(request, "param", None) or {}),
        "start_day": "2013-11-01",
        "end_day": "2013-11-04",
        "max_backlog_days": None,
        "source": {
            "type": "sql",
            "conn_id": "reliability_weather",
            "table": "weather",
            "time_column": "time_hour",
            "key_columns": ["time_hour", "origin"],
            "page_size": 5,
        },
        "stage": {"type": "object_store", "path": str(folder / "stage"), "part_size": "1KB"},
        "target": {"type": "duckdb", "path": str(lake), "table": "main.weather"},
        "state": {"type": "sql", "conn_id": "reliability_state", "lease": f"{LEASE_SECONDS}s"},
    }

    def read_target() -> list[tuple[str, datetime, str]]:
        import duckdb

        with duckdb.connect(str(lake)) as connection:
            rows = connection.execute("SELECT RECORD_ID, epoch_us(EVENT_TIME), BODY FROM weather").fetchall()
        epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
        return [(key, epoch + timedelta(microseconds=at), body) for key, at, body in rows]

    return Campaign(
        config=config,
        environment=environment,
        documents=list(nyc.cut("weather")),
        span=Interval(*nyc.local_days(*nyc.CUT_DAYS)),
        read_target=read_target,
        servers=fork_servers,
        folder=folder / "pipelines",
        rng=random.Random(seed),
        mean_seconds=0.8,
    )


def sqlite(path: Path) -> str:
    return json.dumps({"conn_type": "sqlite", "host": str(path)})


def test_everything_is_moved_exactly_once(
    campaign: Campaign, results: Results, full: bool, seed: int
) -> None:
    campaign.run(KILLS_FULL if full else KILLS)
    results.kills.append(campaign.summary("SQL table on SQLite, files, DuckDB, state on SQLite", seed))
    assert campaign.problems() == []
    assert campaign.kills >= KILLS


LARGER = {"granularity": "1h", "backlog_granularity": "12h"}


@pytest.mark.parametrize("campaign", [pytest.param(LARGER, id="larger windows")], indirect=True)
def test_a_backlog_of_larger_windows_is_moved_exactly_once(
    campaign: Campaign, results: Results, full: bool, seed: int
) -> None:
    begun = Interval(campaign.span.start + timedelta(hours=3), campaign.span.start + timedelta(hours=5))
    campaign.move(begun)
    campaign.run(KILLS_FULL if full else KILLS_LARGER)
    results.kills.append(
        campaign.summary("SQL table on SQLite, files, DuckDB, state on SQLite, larger windows", seed)
    )
    assert campaign.problems() == []
    assert campaign.kills >= KILLS_LARGER
    first, *rest = sorted(campaign.commits())
    assert (first.seconds, rest[0]) == (3 * 3600, begun), "gaps are filled without overlap"
    assert max(window.seconds for window in rest) == 12 * 3600


def test_the_comparison_finds_a_lost_row(campaign: Campaign) -> None:
    campaign.mean_seconds = 10_000.0
    campaign.run(0)
    assert campaign.problems() == []
    rows = campaign.read_target()
    campaign.read_target = lambda: [*rows[1:], rows[2]]
    assert campaign.problems() == [
        "1 documents are missing in the target, 1 rows are too many",
        "a record id is in the target twice",
    ]
