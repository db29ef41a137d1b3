"""The races by shape of documents and number of shards: what they move, and beside which limit."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.registry import register
from benchmarks import digest, replay_server
from benchmarks.contestants import ours
from benchmarks.contract import Contestant, Results, Run, Server, Settings
from benchmarks.groups import extract
from benchmarks.groups.extract import memory, shapes
from benchmarks.shapes import NESTED, SHAPES, TINY, USUAL

DOCS, PAGE = 100_000, 5000


def run(peak: int) -> Run:
    return Run(1.0, 1.0, 1.0, 1.0, 1.0, peak, 0, 0, {"rows": 1000})


@pytest.mark.parametrize(("shape", "low", "high"), [(TINY, 94, 98), (USUAL, 550, 560), (NESTED, 1600, 1700)])
def test_documents_of_each_shape_have_their_size_and_are_all_different(
    shape: str, low: int, high: int
) -> None:
    documents = dict(digest.truth(PAGE, shape=shape))
    assert len(set(documents.values())) == PAGE
    assert low <= sum(map(len, documents.values())) / PAGE <= high


@pytest.mark.parametrize("shape", [TINY, NESTED])
def test_the_replay_server_has_the_documents_of_its_shape(shape: str) -> None:
    replay = replay_server.Replay(PAGE, shape=shape)
    search = {"size": PAGE, "pit": {"id": "p"}, "sort": ["_shard_doc"]}
    status, pieces = replay.answer("POST", "/_search", json.dumps(search).encode())

    hits = json.loads(b"".join(pieces))["hits"]["hits"]
    found = digest.digest((hit["_id"], json.dumps(hit["_source"])) for hit in hits)
    assert (status, found[:2]) == (200, digest.digest(digest.truth(PAGE, shape=shape))[:2])


@pytest.mark.parametrize(("shards", "readers"), [(1, 2), (3, 3), (5, 4)])
def test_the_limit_has_as_many_readers_as_ours_plans(
    shards: int, readers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_here(command: tuple[str, ...], **_: str) -> dict[str, Any]:
        assert "--plan" in command
        unset = dict.fromkeys(("slices", "page_size", "limits", "contract", "compression"))
        return ours.move(argparse.Namespace(index="bench", docs=DOCS, out=tmp_path, plan=True, **unset))

    register("state", "memory", "tests.doubles.memory_state:MemoryState", replace=True)
    monkeypatch.setattr(shapes, "output_of", plan_here)
    monkeypatch.setattr(shapes, "truth", lambda *_, **__: {"rows": 0, "digest": "", "document_bytes": 0})
    settings = Settings(1, DOCS, tmp_path, tmp_path, options={"shards": str(shards), "shapes": USUAL})
    with replay_server.Server(replay_server.Replay(DOCS, shards=shards)) as replayed:
        thread = threading.Thread(target=replayed.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("AIRFLOW_CONN_ELASTICSEARCH_DEFAULT", ours.connection(replayed.url))
        settings.servers["elasticsearch"] = Server("elasticsearch", replayed.url, ())
        first, second, *_ = shapes.contestants(settings)
        replayed.shutdown()
        thread.join()

    assert (first.name, first.expected["readers"]) == ("ours", readers)
    assert (second.name, second.command[-2:]) == (shapes.SAME_READERS, ("--slices", str(readers)))


@pytest.mark.parametrize(
    ("options", "races", "expected"),
    [
        pytest.param({}, (), [(shape, n) for shape in SHAPES for n in (1, 2, 3, 5)], id="all"),
        pytest.param({"shapes": "tiny", "shards": "1,3"}, (), [(TINY, 1), (TINY, 3)], id="by option"),
        pytest.param({}, ("nested documents, 5",), [(NESTED, 5)], id="by a part of the name"),
    ],
)
def test_races_by_shape_can_be_narrowed(
    options: dict[str, str], races: tuple[str, ...], expected: list[tuple[str, int]], tmp_path: Path
) -> None:
    settings = Settings(1, 8, tmp_path, tmp_path, races=races, options=options)
    assert shapes.chosen(settings) == expected


@pytest.mark.parametrize("seen_of", [(1, 2, 3, 5), (1, 3)])
def test_the_peak_of_a_shape_is_judged_only_if_every_number_of_shards_was_measured(
    seen_of: tuple[int, ...],
) -> None:
    found = Results()
    for shards in seen_of:
        found.add(Contestant(shapes.race_name(NESTED, shards), "ours", ()), run(200_000_000))
    (goal,) = (
        goal for goal in extract.goals(found) if "peak RSS by number" in goal.work and NESTED in goal.work
    )
    assert goal.reached is (True if len(seen_of) == 4 else None)
    assert goal.seen.count("191 MiB") == len(seen_of)


@pytest.mark.parametrize(("peaks", "near"), [((200, 209), True), ((200, 211), False), ((200,), None)])
def test_few_and_many_documents_need_about_the_same_memory(peaks: tuple[int, ...], near: bool | None) -> None:
    found = Results()
    for docs, peak in enumerate(peaks, 1):
        found.add(Contestant(memory.MEMORY, memory.in_memory(3, docs), ()), run(peak * 1_000_000))
    (goal,) = (goal for goal in memory.goals(found) if "within" in goal.goal and "3 shards" in goal.work)
    assert goal.reached is near
