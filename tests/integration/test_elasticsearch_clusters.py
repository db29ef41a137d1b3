"""Source elasticsearch over two real clusters: what the remote one cannot answer is an error, never fewer rows.

Environment: ELASTICSEARCH_URL, a server on this machine.  The remote cluster is started here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.base import Identity, Slice
from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import DataError, FatalError, SnapshotLostError, TransientError
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.places import CONN_ID, Server, documents, make
from tests.doubles.memory_stage import MemoryFiles, MemoryStage
from tests.doubles.memory_state import MemoryState, MemoryStore
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse
from tests.integration.conftest import SERVICES, plain_environment

pytestmark = pytest.mark.integration

START = SERVICES / "elasticsearch" / "start.sh"
NOW = datetime(2013, 11, 6, 12, tzinfo=timezone.utc)


class Remote:
    """A second cluster, known to the first by two names: one may be skipped when it is unavailable, one may not."""

    def __init__(self, local: Server, folder: Path) -> None:
        self._local, self._folder = local, folder
        self._settings = ["cluster.name=remote"]
        url = self._start("0")
        self.server = Server(url)
        (node,) = self.server.must("GET", "/_nodes/transport")["nodes"].values()
        seed = node["transport"]["publish_address"]
        self._port = url.rpartition(":")[2]
        self._settings.append(f"transport.port={seed.rpartition(':')[2]}")
        self.may, self.must = (f"{kind}{uuid4().hex[:8]}" for kind in ("may", "must"))
        for alias, skip in ((self.may, None), (self.must, False)):
            self._configure(alias, {"seeds": [seed], "skip_unavailable": skip})
        self.wait()

    def _start(self, port: str) -> str:
        command = [START, "--port", port, "--data-dir", self._folder, *self._settings]
        environment = {**plain_environment(), "ES_HEAP": "400m"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=1800
        )
        return next(
            line.split("=", 1)[1].strip("'\"")
            for line in done.stdout.splitlines()
            if line.startswith("ELASTICSEARCH_URL=")
        )

    def _configure(self, alias: str, settings: dict[str, Any]) -> None:
        flat = {f"cluster.remote.{alias}.{key}": value for key, value in settings.items()}
        self._local.must("PUT", "/_cluster/settings", {"persistent": flat})

    def wait(self) -> None:
        """Until both names reach it."""
        for alias in (self.may, self.must):
            for _ in range(600):
                status, answer = self._local.ask("GET", f"/_resolve/cluster/{alias}:*")
                if status == 200 and answer.get(alias, {}).get("connected"):
                    break
                time.sleep(0.1)
            else:
                pytest.fail(f"the remote cluster {alias} is not connected: {answer}")

    def kill(self) -> None:
        os.kill(int((self._folder / "service.pid").read_text().split()[0]), signal.SIGKILL)
        for _ in range(600):
            try:
                self.server.ask("GET", "/")
            except OSError:
                return
            time.sleep(0.05)
        pytest.fail("the remote cluster survives")

    def start_again(self) -> None:
        self._start(self._port)
        self.wait()

    def remove(self) -> None:
        for alias in (self.may, self.must):
            self._configure(alias, {"seeds": None, "skip_unavailable": None})
        stop = SERVICES / "elasticsearch" / "stop.sh"
        subprocess.run([stop, "--data-dir", self._folder], env=plain_environment(), check=True)


@pytest.fixture(scope="module")
def local() -> Iterator[Server]:
    server = Server(os.environ["ELASTICSEARCH_URL"].rstrip("/"))
    yield server
    server.clean()


@pytest.fixture(scope="module")
def remote(local: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    remote = Remote(local, tmp_path_factory.mktemp("remote"))
    yield remote
    remote.remove()


@pytest.fixture(scope="module")
def index(local: Server, remote: Remote) -> str:
    """The name of an index on both clusters: 40 documents here, 60 there."""
    name = local.name("clusters")
    local.put(local.index(name), documents(40, "near"))
    remote.server.put(remote.server.index(name), documents(60, "far"))
    return name


@pytest.fixture(autouse=True)
def connected(local: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", local.url)
    monkeypatch.setattr(elasticsearch_client, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(elasticsearch_client, "LONGEST_PAUSE_SECONDS", 0.01)


ASKS: dict[str, Callable[[ElasticsearchSource], Any]] = {
    "check": lambda source: source.check(),
    "count": lambda source: source.count(WINDOW),
    "open": lambda source: read_all(source, WINDOW),
    "newest": lambda source: source.newest_event_time(),
}


def refused(index: list[str], kind: type[Exception], words: str) -> None:
    for name, ask in ASKS.items():
        source = make(index)
        with pytest.raises(kind, match=words) as caught:
            ask(source)
        assert type(caught.value) is kind, name
        source.close()


@pytest.mark.parametrize("cluster", ["may", "must"])
def test_two_clusters_are_read_whole(remote: Remote, index: str, cluster: str) -> None:
    alias = getattr(remote, cluster)
    source = make([index, f"{alias}:{index}"], page_size=20)
    source.check()
    assert source.count(WINDOW) == 100
    rows = rows_of(read_all(source, WINDOW, 2))
    assert len(rows) == sum(rows.values()) == 100
    assert {key.partition("/")[0] for key, _, _ in rows} == {index, f"{alias}:{index}"}
    source.close()


def test_patterns_of_clusters(remote: Remote, index: str) -> None:
    source = make([f"{remote.may[:6]}*:{index}"])
    source.check()
    assert source.count(WINDOW) == len(rows_of(read_all(source, WINDOW))) == 60
    source.close()
    # the server itself takes this for all of its own indices
    refused([index, f"nowhere{uuid4().hex}*:{index}"], FatalError, "no remote cluster")
    refused([f"nowhere{uuid4().hex}*:{index}"], FatalError, "no remote cluster")


@pytest.mark.parametrize("cluster", ["may", "must"])
def test_a_name_that_the_remote_cluster_does_not_have(remote: Remote, index: str, cluster: str) -> None:
    alias = getattr(remote, cluster)
    refused([index, f"{alias}:{index}-typo"], FatalError, f"no index '{index}-typo'")
    refused([index, f"{alias}:{index}", f"{alias}:{index}-typo"], FatalError, f"no index '{index}-typo'")
    refused([index, f"{alias}:{index}-none*"], DataError, "no open index")
    refused([index, f"nowhere:{index}"], FatalError, "no such remote cluster")
    closed = remote.server.index(f"{index}-{cluster}-closed")
    remote.server.must("POST", f"/{closed}/_close")
    refused([index, f"{alias}:{closed}"], FatalError, f"index '{closed}' is closed")


def test_an_index_that_is_deleted_there_while_it_is_read(remote: Remote, index: str) -> None:
    gone = remote.server.index(f"{index}-gone")
    remote.server.put(gone, documents(60))
    source = make([index, f"{remote.may}:{gone}"], page_size=10)

    def read() -> None:
        with source.open(Slice(0, 1, WINDOW)) as (rows,):
            next(iter(rows))
            remote.server.must("DELETE", f"/{gone}")
            list(rows)

    with pytest.raises(SnapshotLostError):
        read()
    source.close()


@pytest.mark.parametrize("cluster", ["may", "must"])
def test_a_remote_cluster_that_goes_down(remote: Remote, index: str, cluster: str) -> None:
    """In the middle of an extraction, before one, and under a recheck, which then judges and writes nothing."""
    alias = getattr(remote, cluster)
    indices = [index, f"{alias}:{index}"]
    runtime = pipeline(indices)
    run_window(runtime, RunRequest("kit", RunKind.LIVE, NOW))
    assert runtime.target.count(WINDOW).rows == 100
    source = make(indices, page_size=10)

    def read() -> None:
        with source.open(Slice(0, 1, WINDOW)) as (rows,):
            next(iter(rows))
            remote.kill()
            list(rows)

    with pytest.raises(TransientError):
        read()
    refused(indices, TransientError, r"connect|did not answer")
    before = runtime.state.entries(WINDOW)
    with pytest.raises(TransientError, match=r"connect|did not answer"):
        recheck(runtime, 1, NOW)
    assert runtime.state.entries(WINDOW) == before

    remote.start_again()
    report = recheck(runtime, 1, NOW)
    assert [(found.source, found.target) for found in report.findings if found.source] == [(100, 100)]
    assert [entry.kind for entry in runtime.state.entries(WINDOW)].count(Kind.COMMITTED) == 1
    source.close()


def pipeline(indices: list[str]) -> Runtime:
    """2013-11-03 as one window, into memory."""
    for kind, made in (("stage", MemoryStage), ("target", MemoryTarget), ("state", MemoryState)):
        register(kind, "memory", made, replace=True)
    source = {"type": "elasticsearch", "conn_id": CONN_ID, "index": indices, "time_field": "ts"}
    memory = {kind: {"type": "memory"} for kind in ("stage", "target", "state")}
    days = {"start_day": "2013-11-03", "end_day": "2013-11-03", "max_backlog_days": None}
    text = {"pipeline_id": "kit", "granularity": "1d", **days, "source": source, **memory}
    config = parse_pipeline(json.loads(json.dumps(text)), options_model=options_model)
    identity = Identity("kit", "UTC")

    def clock() -> datetime:
        return NOW

    return Runtime(
        config,
        ElasticsearchSource(config.source, identity),
        MemoryStage(config.stage, identity, files=MemoryFiles(clock)),
        MemoryTarget(config.target, identity, warehouse=MemoryWarehouse()),
        MemoryState(config.state, identity, store=MemoryStore(clock)),
        clock=clock,
    )
