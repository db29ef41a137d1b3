"""What an extraction costs beside receiving the same pages and throwing them away.

A regression check, not a benchmark (`make bench` is): the bounds are wide, both sides run in turn on the same small
index, and the best of each counts, so that what else runs on the machine is not in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks import servers
from benchmarks.contract import Contestant, Results, Settings, interleaved
from benchmarks.harness import measure

pytestmark = pytest.mark.integration

DOCS = 96_000
ROUNDS = 3
READERS = 2  # what `slices: auto` gives an index of two shards
SLOWER, MORE_CPU, MOST_MEGABYTES = 4.0, 12.0, 300  # about 2, 6 and 250 where nothing is wrong
HELD = "ours held to postgres"  # whose limits ask the most of each document
CHECKED = 2.0  # about 1.3 where nothing is wrong


@pytest.fixture
def index() -> Iterator[str]:
    url, name = os.environ["ELASTICSEARCH_URL"], f"cost-{uuid4().hex[:8]}"
    servers.load(url, DOCS, name)
    yield name
    servers.remove(url, name)


def test_it_costs_little_more_than_the_pages(index: str, tmp_path: Path) -> None:
    settings = Settings(ROUNDS, DOCS, tmp_path, tmp_path)
    given = ["--url", os.environ["ELASTICSEARCH_URL"], "--index", index, "--docs", DOCS]
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow")}

    def contestant(name: str, *arguments: object) -> Contestant:
        command = settings.module(f"contestants.{name}", *given, *arguments)
        return Contestant("cost", name, command, home, expected={"rows": DOCS}, timeout=300)

    ours, limit = contestant("ours", "--out", "{out}"), contestant("throw_away", "--slices", READERS)
    held = replace(contestant("ours", "--out", "{out}", "--limits", "postgres"), name=HELD)
    results = Results()
    for each in interleaved([ours, held, limit], ROUNDS):
        results.add(each, measure(each, settings))

    def best(name: str, what: str) -> float:
        return min(results.values("cost", name, what))

    seen = {
        what: (best("ours", what), best("throw_away", what))
        for what in ("seconds", "client_cpu_seconds", "own_peak_rss_mb")
    }
    print(seen)
    assert best("ours", "seconds") <= SLOWER * best("throw_away", "seconds"), seen
    assert best("ours", "client_cpu_seconds") <= MORE_CPU * best("throw_away", "client_cpu_seconds"), seen
    assert best("ours", "own_peak_rss_mb") <= MOST_MEGABYTES, seen
    checked, unchecked = best(HELD, "client_cpu_seconds"), best("ours", "client_cpu_seconds")
    assert checked <= CHECKED * unchecked, "each document is looked at for the target, and not parsed again"
