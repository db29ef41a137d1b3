"""Random kills on real servers: ELASTICSEARCH_URL, S3_ENDPOINT_URL, SNOWFLAKE_HOST, POSTGRES_URL.

A full run moves weather and flights of November 2013, side by side, and kills at least 200 processes; otherwise it is
four days, and a few kills.
"""

from __future__ import annotations

import json
import os
import random
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from demo import nyc
from demo.prepare import index_documents

from .backends import PostgresState, SnowflakeTarget, World
from .child import ForkServers
from .random_kills import LEASE_SECONDS, Campaign
from .report import Results

pytestmark = [
    pytest.mark.integration,
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

NOVEMBER = ("2013-11-01", "2013-11-30")
KILLS, KILLS_FULL = 6, 100  # of each of the two pipelines
SNOWFLAKE, STATE = SnowflakeTarget(), PostgresState()


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    """A schema with an external stage, a database for the state, and a prefix for the indices."""
    made = World(f"rel_{uuid4().hex[:12]}", folder)
    SNOWFLAKE.make(made)
    STATE.make(made)
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    SNOWFLAKE.run(
        f"CREATE STAGE {SNOWFLAKE.schema(made)}.LAKE URL = 's3://{os.environ['S3_BUCKET']}/{made.name}/' "
        f"CREDENTIALS = (AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}')"
    )
    yield made
    SNOWFLAKE.drop(made)
    STATE.drop(made)
    for month in ("10", "11", "12"):  # no wildcard: a server may refuse to delete by one
        for name in nyc.NAMES:
            url = f"{os.environ['ELASTICSEARCH_URL']}/{made.name}-{name}-2013-{month}?ignore_unavailable=true"
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60).close()


@pytest.fixture
def environment(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    search = urlsplit(os.environ["ELASTICSEARCH_URL"])
    elasticsearch = {"conn_type": "elasticsearch", "schema": search.scheme, "host": search.hostname}
    aws = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {
            "endpoint_url": os.environ["S3_ENDPOINT_URL"],
            "region_name": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        },
    }
    found = {
        "AIRFLOW_CONN_RELIABILITY_SEARCH": json.dumps(elasticsearch | {"port": search.port}),
        "AIRFLOW_CONN_RELIABILITY_S3": json.dumps(aws),
        **STATE.environment(world),
        **SNOWFLAKE.environment(world),
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def config(name: nyc.Name, world: World, days: tuple[str, str], granularity: str) -> dict[str, Any]:
    return {
        "pipeline_id": name,
        "timezone": "America/New_York",
        "granularity": granularity,
        "start_day": days[0],
        "end_day": days[1],
        "max_backlog_days": None,
        "source": {
            "type": "elasticsearch",
            "conn_id": "reliability_search",
            "index": f"{world.name}-{name}-*",
            "time_field": "time_hour",
            "page_size": 50,
            "slices": 2,
        },
        "stage": {
            "type": "object_store",
            "path": f"s3://reliability_s3@{os.environ['S3_BUCKET']}/{world.name}/{name}",
            "part_size": "4KB",
        },
        "target": {
            "type": "snowflake",
            "conn_id": "snowflake_default",
            "table": f"{SNOWFLAKE.schema(world)}.{name.upper()}",
            "external_stage": f"{SNOWFLAKE.schema(world)}.LAKE",
        },
        "state": {**STATE.section(world), "lease": f"{LEASE_SECONDS}s"},
    }


def documents(name: nyc.Name, world: World, days: tuple[str, str]) -> list[nyc.Document]:
    """Of the days; the whole year's package is read only for a whole month."""
    start, end = nyc.local_days(*days)
    found = nyc.cut(name) if days == nyc.CUT_DAYS else nyc.documents(name, start, end)
    return [document._replace(index_name=f"{world.name}-{document.index_name}") for document in found]


def test_everything_is_moved_exactly_once(
    world: World,
    environment: dict[str, str],
    fork_servers: ForkServers,
    results: Results,
    full: bool,
    seed: int,
) -> None:
    days, granularity = (NOVEMBER, "4h") if full else (nyc.CUT_DAYS, "12h")
    campaigns = []
    for name in nyc.NAMES:
        moved = documents(name, world, days)
        index_documents(os.environ["ELASTICSEARCH_URL"], name, moved)
        campaigns.append(
            Campaign(
                config=config(name, world, days, granularity),
                environment=environment,
                documents=moved,
                span=Interval(*nyc.local_days(*days)),
                read_target=lambda name=name: rows_of(world, name),  # type: ignore[misc]
                servers=fork_servers,
                folder=world.folder / "pipelines",
                rng=random.Random(f"{seed} {name}"),
                mean_seconds=2.5,
            )
        )
    with ThreadPoolExecutor(len(campaigns)) as pool:
        list(pool.map(lambda campaign: campaign.run(KILLS_FULL if full else KILLS), campaigns))
    backends = "Elasticsearch, S3, Snowflake stand-in, state on PostgreSQL"
    results.kills += [campaign.summary(backends, seed) for campaign in campaigns]
    assert {campaign.name: campaign.problems() for campaign in campaigns} == {name: [] for name in nyc.NAMES}
    assert all(campaign.kills >= KILLS for campaign in campaigns)


def rows_of(world: World, name: str) -> list[tuple[str, datetime, str]]:
    rows = SNOWFLAKE.run(f"SELECT RECORD_ID, EVENT_TIME, BODY FROM {SNOWFLAKE.schema(world)}.{name.upper()}")
    return [(key, at.astimezone(timezone.utc), body) for key, at, body in rows]
