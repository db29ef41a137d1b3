"""Source elasticsearch against a server that answers what it is told to: faults no real one gives on demand."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_pipeline_provider.connectors.base import Body, Slice
from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.connectors.elasticsearch import sizes as elasticsearch_sizes
from airflow_pipeline_provider.connectors.elasticsearch import snapshot as elasticsearch_snapshot
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.connectors.probes import source_probes
from airflow_pipeline_provider.exceptions import DataError, FatalError, SnapshotLostError, TransientError
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.answers import CUT, DOCUMENTS, DROP, PAGES, Fault, Replay, error, whole
from tests.connectors.elasticsearch.places import CONN_ID, make


@pytest.fixture
def source(replay: Replay) -> Iterator[ElasticsearchSource]:
    source = make("i", page_size=20)
    yield source
    source.close()


PASSING: dict[str, Fault] = {
    "429 back-pressure": (429, error("es_rejected_execution_exception")),
    "500": (500, {"error": "internal"}),
    "502 of a proxy": (502, b"<html>bad gateway</html>"),
    "503": (503, error("cluster_block_exception", "no master")),
    "504 without a body": (504, b""),
    "connection dropped": (0, DROP),
    "body cut off": (200, CUT),
    "JSON cut off": (200, b'{"hits": {"hits": ['),
    "an empty 200": (200, b""),
    "failed shards": (200, {"timed_out": False, "_shards": {"total": 2, "failed": 1}, "hits": {"hits": []}}),
}


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("page", [0, 2], ids=["first page", "third page"])
def test_what_passes_is_tried_again(
    replay: Replay, source: ElasticsearchSource, fault: str, times: int, page: int
) -> None:
    batches = []
    with source.open(Slice(0, 1, WINDOW)) as (rows,):
        if page == 0:
            replay.faults = [PASSING[fault]] * times
        for number, batch in enumerate(rows):
            if number == 0 and page:
                replay.faults = [PASSING[fault]] * times
            batches.append(batch)
    assert sorted(rows_of(batches).values()) == [1] * DOCUMENTS
    assert len(replay.searches()) == PAGES + times
    assert [closed["id"] for closed in replay.closed()] == ["pit-0"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_ends_as_transient(
    replay: Replay, source: ElasticsearchSource, fault: str
) -> None:
    replay.faults = [PASSING[fault]] * 100
    with pytest.raises(TransientError, match="index i") as caught:
        read_all(source, WINDOW)
    assert not isinstance(caught.value, SnapshotLostError)
    assert len(replay.searches()) == elasticsearch_client.ATTEMPTS
    assert len(replay.closed()) == 1


SMALLER: dict[str, Fault] = {
    "timed out": (200, {"timed_out": True, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": []}}),
    "429 time-out": (429, error("search_timeout_exception")),
    "429 breaker": (429, error("circuit_breaking_exception", durability="TRANSIENT")),
    "503 breaker": (503, error("circuit_breaking_exception", durability="TRANSIENT")),
}


@pytest.mark.parametrize("fault", SMALLER)
def test_what_is_too_much_is_asked_for_in_smaller_pages(
    replay: Replay, source: ElasticsearchSource, fault: str
) -> None:
    replay.faults = [SMALLER[fault]]
    assert sorted(rows_of(read_all(source, WINDOW)).values()) == [1] * DOCUMENTS
    assert [search["size"] for search in replay.searches()] == [10] + [5] * 20


@pytest.mark.parametrize("fault", SMALLER)
def test_the_smallest_page_is_given_up_on(replay: Replay, source: ElasticsearchSource, fault: str) -> None:
    replay.faults = [SMALLER[fault]] * 100
    with pytest.raises(TransientError, match="page_size"):
        read_all(source, WINDOW)
    assert [search["size"] for search in replay.searches()] == [10, 5, 2, 1]


GIVEN_UP: dict[str, tuple[Fault, type[Exception], str]] = {
    "permanent breaker": (
        (429, error("circuit_breaking_exception", durability="PERMANENT")),
        FatalError,
        "page_size",
    ),
    "401": (
        (401, error("security_exception", "missing credentials")),
        FatalError,
        "login, password or api_key",
    ),
    "403": (
        (403, error("security_exception", "is unauthorized for user [kit]")),
        FatalError,
        "right to read",
    ),
    "400": (
        (400, error("illegal_argument_exception", "line one\nline two")),
        FatalError,
        "line one line two",
    ),
    "no point in time": ((404, error("search_context_missing_exception")), SnapshotLostError, "read again"),
    "no shard": ((503, error("no_shard_available_action_exception")), SnapshotLostError, "read again"),
    "index gone": ((404, error("index_not_found_exception")), SnapshotLostError, "read again"),
    "no shards at all": (
        (200, {"timed_out": False, "_shards": {"total": 0, "failed": 0}, "hits": {"hits": []}}),
        DataError,
        "no shard",
    ),
}


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("fault", GIVEN_UP)
def test_what_cannot_pass_is_raised_at_once(
    replay: Replay, source: ElasticsearchSource, fault: str, readers: int
) -> None:
    answer, kind, words = GIVEN_UP[fault]
    replay.faults = [answer] * readers
    with pytest.raises(kind, match=words) as caught:
        read_all(source, WINDOW, readers)
    assert type(caught.value) is kind
    assert len(replay.searches()) <= readers
    assert len(replay.closed()) == 1
    assert "\n" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


ELSEWHERE: dict[str, tuple[str, Fault, type[Exception], str]] = {
    "version, garbage": ("GET /", (200, b"hello"), TransientError, "expected the version of the server"),
    "version 7": ("GET /", (200, {"version": {"number": "7.17.0"}}), FatalError, "7.17.0"),
    "OpenSearch 1": (
        "GET /",
        (200, {"version": {"number": "1.3.0", "distribution": "opensearch"}}),
        FatalError,
        "OpenSearch 1.3.0",
    ),
    "version, 401": ("GET /", (401, error("security_exception")), FatalError, "api_key"),
    "point in time over no shard": (
        "POST /i/_pit",
        (200, {"id": "x", "_shards": {"total": 0, "failed": 0}}),
        DataError,
        "no shard",
    ),
    "point in time over some shards": (
        "POST /i/_pit",
        (200, {"id": "x", "_shards": {"total": 2, "failed": 1}}),
        TransientError,
        "1 of 2 shards",
    ),
    "point in time refused": (
        "POST /i/_pit",
        (403, error("security_exception")),
        FatalError,
        "right to read",
    ),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_stops_an_open(replay: Replay, source: ElasticsearchSource, case: str) -> None:
    where, answer, kind, words = ELSEWHERE[case]
    replay.answers[where] = answer
    with pytest.raises(kind, match=words):
        read_all(source, WINDOW)
    assert replay.searches() == []


COUNTS: dict[str, tuple[Fault, type[Exception], str]] = {
    "failed shards": (
        (200, whole(1, _shards={"total": 2, "failed": 1})),
        TransientError,
        "1 of 2 shards",
    ),
    "no shards": ((200, whole(0, _shards={"total": 0, "failed": 0})), DataError, "no shard"),
    "busy": ((429, error("es_rejected_execution_exception")), TransientError, "429"),
    "no JSON": ((200, b"<html>"), TransientError, "expected JSON"),
}


@pytest.mark.parametrize("case", COUNTS)
def test_a_count_is_whole_or_refused(replay: Replay, source: ElasticsearchSource, case: str) -> None:
    answer, kind, words = COUNTS[case]
    replay.answers["POST /i/_search"] = answer
    for ask in (lambda: source.count(WINDOW), source.check, source.count_untimed):
        with pytest.raises(kind, match=words):
            ask()


@pytest.mark.parametrize("status", [404, 500], ids=["gone already", "failing"])
def test_a_close_that_fails_hides_nothing(replay: Replay, source: ElasticsearchSource, status: int) -> None:
    replay.answers["DELETE /_pit"] = (status, {"succeeded": False})
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    assert len(replay.closed()) == 1


def test_the_newest_point_in_time_id_is_used_and_closed(replay: Replay, source: ElasticsearchSource) -> None:
    replay.new_pit_ids = True
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    assert [search["pit"]["id"] for search in replay.searches()] == [f"pit-{n}" for n in range(PAGES)]
    assert [closed["id"] for closed in replay.closed()] == [f"pit-{PAGES}"]


def test_heavy_documents_make_pages_smaller(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticsearch_sizes, "PAGE_BYTES", 2000)
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    sizes = [search["size"] for search in replay.searches()]
    assert sizes[0] == 10
    assert all(10 < size < 20 for size in sizes[1:])


@pytest.mark.parametrize("chunked", [False, True], ids=["length announced", "in chunks"])
@pytest.mark.parametrize("readers", [1, 2])
def test_no_more_of_an_answer_is_received_than_fits_the_memory(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch, chunked: bool, readers: int
) -> None:
    """Documents so large that not even two of them fit; one alone is taken whatever its size."""
    monkeypatch.setattr(elasticsearch_sizes, "PAGE_BYTES", 40_000)
    monkeypatch.setattr(elasticsearch_snapshot, "LARGEST_PAGE_BYTES", 150_000)
    replay.chunked, replay.padding = chunked, "x" * 100_000
    batches = read_all(source, WINDOW, readers)
    assert len(rows_of(batches)) == DOCUMENTS
    sizes = [search["size"] for search in replay.searches()]
    assert sizes[0] == 10
    assert set(sizes[8:]) == {1}
    assert len(sizes) < readers * (DOCUMENTS + 12)  # this server knows no slices


def test_responses_of_very_different_sizes_are_received_whole(
    replay: Replay, source: ElasticsearchSource
) -> None:
    """In chunks no size is announced; a response may have a fraction or a multiple of the size of the one before."""
    replay.chunked = True
    for size in (300_000, 0, 10_000, 90_000, 1):
        replay.padding = "x" * size
        batches = read_all(source, WINDOW)
        bodies = [json.loads(body) for batch in batches for body in batch.column("BODY").to_pylist()]
        assert sorted(body["n"] for body in bodies) == list(range(DOCUMENTS))
        assert {len(body["p"]) for body in bodies} == {size}


def test_leaving_ends_the_pauses_between_tries(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page is asked for ahead; its long pauses must not hold up a reader that gives up."""
    monkeypatch.setattr(elasticsearch_client, "FIRST_PAUSE_SECONDS", 1000)
    monkeypatch.setattr(elasticsearch_client, "LONGEST_PAUSE_SECONDS", 1000)
    replay.faults = [None, *[PASSING["503"]] * 100]
    begin = time.monotonic()
    with source.open(Slice(0, 1, WINDOW)) as (rows,):
        next(iter(rows))
        while len(replay.searches()) < 2:
            time.sleep(0.01)
    assert time.monotonic() - begin < 30
    assert len(replay.closed()) == 1


def test_what_is_asked_for(replay: Replay, source: ElasticsearchSource) -> None:
    read_all(source, WINDOW, 2)
    search = replay.searches()[0]
    assert search["sort"] == [{"_shard_doc": "asc"}]
    assert search["track_total_hits"] is False
    assert {body["slice"]["id"] for body in replay.searches()} == {0, 1}
    (clause,) = search["query"]["bool"]["filter"]
    assert clause["range"]["ts"]["gte"] == "2013-11-03T05:00:00Z"
    assert clause["range"]["ts"]["lt"] == "2013-11-03T07:00:00Z"


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ((200, {"version": {"number": "8.0.0"}}), ["_shard_doc"]),
        ((200, {"version": {"number": "3.3.0", "distribution": "opensearch"}}), ["_shard_doc", "_index"]),
        ((200, {"version": {"number": "2.4.0", "distribution": "opensearch"}}), ["_doc", "_index", "_id"]),
        ((403, {"error": "elastic says no"}), ["_shard_doc"]),
        ((403, {"error": "no"}), ["_doc", "_index", "_id"]),
    ],
    ids=[
        "Elasticsearch 8",
        "OpenSearch 3.3",
        "OpenSearch 2",
        "Elasticsearch, forbidden",
        "OpenSearch, forbidden",
    ],
)
def test_the_dialect(replay: Replay, source: ElasticsearchSource, answer: Fault, order: list[str]) -> None:
    replay.answers["GET /"] = answer
    pit = (200, {"pit_id": "os", "id": "es"})
    replay.answers |= {"POST /i/_search/point_in_time": pit, "POST /i/_pit": pit}
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    search = replay.searches()[0]
    assert [key for part in search["sort"] for key in part] == order
    opensearch = "_index" in order
    assert search["pit"]["id"] == ("os" if opensearch else "es")
    assert replay.closed() == [{"pit_id": ["os"]} if opensearch else {"id": "es"}]


def test_another_host_takes_over(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    with_dead = f"http://127.0.0.1:9,{replay.url}"
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "elasticsearch", "host": with_dead})
    )
    source = make("i", page_size=20)
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    source.close()


def test_no_server_is_transient(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", "http://127.0.0.1:9")
    source = make("i")
    with pytest.raises(
        TransientError, match=r"http://127\.0\.0\.1:9 cannot be reached \(.*Connection refused"
    ) as caught:
        source.check()
    assert "check host, port and schema of the connection" in str(caught.value)
    source.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(400, FatalError, id="another kind of server"),
        pytest.param(403, FatalError, id="access denied"),
        pytest.param(503, TransientError, id="a proxy without a server"),
    ],
)
def test_an_answer_of_another_kind_counts_by_its_status(
    replay: Replay, source: ElasticsearchSource, status: int, expected: type[Exception]
) -> None:
    replay.content_type = "application/xml"
    replay.answers["GET /i/_field_caps"] = (status, b"<Error><Code>Nope</Code></Error>")
    with pytest.raises(expected, match=f"answered {status} .*<Code>Nope"):
        source.check()


def test_a_server_of_another_kind_is_said(replay: Replay, source: ElasticsearchSource) -> None:
    replay.content_type = "application/xml"
    replay.answers["GET /"] = (200, b"<ListAllMyBucketsResult/>")
    with pytest.raises(TransientError, match="expected the version of the server, got <ListAllMyBuckets"):
        rows_of(read_all(source, WINDOW))


def test_a_slow_answer_times_out_and_is_asked_for_again(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    answer: Callable[..., Fault] = replay.answer

    def slow_once(method: str, path: str, body: dict[str, Any]) -> Fault:
        if path == "/i/_search":
            waits.append(1)
            if len(waits) == 1:
                time.sleep(1.5)
        return answer(method, path, body)

    monkeypatch.setattr(replay, "answer", slow_once)
    source = make("i", request_timeout="1s")
    assert source.count(WINDOW) == DOCUMENTS
    assert len(waits) == 2
    source.close()


@pytest.mark.parametrize(
    ("connection", "header", "value"),
    [
        ({"login": "kit", "password": "pä:ss"}, "authorization", "Basic a2l0OnDDpDpzcw=="),
        ({"extra": {"api_key": "abc=="}}, "authorization", "ApiKey abc=="),
        ({"extra": {"api_key": ["id", "key"]}}, "authorization", "ApiKey aWQ6a2V5"),
        ({"extra": {"bearer_auth": "t0ken"}}, "authorization", "Bearer t0ken"),
        ({"extra": {"http_compress": "true"}}, "accept-encoding", "gzip"),
        ({}, "accept", "application/json"),
    ],
    ids=["basic", "api key", "api key pair", "bearer", "gzip", "plain JSON"],
)
def test_headers(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], header: str, value: str
) -> None:
    given = {"conn_type": "elasticsearch", "host": "127.0.0.1", "port": replay.server_port, **connection}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(given))
    source = make("i")
    assert source.count(WINDOW) == DOCUMENTS
    assert all(value in headers[header] for headers in replay.headers_seen)
    source.close()


def of_version(number: str, **more: str) -> Fault:
    return 200, {"version": {"number": number, **more}, "tagline": "You Know, for Search"}


VECTORS = 200, {"indices": ["i"], "fields": {
    "ts": {"date": {"searchable": True, "aggregatable": True}}, "emb": {"dense_vector": {}},
}}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "caps", "unknown", "asks"),
    [
        (of_version("9.2.0"), VECTORS, "", True),
        (of_version("9.2.0"), None, "", False),
        (of_version("9.1.0"), VECTORS, "", True),
        (of_version("9.0.3"), VECTORS, "", False),
        (of_version("8.19.1"), VECTORS, "", True),
        (of_version("8.18.0"), VECTORS, "", False),
        (of_version("8.11.0", build_flavor="serverless"), VECTORS, "", True),
        (of_version("3.1.0", distribution="opensearch"), VECTORS, "", False),
        ((403, {"error": "no elastic"}), VECTORS, "", True),
        ((403, {"error": "no elastic"}), VECTORS, "_source", False),
    ],
    ids=[
        "9.2",
        "no vectors",
        "9.1",
        "9.0",
        "8.19",
        "8.18",
        "serverless",
        "OpenSearch",
        "hidden, new",
        "hidden, old",
    ],
)
def test_vectors_are_asked_for_where_the_server_knows_the_word(
    replay: Replay,
    source: ElasticsearchSource,
    version: Fault,
    caps: Fault | None,
    unknown: str,
    asks: bool,
) -> None:
    pit = (200, {"pit_id": "p", "id": "p"})
    replay.answers |= {"GET /": version, "POST /i/_pit": pit, "POST /i/_search/point_in_time": pit}
    replay.answers |= {"GET /i/_field_caps": caps} if caps else {}
    replay.unknown_keys = {unknown} - {""}
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    asked = {json.dumps(body.get("_source")) for body in replay.searches()}
    assert asked == ({'{"exclude_vectors": false}'} if asks else {"null"})


def test_the_checks_before_a_window_repeat_no_request(replay: Replay, source: ElasticsearchSource) -> None:
    source.check()
    source.count(WINDOW)
    source.body_report()
    source.record_id_form()
    source.count_untimed()
    asked = Counter(path.rpartition("/")[2] for _, path, _ in replay.asked)
    assert asked == {"": 1, "_field_caps": 2, "_mapping": 1, "_settings": 1, "_search": 3}, (
        "_field_caps: time field, vectors; _search: the query, the window, documents without a time"
    )


@pytest.mark.parametrize("refused", ["GET /i/_mapping", "GET /i/_settings"])
def test_a_login_that_may_not_see_the_mapping_is_told_what_is_not_known(
    replay: Replay, source: ElasticsearchSource, refused: str
) -> None:
    replay.answers[refused] = 403, {"error": {"type": "security_exception", "reason": "unauthorized for [i]"}}
    source.check()
    report = source.body_report()
    assert report.kind is Body.UNKNOWN
    assert "view_index_metadata" in report.reasons[0]
    assert "unauthorized for [i]" in report.reasons[0]


SYNTHETIC = {"index": {"mapping": {"source": {"mode": "SYNTHETIC"}}}}


@pytest.mark.parametrize(
    ("mapping", "settings", "kind", "says"),
    [
        ({"_source": {"mode": "synthetic"}}, {}, Body.REBUILT, "synthetic"),
        ({}, {"defaults": SYNTHETIC}, Body.REBUILT, "synthetic"),
        ({}, {"settings": {"index": {"mode": "logsdb"}}}, Body.REBUILT, "index.mode logsdb"),
        ({}, {"settings": {"index": {"mode": "standard"}}}, Body.AS_INDEXED, ""),
        (
            {},
            {"settings": {"index": {"knn": "true", "knn.derived_source": {"enabled": "true"}}}},
            Body.REBUILT,
            "derived",
        ),
        ({}, {"settings": {"index": {"knn": "true"}}}, Body.AS_INDEXED, ""),
        ({}, {"settings": {"index": {"derived_source": {"enabled": "true"}}}}, Body.REBUILT, "derived"),
        (
            {},
            {"settings": {"index": {"search": {"default_pipeline": "masking"}}}},
            Body.UNKNOWN,
            "search pipeline masking",
        ),
        ({"_source": {"excludes": list("abcdefg")}}, {}, Body.FILTERED, "a, b, c, d, e and 2 more"),
    ],
    ids=[
        "8.x mapping",
        "default",
        "no source mode",
        "standard",
        "k-NN",
        "k-NN stored",
        "derived",
        "search pipeline",
        "many fields",
    ],
)
def test_mapping_and_settings_show_what_source_is(
    replay: Replay, mapping: dict[str, Any], settings: dict[str, Any], kind: Body, says: str
) -> None:
    replay.answers["GET /i/_mapping"] = 200, {"b-1": {"mappings": mapping}}
    replay.answers["GET /i/_settings"] = 200, {"b-1": settings}
    source = make("i", on_filtered_source="warn")
    report = source.body_report()
    assert report.kind is kind
    assert says in "; ".join(report.reasons)
    (target,) = (target for _, target, _, _ in replay.received if "/_settings?" in target)
    (wanted,) = parse_qs(urlsplit(target).query)["filter_path"]
    for setting in paths_of(settings, "b-1"):  # a server returns only these
        assert any(fnmatch(setting, f"{pattern}*") for pattern in wanted.split(",")), setting
    source.close()


def paths_of(value: Any, path: str) -> Iterator[str]:
    """Yield the path of each value that is not a mapping, as `filter_path` names it."""
    if not isinstance(value, dict):
        yield path
        return
    for key, inner in value.items():
        yield from paths_of(inner, f"{path}.{key}")


def test_an_index_of_a_remote_cluster_is_not_known(replay: Replay) -> None:
    source = make(["i", "-j", "europe:i"])
    report = source.body_report()
    assert (report.kind, "europe:i" in report.reasons[0]) == (Body.UNKNOWN, True)
    assert [path for _, path, _ in replay.asked if path.endswith("_mapping")] == ["/i,-j/_mapping"]
    source.close()


@pytest.mark.parametrize(
    ("mapping", "status", "says"),
    [
        ((200, {}), "ok", "as_indexed"),
        ((200, {"i": {"mappings": {"_source": {"mode": "synthetic"}}}}), "ok", "rebuilt; index i: synthetic"),
        ((200, {"i": {"mappings": {"_source": {"excludes": ["a"]}}}}), "warning", "filtered; index i: "),
        ((403, {"error": "no"}), "unknown", "unknown; mapping and settings cannot be read"),
    ],
    ids=["as indexed", "rebuilt", "filtered", "unknown"],
)
def test_a_check_of_the_connection_says_what_body_is(
    replay: Replay, mapping: Fault, status: str, says: str
) -> None:
    replay.answers["GET /i/_mapping"] = mapping
    source = make("i", on_filtered_source="warn")
    answer = dict(source_probes(source))["BODY"]()
    assert (answer.status, answer.detail[: len(says)]) == (status, says)
    source.close()
