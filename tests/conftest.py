"""What every test stands on: no network beyond this machine, and an Airflow home of its own.

Nothing here imports Airflow, so the pure tests stay fast; tests that need its database ask for `airflow_db`.
"""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

# A busy machine is no failure; no property has a speed to prove.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Airflow: an empty home of its own for each test process, set before anything can import Airflow.

AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
OWNER = os.getpid()


@atexit.register
def remove_airflow_home() -> None:
    if os.getpid() == OWNER:  # not in a task that Airflow forked
        shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


(AIRFLOW_HOME / "dags").mkdir()
for name in [n for n in os.environ if n.startswith(("AIRFLOW__", "AIRFLOW_VAR_"))]:
    del os.environ[name]  # the developer's own installation must not show through
os.environ |= {
    "AIRFLOW_HOME": str(AIRFLOW_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    # `dag.test` of Airflow 3.2 wants one
    "AIRFLOW__API_AUTH__JWT_SECRET": "of-no-use-outside-of-these-tests-" * 2,
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Airflow's metadata database (SQLite), migrated once a process. Returns AIRFLOW_HOME."""
    from airflow.utils.db import initdb

    initdb()
    return AIRFLOW_HOME


def pytest_configure(config: pytest.Config) -> None:
    # Warnings are errors; this one is the Snowflake connector's own (4.8.0, the newest for Python 3.10).
    config.addinivalue_line("filterwarnings", "ignore:X509.get_subject is deprecated:DeprecationWarning")


# The network: this machine only.
# Python's own sockets are guarded; libraries with sockets in C (libpq, DuckDB's httpfs) are not.

SERVERS_GIVEN = (
    "ELASTICSEARCH_URL",
    "POSTGRES_URL",
    "S3_ENDPOINT_URL",
    "AIRFLOW_API_URL",
)
ALLOWED_HOSTS = {"localhost", socket.gethostname(), "", os.environ.get("SNOWFLAKE_HOST", "")}
ALLOWED_HOSTS |= {urlsplit(os.environ.get(name, "")).hostname or "" for name in SERVERS_GIVEN}


def refuse_unless_local(host: object) -> None:
    """Raise unless `host` is this machine or one that the environment names for the integration tests."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in ALLOWED_HOSTS:
        return
    try:
        if ipaddress.ip_address(str(name).partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    raise PermissionError(f"a test reached for {name!r}: tests talk to this machine only (tests/conftest.py)")


def guard_network() -> Iterator[None]:
    """Patch `socket` so that other hosts are neither looked up nor connected to; undone at the end."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse_unless_local(address[0])

    def guarded_connect(self: socket.socket, address: Any) -> None:
        checked(self, address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        checked(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_unless_local(host)
        return getaddrinfo(host, *args, **kwargs)

    patches = {"connect": guarded_connect, "connect_ex": guarded_connect_ex}
    for attribute, replacement in patches.items():
        setattr(socket.socket, attribute, replacement)
    socket.getaddrinfo = guarded_getaddrinfo
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = getaddrinfo


@pytest.fixture(autouse=True)
def no_secret_of_earlier_tests() -> None:
    """Forget registered secrets: "nothing" is the password of one test, and a word that another one reads."""
    redaction = sys.modules.get("airflow_pipeline_provider.observability.redaction")
    if redaction is not None:
        redaction.forget_secrets()


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    yield from guard_network()
