"""One Airflow for all tests of this folder, with pipelines of its own between Elasticsearch, S3 and Snowflake."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.day_status import day_status
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.sql import SqlState
from demo import nyc
from tests.integration.real_airflow import lake
from tests.integration.real_airflow.rest import Airflow, wait
from tests.integration.real_airflow.stories import FULL, STORIES

collect_ignore = [] if FULL else ["test_many_pipelines.py"]

LOADER = '''"""Each file of the folder {folder} as a dag."""

from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "{folder}")
'''

CLOSED_PORT = 9  # nothing listens there; a connection to it is a server that is away

DEFAULTS = """
timezone: America/New_York
x_time_back: 1d
granularity: 2h
max_backlog_days: null
source: {{type: elasticsearch, conn_id: nyc_search, time_field: time_hour, page_size: 100}}
stage: {{type: object_store}}
target: {{type: snowflake, conn_id: nyc_snowflake, external_stage: {schema}.LAKE}}
state: {{type: sql, conn_id: nyc_state, schema: {name}}}
airflow: {{retries: 0}}
"""


@dataclass
class World:
    """Airflow, both ends of its pipelines, and the folder with their files; `name` is in every name made here."""

    name: str
    airflow: Airflow
    search: lake.Elasticsearch
    warehouse: lake.Snowflake
    folder: Path

    def pipeline(self, short: str, of: nyc.Name, days: tuple[date, date], settings: dict[str, Any]) -> str:
        """Write the file of a pipeline that moves these days of `of` (flights or weather); returns its id."""
        pipeline_id = f"{self.name}_{short}"
        stage = settings.get("stage", {"path": f"s3://nyc_aws@BUCKET/NAME/{short}"})
        late = self.search.make(f"{self.name}-late-{short}", of)
        document = {
            "pipeline_id": pipeline_id,
            "start_day": days[0].isoformat(),
            "end_day": days[1].isoformat(),
            **settings,
            "source": {"index": [f"{self.name}-{of}-*", late], **settings.get("source", {})},
            "stage": {
                "path": stage["path"].replace("BUCKET", os.environ["S3_BUCKET"]).replace("NAME", self.name)
            },
            "target": {"table": f"{self.warehouse.schema}.{pipeline_id.upper()}"},
        }
        file = self.folder / f"{short}.yaml"
        file.write_text(json.dumps(document, indent=1) + "\n")  # JSON is YAML
        return pipeline_id

    def state(self, pipeline_id: str) -> SqlState:
        identity = Identity(pipeline_id, "America/New_York")
        url = os.environ["POSTGRES_URL"].replace("postgresql://", "postgresql+psycopg2://")
        return SqlState.from_url(url, identity, schema=self.name)

    def entries(self, pipeline_id: str) -> list[Entry]:
        with closing(self.state(pipeline_id)) as state:
            return state.entries()

    def leases(self, pipeline_id: str) -> list[Lease]:
        with closing(self.state(pipeline_id)) as state:
            return state.leases()

    def day_status(self, pipeline_id: str, day: date) -> str:
        """How the ledger says the day stands."""
        report = day_status(
            day_interval(day, "America/New_York"),
            self.entries(pipeline_id),
            now=datetime.now(timezone.utc),
            settle_seconds=600,
            max_attempts=5,
        )
        return report.status.value

    def assert_equal(self, pipeline_id: str, of: str, span: lake.Span) -> None:
        """The target holds exactly the source's rows of the span, each once."""
        short = pipeline_id.removeprefix(f"{self.name}_")
        found, expected = self.warehouse.rows(pipeline_id), self.search.inside(span, of, f"late-{short}")
        assert expected, "a comparison with nothing proves nothing"
        missing, excess = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        assert not missing, f"{len(missing)} rows of the source are not in the target, first {missing[:3]}"
        assert not excess, f"{len(excess)} rows of the target are not in the source, first {excess[:3]}"
        differing = [(key, expected[key], found[key]) for key in expected if expected[key] != found[key]]
        assert not differing, f"{len(differing)} rows differ, first {differing[:2]}"

    def assert_complete(self, pipeline_id: str, of: str, first: date, last: date) -> None:
        """These days are in the target, nothing else is, and the ledger calls each complete."""
        self.assert_equal(pipeline_id, of, lake.whole(first, last))
        committed = self.committed(pipeline_id)
        held = self.warehouse.tokens(pipeline_id)
        assert held == {window: committed.get(window) for window in held}, (
            "the ledger and the target disagree"
        )
        days = lake.days(first, last)
        assert {day: self.day_status(pipeline_id, day) for day in days} == dict.fromkeys(days, "complete")

    def assert_left_nothing(self, pipeline_id: str) -> None:
        """No lease is held, once those of given-up attempts have ended, and no token was committed twice."""
        wait(lambda: not self.leases(pipeline_id), f"the leases of {pipeline_id} end", 180)
        entries = self.entries(pipeline_id)
        tokens = Counter(entry.token for entry in entries if entry.kind is Kind.COMMITTED)
        assert [token for token, count in tokens.items() if count > 1] == []

    def committed(self, pipeline_id: str) -> dict[lake.Span, int]:
        """Window -> newest token that the ledger calls committed for exactly this window."""
        found: dict[lake.Span, int] = {}
        for entry in self.entries(pipeline_id):
            if entry.kind is Kind.COMMITTED:
                assert entry.token is not None
                key = (entry.interval.start, entry.interval.end)
                found[key] = max(entry.token, found.get(key, 0))
        return found


@pytest.fixture(scope="session")
def world(
    airflow: dict[str, str],
    elasticsearch: dict[str, str],
    s3: dict[str, str],
    postgres: dict[str, str],
    snowflake: dict[str, str],
) -> Iterator[World]:
    """The servers with the source filled; the DAGs folder has one DAG file more, without pipelines yet."""
    name = f"nyc{uuid4().hex[:6]}"
    with ExitStack() as stack:
        installation = Airflow()
        stack.callback(installation.close)
        search = lake.Elasticsearch(name)
        stack.callback(search.close)
        warehouse = lake.Snowflake(name.upper(), f"s3://{os.environ['S3_BUCKET']}/{name}")
        stack.callback(warehouse.close)
        search.fill()
        connect(installation)
        dags = Path(installation.dags_folder)
        folder = dags / name
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir()
        (folder / "defaults.yaml").write_text(DEFAULTS.format(name=name, schema=warehouse.schema))
        yield World(name, installation, search, warehouse, folder)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """What random choices begin with; printed, and given by RELIABILITY_SEED made again."""
    chosen = int(os.environ.get("RELIABILITY_SEED") or random.SystemRandom().randrange(10**6))
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal:
        terminal.write_line(f"\nRELIABILITY_SEED={chosen}")
    return chosen


@pytest.fixture(scope="session")
def begun(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """DAG ids by story: those that the collected tests ask for, all begun."""
    asked: set[Any] = set()
    for item in request.session.items:
        asked.update(getattr(item, "fixturenames", ()))
        if (called_with := getattr(item, "callspec", None)) is not None:
            asked.add(called_with.params.get("story"))
    chosen = {name: story for name, story in STORIES.items() if name in asked}
    ids = {name: world.pipeline(name, story.of, story.days, story.settings) for name, story in chosen.items()}
    loader = world.folder.with_suffix(".py")
    loader.write_text(LOADER.format(folder=world.name))
    for name, story in chosen.items():
        story.begin(world.airflow, ids[name])
    yield ids
    loader.unlink()


def _fixture_of(name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def dag_id(begun: dict[str, str]) -> str:
        return begun[name]

    return dag_id


for _name in STORIES:  # a fixture for each story: the id of its DAG
    globals()[f"story_{_name}"] = _fixture_of(_name)


def connect(installation: Airflow) -> None:
    """The pipelines' connections, made as people make them."""
    for conn_id, fields in connections().items():
        installation.connection(conn_id, **fields)


def connections() -> dict[str, dict[str, Any]]:
    search, state = urlsplit(os.environ["ELASTICSEARCH_URL"]), urlsplit(os.environ["POSTGRES_URL"])
    s3 = {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"}
    snowflake = json.loads(os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])
    nyc_search = {
        "conn_type": "elasticsearch",
        "schema": search.scheme,
        "host": search.hostname,
        "port": search.port,
        "login": search.username,
        "password": search.password,
    }
    nyc_aws = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": json.dumps(s3),
    }
    nowhere = json.dumps({**s3, "endpoint_url": f"http://127.0.0.1:{CLOSED_PORT}"})
    return {
        "nyc_search": nyc_search,
        "nyc_search_outage": {**nyc_search, "port": CLOSED_PORT},
        "nyc_search_silent": {**nyc_search, "port": CLOSED_PORT},
        "nyc_aws": nyc_aws,
        "nyc_aws_outage": {**nyc_aws, "extra": nowhere},
        "nyc_snowflake": {**snowflake, "extra": json.dumps(snowflake["extra"])},
        "nyc_state": {
            "conn_type": "postgres",
            "host": state.hostname,
            "port": state.port,
            "login": state.username,
            "password": state.password,
            "schema": state.path.lstrip("/"),
        },
    }
