"""Source elasticsearch and answers that leave rows out with a 200: each is an error, never fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.exceptions import DataError, FatalError, SnapshotLostError, TransientError
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.answers import DOCUMENTS, Replay, whole
from tests.connectors.elasticsearch.places import make, read_ids

INDICES = ["i", "far:i"]
PATH = "/i,far:i"


def cause(kind: str, index: str | None = None) -> dict[str, Any]:
    return {"type": kind, "reason": "because", **({"index": index} if index else {})}


DOWN = cause("connect_transport_exception")
MISSING = {**cause("index_not_found_exception", "i"), "resource.id": "i"}
MISSING_PATTERN = {**cause("index_not_found_exception", "null"), "resource.id": ["i*", "-i"]}
CLOSED = cause("index_closed_exception", "i")
DENIED = cause("security_exception")
GONE = cause("search_context_missing_exception")


def clusters(status: str = "successful", *failures: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`_clusters` of two, the local one and `far`, which has this status."""
    counts = {
        "total": 2,
        "successful": 2 if status == "successful" else 1,
        "skipped": int(status == "skipped"),
    }
    far = {"status": status, "failures": [{"shard": -1, "index": None, "reason": one} for one in failures]}
    return {**counts, "details": {"(local)": {"status": "successful"}, "far": {**far, **more}}}


# what a search adds to a page or count that looks whole -> the error, and words of it
PARTIAL: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "cluster down": ({"_clusters": clusters("skipped", DOWN)}, TransientError, "cluster 'far' did not answer"),
    "no rights there": ({"_clusters": clusters("skipped", DENIED)}, FatalError, "cluster 'far'.*right to read"),
    "closed there": ({"_clusters": clusters("skipped", CLOSED)}, FatalError, "index 'i' is closed"),
    "missing there": ({"_clusters": clusters("skipped", MISSING)}, FatalError, "'far' has no index 'i'"),
    "nothing matches": ({"_clusters": clusters("skipped", MISSING_PATTERN)}, DataError, "no open index on .*far"),
    "partial": ({"_clusters": clusters("partial")}, TransientError, "'far'.*status partial"),
    "failed": ({"_clusters": clusters("failed", DOWN)}, TransientError, "'far'.*because"),
    "running": ({"_clusters": clusters("running")}, TransientError, "'far'.*status running"),
    "a cluster timed out": ({"_clusters": clusters(timed_out=True)}, TransientError, "'far'"),
    "counters only": (
        {"_clusters": {"total": 2, "successful": 1, "skipped": 1}}, TransientError, "of 2 clusters 1 skipped",
    ),
    "successful below total": (
        {"_clusters": {"total": 2, "successful": 1, "skipped": 0}}, TransientError, "some without an answer",
    ),
    "one cluster of the two": (
        {"_clusters": {"total": 1, "successful": 1, "details": {"(local)": {"status": "successful"}}}},
        FatalError, "no remote cluster of .* matches 'far' answered",
    ),
    "no clusters at all": ({"_clusters": None}, FatalError, "no remote cluster of .* matches 'far' answered"),
    "a shard failed": (
        {"_shards": {"total": 2, "failed": 1, "failures": [{"shard": 0, "index": "far:i", "reason": DOWN}]}},
        TransientError, "cluster 'far' did not answer whole .*because",
    ),
    "ended early": ({"terminated_early": True}, FatalError, "terminate_after"),
    "timed out": ({"timed_out": True}, TransientError, "timed out"),
}  # fmt: skip


@pytest.fixture
def source(replay: Replay) -> ElasticsearchSource:
    """Of an index here and one on the remote cluster `far`; every answer of `replay` is whole at first."""
    replay.clusters = clusters()
    return make(INDICES, page_size=20)


def test_whole_answers_of_two_clusters_are_taken(replay: Replay, source: ElasticsearchSource) -> None:
    source.check()
    assert source.count(WINDOW) == DOCUMENTS
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS


ASKS: dict[str, Callable[[ElasticsearchSource], Any]] = {
    "check": lambda source: source.check(),
    "count": lambda source: source.count(WINDOW),
    "untimed": lambda source: source.count_untimed(),
    "newest": lambda source: source.newest_event_time(),
    "plan": lambda source: source.plan_slices(WINDOW, 3),
}


@pytest.mark.parametrize("case", PARTIAL)
@pytest.mark.parametrize("ask", ASKS)
def test_a_partial_answer_is_no_count(
    replay: Replay, source: ElasticsearchSource, case: str, ask: str
) -> None:
    more, kind, words = PARTIAL[case]
    replay.answers[f"POST {PATH}/_search"] = 200, whole(DOCUMENTS, **{"_clusters": clusters(), **more})
    with pytest.raises(kind, match=words):
        ASKS[ask](source)


@pytest.mark.parametrize("case", PARTIAL)
@pytest.mark.parametrize("page", [0, 2], ids=["first page", "third page"])
def test_a_partial_page_is_refused(replay: Replay, source: ElasticsearchSource, case: str, page: int) -> None:
    more, kind, words = PARTIAL[case]
    if "index_" in str(more):
        kind, words = SnapshotLostError, "read again"
    answer = whole(0, **{"_clusters": clusters(), **more})
    replay.faults = [None] * page + [(200, answer)] * 100
    with pytest.raises(kind, match=words):
        read_all(source, WINDOW)
    assert len(replay.closed()) == 1


@pytest.mark.parametrize("case", ["cluster down", "a shard failed", "timed out", "ended early"])
def test_a_partial_page_of_ids_is_refused(replay: Replay, source: ElasticsearchSource, case: str) -> None:
    more, kind, words = PARTIAL[case]
    replay.faults = [None] + [(200, whole(0, **{"_clusters": clusters(), **more}))] * 100
    with pytest.raises(kind, match=words):
        read_ids(source)
    assert {body["_source"] for body in replay.searches() if "pit" in body} == {False}


def test_ids_are_asked_for_without_documents(replay: Replay, source: ElasticsearchSource) -> None:
    assert len(read_ids(source)) == DOCUMENTS
    pages = [body for body in replay.searches() if "pit" in body]
    assert len(pages) > 1
    assert all(body["_source"] is False for body in pages)
    assert len(replay.closed()) == 1


def test_a_remote_point_in_time_that_is_gone_is_read_again(
    replay: Replay, source: ElasticsearchSource
) -> None:
    replay.faults = [None, (200, whole(0, _clusters=clusters("skipped", GONE)))]
    with pytest.raises(SnapshotLostError, match="read again"):
        read_all(source, WINDOW)


def test_a_cluster_that_comes_back_loses_no_row(replay: Replay, source: ElasticsearchSource) -> None:
    replay.faults = [None, *[(200, whole(0, _clusters=clusters("skipped", DOWN)))] * 3]
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS


@pytest.mark.parametrize(
    ("failure", "kind"), [(DOWN, TransientError), (MISSING, FatalError), (DENIED, FatalError)], ids=str
)
def test_a_point_in_time_over_some_clusters_is_not_read(
    replay: Replay, source: ElasticsearchSource, failure: dict[str, Any], kind: type[Exception]
) -> None:
    """The pages of such a point in time name no cluster at all."""
    replay.answers[f"POST {PATH}/_pit"] = (
        200,
        {"id": "x", "_shards": {"total": 1, "failed": 0}, "_clusters": clusters("skipped", failure)},
    )
    replay.clusters = None
    with pytest.raises(kind, match="far"):
        read_all(source, WINDOW)
    assert replay.searches() == []


@pytest.mark.parametrize(
    ("failure", "kind"), [(DOWN, TransientError), (CLOSED, FatalError), (DENIED, FatalError)], ids=str
)
def test_field_capabilities_of_some_indices_are_not_believed(
    replay: Replay, source: ElasticsearchSource, failure: dict[str, Any], kind: type[Exception]
) -> None:
    caps = {"ts": {"date": {"searchable": True, "aggregatable": True}}}
    failures = [{"indices": ["far:i"], "failure": {"error": {"root_cause": [failure], **failure}}}]
    replay.answers[f"GET {PATH}/_field_caps"] = (
        200,
        {"indices": ["i", "far:j"], "fields": caps, "failed_indices": 1, "failures": failures},
    )
    with pytest.raises(kind, match=r"far|'i' is closed"):
        source.check()


def test_field_capabilities_without_the_remote_indices_are_refused(
    replay: Replay, source: ElasticsearchSource
) -> None:
    caps = {"ts": {"date": {"searchable": True, "aggregatable": True}}}
    replay.answers[f"GET {PATH}/_field_caps"] = 200, {"indices": ["i"], "fields": caps}
    with pytest.raises(FatalError, match="matches 'far' answered"):
        source.check()


@pytest.mark.parametrize("more", [{"_clusters": clusters("skipped", MISSING)}, {"_clusters": None}], ids=str)
def test_an_index_that_is_gone_when_the_reading_ends_voids_it(
    replay: Replay, source: ElasticsearchSource, more: dict[str, Any]
) -> None:
    def read() -> None:
        with source.open(source.plan_slices(WINDOW, 1)[0]) as (rows,):
            assert sum(batch.num_rows for batch in rows) == DOCUMENTS
            replay.answers[f"POST {PATH}/_search"] = 200, whole(0, **more)

    with pytest.raises(FatalError, match="far"):
        read()
    assert len(replay.closed()) == 1


# --- which clusters must answer


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (["a", "b-*", "-b-1"], ()),
        (["a", "far:b", "far:c", "*:d", "-old:*"], ("far", "*")),
        (["far:a", "far:-b"], ("far",)),
        (["a::failures", "far:a::data"], ("far",)),
        (["<a-{now{HH:mm}}>"], ()),
    ],
    ids=str,
)
def test_the_clusters_of_index_expressions(indices: list[str], expected: tuple[str, ...]) -> None:
    assert remote_clusters(indices) == expected


@pytest.mark.parametrize(
    ("pattern", "kind", "answer"),
    [
        ("*", None, clusters()),
        ("f*r", None, clusters()),
        ("near*", FatalError, clusters()),
        ("far", None, {"total": 2, "successful": 2}),
        ("f*", FatalError, {"total": 2, "successful": 2}),
        ("f*", FatalError, None),
    ],
    ids=str,
)
def test_a_pattern_of_clusters_must_find_one(
    replay: Replay, pattern: str, kind: type[Exception] | None, answer: Any
) -> None:
    """Elasticsearch takes a pattern that finds no remote cluster for all of its own indices."""
    replay.clusters = answer
    source = make([f"{pattern}:i"], page_size=20)
    if kind is None:
        assert source.count(WINDOW) == DOCUMENTS == len(rows_of(read_all(source, WINDOW)))
    else:
        for ask in (lambda: source.count(WINDOW), lambda: read_all(source, WINDOW)):
            with pytest.raises(kind, match="cluster"):
                ask()
    source.close()


@pytest.mark.parametrize(
    ("version", "refused"),
    [({"number": "9.1.0"}, True), ({"number": "2.11.0", "distribution": "opensearch"}, False)],
)
def test_opensearch_ends_counts_early_without_leaving_anything_out(
    replay: Replay, version: dict[str, Any], refused: bool
) -> None:
    replay.answers["GET /"] = 200, {"version": version}
    replay.answers["POST /i/_search"] = 200, whole(7, terminated_early=True)
    source = make("i")
    if refused:
        with pytest.raises(FatalError, match="terminate_after"):
            source.count(WINDOW)
    else:
        assert source.count(WINDOW) == 7
    source.close()
