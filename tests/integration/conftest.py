"""Real servers for the tests in this folder: taken from the environment, or else started by tests/services.

A module gets the servers whose variables its text names (`ELASTICSEARCH_URL`, `POSTGRES_URL`, ...) and those whose
fixtures it asks for; the variables are in `os.environ` before its first fixture runs. Whatever cannot be had
fails by name. Servers that were started here are stopped at the end, unless PIPELINE_KEEP_SERVICES=1.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

SERVICES = Path(__file__).resolve().parent.parent / "services"


class Service(NamedTuple):
    """What tests/services/NAME prints and the tests read; the first variable tells whether a server was given."""

    variables: tuple[str, ...]
    optional: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    needs: str = ""  # a server that must be there first


KNOWN = {
    "elasticsearch": Service(("ELASTICSEARCH_URL",), arguments=("search.keep_alive_interval=1s",)),
    "s3": Service(
        ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET"),
        ("AWS_DEFAULT_REGION",),
    ),
    "postgres": Service(("POSTGRES_URL",)),
    "snowflake": Service(
        (
            "SNOWFLAKE_HOST",
            "SNOWFLAKE_PORT",
            "SNOWFLAKE_ACCOUNT",
            "SNOWFLAKE_USER",
            "SNOWFLAKE_PASSWORD",
            "SNOWFLAKE_DATABASE",
            "SNOWFLAKE_SCHEMA",
            "REQUESTS_CA_BUNDLE",
            "AIRFLOW_CONN_SNOWFLAKE_DEFAULT",
        ),
        needs="s3",
    ),
    "airflow": Service(
        (
            "AIRFLOW_API_URL",
            "AIRFLOW_TOKEN_URL",
            "AIRFLOW_USERNAME",
            "AIRFLOW_PASSWORD",
            "AIRFLOW_DAGS_FOLDER",
        ),
        ("AIRFLOW_ENV_FILE",),
    ),
    "page": Service(("PAGE_URL",), ("PAGE_ENV_FILE",)),
    "monitoring": Service(("PROMETHEUS_URL", "STATSD_EXPORTER_PORT")),
    "collector": Service(("COLLECTOR_QUERY_URL", "COLLECTOR_OTLP_URL")),
}

# The build of a collector takes minutes, which only `make reliability` has.
collect_ignore = [] if os.environ.get("RELIABILITY") == "full" else ["test_opentelemetry.py"]


@pytest.fixture(scope="session")
def elasticsearch(request: pytest.FixtureRequest) -> dict[str, str]:
    """ELASTICSEARCH_URL of a real server; a lost point in time is noticed there within seconds."""
    return provide("elasticsearch", request)


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> dict[str, str]:
    """S3_ENDPOINT_URL, AWS_* and S3_BUCKET of a real S3 server."""
    return provide("s3", request)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> dict[str, str]:
    """POSTGRES_URL; its user may create databases."""
    return provide("postgres", request)


@pytest.fixture(scope="session")
def snowflake(request: pytest.FixtureRequest) -> dict[str, str]:
    """SNOWFLAKE_* and REQUESTS_CA_BUNDLE of the stand-in, which reads its stages from `s3`."""
    return provide("snowflake", request)


@pytest.fixture(scope="session")
def airflow(request: pytest.FixtureRequest) -> dict[str, str]:
    """AIRFLOW_API_URL and its login: a whole Airflow with connections to the four other servers.

    Its DAGs are read from AIRFLOW_DAGS_FOLDER, which is empty at first, every five seconds.
    """
    name = "airflow"
    if KNOWN[name].variables[0] in os.environ:
        return provide(name, request)
    for other in ("elasticsearch", "s3", "postgres", "snowflake"):
        request.getfixturevalue(other)
    return provide(name, request, connections(os.environ))


@pytest.fixture(scope="session")
def monitoring(request: pytest.FixtureRequest) -> dict[str, str]:
    """PROMETHEUS_URL and STATSD_EXPORTER_PORT: both run on the files of observability/."""
    return provide("monitoring", request)


@pytest.fixture(scope="session")
def collector(request: pytest.FixtureRequest) -> dict[str, str]:
    """COLLECTOR_QUERY_URL and COLLECTOR_OTLP_URL: both run on the files of observability/."""
    return provide("collector", request)


@pytest.fixture(scope="module", autouse=True)
def servers_of_this_module(request: pytest.FixtureRequest) -> None:
    text = inspect.getsource(request.module)
    for name, service in KNOWN.items():
        if any(variable in text for variable in service.variables):
            request.getfixturevalue(name)


def provide(
    name: str, request: pytest.FixtureRequest, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of server `name`: those given, or those of a server started now (stopped with the session)."""
    service = KNOWN[name]
    if service.variables[0] not in os.environ:
        if service.needs:
            request.getfixturevalue(service.needs)
        printed = start(name, request, extra or {})
        if printed.pop("SERVICE_STARTED", "") and os.environ.get("PIPELINE_KEEP_SERVICES") != "1":
            request.addfinalizer(lambda: stop(name))
        os.environ.update({k: printed[k] for k in (*service.variables, *service.optional) if k in printed})
    missing = [variable for variable in service.variables if not os.environ.get(variable)]
    if missing:
        pytest.fail(
            f"the {name} server was given by {service.variables[0]}, but not {', '.join(missing)}", False
        )
    return {k: os.environ[k] for k in (*service.variables, *service.optional) if k in os.environ}


def start(name: str, request: pytest.FixtureRequest, extra: Mapping[str, str]) -> dict[str, str]:
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal:
        terminal.write_line(f"\nstarting {name} (tests/services/{name}; the first time it is built) ...")
    done = subprocess.run(
        [SERVICES / name / "start.sh", *KNOWN[name].arguments],
        env={**plain_environment(), **extra, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if done.returncode:
        given = ", ".join(KNOWN[name].variables)
        said = "\n".join(done.stderr.splitlines()[-25:])
        pytest.fail(
            f"no {name} server: give one by {given}, or mend what kept it from starting:\n{said}", False
        )
    return dict(line.split("=", 1) for word in done.stdout.splitlines() for line in shlex.split(word))


def stop(name: str) -> None:
    subprocess.run(
        [SERVICES / name / "stop.sh"], env=plain_environment(), stdin=subprocess.DEVNULL, check=True
    )


def plain_environment() -> dict[str, str]:
    """This process's environment without the Airflow of the test process itself (tests/conftest.py)."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW__") and k != "AIRFLOW_HOME"}


def connections(env: Mapping[str, str]) -> dict[str, str]:
    """Airflow's database and its connections, for the servers that `env` names."""
    search, postgres = urlsplit(env["ELASTICSEARCH_URL"]), urlsplit(env["POSTGRES_URL"])
    # an Airflow for each executor, side by side
    metadata = "airflow_tests_celery" if env.get("EXECUTOR") == "CeleryExecutor" else "airflow_tests"
    for database in (metadata, "pipeline_state"):
        recreate(env["POSTGRES_URL"], database)
    at = f"{postgres.username}:{postgres.password}@{postgres.hostname}:{postgres.port}"
    conn_elasticsearch = {
        "conn_type": "elasticsearch",
        "schema": search.scheme,
        "host": search.hostname,
        "port": search.port,
        "login": search.username,
        "password": search.password,
    }
    conn_aws = {
        "conn_type": "aws",
        "login": env["AWS_ACCESS_KEY_ID"],
        "password": env["AWS_SECRET_ACCESS_KEY"],
        "extra": {
            "endpoint_url": env["S3_ENDPOINT_URL"],
            "region_name": env.get("AWS_DEFAULT_REGION", "us-east-1"),
        },
    }
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{at}/{metadata}",
        "AIRFLOW_CONN_PIPELINE_STATE": f"postgres://{at}/pipeline_state",
        "AIRFLOW_CONN_ELASTICSEARCH_DEFAULT": json.dumps(conn_elasticsearch),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(conn_aws),
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": env["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"],
    }


def recreate(url: str, database: str) -> None:
    """An empty database of this name, unless somebody is using it (an Airflow that was kept running)."""
    import psycopg2
    from psycopg2 import errors, sql

    connection = psycopg2.connect(url)
    connection.autocommit = True  # databases cannot be made inside a transaction
    try:
        with connection.cursor() as cursor:
            name = sql.Identifier(database)
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(name))
    except errors.ObjectInUse:
        return
    finally:
        connection.close()


def pytest_unconfigure() -> None:
    """Clients that a fault cut off say at exit that their server is gone, to streams that pytest has closed."""
    logging.raiseExceptions = False
