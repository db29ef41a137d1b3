"""The demo's servers: they answer, work together, and never outlive the process that started them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.children import Child, ServerFailed
from demo.servers import ROOT, DemoServers, environment

HOLD = """
import json, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored
from demo.servers import DemoServers
with DemoServers(sys.argv[1], load=False) as servers:
    print(json.dumps(servers.pids), flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServers]:
    with DemoServers(tmp_path_factory.mktemp("demo")) as running:
        yield running


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as response:
        return dict(json.load(response))


def test_the_cut_is_indexed_with_dates_as_dates(servers: DemoServers) -> None:
    assert servers.documents == {"flights": 3555, "weather": 269}
    for name, count in servers.documents.items():
        assert get(f"{servers.elasticsearch_url}/{name}-*/_count")["count"] == count
    mapping = get(f"{servers.elasticsearch_url}/weather-2013-11/_mapping/field/time_hour")
    assert json.dumps(mapping).count('"type": "date"') == 1


def test_snowflake_copies_what_s3_holds(servers: DemoServers) -> None:
    with environment(servers.env):
        import boto3
        import snowflake.connector

        s3 = boto3.client("s3", endpoint_url=servers.s3_url)
        s3.put_object(Bucket="data-stage", Key="probe/a.csv", Body=b"1,one\n2,two\n")
        connection = snowflake.connector.connect(
            host=servers.env["SNOWFLAKE_HOST"],
            port=int(servers.env["SNOWFLAKE_PORT"]),
            user=servers.env["SNOWFLAKE_USER"],
            password=servers.env["SNOWFLAKE_PASSWORD"],
            account=servers.env["SNOWFLAKE_ACCOUNT"],
            database="ANALYTICS",
            schema="RAW",
        )
        try:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE PROBE (N INT, WORD VARCHAR)")
            cursor.execute("COPY INTO PROBE FROM @LAKE/probe/ FILES = ('a.csv') FILE_FORMAT = (TYPE = CSV)")
            cursor.execute("SELECT N, WORD FROM PROBE ORDER BY N")
            assert cursor.fetchall() == [(1, "one"), (2, "two")]
        finally:
            connection.close()


KILLED = """
import json, os, sys, snowflake.connector
cursor = snowflake.connector.connect(**json.loads(sys.argv[1])).cursor()
cursor.execute("BEGIN")
cursor.execute("UPDATE FENCE SET N = 2")
os._exit(9)
"""


def test_a_dead_client_keeps_nobody_out(servers: DemoServers) -> None:
    """Its transaction is rolled back, as Snowflake does it; a client that is only slow goes on with its own."""
    with environment(servers.env):
        import snowflake.connector

        login: dict[str, Any] = {
            "host": servers.env["SNOWFLAKE_HOST"],
            "port": int(servers.env["SNOWFLAKE_PORT"]),
            "user": servers.env["SNOWFLAKE_USER"],
            "password": servers.env["SNOWFLAKE_PASSWORD"],
            "account": servers.env["SNOWFLAKE_ACCOUNT"],
            "database": "ANALYTICS",
            "schema": "RAW",
        }
        with snowflake.connector.connect(**login) as slow, slow.cursor() as cursor:
            for statement in (
                "CREATE TABLE FENCE (N INT)",
                "INSERT INTO FENCE VALUES (1)",
                "CREATE TABLE OTHER (N INT)",
                "BEGIN",
                "INSERT INTO OTHER VALUES (7)",
            ):
                cursor.execute(statement)
            assert (
                subprocess.run([sys.executable, "-c", KILLED, json.dumps(login)], check=False).returncode == 9
            )
            with snowflake.connector.connect(**login) as other, other.cursor() as blocked:
                deadline = time.monotonic() + 30
                while True:
                    try:
                        blocked.execute("UPDATE FENCE SET N = N + 10")
                        break
                    except snowflake.connector.errors.ProgrammingError:
                        assert time.monotonic() < deadline, "the dead client's transaction still stands"
                        time.sleep(0.2)
                blocked.execute("SELECT N FROM FENCE")
                assert blocked.fetchall() == [(11,)]
            cursor.execute("COMMIT")
            cursor.execute("SELECT N FROM OTHER")
            assert cursor.fetchall() == [(7,)]


def test_a_second_demo_in_the_same_folder_is_refused(servers: DemoServers) -> None:
    with pytest.raises(RuntimeError, match="another demo is running"), DemoServers(servers.workdir):
        pass


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    child = Child("broken", command, tmp_path / "broken.log")
    with child, pytest.raises(ServerFailed, match=r"(?s)exit status 1.*no such thing"):
        child.wait_ready()


def alive(pids: list[int]) -> list[int]:
    """Those of `pids` that run; an ended process that nobody has reaped yet does not."""
    states = {pid: subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True) for pid in pids}
    return [pid for pid, ps in states.items() if ps.stdout.strip() and not ps.stdout.startswith(b"Z")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_outlives_the_parent(how: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert len(alive(pids)) == 3
        parent.send_signal(how)
        try:
            parent.wait(15)
        finally:
            parent.kill()
        deadline = time.monotonic() + 10
        while alive(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive(pids) == []
