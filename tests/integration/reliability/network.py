"""Pipelines of which one server is reached through the fault-injecting proxy: a class a server.

Everything else of such a pipeline is embedded (files, SQLite, DuckDB), so that what goes wrong is the network to this
one server.  Time-outs are short, by the options and connection extras that an operator has.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.core.intervals import iso_utc, parse_utc
from tests.connectors.elasticsearch.places import Server as Elasticsearch
from tests.doubles.memory_source import MemorySource

from .backends import (
    DuckDBTarget,
    LoadedRow,
    PostgresState,
    PostgresTarget,
    SnowflakeTarget,
    SqliteState,
    World,
)
from .proxy import Proxy

DAY = "2013-11-03"
START = parse_utc("2013-11-03T00:00:00Z")
ROWS = 60
PAGE = 20

Content = Counter[tuple[str, str]]
"""(record id, body as canonical JSON) and how often it is there."""


def document(n: int) -> dict[str, Any]:
    return {
        "ts": iso_utc(START + timedelta(minutes=20 * n)),
        "n": n,
        "text": f"é'\"\\ {n * 2654435761 % 2**64:x}",
    }


class Faulty(ABC):
    """One server behind a proxy, and pipelines that use it; each world is a pipeline's own surroundings."""

    name: ClassVar[str]
    state: ClassVar[Any] = SqliteState()
    target: ClassVar[Any] = DuckDBTarget()

    def __init__(self) -> None:
        self.proxy = self.make_proxy()

    @abstractmethod
    def make_proxy(self) -> Proxy: ...

    def make(self, world: World) -> None:
        """Surroundings, and the source's rows."""
        world.folder.mkdir(parents=True)
        self.state.make(world)
        self.target.make(world)
        register("source", "memory", MemorySource)
        table = MemorySource.table(world.name)
        for n in range(ROWS):
            table.put(f"row-{n}", document(n)["ts"], json.dumps(document(n)))

    def drop(self, world: World) -> None:
        self.state.drop(world)
        self.target.drop(world)
        MemorySource.tables.pop(world.name, None)

    def sections(self, world: World) -> dict[str, Any]:
        """What differs from the embedded pipeline."""
        return {}

    def environment(self, world: World) -> dict[str, str]:
        return self.state.environment(world) | self.target.environment(world)

    def config(self, world: World) -> dict[str, Any]:
        return {
            "pipeline_id": world.name,
            "timezone": "UTC",
            "granularity": "1d",
            "x_time_back": "1d",
            "start_day": DAY,
            "end_day": DAY,
            "max_backlog_days": None,
            "source": {"type": "memory", "table": world.name, "page_size": PAGE},
            "stage": {"type": "object_store", "path": str(world.folder / "stage"), "part_size": "1KB"},
            "target": self.target.section(world),
            "state": self.state.section(world) | {"lease": "30s"},
            **self.sections(world),
        }

    def forget_clients(self) -> None:  # noqa: B027  (most servers notice by themselves that a client is gone)
        """What the server does in time with sessions whose client is gone."""

    def loaded(self, world: World) -> Content:
        """Read past the proxy."""
        rows: list[LoadedRow] = self.target.rows(world)
        return Counter((row.record_id, _canonical(row.body)) for row in rows)

    def wanted(self, world: World) -> Content:
        return Counter(
            (row.record_id, _canonical(row.body)) for row in MemorySource.table(world.name).rows.values()
        )


def _canonical(body: str) -> str:
    return json.dumps(json.loads(body), sort_keys=True)


class ElasticsearchSource(Faulty):
    name = "Elasticsearch (source)"

    def make_proxy(self) -> Proxy:
        url = urlsplit(os.environ["ELASTICSEARCH_URL"])
        self._server = Elasticsearch(os.environ["ELASTICSEARCH_URL"].rstrip("/"))
        return Proxy(url.hostname or "", url.port or 9200, http=True)

    def _index(self, world: World) -> str:
        return f"faults-{world.name}"

    def make(self, world: World) -> None:
        super().make(world)
        index = self._server.index(self._index(world), shards=2)
        self._server.put(index, {f"row-{n}": json.dumps(document(n)) for n in range(ROWS)})

    def drop(self, world: World) -> None:
        super().drop(world)
        self._server.clean()

    def sections(self, world: World) -> dict[str, Any]:
        return {
            "source": {
                "type": "elasticsearch",
                "conn_id": f"{world.name}_source",
                "index": self._index(world),
                "time_field": "ts",
                "page_size": PAGE,
                "slices": 2,
                "request_timeout": "1s",
            }
        }

    def environment(self, world: World) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.proxy.port}"
        return super().environment(world) | {f"AIRFLOW_CONN_{world.name.upper()}_SOURCE": url}

    def wanted(self, world: World) -> Content:
        return Counter(
            (f"{self._index(world)}/row-{n}", json.dumps(document(n), sort_keys=True)) for n in range(ROWS)
        )


class S3Stage(Faulty):
    name = "S3 (stage)"

    def make_proxy(self) -> Proxy:
        url = urlsplit(os.environ["S3_ENDPOINT_URL"])
        return Proxy(url.hostname or "", url.port or 80, http=True)

    def sections(self, world: World) -> dict[str, Any]:
        path = f"s3://{world.name}_lake@{os.environ['S3_BUCKET']}/faults/{world.name}"
        return {"stage": {"type": "object_store", "path": path, "part_size": "1KB"}}

    def environment(self, world: World) -> dict[str, str]:
        extra = {
            "endpoint_url": f"http://127.0.0.1:{self.proxy.port}",
            "region_name": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            "config_kwargs": {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 1}},
        }
        connection = {
            "conn_type": "aws",
            "login": os.environ["AWS_ACCESS_KEY_ID"],
            "password": os.environ["AWS_SECRET_ACCESS_KEY"],
            "extra": extra,
        }
        return super().environment(world) | {
            f"AIRFLOW_CONN_{world.name.upper()}_LAKE": json.dumps(connection)
        }


class SnowflakeLoad(Faulty):
    name = "Snowflake (target)"
    target = SnowflakeTarget()

    def make_proxy(self) -> Proxy:
        bundle = Path(os.environ["REQUESTS_CA_BUNDLE"])  # beside it is the certificate of the server
        host, port = os.environ["SNOWFLAKE_HOST"], int(os.environ["SNOWFLAKE_PORT"])
        return Proxy(host, port, http=True, certificate=bundle.parent, authority=str(bundle))

    def forget_clients(self) -> None:
        """Snowflake rolls an idle transaction back after five minutes when others wait for it; the stand-in never."""
        authorization = rb"(?i)authorization: (Snowflake [^\r]+)"
        for token in {t.decode() for r in self.proxy.requests for t in re.findall(authorization, r)}:
            self._close_session(token)

    @retry(
        retry=retry_if_exception_type(OSError), stop=stop_after_attempt(5), wait=wait_fixed(1), reraise=True
    )
    def _close_session(self, token: str) -> None:
        """Try again if a busy stand-in hangs up, since nothing else closes it."""
        connection = http.client.HTTPSConnection(
            os.environ["SNOWFLAKE_HOST"],
            int(os.environ["SNOWFLAKE_PORT"]),
            context=ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"]),
            timeout=10,
        )
        with closing(connection):
            headers = {"Authorization": token, "Content-Type": "application/json"}
            connection.request("POST", "/session?delete=true", b"{}", headers)
            connection.getresponse().read()

    def sections(self, world: World) -> dict[str, Any]:
        section = self.target.section(world) | {"conn_id": f"{world.name}_target", "statement_timeout": "3s"}
        return {"target": section}

    def environment(self, world: World) -> dict[str, str]:
        connection = json.loads(os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])
        connection["extra"] |= {
            "port": self.proxy.port,
            "login_timeout": 2,
            "network_timeout": 2,
            "socket_timeout": 1,
        }
        return super().environment(world) | {
            f"AIRFLOW_CONN_{world.name.upper()}_TARGET": json.dumps(connection)
        }


class _Postgres(Faulty):
    suffix: ClassVar[str]

    def make_proxy(self) -> Proxy:
        url = urlsplit(os.environ["POSTGRES_URL"])
        return Proxy(url.hostname or "", url.port or 5432, http=False)

    def environment(self, world: World) -> dict[str, str]:
        given = super().environment(world)
        name = f"AIRFLOW_CONN_{world.name.upper()}_{self.suffix}"
        connection = json.loads(given[name])
        # the least that psycopg waits for a connection is two seconds
        connection |= {"port": self.proxy.port, "extra": {"connect_timeout": 2, "sslmode": "disable"}}
        return given | {name: json.dumps(connection)}


class PostgresLoad(_Postgres):
    name = "PostgreSQL (target)"
    target = PostgresTarget()
    suffix = "TARGET"

    def sections(self, world: World) -> dict[str, Any]:
        return {"target": self.target.section(world) | {"statement_timeout": "3s"}}


class PostgresLedger(_Postgres):
    name = "PostgreSQL (state)"
    state = PostgresState()
    suffix = "STATE"

    def sections(self, world: World) -> dict[str, Any]:
        return {"state": self.state.section(world) | {"lease": "30s", "statement_timeout": "3s"}}


class PostgresSource(_Postgres):
    name = "PostgreSQL (source)"
    suffix = "TARGET"  # a database of its own, in which the rows are put

    def __init__(self) -> None:
        super().__init__()
        self._database = PostgresTarget()

    def make(self, world: World) -> None:
        import psycopg2

        super().make(world)
        self._database.make(world)
        server = urlsplit(os.environ["POSTGRES_URL"])._replace(path=f"/{world.name}_target").geturl()
        connection = psycopg2.connect(server)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("CREATE TABLE flights (ts timestamptz, n int, text text)")
                rows = [document(n) for n in range(ROWS)]
                cursor.executemany("INSERT INTO flights VALUES (%(ts)s, %(n)s, %(text)s)", rows)
        finally:
            connection.close()

    def drop(self, world: World) -> None:
        super().drop(world)
        self._database.drop(world)

    def sections(self, world: World) -> dict[str, Any]:
        return {
            "source": {
                "type": "sql",
                "conn_id": f"{world.name}_target",
                "table": "flights",
                "time_column": "ts",
                "key_columns": ["n"],
                "page_size": PAGE,
                "statement_timeout": "3s",
            }
        }

    def environment(self, world: World) -> dict[str, str]:
        given = self._database.environment(world)
        name = f"AIRFLOW_CONN_{world.name.upper()}_TARGET"
        connection = json.loads(given[name])
        connection |= {"port": self.proxy.port, "extra": {"connect_timeout": 2, "sslmode": "disable"}}
        return self.state.environment(world) | {name: json.dumps(connection)}

    def wanted(self, world: World) -> Content:
        return Counter((f"flights/[{n}]", json.dumps(document(n), sort_keys=True)) for n in range(ROWS))


SERVERS: tuple[type[Faulty], ...] = (
    ElasticsearchSource,
    S3Stage,
    SnowflakeLoad,
    PostgresLoad,
    PostgresLedger,
    PostgresSource,
)
