"""What the documentation shows, with the servers that it is about: a stock Airflow, Elasticsearch, `make demo`."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.documentation.blocks import Shell, blocks_of, matches, run_page
from tests.documentation.test_pages import in_process

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.fixture
def standalone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A function that starts `airflow standalone` as a reader does, on free ports, and waits for its first DAG."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)
    port = free_port()
    monkeypatch.setenv("AIRFLOW__API__PORT", port)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://localhost:{port}/execution/")
    monkeypatch.setenv("AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT", free_port())
    monkeypatch.setenv("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT", free_port())
    started: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "standalone.log"

    def start() -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with log.open("wb") as out:
            started.append(
                subprocess.Popen(
                    ["airflow", "standalone"],
                    stdout=out,
                    stderr=out,
                    env={**os.environ, "PATH": path},
                    start_new_session=True,
                )
            )
        database = Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"
        deadline = time.monotonic() + 900
        while not knows_dag(database, "events"):
            assert started[0].poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(1)

    yield start
    for process in started:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(60)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def knows_dag(database: Path, dag_id: str) -> bool:
    """Return whether this Airflow has read the DAG."""
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM dag WHERE dag_id = ?", (dag_id,)).fetchall())
    except sqlite3.OperationalError:  # its tables are being created
        return False


def test_the_tutorial_in_a_stock_airflow_and_from_a_real_elasticsearch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standalone: Callable[[], None]
) -> None:
    assert os.environ.get("ELASTICSEARCH_URL"), "ELASTICSEARCH_URL is not set"
    folder = tmp_path / "reader"
    folder.mkdir()
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shell = Shell(folder, in_process, monkeypatch, {"airflow standalone": standalone})
    delete = [
        "curl",
        "-sS",
        "-o",
        os.devnull,
        "-X",
        "DELETE",
        f"{os.environ['ELASTICSEARCH_URL']}/tutorial-flights",
    ]
    subprocess.run(delete, check=True, timeout=60)
    try:
        assert run_page(text, shell, lambda name: None, airflow=True) > 10
    finally:
        subprocess.run(delete, check=True, timeout=60)


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    [block] = [b for b in blocks_of((ROOT / "README.md").read_text()) if b.body == "make demo\n"]
    assert block.output is not None
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--workdir", str(tmp_path / "demo")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert matches(block.output, done.stdout), done.stdout
