"""Shards that move to another node while a window is read, and primaries that are lost: a cluster of two nodes.

A point in time stays with the shard copies that it was opened on, and a page asked for by it finds them.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.phases.recheck_findings import RecheckReport
from tests.connectors.elasticsearch.places import Server
from tests.integration.conftest import SERVICES, plain_environment

from .changing import Place, places, update
from .moving import Moving, move, source_at

pytestmark = pytest.mark.integration

RELOCATED_BEFORE = (2, 9)  # pages of the whole run
MATRIX = [(1, 1, "threads"), (2, 4, "threads"), (5, 2, "tasks"), (5, 8, "threads")]
CELLS = MATRIX if os.environ.get("RELIABILITY") == "full" else MATRIX[1:3]
SCRIPTS = SERVICES / "elasticsearch"
CLUSTER = [
    "discovery.type=multi-node",
    "cluster.initial_master_nodes=node-1",
    "search.keep_alive_interval=1s",
]


class Relocating(Moving):
    """Moves every shard to the other node before some of the pages.

    A shard does not come back to a node as long as a view of its old copy is open there: those are lost first.
    """

    def disturb(self) -> None:
        if self.pages in RELOCATED_BEFORE:
            if self.done["relocated"]:
                self.lose()
            self.relocate()

    def relocate(self) -> None:
        shards = self.server.must("GET", f"/_cat/shards/{self.prefix}-*?format=json")
        other = {"node-1": "node-2", "node-2": "node-1"}
        moves = [
            {
                "index": shard["index"],
                "shard": int(shard["shard"]),
                "from_node": shard["node"],
                "to_node": other[shard["node"]],
            }
            for shard in shards
        ]
        self.server.must("POST", "/_cluster/reroute", {"commands": [{"move": move} for move in moves]})
        settled = "wait_for_no_relocating_shards=true&wait_for_no_initializing_shards=true&timeout=50s"
        assert not self.server.must("GET", f"/_cluster/health?{settled}")["timed_out"]
        self.done["relocated"] += len(moves)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the first of two nodes, started here; nothing moves a shard but the tests."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        url = _start(stack, folder / "one", *CLUSTER)
        transport = (folder / "one" / "logs" / "transport.ports").read_text().split()[0]
        _start(
            stack,
            folder / "two",
            "discovery.type=multi-node",
            "node.name=node-2",
            f"discovery.seed_hosts={transport}",
        )
        server = Server(url)
        assert server.must("GET", "/_cluster/health?wait_for_nodes=2&timeout=60s")["number_of_nodes"] == 2
        server.must("PUT", "/_cluster/settings", {"persistent": {"cluster.routing.rebalance.enable": "none"}})
        yield url


def _start(stack: ExitStack, folder: Path, *settings: str) -> str:
    stack.callback(
        subprocess.run, [SCRIPTS / "stop.sh", "--data-dir", folder], env=plain_environment(), check=True
    )
    done = subprocess.run(
        [SCRIPTS / "start.sh", "--port", "0", "--data-dir", folder, *settings],
        env={**plain_environment(), "ES_HEAP": "512m"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return (folder / "ready").read_text().splitlines()[0]


@pytest.fixture
def server(cluster: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with source_at(cluster, monkeypatch) as server:
        yield server


@pytest.mark.parametrize(
    ("shards", "slices", "distribute"), CELLS, ids=[f"{s} shards-{n} slices-{d}" for s, n, d in CELLS]
)
def test_the_same_ids(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    seed: int,
    shards: int,
    slices: int,
    distribute: str,
) -> None:
    moving = Relocating(server, shards, random.Random(seed))
    move(monkeypatch, folder, moving, slices, distribute)
    assert moving.done["relocated"] == shards * len(RELOCATED_BEFORE)
    assert moving.lost > 0


def lose_a_primary(server: Server, index: str, shard: int) -> None:
    """The copy on the other node becomes the primary, under a new primary term."""

    def primary() -> str:
        copies = server.must("GET", f"/_cat/shards/{index}?format=json")
        return next(one["node"] for one in copies if (one["shard"], one["prirep"]) == (str(shard), "p"))

    before = primary()
    cancel = {"index": index, "shard": shard, "node": before, "allow_primary": True}
    server.must("POST", "/_cluster/reroute", {"commands": [{"cancel": cancel}]})
    green = f"/_cluster/health/{index}?wait_for_status=green&timeout=50s"
    assert not server.must("GET", green)["timed_out"]
    assert primary() != before


def replicated(server: Server, seed: int) -> Moving:
    moving = Moving(server, 2, random.Random(seed))
    index = f"{moving.prefix}-0"
    server.must("PUT", f"/{index}/_settings", {"index": {"number_of_replicas": 1}})
    green = f"/_cluster/health/{index}?wait_for_status=green&timeout=50s"
    assert not server.must("GET", green)["timed_out"]
    return moving


def changed(place: Place) -> set[tuple[str, bool]]:
    """Return each verdict of a recheck, and whether updates in place are seen."""
    return {(one.verdict.value, one.not_seen is None) for one in place.recheck().findings}


def test_updates_are_found_after_a_failover(
    server: Server, monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int
) -> None:
    """Windows without a changed document are not called unchanged: their views may have had writes that were lost."""
    moving = replicated(server, seed)
    with places(folder, monkeypatch) as open_place:
        place = open_place(moving)
        place.move_all()
        assert changed(place) == {("equal", True)}
        lose_a_primary(server, f"{moving.prefix}-0", 0)
        assert changed(place) == {("equal", False)}
        update(moving)
        report = place.recheck()
        assert {one.verdict.value for one in report.findings} == {"equal", "changed"}
        place.reload(report)
        place.assert_equal_by_content()
        assert all("another primary" in reason for reason in place.recheck().not_seen)
        assert {one.not_seen for one in place.recheck().findings if one.interval in reloaded(report)} == {
            None
        }


def reloaded(report: RecheckReport) -> set[Interval]:
    return {one.interval for one in report.stale}
