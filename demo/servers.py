"""The demo's three servers as child processes, and the connections that reach them.

    with DemoServers(".demo") as servers:
        os.environ.update(servers.env)

- Elasticsearch: osmem-server, in memory, compatible with OpenSearch 3 (answers as one, points in time included)
- S3: moto, in memory; accepts any credentials
- Snowflake: demo.snowflake, a stand-in on DuckDB that reads its external stage from that S3 server

All ports are free ones on 127.0.0.1; logs are in WORKDIR/logs. Nothing survives a run but logs: what an earlier
run left in WORKDIR is removed when the next one starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from demo import prepare
from demo.children import Child

KEY, SECRET, REGION = "demo", "demo-secret", "us-east-1"
USER, PASSWORD, ACCOUNT = "demo", "demo-password", "pipeline"
ROOT = Path(__file__).resolve().parent.parent
PYTHON = [sys.executable, "-W", "ignore"]  # the servers' own libraries warn of one another


class DemoServers:
    """Running servers, filled with the cut unless `load=False`. Enter it from the main thread.

    Raises ServerFailed when a server does not come up, RuntimeError when WORKDIR is in use by another demo.
    """

    def __init__(
        self, workdir: str | Path = ".demo", *, load: bool = True, beside: Callable[[], None] | None = None
    ) -> None:
        """`beside` is called when WORKDIR is ours, to start what can start while the servers do."""
        self.workdir = Path(workdir).resolve()
        self.load, self.beside = load, beside
        self.elasticsearch_url = self.s3_url = self.snowflake_url = ""
        self.documents: dict[str, int] = {}
        self.pids: list[int] = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> DemoServers:
        with contextlib.ExitStack() as stack:
            self._claim(stack)
            if self.beside is not None:
                self.beside()
            search = self._start(stack, "elasticsearch", _osmem_command())
            s3 = self._start(stack, "s3", [*PYTHON, "-m", "demo.s3"])
            self.s3_url = s3.wait_ready()
            data = str(self.workdir / "snowflake")
            snowflake = self._start(
                stack, "snowflake", [*PYTHON, "-m", "demo.snowflake", "--data-dir", data], self.env_s3
            )
            self.elasticsearch_url = search.wait_ready()
            if self.load:
                self.documents = prepare.load_cut(self.elasticsearch_url)
                prepare.make_weather_db(self.workdir / "weather.db")
                prepare.make_bucket(self.s3_url, KEY, SECRET)
                import_module("snowflake.connector")  # seconds, in which the server starts
            self.snowflake_url = snowflake.wait_ready()
            if self.load:
                self.make_stage()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @property
    def ca_bundle(self) -> Path:
        """Certificates that the Snowflake stand-in's is checked against."""
        return self.workdir / "snowflake" / "tls" / "ca-bundle.pem"

    @cached_property
    def env_s3(self) -> dict[str, str]:
        """S3 alone, and the login of the Snowflake stand-in that reads from it."""
        return {
            "S3_ENDPOINT_URL": self.s3_url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "SNOWFLAKE_USER": USER,
            "SNOWFLAKE_PASSWORD": PASSWORD,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    @cached_property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to reach the servers: Airflow connections, and the plain names."""
        search, snowflake = urlsplit(self.elasticsearch_url), urlsplit(self.snowflake_url)
        return {
            **self.env_s3,
            "ELASTICSEARCH_URL": self.elasticsearch_url,
            "SNOWFLAKE_HOST": str(snowflake.hostname),
            "SNOWFLAKE_PORT": str(snowflake.port),
            "SNOWFLAKE_ACCOUNT": ACCOUNT,
            "SNOWFLAKE_DATABASE": prepare.DATABASE,
            "SNOWFLAKE_SCHEMA": prepare.SCHEMA,
            "REQUESTS_CA_BUNDLE": str(self.ca_bundle),
            "AIRFLOW_CONN_ELASTICSEARCH_DEFAULT": json.dumps(
                {"conn_type": "elasticsearch", "schema": "http", "host": search.hostname, "port": search.port}
            ),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {
                    "conn_type": "aws",
                    "login": KEY,
                    "password": SECRET,
                    "extra": {"endpoint_url": self.s3_url, "region_name": REGION},
                }
            ),
            "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": json.dumps(
                {
                    "conn_type": "snowflake",
                    "login": USER,
                    "password": PASSWORD,
                    "schema": prepare.SCHEMA,
                    "extra": {
                        "account": ACCOUNT,
                        "database": prepare.DATABASE,
                        "host": snowflake.hostname,
                        "port": snowflake.port,
                    },
                }
            ),
            "AIRFLOW_CONN_PIPELINE_STATE": json.dumps(
                {"conn_type": "sqlite", "host": str(self.workdir / "state.db")}
            ),
            "AIRFLOW_CONN_WEATHER_DB": json.dumps(
                {"conn_type": "sqlite", "host": str(self.workdir / "weather.db")}
            ),
        }

    def make_stage(self) -> None:
        """Make the external stage in the Snowflake stand-in."""
        at = urlsplit(self.snowflake_url)
        with environment({"REQUESTS_CA_BUNDLE": str(self.ca_bundle), "NO_PROXY": "127.0.0.1,localhost"}):
            prepare.make_stage(host=str(at.hostname), port=int(at.port or 0), user=USER, password=PASSWORD)

    def _claim(self, stack: contextlib.ExitStack) -> None:
        self.workdir.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((self.workdir / "lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"another demo is running in {self.workdir}; stop it, or choose another folder"
            ) from None
        for left in ("logs", "snowflake"):
            shutil.rmtree(self.workdir / left, ignore_errors=True)
        for left_file in self.workdir.glob("state.db*"):
            left_file.unlink()

    def _start(
        self,
        stack: contextlib.ExitStack,
        name: str,
        command: list[str],
        env: Mapping[str, str] | None = None,
    ) -> Child:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # demo, from anywhere
        log = self.workdir / "logs" / f"{name}.log"
        child = stack.enter_context(Child(name, command, log, env={**(env or {}), "PYTHONPATH": path}))
        self.pids.append(child.process.pid)
        return child


def _osmem_command() -> list[str]:
    from osmem_server import resolve_binary

    return [resolve_binary(), "--no-ja", "--parent-pid", str(os.getpid())]


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """`values` in this process's environment, for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
