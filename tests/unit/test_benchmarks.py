"""The benchmarks' own parts: a server that answers exactly, a digest that sees every change, goals that can fail."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_folder
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.core.planning import day_plan
from benchmarks import digest, groups, scale
from benchmarks.contestants import helpers_scan, ours
from benchmarks.contract import Column, Contestant, Results, Run, Settings, interleaved
from benchmarks.documents import START, START_MILLIS, interval, time_query
from benchmarks.groups import extract
from benchmarks.groups.extract import peers, shapes
from benchmarks.harness import FailedError, measure, run_group
from benchmarks.replay_server import Replay, Server
from benchmarks.report import write
from benchmarks.shapes import TINY
from benchmarks.wide import machine, pipelines, tasks

DOCS = 5000
PIT = {"pit": {"id": "p"}, "sort": ["_shard_doc"]}


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay(docs=6000)


@pytest.fixture(scope="module")
def server(replay: Replay) -> Iterator[Server]:
    with Server(replay) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def truth() -> tuple[int, str, int]:
    return digest.digest(digest.truth(DOCS))


def ask(replay: Replay, target: str, body: dict[str, Any], method: str = "POST") -> tuple[int, Any]:
    status, pieces = replay.answer(method, target, json.dumps(body).encode())
    return status, json.loads(b"".join(pieces))


def rows_of(answer: Any) -> list[int]:
    return [hit["_source"]["event"]["sequence"] - START_MILLIS for hit in answer["hits"]["hits"]]


# --- the same documents by every way -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slices", "contract", "compression"),
    [(1, False, None), (3, False, None), (1, True, None), (1, False, "lz4")],
)
def test_our_source_reads_the_replayed_documents(
    server: Server,
    truth: tuple[int, str, int],
    slices: int,
    contract: bool,
    compression: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("state", "memory", "tests.doubles.memory_state:MemoryState", replace=True)
    monkeypatch.setenv("AIRFLOW_CONN_ELASTICSEARCH_DEFAULT", ours.connection(server.url))
    given = argparse.Namespace(
        index="bench",
        docs=DOCS,
        out=tmp_path,
        slices=slices,
        page_size=700,
        limits="snowflake",
        contract=contract,
        compression=compression,
        plan=False,
    )

    figures = ours.move(given)

    assert (figures["rows"], figures["readers"]) == (DOCS, slices)
    assert digest.digest(digest.from_parquet(tmp_path))[:2] == truth[:2]


def test_the_elasticsearch_client_scans_the_replayed_documents(
    server: Server, truth: tuple[int, str, int], tmp_path: Path
) -> None:
    rows = helpers_scan.write(server.url, "bench", DOCS, tmp_path / "hits.json.gz", page=700)

    assert rows == DOCS
    assert digest.digest(digest.from_hits(tmp_path))[:2] == truth[:2]


# --- the replay server ---

# --- the replay server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "rows"),
    [
        pytest.param({"size": 3}, [0, 1, 2], id="size"),
        pytest.param({"size": 2, "search_after": [START_MILLIS + 41]}, [42, 43], id="after"),
        pytest.param({"size": 9, "search_after": [START_MILLIS + 5997]}, [5998, 5999], id="last page"),
        pytest.param({"size": 9, "search_after": [START_MILLIS + 5999]}, [], id="behind the end"),
        pytest.param({"size": 2, "slice": {"id": 1, "max": 3}}, [2000, 2001], id="a slice"),
        pytest.param(
            {"size": 9, "slice": {"id": 0, "max": 3}, "search_after": [START_MILLIS + 1998]},
            [1999],
            id="end of a slice",
        ),
        pytest.param(
            {"size": 9, "query": time_query(8), "search_after": [START_MILLIS + 5]}, [6, 7], id="range of times"
        ),
        pytest.param(
            {"size": 9, "query": {"bool": {"filter": [time_query(8), {"range": {"@timestamp": {"gte":
             "2026-03-01T00:00:00.001Z"}}}]}}}, [], id="no time in the range",
        ),
    ],
)  # fmt: skip
def test_a_page_holds_exactly_what_is_asked_for(
    replay: Replay, search: dict[str, Any], rows: list[int]
) -> None:
    status, answer = ask(replay, "/_search", PIT | search)

    assert (status, rows_of(answer)) == (200, rows)


def test_a_page_over_the_end_of_a_block_goes_on() -> None:
    _, answer = ask(Replay(docs=20_000), "/_search", PIT | {"size": 4, "search_after": [START_MILLIS + 9997]})

    times = [hit["_source"]["@timestamp"] for hit in answer["hits"]["hits"]]
    assert rows_of(answer) == [9998, 9999, 10000, 10001]
    assert times == ["2026-03-01T00:00:09.992Z"] * 2 + ["2026-03-01T00:00:10.000Z"] * 2


def test_a_scroll_goes_through_all_and_ends(replay: Replay) -> None:
    _, answer = ask(
        replay, "/bench/_search?scroll=1m", {"size": 2500, "sort": ["_doc"], "query": time_query(DOCS)}
    )
    pages = []
    while found := rows_of(answer):
        pages.append((found[0], found[-1]))
        _, answer = ask(replay, "/_search/scroll", {"scroll_id": answer["_scroll_id"]})

    assert pages == [(0, 2499), (2500, 4999)]


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        pytest.param("/_search", PIT | {"query": {"term": {"level": "INFO"}}}, 400, id="another query"),
        pytest.param(
            "/_search", PIT | {"query": {"range": {"@timestamp": {"gt": "2026"}}}}, 400, id="another bound"
        ),
        pytest.param("/_search", PIT | {"sort": [{"level": "asc"}]}, 400, id="another sort"),
        pytest.param("/_search", PIT | {"sort": [{"_doc": "desc"}]}, 400, id="backwards"),
        pytest.param("/_search", PIT | {"size": 10_001}, 400, id="too large"),
        pytest.param("/_search", PIT | {"_source": ["level"]}, 400, id="a part of the documents"),
        pytest.param("/_search", PIT | {"collapse": {"field": "level"}}, 400, id="another key"),
        pytest.param("/other/_count", {}, 404, id="another index"),
        pytest.param("/_search/scroll", {"scroll_id": "gone"}, 404, id="an ended scroll"),
    ],
)
def test_what_the_replay_server_does_not_know_it_refuses(
    replay: Replay, target: str, body: dict[str, Any], status: int
) -> None:
    assert ask(replay, target, body)[0] == status


def test_an_interval_must_not_cut_documents_of_one_time() -> None:
    with pytest.raises(ValueError, match="a multiple of 8"):
        interval(1001)


# --- the digest --------------------------------------------------------------------------------------------------

DOCUMENTS = [("a", b'{"x":1,"y":"\xc3\xa9"}'), ("b", b'{"x":[1.5]}'), ("c", b"{}")]


@pytest.mark.parametrize(
    ("others", "same"),
    [
        pytest.param(DOCUMENTS[::-1], True, id="another order"),
        pytest.param(
            [("a", '{"y": "\\u00e9", "x": 1}'), *DOCUMENTS[1:]], True, id="another text of the same value"
        ),
        pytest.param(DOCUMENTS[:2], False, id="one is missing"),
        pytest.param([*DOCUMENTS, DOCUMENTS[0]], False, id="one came twice"),
        pytest.param([*DOCUMENTS[:2], ("c", b'{"x":null}')], False, id="another value"),
        pytest.param(
            [("b", DOCUMENTS[0][1]), ("a", DOCUMENTS[1][1]), DOCUMENTS[2]], False, id="ids exchanged"
        ),
    ],
)
def test_the_digest_tells_sets_of_documents_apart(others: list[digest.Document], same: bool) -> None:
    assert (digest.digest(others)[1] == digest.digest(DOCUMENTS)[1]) == same


# --- measuring ---------------------------------------------------------------------------------------------------


def contestant(code: str, **changes: Any) -> Contestant:
    return Contestant(**{"race": "r", "name": "n", "command": (sys.executable, "-c", code), **changes})


def test_a_run_has_its_own_figures_and_those_of_its_check(tmp_path: Path) -> None:
    script = (
        "import json; open('{out}/f','w').write('12345'); print(json.dumps({'rows': 10, 'seconds': 2.0}))"
    )
    check = (sys.executable, "-c", """print('{"digest": "d"}')""")

    run = measure(
        contestant(script, check=check, expected={"rows": 10, "digest": "d"}, moves_bytes=50),
        Settings(rounds=1, docs=1, work=tmp_path, data=tmp_path),
    )

    assert (run.seconds, run.written_bytes, run.figures["digest"]) == (2.0, 5, "d")
    assert (run.value("rows_per_second"), run.value("bytes_per_second")) == (5.0, 25.0)
    assert 0 < run.client_cpu_seconds == run.process_cpu_seconds < run.wall_seconds + 1
    assert run.peak_rss_bytes > 1_000_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("print('{\"rows\": 9}')", "expected rows 10, got 9", id="other rows"),
        pytest.param("print('done')", "expected rows 10, got None", id="no figures"),
        pytest.param("raise SystemExit('no server')", "ended with 1:\nno server", id="an error"),
        pytest.param("import time; time.sleep(60)", "ended with -9", id="too slow"),
    ],
)
def test_a_contestant_that_does_not_deliver_fails(code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=message):
        measure(
            contestant(code, expected={"rows": 10}, timeout=0.5),
            Settings(rounds=1, docs=1, work=tmp_path, data=tmp_path),
        )


def test_what_was_measured_before_a_contestant_failed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [
        contestant("print('{\"rows\": 1}')", name="first"),
        contestant("raise SystemExit('no server')", name="second"),
        contestant("print('{\"rows\": 1}')", name="third"),
    ]
    group: Any = SimpleNamespace(contestants=lambda _: entries)
    monkeypatch.setitem(sys.modules, "benchmarks.groups.failing", group)

    found, results, error = run_group("failing", Settings(rounds=1, docs=1, work=tmp_path, data=tmp_path))

    assert (found, results.names("r")) == (group, ["first"])
    assert "no server" in str(error)


@pytest.mark.parametrize("name", groups.names())
def test_goals_need_no_results(name: str) -> None:
    group = importlib.import_module(f"benchmarks.groups.{name}")
    assert [goal.work for goal in group.goals(Results()) if goal.reached is not None] == []


def test_rounds_are_interleaved_race_by_race() -> None:
    entries = [
        contestant("", race="x", name="a"),
        contestant("", race="y", name="c"),
        contestant("", race="x", name="b", rounds=1),
    ]
    assert "".join(entry.name for entry in interleaved(entries, 2)) == "abacc"


def test_each_round_begins_with_another_contestant() -> None:
    entries = [contestant("", race="x", name=name) for name in "abc"]
    assert "".join(entry.name for entry in interleaved(entries, 4)) == "abcbcacababc"


# --- wide ----------------------------------------------------------------------------------------------------------


def task(queued: str, start: str, end: str) -> dict[str, Any]:
    day = "2026-03-01T00:00:"
    return {"queued_when": f"{day}{queued}Z", "start_date": f"{day}{start}Z", "end_date": f"{day}{end}Z"}


def test_times_are_those_of_the_task_instances() -> None:
    found = [task("00", "01.500", "11"), task("00", "02", "09"), task("10", "12", "20")]
    start, end = tasks.span(found)
    assert end - start == 18.5
    assert tasks.queued_to_start(found) == 2
    assert tasks.each(found) == 8
    assert tasks.most_at_once(found) == 2


@pytest.mark.parametrize(
    "wrong", [{"state": "failed", "try_number": 1}, {"state": "success", "try_number": 2}]
)
def test_a_failed_or_repeated_task_is_not_measured(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="extract"):
        tasks.assert_successful([{"dag_run_id": "r", "task_id": "extract", **wrong}])


def test_cpu_is_counted_of_a_process_and_of_all_below_it() -> None:
    with machine.BusyMachine([os.getpid()]) as busy:
        start = time.time()
        burn = "import time\nwhile time.process_time() < 0.3: pass\n"
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert busy.workers_cpu_seconds >= 0.25
    assert 0 < busy.share(start - 1, time.time() + 1) <= 1


def test_the_pipelines_of_wide_are_valid_and_cut_the_same_documents_into_windows(tmp_path: Path) -> None:
    pipelines.write_dags(tmp_path, tmp_path / "work", (1, 8))
    loaded = load_folder(tmp_path / "pipelines", options_model=options_model)
    assert not loaded.errors
    assert set(loaded.pipelines) == {"wide_tasks_1", "wide_tasks_8", "wide_windows"}
    day = day_plan(loaded.pipelines["wide_windows"][1].rules, START.date())
    windows = [window for window in day if window.start < interval(pipelines.DOCS)[1]]
    assert (len(windows), windows[-1].end) == (pipelines.WINDOWS, interval(pipelines.DOCS)[1])


def test_a_group_may_say_its_columns(tmp_path: Path) -> None:
    found = results({"one": 2.0, "two": 1.0}, "race")
    group: Any = SimpleNamespace(
        TITLE="A group", goals=lambda _: [], COLUMNS={"race": [Column("s", "seconds")]}
    )
    write(tmp_path / "page.md", [(group, found)], Settings(3, 1000, tmp_path, tmp_path), [])
    assert (
        "| | s | ratio |\n|---|---|---|\n| one | 2 | 1.00 |\n| two | 1 | 2.00 |\n"
        in (tmp_path / "page.md").read_text()
    )


# --- goals -------------------------------------------------------------------------------------------------------


def results(seconds: dict[str, float], race: str) -> Results:
    found = Results()
    for name, value in seconds.items():
        run = Run(value, value, 1.0, 1.0, 1.0, 200_000_000, 0, 0, {"rows": 1000})
        found.add(contestant("", race=race, name=name), run)
    return found


@pytest.mark.parametrize(
    ("race", "seconds", "goal", "reached"),
    [
        pytest.param(peers.REPLAY, {"ours": 9, "ours, 2 slices": 1, "dlt": 25}, "≥ 25 × dlt", True, id="our best"),
        pytest.param(peers.REPLAY, {"ours": 1, "dlt": 24.9}, "≥ 25 × dlt", False, id="too slow"),
        pytest.param(peers.REPLAY, {"ours": 1}, "≥ 25 × dlt", None, id="without the peer"),
        pytest.param(shapes.race_name(TINY, 2), {"ours": 1.39, shapes.SAME_READERS: 1},
                     "≤ 1.4 × thrown away, as many readers", True, id="near"),
        pytest.param(shapes.race_name(TINY, 2), {"ours": 1.41, shapes.SAME_READERS: 1},
                     "≤ 1.4 × thrown away, as many readers", False, id="far"),
        pytest.param(shapes.race_name(TINY, 1), {"ours": 1, "elasticdump": 2.9},
                     "≥ 3 × elasticdump", False, id="tiny"),
    ],
)  # fmt: skip
def test_a_goal_is_reached_or_not(
    race: str, seconds: dict[str, float], goal: str, reached: bool | None
) -> None:
    found = [
        found.reached
        for found in extract.goals(results(seconds, race))
        if found.goal == goal and (race in found.work or "Elasticsearch:" not in found.work or "≥" in goal)
    ]
    assert found == [reached]


def test_the_page_shows_which_goals_are_reached(tmp_path: Path) -> None:
    found = results({"ours": 10.0, "elasticdump": 20.0, "dlt": 300.0}, peers.REPLAY)
    path = tmp_path / "results.md"

    write(path, [(extract, found)], Settings(rounds=1, docs=1000, work=tmp_path, data=tmp_path), ["other"])

    text = path.read_text()
    assert "| ≥ 9 × elasticdump | 2.0 × (ours) | **not reached** |" in text
    assert "| ≥ 25 × dlt | 30.0 × (ours) | reached |" in text
    assert "| elasticdump | 50 | 20 |" in text
    assert "Not finished because of an error: other." in text


def test_what_moves_no_rows_has_none_in_the_medians(tmp_path: Path) -> None:
    found = Results()
    run = Run(2.0, 2.0, 1.0, 1.0, 0.0, 34_000_000, 0, 0, {"seconds": 2.0, "queued_seconds": 0.5})
    found.add(contestant("", race="tasks that do nothing", name="1 task"), run)
    group: Any = SimpleNamespace(TITLE="Wide", goals=lambda _: [])
    write(tmp_path / "page.md", [(group, found)], Settings(3, 1000, tmp_path, tmp_path), [])
    medians = json.loads((tmp_path / "page.json").read_text())["tasks that do nothing"]["1 task"]
    assert (medians["rows"], medians["seconds"], medians["queued_seconds"]) == (0, 2, 0.5)


# --- what is worked out from the results ---------------------------------------------------------------------------


def test_the_tables_of_the_scale_page_are_those_of_the_results() -> None:
    text = scale.PAGE.read_text()
    written = text.partition(scale.BEGIN)[2].partition(scale.END)[0].strip()
    assert written == scale.table(), "run `python -m benchmarks.scale --write`"


def test_the_scale_page_has_a_column_for_each_shape_that_was_measured(tmp_path: Path) -> None:
    """Results of before the races by shape have only the usual documents."""
    earlier = json.loads((scale.PAGE.parents[1] / "benchmarks" / "results.json").read_text())
    earlier = {race: found for race, found in earlier.items() if not race.startswith("Elasticsearch:")}
    again = {
        shapes.race_name(shape, 2): {"ours": {**earlier[peers.REAL]["ours"], "seconds": seconds}}
        for shape, seconds in (("usual", 5), (TINY, 2))
    }
    tables = []
    for number, results_ in enumerate((earlier, earlier | again)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(results_))
        tables.append(scale.table(path))

    assert [table.splitlines()[0] for table in tables] == [
        "| measured | usual documents |", "| measured | tiny documents | usual documents |",
    ]  # fmt: skip
    assert "| documents a second of one task | 500,000 | 200,000 |" in tables[1]


def test_what_a_month_takes() -> None:
    measured = scale.Measured(
        document_bytes=500,
        part_bytes=100,
        client_cpu=5e-6,
        server_cpu=10e-6,
        rows_a_second=100_000,
        duckdb_rows_a_second=400_000,
        postgres_rows_a_second=50_000,
        task_cpu=2,
    )
    found = scale.month(scale.Case("a day of 432 GB", 432e9, 60, 2), measured)
    assert found["documents"] == "25,920.0 million"  # 864 million a day, 36 million a window
    assert found["windows"] == "720"
    assert found["Airflow tasks"] == "5,760"
    assert found["... cores busy on average"] == "0.05"  # 4,320 s of documents and 384 s of tasks in 86,400
    assert found["cluster: requests"] == "3.2 million"  # 4,500 pages and 8 more a window
    assert found["cluster: cores busy on average"] == "0.10"
    assert found["stage: objects written"] == "23,760"  # 15 parts a task, 2 receipts, a manifest
    assert found["minutes to extract a window"] == "3.0"
    assert found["minutes to load it, PostgreSQL"] == "12.0"
    assert found["ledger: rows"] == "2,160"
    assert [what.partition(",")[0] for what, _ in scale.limits(measured)[:2]] == [
        "one pipeline: a window extracted by one task",
        "a load into PostgreSQL",
    ]
