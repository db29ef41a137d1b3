"""What the Elasticsearch source can state about changes, by what the server answers (docs/elasticsearch.md)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.changes import MOST_SHARDS, is_stable
from airflow_pipeline_provider.core.change_markers import (
    ChangeMarker,
    MarkedWindow,
    Seen,
    WindowChanges,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.testing.source_kit import END, START, WINDOW
from tests.connectors.elasticsearch.answers import Replay, error
from tests.connectors.elasticsearch.places import make

HOUR = END - START
Answers = dict[str, Any]


class Shards:
    """Indices of a server: what it answers of their shards, and how many documents were written since."""

    def __init__(self, replay: Replay, path: str = "i") -> None:
        self.replay, self.path = replay, path
        self.indices: Answers = {}
        self.states: Answers = {}
        self.shards_failed = 0
        self.changed: dict[tuple[str, int], int] = {}  # by index and shard, in each window
        self.rows = 7  # in each window
        self.numbered = True
        self.counted: list[tuple[int | None, int]] = []  # shard and number of filters of each request

    def add(self, name: str, *checkpoints: int, uuid: str = "u") -> None:
        self.indices[name] = {
            "uuid": uuid,
            "shards": {
                str(number): [
                    {
                        "routing": {"state": "STARTED", "primary": True},
                        "seq_no": {"global_checkpoint": checkpoint},
                        "commit": {"user_data": {"history_uuid": f"h-{uuid}"}},
                    },
                    {
                        "routing": {"state": "STARTED", "primary": False},
                        "seq_no": {"global_checkpoint": checkpoint - 1},
                        "commit": {"user_data": {"history_uuid": f"h-{uuid}"}},
                    },
                ]
                for number, checkpoint in enumerate(checkpoints)
            },
        }
        self.states[name] = {
            "primary_terms": {str(number): 1 for number in range(len(checkpoints))},
            "aliases_version": 1,
        }

    def write(self, name: str, shard: int, documents: int = 1) -> None:
        for copy in self.indices[name]["shards"][str(shard)]:
            copy["seq_no"]["global_checkpoint"] += documents
        self.changed[name, shard] = documents

    def serve(self) -> None:
        total = sum(len(copies) for index in self.indices.values() for copies in index["shards"].values())
        counts = {"total": max(total, 1), "successful": total, "failed": self.shards_failed}
        given = self.replay.answers
        given[f"GET /{self.path}/_stats/docs"] = 200, {"_shards": counts, "indices": deepcopy(self.indices)}
        given[f"GET /_cluster/state/metadata/{self.path}"] = (
            200,
            {"metadata": {"indices": deepcopy(self.states)}},
        )
        given[f"POST /{self.path}/_refresh"] = 200, {"_shards": counts}

    def search(self, target: str, body: Answers) -> Answers:
        """The number of documents that each filter finds."""
        found, shard = {}, None
        if "_shards%3A" in target:
            shard = int(target.partition("_shards%3A")[2].partition("&")[0])
        filters = body["aggs"]["found"]["filters"]["filters"]
        for key, query in filters.items():
            clauses = query.get("bool", {}).get("filter", [])
            names = next((one["terms"]["_index"] for one in clauses if "terms" in one), [])
            if key in ("all", "numbered"):
                found[key] = {"doc_count": 10 if key == "all" or self.numbered else 0}
            elif names and shard is None:
                found[key] = {"doc_count": sum(self.changed.get((name, 0), 0) for name in names)}
            elif names:
                found[key] = {"doc_count": sum(self.changed.get((name, shard), 0) for name in names)}
            else:
                found[key] = {"doc_count": self.rows}
        self.counted.append((shard, len(filters)))
        return {
            "timed_out": False,
            "_shards": {"total": 1, "failed": 0},
            "aggregations": {"found": {"buckets": found}},
        }


@pytest.fixture
def shards(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Shards:
    """Index `i` of two shards, on a server that counts by filters."""
    made = Shards(replay)
    made.add("i", 5, 9)
    made.serve()
    answer = replay.answer

    def counting(method: str, path: str, body: Answers) -> Any:
        if path == f"/{made.path}/_search" and "filters" in body.get("aggs", {}).get("found", {}):
            status, given = replay.answers.get(f"{method} {path}", (200, None))
            if status == 200:
                replay.asked.append((method, path, body))
                return 200, made.search(replay.received[-1][1], body)
            return status, given
        return answer(method, path, body)

    monkeypatch.setattr(replay, "answer", counting)
    return made


def ask(
    marker: ChangeMarker | None, windows: int = 1, index: Any = "i", **options: Any
) -> list[WindowChanges]:
    source = make(index, **options)
    try:
        pieces = [Interval(START + n * HOUR, START + (n + 1) * HOUR) for n in range(windows)]
        return source.changes([MarkedWindow(piece, marker) for piece in pieces])
    finally:
        source.close()


def take(index: Any = "i", **options: Any) -> ChangeMarker:
    source = make(index, **options)
    try:
        return source.change_marker()
    finally:
        source.close()


def refused(kind: str, status: int = 403) -> Any:
    return status, error(kind)


def rename(shards: Shards) -> None:
    """Shrunk, split or indexed again under another name behind the same alias."""
    del shards.indices["i"], shards.states["i"]
    shards.add("i-2", 20, uuid="u2")
    shards.changed["i-2", 0] = 7


def roll_over(shards: Shards, documents: int) -> None:
    shards.add("i-2", 3, uuid="u2")
    shards.changed["i-2", 0] = documents


def stop_a_primary(shards: Shards) -> None:
    shards.indices["i"]["shards"]["1"].pop(0)


def remove(shards: Shards) -> None:
    shards.add("j", 1)
    del shards.indices["i"], shards.states["i"]


def change(name: str, **state: Any) -> Callable[[Shards], None]:
    return lambda shards: shards.states[name].update(state)


# what happened between the marker and the check -> what is stated, with a word of its reason
OUTCOMES: dict[str, tuple[Callable[[Shards], object], Seen, int, str]] = {
    "nothing": (lambda shards: None, Seen.UNCHANGED, 0, ""),
    "updates": (lambda shards: shards.write("i", 1, 3), Seen.COUNTED, 3, ""),
    "writes to other windows": (lambda shards: (shards.write("i", 1), shards.changed.clear()), Seen.COUNTED, 0, ""),
    "a new index without rows of the window": (lambda shards: roll_over(shards, 0), Seen.COUNTED, 0, ""),
    "a new index with rows of the window": (lambda shards: roll_over(shards, 4), Seen.COUNTED, 4, ""),
    "a removed index": (remove, Seen.COUNTED, 0, ""),
    "shrunk, split, renamed": (rename, Seen.COUNTED, 7, ""),
    "created again": (lambda shards: shards.add("i", 5, 9, uuid="w"), Seen.UNKNOWN, 0, "created again or restored"),
    "restored in place": (
        lambda shards: [
            copy["commit"]["user_data"].update(history_uuid="other")
            for copies in shards.indices["i"]["shards"].values()
            for copy in copies
        ],
        Seen.UNKNOWN, 0, "created again or restored",
    ),
    "a failover": (change("i", primary_terms={"0": 1, "1": 2}), Seen.UNKNOWN, 0, "another primary"),
    "a failover, and updates": (
        lambda shards: (change("i", primary_terms={"0": 1, "1": 2})(shards), shards.write("i", 1)),
        Seen.COUNTED, 1, "",
    ),
    "another alias": (change("i", aliases_version=2), Seen.UNKNOWN, 0, "alias"),
    "another runtime field": (
        change("i", mappings={"_doc": {"runtime": {"x": {}}}}), Seen.UNKNOWN, 0, "runtime field",
    ),
    "sequence numbers disabled": (
        change("i", settings={"index": {"disable_sequence_numbers": "true"}}), Seen.UNKNOWN, 0, "disable_sequence",
    ),
    "a primary that does not answer": (stop_a_primary, Seen.UNKNOWN, 0, "not every primary shard answered"),
    "the state lacks the index": (lambda shards: shards.states.clear(), Seen.UNKNOWN, 0, "primary terms of i"),
    "documents without a number": (
        lambda shards: (shards.write("i", 1), setattr(shards, "numbered", False)),
        Seen.UNKNOWN, 0, "no sequence number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES)
def test_each_event_has_its_outcome(shards: Shards, case: str) -> None:
    marker = take()
    assert (marker.doubt, marker.unknown) == (None, None)
    event, seen, changed, word = OUTCOMES[case]
    event(shards)
    shards.serve()
    [found] = ask(marker)
    assert (found.seen, found.changed) == (seen, changed)
    assert word in (found.reason or "")
    assert (found.reason is not None) is (seen is Seen.UNKNOWN)


# an answer that is refused when the marker is taken, or at the check -> what a marker says, and what a check says
REFUSED: dict[str, tuple[str, Any, str, str]] = {
    "no right to ask for shards": (
        "GET /i/_stats/docs", refused("security_exception"), "unknown", "index privilege `monitor`",
    ),
    "serverless": ("GET /i/_stats/docs", refused("api_not_available_exception", 410), "unknown", "does not report"),
    "no right to ask for terms": (
        "GET /_cluster/state/metadata/i", refused("security_exception"), "doubt", "cluster privilege `monitor`",
    ),
    "no right to refresh": (
        "POST /i/_refresh", refused("security_exception"), "doubt", "index privilege `maintenance`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_missing_right_is_stated_and_never_unchanged(replay: Replay, shards: Shards, case: str) -> None:
    request, answer, where, words = REFUSED[case]
    replay.answers[request] = answer
    marker = take()
    assert words in (getattr(marker, where) or "")
    [found] = ask(marker)
    assert found.seen is Seen.UNKNOWN
    assert words in (found.reason or "")
    del replay.answers[request]
    shards.write("i", 0, 2)
    shards.serve()
    [later] = ask(marker)
    expected = (Seen.UNKNOWN, 0) if where == "unknown" else (Seen.COUNTED, 2)
    assert (later.seen, later.changed) == expected


@pytest.mark.parametrize("case", ["no right to ask for shards", "no right to ask for terms"])
def test_a_right_that_is_taken_away_is_stated(replay: Replay, shards: Shards, case: str) -> None:
    request, answer, _, words = REFUSED[case]
    marker = take()
    replay.answers[request] = answer
    [found] = ask(marker)
    assert (found.seen, words in (found.reason or "")) == (Seen.UNKNOWN, True)


def test_no_change_is_certain_if_what_was_written_since_may_not_be_searchable(
    replay: Replay, shards: Shards
) -> None:
    marker = take()
    shards.write("i", 0, 1)
    shards.changed.clear()
    shards.serve()
    replay.answers["POST /i/_refresh"] = refused("security_exception")
    [found] = ask(marker)
    assert (found.seen, found.rows) == (Seen.UNKNOWN, 7)
    assert "could not be refreshed" in (found.reason or "")


def test_a_remote_cluster_is_unknown(replay: Replay) -> None:
    marker = take(["i", "far:i"])
    assert "remote cluster" in (marker.unknown or "")
    [found] = ask(marker, index=["i", "far:i"])
    assert (found.seen, found.rows) == (Seen.UNKNOWN, None)
    assert replay.asked == []


def test_too_many_shards_for_a_commit_are_unknown(shards: Shards) -> None:
    shards.add("i", *range(MOST_SHARDS + 1))
    shards.serve()
    assert take().unknown == f"the source has {MOST_SHARDS + 1} shards, a marker at most {MOST_SHARDS}"


def test_a_server_that_lists_no_index_is_unknown(shards: Shards) -> None:
    shards.indices.clear()
    shards.serve()
    assert take().unknown == "the server lists no index"


def test_shards_that_failed_are_no_answer(
    replay: Replay, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = take()
    monkeypatch.setattr("airflow_pipeline_provider.connectors.elasticsearch.client.ATTEMPTS", 1)
    shards.shards_failed = 1
    shards.serve()
    with pytest.raises(TransientError, match="1 of 4 shards failed"):
        ask(marker)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"metadata": {"indices": {"i": 3}}}, id="no object"),
        pytest.param({"metadata": 3}, id="no metadata"),
    ],
)
def test_a_state_of_another_shape_is_no_answer(
    replay: Replay, shards: Shards, monkeypatch: pytest.MonkeyPatch, answer: Answers
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.elasticsearch.client.ATTEMPTS", 1)
    replay.answers["GET /_cluster/state/metadata/i"] = 200, answer
    with pytest.raises(TransientError, match="expected"):
        take()


def test_a_count_that_is_refused_leaves_unchanged_windows_alone(replay: Replay, shards: Shards) -> None:
    old = take()
    shards.write("i", 0)
    shards.serve()
    new = take()
    replay.answers["POST /i/_search"] = refused("query_shard_exception", 400)
    source = make("i")
    found = source.changes([MarkedWindow(WINDOW, old), MarkedWindow(WINDOW, new)])
    source.close()
    assert [one.seen for one in found] == [Seen.UNKNOWN, Seen.UNCHANGED]
    assert "cannot be counted by sequence number" in (found[0].reason or "")


# --- cost


def requests(replay: Replay) -> list[str]:
    return [f"{method} {path}" for method, path, _ in replay.asked]


def test_thirty_days_of_hours_of_an_unchanged_index_are_two_requests(replay: Replay, shards: Shards) -> None:
    marker = take()
    replay.asked.clear()
    found = ask(marker, 720)
    assert {one.seen for one in found} == {Seen.UNCHANGED}
    assert requests(replay) == ["GET /_cluster/state/metadata/i", "GET /i/_stats/docs"]


def test_a_changed_index_is_a_request_for_each_shard_that_was_written_to(
    replay: Replay, shards: Shards
) -> None:
    """And one for the counts of all windows; with the type of the time field, state, shards and a refresh: six."""
    marker = take()
    shards.write("i", 1, 2)
    shards.serve()
    replay.asked.clear()
    found = ask(marker, 720)
    assert {(one.seen, one.changed, one.rows) for one in found} == {(Seen.COUNTED, 2, 7)}
    assert shards.counted == [(1, 722), (None, 720)]
    assert len(requests(replay)) == 6
    assert requests(replay).index("POST /i/_refresh") < requests(replay).index("POST /i/_search")


def test_more_windows_than_one_request_takes_are_counted_in_several(shards: Shards) -> None:
    marker = take()
    shards.write("i", 0)
    shards.serve()
    assert len(ask(marker, 1500)) == 1500
    assert shards.counted == [(0, 1002), (0, 502), (None, 1000), (None, 500)]


# --- queries


@pytest.mark.parametrize(
    ("query", "stable"),
    [
        ({"term": {"kind": "a"}}, True),
        ({"terms": {"kind": ["a", "b"]}}, True),
        ({"bool": {"must": [{"exists": {"field": "x"}}], "must_not": {"match": {"y": "nowhere"}}}}, True),
        ({"constant_score": {"filter": {"range": {"n": {"gte": 3}}}}}, True),
        ({"nested": {"path": "legs", "query": {"term": {"legs.gate": "1"}}}}, True),
        ({"match_all": {}}, True),
        ({"range": {"expires": {"gt": "now"}}}, False),
        ({"range": {"expires": {"gt": "now-7d/d"}}}, False),
        ({"bool": {"filter": [{"range": {"expires": {"lt": "NOW+1h"}}}]}}, False),
        ({"bool": {"filter": [{"terms": {"expires": ["now"]}}]}}, False),
        ({"terms": {"user": {"index": "users", "id": "1", "path": "ids"}}}, False),
        ({"script": {"script": "true"}}, False),
        ({"has_child": {"type": "c", "query": {"match_all": {}}}}, False),
        ({"query_string": {"query": "a"}}, False),
        ({"bool": {"of_another_version": []}}, False),
        ({"bool": {"filter": "x"}}, False),
        ({"nested": {"path": "legs"}}, False),
        ([], False),
    ],
)
def test_a_query_that_finds_other_documents_without_a_write_is_not_stable(query: Any, stable: bool) -> None:
    assert is_stable(query) is stable


def test_a_query_that_is_not_stable_has_no_marker(shards: Shards) -> None:
    query = {"range": {"expires": {"gt": "now"}}}
    assert "`source.query` may find other documents" in (take(query=query).unknown or "")
    assert take(query={"term": {"kind": "a"}}).unknown is None
