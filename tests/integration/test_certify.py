"""`certify` on real servers, and a target on PostgreSQL whose fence does not lock.

Environment: POSTGRES_URL; SNOWFLAKE_*, AIRFLOW_CONN_SNOWFLAKE_DEFAULT; S3_ENDPOINT_URL, AWS_*, S3_BUCKET;
ELASTICSEARCH_URL.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.connectors.sql_tables import TargetTables

pytestmark = [
    pytest.mark.integration,
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

# of the stand-in: the kit tests the same functions there; it has no SYSTEM$WAIT; 128 MiB take 10 s
KIT = ("tables", "load", "replacement", "older token", "counts", "rollback", "fence", "concurrent loads")
NOT_IN_CI = ("lock time-out", "statement time-out", "document of 16 MiB", "document of 128 MiB")


class Run:
    """Runs `certify …` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(
        self, *arguments: str, without: tuple[str, ...] = ()
    ) -> tuple[int, dict[str, Any], dict[str, Any]]:
        left_out = [word for name in without for word in ("--without", name)]
        self.capsys.readouterr()
        code = main(["certify", *arguments, *left_out, "-o", "json"])
        out, err = self.capsys.readouterr()
        assert out, err
        answer = json.loads(out)
        return code, answer, {one["name"]: one for one in answer["properties"]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def results(found: dict[str, Any]) -> set[str]:
    return {one["result"] for one in found.values() if "left out by" not in one["detail"]}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give the Airflow connection `kit` to PostgreSQL, as the given user."""

    def connect(**changes: str) -> str:
        parts = urlsplit(os.environ["POSTGRES_URL"])
        value = {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.path[1:],
            **changes,
        }
        monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps(value))
        return "kit"

    return connect


@pytest.fixture
def admin() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as admin:
        yield admin


@pytest.fixture
def schema(admin: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"scratch_{uuid4().hex[:8]}"
    yield name
    left = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname = %s", [name]).fetchall()
    admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    assert left == [], "the schema that certify created is still there"


def test_postgresql_is_certified_and_left_as_it_was(
    run: Run, connect: Callable[..., str], schema: str
) -> None:
    code, answer, found = run(
        "target", connect(), "--schema", schema, without=("document of 128 MiB", "rollback", "replacement")
    )
    assert code == 0, found
    assert results(found) == {"passed"}
    assert "connection cut" in found["lost COMMIT reply"]["detail"]
    assert "already loaded" in found["lost COMMIT reply"]["detail"]
    assert "not loaded, so loaded again" in found["lost COMMIT request"]["detail"]
    assert answer["left_behind"] == []


class Fenceless(LoadProtocol):
    """Reads the fence row, and does not lock it."""

    def replace_window(self, *args: Any, **named: Any) -> Any:
        original = self.execute

        def execute(statement: str, parameters: Any = ()) -> Any:
            if statement.startswith("UPDATE"):
                return [(1,)]
            return original(statement, parameters)

        self.execute = execute
        return super().replace_window(*args, **named)


class FencelessTarget(PostgresTarget):
    """A target whose loads do not take turns."""

    def protocol(self, session: Any, tables: TargetTables) -> LoadProtocol:
        return Fenceless(tables, session.execute, self.identity.pipeline_id)


def test_a_fence_that_does_not_lock_is_named(run: Run, connect: Callable[..., str], schema: str) -> None:
    register("target", "fenceless", FencelessTarget, replace=True)
    section = ("--type", "fenceless", "--set", "type=postgres")
    names = dry(run, "target", connect(), "--schema", schema, *section)
    without = tuple(name for name in names if name not in ("load", "fence"))
    code, answer, found = run("target", "kit", "--schema", schema, *section, without=without)
    assert (code, answer["certified"]) == (1, False)
    assert (found["load"]["result"], found["fence"]["result"]) == ("passed", "failed")
    assert "did not wait for the fence row" in found["fence"]["detail"]


def dry(run: Run, *arguments: str) -> list[str]:
    return list(run(*arguments, "--dry-run")[2])


def test_a_missing_right_is_named_with_its_grant(
    run: Run, connect: Callable[..., str], admin: psycopg.Connection[Any], schema: str
) -> None:
    role = f"reader_{uuid4().hex[:8]}"
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only-for-this-test'")
    admin.execute(f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO {role}")
    try:
        names = dry(run, "target", connect(login=role, password="only-for-this-test"), "--schema", schema)
        without = tuple(name for name in names if name not in ("rights", "tables"))
        code, _, found = run("target", "kit", "--schema", schema, without=without)
        assert code == 1
        assert found["rights"]["result"] == "failed"
        assert f'GRANT USAGE, CREATE ON SCHEMA "{schema}"' in found["rights"]["detail"]
        assert found["tables"]["result"] == "failed"
    finally:
        admin.execute(f"DROP SCHEMA {schema} CASCADE; DROP ROLE {role}")


def test_a_sql_state_on_postgresql_is_certified(run: Run, connect: Callable[..., str], schema: str) -> None:
    code, answer, found = run("state", connect(), "--schema", schema, without=("concurrent tokens",))
    assert code == 0, found
    assert results(found) == {"passed"}
    assert answer["left_behind"] == []
    assert "connection cut" in found["lost COMMIT reply"]["detail"]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> str:
    value = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(value))
    return f"s3://lake@{os.environ['S3_BUCKET']}/certified"


def test_an_s3_stage_is_certified(run: Run, lake: str) -> None:
    code, answer, found = run("stage", lake)
    assert code == 0, found
    assert answer["certified"]
    assert results(found) == {"passed"}


@pytest.fixture
def account() -> Iterator[tuple[str, str]]:
    """A schema of the stand-in, and an external stage in another one."""
    import snowflake.connector

    with snowflake.connector.connect(
        host=os.environ["SNOWFLAKE_HOST"],
        port=int(os.environ["SNOWFLAKE_PORT"]),
        account=os.environ["SNOWFLAKE_ACCOUNT"],
        user=os.environ["SNOWFLAKE_USER"],
        password=os.environ["SNOWFLAKE_PASSWORD"],
        database=os.environ["SNOWFLAKE_DATABASE"],
        schema=os.environ["SNOWFLAKE_SCHEMA"],
        insecure_mode=True,
    ) as connection:
        cursor, word = connection.cursor(), uuid4().hex[:8].upper()
        names = [f"{os.environ['SNOWFLAKE_DATABASE']}.{kind}_{word}" for kind in ("SCRATCH", "LAKE")]
        for name in names:
            cursor.execute(f"CREATE SCHEMA {name}")
        key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        cursor.execute(
            f"CREATE STAGE {names[1]}.LAKE URL = 's3://{os.environ['S3_BUCKET']}/' "
            f"CREDENTIALS = (AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}')"
        )
        yield names[0], f"{names[1]}.LAKE"
        tables = cursor.execute(f"SHOW TABLES IN SCHEMA {names[0]}").fetchall()
        for name in names:
            cursor.execute(f"DROP SCHEMA {name} CASCADE")
        assert tables == []


def test_the_snowflake_stand_in_has_what_it_can_have(run: Run, account: tuple[str, str], lake: str) -> None:
    scratch, external = account
    more = ("--stage", lake, "--set", f"external_stage={external}", "--compression", "lz4")
    code, answer, found = run(
        "target", "snowflake_default", "--schema", scratch, *more, without=(*KIT, *NOT_IN_CI)
    )
    assert code == 0, found
    assert results(found) == {"passed"}
    assert {"COPY of files that PUT uploads", "COPY from the external stage", "rights"} <= found.keys()
    assert "connection cut" in found["lost COMMIT reply"]["detail"]
    assert "commits an open transaction here" in found["DDL"]["detail"]
    assert answer["cost"].startswith("unknown: the query history could not be read")
    assert answer["left_behind"] == []


def test_without_an_external_stage_its_copy_is_not_tested(run: Run, account: tuple[str, str]) -> None:
    names = dry(run, "target", "snowflake_default", "--schema", account[0])
    without = tuple(name for name in names if name not in ("tables", "COPY from the external stage"))
    code, answer, found = run("target", "snowflake_default", "--schema", account[0], without=without)
    assert (code, answer["certified"]) == (1, False)
    assert found["COPY from the external stage"]["result"] == "not tested"
    assert "--set external_stage=NAME" in found["COPY from the external stage"]["detail"]


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An index with 300 documents, three of them of one time."""
    url, name = os.environ["ELASTICSEARCH_URL"], f"certified-{uuid4().hex[:8]}"
    monkeypatch.setenv("AIRFLOW_CONN_SEARCH", url)

    def ask(method: str, path: str, body: str | None = None, kind: str = "json") -> None:
        headers = {"Content-Type": f"application/{kind}"}
        data = None if body is None else body.encode()
        request = urllib.request.Request(url + path, data=data, method=method, headers=headers)
        urllib.request.urlopen(request, timeout=60).close()

    ask("PUT", f"/{name}", json.dumps({"mappings": {"properties": {"ts": {"type": "date"}}}}))
    lines = [
        f'{{"index":{{"_id":"{n}"}}}}\n{{"ts":{1_383_454_800_000 + n // 3 * 1000},"n":{n}}}\n'
        for n in range(300)
    ]
    ask("POST", f"/{name}/_bulk?refresh=true", "".join(lines), "x-ndjson")
    yield name
    ask("DELETE", f"/{name}")


def test_an_elasticsearch_source_is_certified(run: Run, index: str) -> None:
    section = ("--type", "elasticsearch", "--set", f"index={index}", "--set", "time_field=ts")
    code, answer, found = run("source", "search", *section, "--scratch", "kit-")
    assert code == 0, found
    assert answer["certified"]
    assert results(found) == {"passed"}
    assert "300 rows" in found["count"]["detail"]
    assert found["partial responses"]["detail"] == "refused: a failed shard, a time-out, half of its bytes"
    with urllib.request.urlopen(f"{os.environ['ELASTICSEARCH_URL']}/_cat/indices/kit-*?h=index") as left:
        assert left.read() == b""


def test_an_elasticsearch_source_that_takes_partial_responses_fails(
    run: Run, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "airflow_pipeline_provider.connectors.elasticsearch"
    for module in ("client", "pages"):
        monkeypatch.setattr(f"{here}.{module}.check_complete", lambda *_, **__: None)
    section = ("--type", "elasticsearch", "--set", f"index={index}", "--set", "time_field=ts")
    code, _, found = run("source", "search", *section)
    assert code == 1
    assert found["partial responses"]["result"] == "failed"
    assert "a failed shard was taken as a whole answer" in found["partial responses"]["detail"]
    assert found["stable view"]["result"] == "not tested"
