"""Canary passwords in every connection: nothing that a pipeline writes holds one, when it works and when it fails.

Windows are moved by the command line and by Airflow, from Elasticsearch (login and API key) over S3 to Snowflake and
PostgreSQL, with servers of this module's own whose passwords are canaries; then with wrong passwords, servers that
are not there, a proxy that says everything it was told, a missing index and a missing right.  Looked through: logs,
standard output and error with every traceback, ledger, files in S3, XComs, rendered fields and the serialized DAG in
Airflow's database, and each SQL statement as Snowflake's client sends it and PostgreSQL sees it.

Environment: ELASTICSEARCH_URL, POSTGRES_URL.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.observability import redaction
from tests.canaries import Canary, canary, leaks
from tests.connectors.elasticsearch.places import Server
from tests.dags.conftest import LOADER, sync

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

SERVICES = Path(__file__).resolve().parents[2] / "services"
NAMES = ("search", "search key", "lake", "snow", "post", "state", "sqlite", "wrong")
BIRDS = {name: canary(name) for name in NAMES}
AFTER = "2013-11-06T12:00:00Z"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def service(name: str, folder: Path, **environment: str) -> Iterator[dict[str, str]]:
    """A server of tests/services on a port of its own, for the block."""
    arguments = ["--data-dir", str(folder / name)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("S3_", "AWS_", "SNOWFLAKE_"))}
    started = subprocess.run(
        [SERVICES / name / "start.sh", "--port", str(free_port()), *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert started.returncode == 0, started.stderr[-2000:]
    try:
        yield dict(line.partition("=")[::2] for line in started.stdout.splitlines() if "=" in line)
    finally:
        subprocess.run([SERVICES / name / "stop.sh", *arguments], check=True, capture_output=True)


@dataclass
class Place:
    """Servers, connections and pipeline files; `seen` is whatever was written, by where."""

    folder: Path
    connections: dict[str, dict[str, Any]]
    index: str
    seen: dict[str, list[str]] = field(default_factory=dict)

    def note(self, where: str, text: object) -> None:
        self.seen.setdefault(where, []).append(text if isinstance(text, str) else repr(text))

    def file(self, pipeline_id: str, **changes: Any) -> Path:
        content = {
            "pipeline_id": pipeline_id,
            "granularity": "6h",
            "x_time_back": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "max_backlog_days": None,
            "backlog": "wait",
            "airflow": {"retries": 0},
            "source": {"type": "elasticsearch", "conn_id": "search", "index": self.index, "time_field": "ts"},
            "stage": {"type": "object_store", "path": f"s3://lake@lake/{pipeline_id}"},
            **changes,
        }
        path = self.folder / "dags" / "pipelines" / f"{pipeline_id}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path


def postgres_role(bird: Canary, name: str) -> dict[str, Any]:
    """A role of this test with a database of its own; its connection."""
    import psycopg2
    from psycopg2 import sql

    server = urlsplit(os.environ["POSTGRES_URL"])
    connection = psycopg2.connect(os.environ["POSTGRES_URL"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(bird.password)
            )
        )
        cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    connection.close()
    return {
        "conn_type": "postgres",
        "host": server.hostname,
        "port": server.port,
        "login": name,
        "password": bird.password,
        "schema": name,
    }


def drop_role(name: str) -> None:
    import psycopg2

    connection = psycopg2.connect(os.environ["POSTGRES_URL"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'DROP ROLE IF EXISTS "{name}"')
    connection.close()


class Gossip(http.server.BaseHTTPRequestHandler):
    """A proxy that answers with everything that it was told."""

    def do_GET(self) -> None:
        said = f"cannot reach http://u:{self.headers['Authorization']}@up/: {dict(self.headers)}".encode()
        self.send_response(403 if self.path == "/" else 400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def gossip() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gossip)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, gossip: int) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "dags" / "pipelines").mkdir(parents=True)
    (folder / "dags" / "pipelines.py").write_text(LOADER)
    search = urlsplit(os.environ["ELASTICSEARCH_URL"])
    server = Server(os.environ["ELASTICSEARCH_URL"])
    index = server.index(server.name("secrets"))
    server.put(index, {str(n): f'{{"ts":"2013-11-03T{n:02}:30:00Z"}}' for n in range(24)})
    lake, snow = BIRDS["lake"], BIRDS["snow"]
    roles = {name: f"canary_{name}_{os.getpid()}" for name in ("post", "state")}
    keys = {"S3_ACCESS_KEY": "reader", "S3_SECRET_KEY": lake.password}
    with (
        service("s3", folder, **keys) as s3,
        service(
            "snowflake",
            folder,
            SNOWFLAKE_PASSWORD=snow.plain,
            S3_ENDPOINT_URL=s3["S3_ENDPOINT_URL"],
            AWS_ACCESS_KEY_ID="reader",
            AWS_SECRET_ACCESS_KEY=lake.password,
            AWS_DEFAULT_REGION="us-east-1",
        ) as flake,
    ):
        es = {"conn_type": "elasticsearch", "host": search.hostname, "port": search.port}
        s3_extra = {"endpoint_url": s3["S3_ENDPOINT_URL"], "region_name": "us-east-1"}
        snow_extra = {
            "account": "pipeline",
            "database": "ANALYTICS",
            "host": "127.0.0.1",
            "insecure_mode": True,
        }
        connections: dict[str, dict[str, Any]] = {
            "search": es | {"login": "me", "password": BIRDS["search"].password},
            "search_key": es | {"extra": {"api_key": BIRDS["search key"].plain}},
            "gossip": es | {"port": gossip, "login": "me", "password": BIRDS["search"].password},
            "gossip_key": es | {"port": gossip, "extra": {"api_key": BIRDS["search key"].plain}},
            "nobody_searches": es | {"port": 1, "login": "me", "password": BIRDS["search"].password},
            "lake": {"conn_type": "aws", "login": "reader", "password": lake.password, "extra": s3_extra},
            "wrong_lake": {
                "conn_type": "aws", "login": "reader", "password": BIRDS["wrong"].password, "extra": s3_extra,
            },
            "snow": {
                "conn_type": "snowflake", "login": "pipeline", "password": snow.plain, "schema": "RAW",
                "extra": snow_extra | {"port": int(flake["SNOWFLAKE_PORT"])},
            },
            "post": postgres_role(BIRDS["post"], roles["post"]),
            "state": postgres_role(BIRDS["state"], roles["state"]),
            "sqlite": {
                "conn_type": "sqlite", "host": str(folder / "state.db"), "password": BIRDS["sqlite"].password,
                "extra": {"secret": BIRDS["sqlite"].password},
            },
        }  # fmt: skip
        connections["wrong_snow"] = connections["snow"] | {"password": BIRDS["wrong"].password}
        connections["wrong_post"] = connections["post"] | {"password": BIRDS["wrong"].password}
        connections["nobody_stores"] = connections["post"] | {"port": 1}
        environment = pytest.MonkeyPatch()
        for name, values in connections.items():
            environment.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))
        environment.setenv("REQUESTS_CA_BUNDLE", flake["REQUESTS_CA_BUNDLE"].strip("'"))
        try:
            yield Place(folder, connections, index)
        finally:
            environment.undo()
            server.clean()
            for name in roles.values():
                drop_role(name)
            redaction.forget_secrets()


@contextmanager
def statements(place: Place) -> Iterator[None]:
    """Notes each statement, as Snowflake's client sends it and as PostgreSQL sees it."""
    import psycopg2
    from snowflake.connector.cursor import SnowflakeCursor

    execute, done = SnowflakeCursor.execute, threading.Event()

    def noting(self: Any, command: Any, *arguments: Any, **more: Any) -> Any:
        place.note("Snowflake's SQL", f"{command} {arguments} {more}")
        return execute(self, command, *arguments, **more)

    def watch() -> None:
        with psycopg2.connect(os.environ["POSTGRES_URL"]) as connection, connection.cursor() as cursor:
            while not done.wait(0.005):
                cursor.execute(
                    "SELECT query, application_name FROM pg_stat_activity WHERE usename LIKE 'canary_%'"
                )
                place.seen.setdefault("PostgreSQL's SQL", []).extend(
                    {" ".join(map(str, row)) for row in cursor.fetchall()}
                )
                connection.rollback()
        connection.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    SnowflakeCursor.execute = noting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SnowflakeCursor.execute = execute  # type: ignore[method-assign]
        done.set()
        watcher.join()


@pytest.fixture
def run(
    place: Place,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., int]:
    """A command of the command line; what it wrote and logged is noted."""
    monkeypatch.setattr(elasticsearch_client, "ATTEMPTS", 2)
    caplog.set_level(logging.INFO)
    logging.getLogger("airflow_pipeline_provider").setLevel(logging.DEBUG)

    def run(*arguments: str) -> int:
        capfd.readouterr()
        caplog.clear()
        code = main([*arguments, "--folder", str(place.folder / "dags")])
        out, err = capfd.readouterr()
        where = " ".join(arguments[:2])
        place.note(f"{where}: standard output", out)
        place.note(f"{where}: standard error", err)
        place.note(f"{where}: log", caplog.text)
        return code

    return run


def clean(place: Place, least: int = 1) -> None:
    """Nothing that was noted holds a canary; the notes are gone afterwards."""
    assert len(place.seen) >= least
    found = [
        f"{where}: {leak}"
        for where, texts in place.seen.items()
        for leak in leaks(BIRDS.values(), "\n".join(texts))
    ]
    place.seen.clear()
    assert not found, "\n".join(found)


SNOWFLAKE = {"type": "snowflake", "conn_id": "snow", "table": "ANALYTICS.RAW.CANARIES"}
POSTGRES = {"type": "postgres", "conn_id": "post", "table": "public.canaries"}
STATE = {"type": "sql", "conn_id": "state"}
WAYS: dict[str, dict[str, Any]] = {
    "to_snowflake": {"target": SNOWFLAKE, "state": STATE},
    "to_postgres": {
        "target": POSTGRES,
        "state": {"type": "sql", "conn_id": "sqlite"},
        "source": {"conn_id": "search_key"},
    },
}


def write(place: Place, pipeline_id: str, changes: dict[str, Any]) -> None:
    """Write a pipeline with a table of its own: a second one that loads the same source into it is refused."""
    source = {"type": "elasticsearch", "conn_id": "search", "index": place.index, "time_field": "ts"}
    target = changes["target"] | {"table": f"{changes['target']['table']}_{pipeline_id}"}
    place.file(pipeline_id, **{**changes, "source": source | changes.get("source", {}), "target": target})


@pytest.mark.parametrize("way", WAYS)
def test_what_the_command_line_writes_when_all_is_well(
    place: Place, run: Callable[..., int], way: str
) -> None:
    import s3fs

    write(place, way, WAYS[way])
    with statements(place):
        assert run("check") == 0
        assert run("plan", way, "--day", "2013-11-03") == 0
        assert run("run", way, "--until-done", "--reference-time", AFTER, "-v") == 0
        for command in (
            ("status", way),
            ("gaps", way),
            ("history", way, "2013-11-03"),
            ("state", "export", way),
        ):
            assert run(*command) in (0, 1), command
        assert run("recheck", way, "--no-reload", "--days", "31", "--reference-time", AFTER) == 0
        assert run("doctor", way, "--days", "31", "--reference-time", AFTER, "-v") in (0, 1)
    key = place.connections["lake"]
    store = s3fs.S3FileSystem(
        key=key["login"], secret=key["password"], client_kwargs={"endpoint_url": key["extra"]["endpoint_url"]}
    )
    files = store.find(f"lake/{way}")
    assert any("manifest" in file for file in files)
    for file in files:
        place.note("S3", f"{file} {store.cat_file(file)!r}")
    note_ledger(place, way)
    sql = "\n".join(place.seen["Snowflake's SQL" if way == "to_snowflake" else "PostgreSQL's SQL"])
    assert "COPY" in sql
    assert way != "to_snowflake" or "QUERY_TAG" in sql
    clean(place, least=20)


def note_ledger(place: Place, pipeline_id: str) -> None:
    import sqlite3

    import psycopg2

    if pipeline_id == "to_snowflake":
        role = place.connections["state"]
        connection: Any = psycopg2.connect(
            host=role["host"],
            port=role["port"],
            user=role["login"],
            password=role["password"],
            dbname=role["schema"],
        )
        names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    else:
        connection = sqlite3.connect(place.folder / "state.db")
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    cursor = connection.cursor()
    cursor.execute(names)
    for (table,) in cursor.fetchall():
        cursor.execute(f'SELECT * FROM "{table}"')
        place.note("ledger", f"{table} {cursor.fetchall()!r}")
    connection.close()
    assert "committed" in " ".join(place.seen["ledger"])


FAILURES: dict[str, tuple[dict[str, Any], int, str]] = {
    "gossip": ({"source": {"conn_id": "gossip"}}, 5, "cannot reach"),
    "gossip_about_a_key": ({"source": {"conn_id": "gossip_key"}}, 5, "cannot reach"),
    "nobody_searches": ({"source": {"conn_id": "nobody_searches"}}, 3, "cannot be reached"),
    "no_index": ({"source": {"index": "no-such-index"}}, 5, "no index"),
    "wrong_lake": ({"stage": {"type": "object_store", "path": "s3://wrong_lake@lake/x"}}, 5, "denied"),
    "wrong_snow": ({"target": SNOWFLAKE | {"conn_id": "wrong_snow"}}, 5, "Incorrect username or password"),
    "wrong_post": ({"target": POSTGRES | {"conn_id": "wrong_post"}}, 5, "authentication failed"),
    "nobody_stores": ({"target": POSTGRES | {"conn_id": "nobody_stores"}}, 3, "refused"),
    "wrong_state": ({"state": {"type": "sql", "conn_id": "wrong_post"}}, 5, "authentication failed"),
    "no_right": ({"target": POSTGRES | {"table": "pg_catalog.canaries"}}, 5, "permission denied"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_the_command_line_writes_when_it_fails(
    place: Place, run: Callable[..., int], failure: str
) -> None:
    changes, code, words = FAILURES[failure]
    write(place, failure, {"target": POSTGRES, "state": {"type": "sql", "conn_id": "sqlite"}, **changes})
    assert run("run", failure, "--reference-time", AFTER, "--retries", "0", "-v") == code
    told = "".join(place.seen[f"run {failure}: standard error"])
    assert "Traceback" in told
    assert words in told
    run("status", failure, "-o", "json")
    run("history", failure, "2013-11-03", "-v")
    clean(place, least=6)


@pytest.mark.parametrize("name", ["to_snowflake", "to_postgres", "gossip", "wrong_post", "wrong_state"])
def test_what_airflow_keeps_and_logs(
    place: Place,
    airflow_db: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    import importlib.util
    from datetime import datetime

    from airflow.utils.session import create_session
    from sqlalchemy import text

    monkeypatch.setattr(elasticsearch_client, "ATTEMPTS", 2)
    caplog.set_level(logging.INFO)
    good = name in WAYS
    pipeline_id = f"airflow_{name}_{os.getpid()}"
    changes = WAYS[name] if good else FAILURES[name][0]
    base = {"target": POSTGRES, "state": {"type": "sql", "conn_id": "sqlite"}}
    for old in (place.folder / "dags" / "pipelines").iterdir():
        old.unlink()
    write(place, pipeline_id, {**base, **changes})
    spec = importlib.util.spec_from_file_location("canary_dags", place.folder / "dags" / "pipelines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag = getattr(module, pipeline_id)
    sync(dag)
    capfd.readouterr()
    with statements(place):
        run = dag.test(logical_date=None, run_after=datetime.fromisoformat("2013-11-06T12:00:00+00:00"))
    assert str(run.state) == ("success" if good else "failed")
    out, err = capfd.readouterr()
    place.note("task log on standard output", out)
    place.note("task log on standard error", err)
    place.note("task log", caplog.text)
    assert "phase=" in out + err + caplog.text
    with create_session() as session:
        tables = session.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        for table in set(tables) - {"connection"}:
            rows = session.execute(text(f'SELECT * FROM "{table}"')).fetchall()
            place.note(f"Airflow's table {table}", [tuple(row) for row in rows])
    if good:
        assert "window" in "".join(place.seen["Airflow's table xcom"])
    assert pipeline_id in "".join(place.seen["Airflow's table serialized_dag"])
    for log in (airflow_db / "logs").rglob("*.log"):
        place.note("task log file", log.read_text(errors="replace"))
    clean(place, least=20)


def test_these_tests_would_notice(place: Place, run: Callable[..., int]) -> None:
    """A canary that nobody read from a connection is shown by the command line, and found."""
    stranger = canary("wrong").plain
    redaction.forget_secrets()
    assert run("plan", stranger) == 2
    with pytest.raises(AssertionError, match="wrong: "):
        clean(place)
