"""Hostile documents on real servers: Elasticsearch → S3 → Snowflake, PostgreSQL and DuckDB, by all phases.

What each target then holds is read without the package: to the byte, or in Snowflake's VARIANT by JSON value.

Environment: ELASTICSEARCH_URL; S3_ENDPOINT_URL, AWS_*, S3_BUCKET; POSTGRES_URL; SNOWFLAKE_*, REQUESTS_CA_BUNDLE,
AIRFLOW_CONN_SNOWFLAKE_DEFAULT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class, options_model, register
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.run import Outcome, run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from tests.connectors.elasticsearch.places import CONN_ID, Server
from tests.doubles.memory_state import MemoryState, MemoryStore

from .backends import TARGETS, Target, World

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

NOW = parse_utc("2013-11-06T12:00:00Z")
TS = '"ts":"2013-11-03T05:00:00.000Z"'
TAKEN = {
    "sql": f'{{{TS},"a":"\'; DROP TABLE flights; --","b":"%s %(x)s $1 ?","c":"\\"\\\\"}}',
    "look-alikes": f'{{{TS},"flіghts":"ｆlights \u202e \u200b e\u0301 ✈"}}',
    "escapes": f'{{{TS},"a":"\\u00e9\\ud83d\\ude00\\n\\/ \u2028"}}',
    "white space": f'{{\n{TS},\r\n\t"a" : 1}}',
    "beyond 2^53": f'{{{TS},"a":9007199254740993,"b":-9223372036854775808,"c":9223372036854775807}}',
    "deep": f'{{{TS},"a":{"[" * 90}{"]" * 90}}}',
    "15 MB": f'{{{TS},"a":"{"é" * 7_500_000}"}}',
    "../../up": f"{{{TS}}}",
    "'; --": f"{{{TS}}}",
    "flіghts": f"{{{TS}}}",
}
# Elasticsearch takes these; the sentence has to name the document
REFUSED = {
    "half a pair": (f'{{{TS},"a":"\\ud800"}}', "surrogate"),
    "comment": (f"{{{TS} /* indeed */}}", "not valid JSON"),
    "byte order mark": (f"\ufeff{{{TS}}}", "not valid JSON"),
    "two dates": ('{"ts":["2013-11-03T05:00:00Z","2013-11-04T05:00:00Z"]}', "2 dates"),
}
# and these it refuses itself
NEVER_THERE = {
    "duplicate keys": f'{{{TS},"a":1,"a":2}}',
    "duplicate keys by escape": f'{{{TS},"a":1,"\\u0061":2}}',
    "duplicate keys inside": f'{{{TS},"list":[{{"deep":{{"k":1,"b":{{"x":1}},"k":2}}}}]}}',
    "raw newline": f'{{{TS},"a":"x\ny"}}',
    "NaN": f'{{{TS},"a":NaN}}',
}
FAR = {
    "first": '{"ts":"0001-01-01T00:00:00Z"}',
    "last": '{"ts":"9999-12-31T23:59:59.999Z"}',
    "before Christ": '{"ts":"-0044-03-15T00:00:00Z"}',
    "untimed": '{"a":1}',
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", os.environ["ELASTICSEARCH_URL"])
    lake = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_HOSTILE_LAKE", json.dumps(lake))
    made = Server(os.environ["ELASTICSEARCH_URL"])
    yield made
    made.clean()


@pytest.fixture(params=TARGETS, ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    made: Target = request.param
    return made


@pytest.fixture
def world(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(f"hostile_{uuid4().hex[:10]}", tmp_path)
    target.make(made)
    for name, value in target.environment(made).items():
        monkeypatch.setenv(name, value)
    yield made
    target.drop(made)


def move(world: World, target: Target, index: str, **changes: Any) -> Outcome:
    """The whole day of 2013-11-03 in one window."""
    register("state", "memory", MemoryState, replace=True)
    config = parse_pipeline(
        {
            "pipeline_id": "flights",
            "granularity": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "max_backlog_days": None,
            "source": {
                "type": "elasticsearch",
                "conn_id": CONN_ID,
                "index": index,
                "time_field": "ts",
                "slices": 2,
            },
            "stage": {
                "type": "object_store",
                "path": f"s3://hostile_lake@{os.environ['S3_BUCKET']}/{world.name}/o'neil 50% ✈",
            },
            "target": target.section(world),
            "state": {"type": "memory"},
            **changes,
        },
        options_model=options_model,
    )
    identity = Identity(config.pipeline_id, config.timezone)
    source, stage, into = (
        connector_class(kind, getattr(config, kind).type)(getattr(config, kind), identity)
        for kind in ("source", "stage", "target")
    )
    state = MemoryState(config.state, identity, store=MemoryStore(clock=lambda: NOW))
    runtime = Runtime(config, source, stage, into, state, clock=lambda: NOW)
    try:
        return run_window(runtime, RunRequest(run="flights/1", kind=RunKind.LIVE, reference_time=NOW))
    finally:
        stage.delete([file.path for file in stage.list("")])
        for connector in (source, into):
            connector.close()


def test_what_elasticsearch_takes_reaches_the_target(server: Server, target: Target, world: World) -> None:
    index = server.index()
    for key, text in {**TAKEN, **FAR}.items():
        server.must("POST", f"/{index}/_doc/{quoted(key)}", text.encode())
    anything = {"type": "object", "enabled": False}  # neither indexed nor checked against a mapping
    loose = server.index(properties={"a": anything, "list": anything})
    for key, text in NEVER_THERE.items():
        for where in (index, loose):
            status, _ = server.ask("POST", f"/{where}/_doc/{quoted(key)}", text.encode())
            assert status == 400, (where, key)
    server.must("POST", f"/{index}/_refresh")
    outcome = move(world, target, index)
    assert outcome.audited is not None
    assert outcome.audited.target_rows == len(TAKEN)
    found = {row.record_id: row.body for row in target.rows(world)}
    assert found.keys() == {f"{index}/{key}" for key in TAKEN}
    for key, text in TAKEN.items():
        body = found[f"{index}/{key}"]
        if target.name == "Snowflake":
            assert json.loads(body) == json.loads(text), key
        else:
            assert body == text, key


def test_nanoseconds_are_floored(server: Server, target: Target, world: World) -> None:
    index = server.index(time={"type": "date_nanos"})
    inside = ["2013-11-03T00:00:00.000000999Z", "2013-11-03T23:59:59.999999999Z"]
    texts = ["2013-11-02T23:59:59.999999999Z", *inside, "2013-11-04T00:00:00Z"]
    server.put(index, {text: f'{{"ts":"{text}"}}' for text in texts})
    assert move(world, target, index).audited
    found = {row.record_id.partition("/")[2]: row.event_time for row in target.rows(world)}
    assert found == {text: datetime.fromisoformat(f"{text[:26]}+00:00") for text in inside}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_target_takes_is_refused_by_name(server: Server, name: str, tmp_path: Path) -> None:
    text, words = REFUSED[name]
    index = server.index()
    server.must("PUT", f"/{index}/_doc/bad", text.encode())
    server.must("PUT", f"/{index}/_doc/fine?refresh=true", f"{{{TS}}}".encode())
    embedded = next(target for target in TARGETS if target.name == "DuckDB")
    world = World(f"hostile_{uuid4().hex[:10]}", tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        move(world, embedded, index)
    assert f"document {index}/bad" in caught.value.message
    assert caught.value.message.isprintable()
    assert embedded.rows(world) == []


def quoted(key: str) -> str:
    from urllib.parse import quote

    return quote(key, safe="")
