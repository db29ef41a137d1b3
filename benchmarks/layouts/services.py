"""The servers of the group `layouts`: Elasticsearch, S3, the Snowflake stand-in, PostgreSQL, and a whole Airflow.

Airflow has the LocalExecutor.  `--set preload=no` leaves out that the scheduler imports the tasks' libraries first.

Imported by the harness, so by the standard library alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks.contract import Server, Settings
from benchmarks.harness import output_of, say
from benchmarks.servers import start_postgres, start_service

AIRFLOW_PORT, POSTGRES_PORT, S3_PORT, SNOWFLAKE_PORT = 27280, 27532, 27580, 27643
ELASTICSEARCH_PORT = 27692
METADATA, STATE = "layouts_airflow", "layouts_state"
COMPONENTS = {"scheduler": "scheduler", "api-server": "api_server", "dag-processor": "dag_processor"}
PRELOAD = Path(__file__).parent / "preload"
POSTGRES = "bench-layouts"


class Servers:
    """What the contestants get: an environment, and whose CPU is counted."""

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.processes: dict[str, int] = {}
        self.metadata = self.state = ""

    @property
    def arguments(self) -> list[str]:
        counted = [f"{name}={pid}" for name, pid in self.processes.items()]
        return ["--metadata", self.metadata, "--state", self.state, "--processes", *counted]


def start(settings: Settings, opened: ExitStack) -> Servers:
    """Start all of them, Airflow last; its DAGs folder is empty."""
    found = Servers()

    def run(name: str, port: int, env: Mapping[str, str] | None = None) -> None:
        say(f"starting {name} ...")
        folder = settings.data / f"{name}-layouts"
        printed = start_service(opened, name, port, folder, {"PYTHON": settings.python, **(env or {})})
        found.env |= {key: value.strip("'") for key, value in printed.items()}
        found.processes[name] = int((folder / "service.pid").read_text().split()[0])

    run("elasticsearch", ELASTICSEARCH_PORT)
    run("s3", S3_PORT)
    run("snowflake", SNOWFLAKE_PORT, found.env)
    start_postgres(settings, opened, POSTGRES, POSTGRES_PORT)
    server = settings.servers["postgres"].url
    output_of(settings.module("wide.delivery", server, METADATA, STATE))
    output_of(settings.module("layouts.warehouse"), **found.env)
    found.metadata = _database(server, METADATA, "postgresql")
    found.state = _database(server, STATE, "postgresql")
    _start_airflow(settings, opened, found)
    found.env |= connections(found)  # the contestants make tables with them
    return found


def connections(servers: Servers) -> dict[str, str]:
    """Airflow's connections, as variables of its environment."""
    env = servers.env
    search = urlsplit(env["ELASTICSEARCH_URL"])
    aws = {
        "conn_type": "aws",
        "login": env["AWS_ACCESS_KEY_ID"],
        "password": env["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": env["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    elasticsearch = {
        "conn_type": "elasticsearch",
        "schema": search.scheme,
        "host": search.hostname,
        "port": search.port,
    }
    return {
        "AIRFLOW_CONN_LAYOUTS_SEARCH": json.dumps(elasticsearch),
        "AIRFLOW_CONN_LAYOUTS_AWS": json.dumps(aws),
        "AIRFLOW_CONN_LAYOUTS_SNOWFLAKE": env["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"],
        "AIRFLOW_CONN_LAYOUTS_STATE": servers.state,
    }


def _start_airflow(settings: Settings, opened: ExitStack, found: Servers) -> None:
    say("starting Airflow with the LocalExecutor ...")
    home = settings.data / "airflow-layouts"
    folder = home / "dags"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):  # of a run that was killed
        old.unlink()
    preload = os.devnull if settings.options.get("preload") == "no" else str(PRELOAD)
    env = {
        "PYTHON": settings.python,
        "PRELOAD": preload,
        "TRIGGERER": "0",
        "REQUESTS_CA_BUNDLE": found.env["REQUESTS_CA_BUNDLE"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(found.metadata, METADATA, "postgresql+psycopg2"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # Airflow's own defaults, not those of the tests: parsing and watching take CPU
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "300",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": settings.options.get("idle", "1"),
        **connections(found),
    }
    found.env |= start_service(opened, "airflow", AIRFLOW_PORT, home, env)
    for file, name in COMPONENTS.items():
        found.processes[name] = int((home / "run" / f"{file}.pid").read_text().split()[0])
    settings.servers["airflow"] = Server("airflow", found.env["AIRFLOW_API_URL"], ())


def _database(server: str, name: str, scheme: str) -> str:
    return urlunsplit(urlsplit(server)._replace(scheme=scheme, path=f"/{name}"))
