"""Source elasticsearch and answers of another shape: gateways, login pages, other services.."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.answers import DOCUMENTS, Fault, Replay, whole
from tests.connectors.elasticsearch.places import make

ANYWHERE: dict[str, Any] = {
    "empty": b"",
    "an array": [],
    "a text": "ok",
    "a number": 7,
    "null": None,
    "no keys": {},
    "other keys": {"status": "ok", "data": [1, 2]},
    "an HTML page": b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please log in</body></html>",
    "XML": b"<?xml version='1.0'?><Error><Code>Nope</Code></Error>",
    "half of it": b'{"took": 1, "hi',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "not UTF-8": b'{"a": "\xff"}',
    "wrong members": {
        "version": "9", "fields": [], "indices": 7, "id": 7, "hits": [], "aggregations": [], "_shards": "all",
    },
    "wrong inside": {
        "version": {"number": 9}, "fields": {"ts": []}, "id": [], "hits": {"total": 7, "hits": {}},
        "aggregations": {"found": 7}, "_shards": {"total": "all", "failed": None}, "timed_out": False,
    },
    "wrong clusters": {"_clusters": [], "_shards": {"total": 1, "failed": 0}, "timed_out": False},
    "wrong cluster": {
        "_clusters": {"total": 1, "successful": 1, "details": {"far": "down"}},
        "_shards": {"total": 1, "failed": 0}, "timed_out": False,
    },
    "wrong failures": {"failures": "many", "_shards": {"total": 1, "failed": 0, "failures": [7]}, "timed_out": False},
}  # fmt: skip

Ask = Callable[[ElasticsearchSource], Any]
REQUESTS: dict[str, tuple[str, Ask]] = {
    "version": ("GET /", lambda source: read_all(source, WINDOW)),
    "field capabilities": ("GET /i/_field_caps", lambda source: source.check()),
    "count": ("POST /i/_search", lambda source: source.count(WINDOW)),
    "newest": ("POST /i/_search", lambda source: source.newest_event_time()),
    "plan": ("POST /i/_search", lambda source: source.plan_slices(WINDOW, 3)),
    "point in time": ("POST /i/_pit", lambda source: read_all(source, WINDOW)),
    "page": ("POST /_search", lambda source: read_all(source, WINDOW)),
    "why an id repeats": ("POST /i/_search", lambda source: source.explain_repeated(["i/1"])),
    "mapping": ("GET /i/_mapping", lambda source: source.body_report()),
    "settings": ("GET /i/_settings", lambda source: source.body_report()),
    "names at the end": ("POST /i/_search", lambda source: read_all(source, WINDOW)),
}


@pytest.fixture
def source(replay: Replay) -> Iterator[ElasticsearchSource]:
    source = make("i", page_size=20)
    yield source
    source.close()


def encoded(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


ALLOWED = {("mapping", "no keys"), ("settings", "no keys")}  # nothing of what is asked for is set


@pytest.mark.parametrize(
    ("request_", "shape"), [pair for pair in itertools.product(REQUESTS, ANYWHERE) if pair not in ALLOWED]
)
def test_another_shape_is_a_clear_error(
    replay: Replay, source: ElasticsearchSource, request_: str, shape: str
) -> None:
    where, ask = REQUESTS[request_]
    replay.answers[where] = 200, encoded(ANYWHERE[shape])
    with pytest.raises(PipelineError) as caught:
        ask(source)
    message = str(caught.value)
    assert isinstance(caught.value, TransientError)
    assert len(message) < 700
    assert message.isprintable()
    assert replay.url in message or "index i: " in message


LOCATIONS = {
    "https://login.example/sign-in?token=s3cr3t#s3cr3t": "'login.example'",
    "https://user:s3cr3t@login.example:8443/": "'login.example'",
    "/s3cr3t": "a redirect (status",
    "https://[s3cr3t": "a redirect (status",
    "": "a redirect (status",
}


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("request_", ["version", "count", "page"])
def test_a_redirect_names_its_host_and_the_connection(
    replay: Replay, source: ElasticsearchSource, request_: str, location: str, status: int
) -> None:
    where, ask = REQUESTS[request_]
    replay.location = location
    replay.answers[where] = status, b"<html>moved</html>"
    with pytest.raises(TransientError) as caught:
        ask(source)
    message = str(caught.value)
    assert LOCATIONS[location] in message
    assert f"(status {status})" in message or "(status 3xx)" in message
    assert "host, port and path of the connection" in message
    assert "s3cr3t" not in message
    assert "source.query" not in message


@pytest.mark.parametrize("shape", ANYWHERE)
def test_a_close_of_another_shape_hides_nothing(
    replay: Replay, source: ElasticsearchSource, shape: str
) -> None:
    replay.answers["DELETE /_pit"] = 200, encoded(ANYWHERE[shape])
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS


@pytest.mark.parametrize("wrong", [7, [], {"mappings": 7}, {"mappings": {"_source": []}}], ids=str)
def test_a_mapping_of_another_shape_is_a_clear_error(
    replay: Replay, source: ElasticsearchSource, wrong: Any
) -> None:
    replay.answers["GET /i/_mapping"] = 200, {"i": wrong}
    with pytest.raises(TransientError, match="expected an answer with an object"):
        source.body_report()


@pytest.mark.parametrize("name", ["failures", "failed_indices", "timed_out", "terminated_early", "indices"])
def test_an_index_may_have_the_name_of_a_key_of_other_answers(replay: Replay, name: str) -> None:
    replay.answers[f"GET /{name}/_mapping"] = 200, {name: {"mappings": {"_source": {"excludes": ["a"]}}}}
    replay.answers[f"GET /{name}/_settings"] = 200, {name: {"settings": {"index": {"mode": "standard"}}}}
    source = make(name)
    assert f"index {name}: its mapping leaves a out of _source" in str(source.body_report())
    source.close()


HIT = {"_index": "i", "_id": "1", "sort": [1], "_source": {}, "fields": {"ts": ["1383454800000"]}}


@pytest.mark.parametrize(
    "changed",
    [
        {"fields": []},
        {"fields": {"ts": "1383454800000"}},
        {"fields": {"ts": [None]}},
        {"fields": {"ts": [{}]}},
        {"fields": {"ts": ["soon"]}},
        {"_source": None},
        {"_source": "text"},
        {"_source": []},
    ],
    ids=str,
)
def test_a_document_of_another_shape_is_a_data_error(
    replay: Replay, source: ElasticsearchSource, changed: dict[str, Any]
) -> None:
    replay.faults = [(200, whole(1) | {"hits": {"hits": [HIT, {**HIT, **changed}]}})]
    with pytest.raises(DataError, match=r"document i/1"):
        read_all(source, WINDOW)


def test_a_number_that_is_no_json_is_a_data_error(replay: Replay, source: ElasticsearchSource) -> None:
    """The server takes it where it does not index the field."""
    replay.faults = [(200, whole(1) | {"hits": {"hits": [{**HIT, "_source": {"n": float("nan")}}]}})]
    with pytest.raises(DataError, match="a page of documents cannot be read"):
        read_all(source, WINDOW)


PAGE = whole(1) | {"hits": {"hits": [HIT]}}
NOT_PAGES: dict[str, Any] = {
    "no timed_out": {key: value for key, value in PAGE.items() if key != "timed_out"},
    "no _shards": {key: value for key, value in PAGE.items() if key != "_shards"},
    "timed_out is a text": {**PAGE, "timed_out": "no"},
    "no hits": {**PAGE, "hits": []},
    "broken before any document": b'{"status": ok}',
    **{f"a hit is {hit!r}": {**PAGE, "hits": {"hits": [HIT, hit]}} for hit in (7, None, [], "text")},
    "a hit without sort": {**PAGE, "hits": {"hits": [{key: HIT[key] for key in HIT if key != "sort"}]}},
    "an _index is a number": {**PAGE, "hits": {"hits": [{**HIT, "_index": 7}]}},
    "an _id is null": {**PAGE, "hits": {"hits": [{**HIT, "_id": None}]}},
}


@pytest.mark.parametrize("shape", NOT_PAGES)
@pytest.mark.parametrize("times", [1, 100])
def test_a_page_of_another_shape_may_pass(
    replay: Replay, source: ElasticsearchSource, shape: str, times: int
) -> None:
    replay.faults = [(200, encoded(NOT_PAGES[shape]))] * times
    if times == 1:
        assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
        return
    with pytest.raises(TransientError, match=r"expected a page of documents.*host, port and path"):
        read_all(source, WINDOW)


def test_numbers_for_times_are_taken(replay: Replay, source: ElasticsearchSource) -> None:
    hit = {**HIT, "fields": {"ts": [1383454800000]}}
    replay.faults = [(200, whole(1) | {"hits": {"hits": [hit]}})]
    assert len(rows_of(read_all(source, WINDOW))) == 1


def test_a_count_that_is_a_lower_bound_is_no_count(replay: Replay, source: ElasticsearchSource) -> None:
    replay.answers["POST /i/_search"] = (
        200,
        whole(1) | {"hits": {"total": {"value": 10_000, "relation": "gte"}}},
    )
    with pytest.raises(TransientError, match="expected an exact count"):
        source.count(WINDOW)


# --- reasons that others give

NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.27</center>\r\n</body>\r\n</html>"  # noqa: E501
CLOUDFLARE = b"<!DOCTYPE html><html><head><title>Access denied | es.example.com used Cloudflare</title><style>b{c:d}</style><script>var x = 1;</script></head><body><h1>Error 1020</h1></body></html>"  # noqa: E501
REASONS: dict[str, tuple[Fault, type[Exception], str]] = {
    "AWS": (
        (403, {"Message": "User: anonymous is not authorized to perform: es:ESHttpPost"}),
        FatalError, r"403 \(User: anonymous is not authorized to perform: es:ESHttpPost\)",
    ),
    "AWS signature": (
        (403, {"message": "The request signature we calculated does not match the signature you provided."}),
        FatalError, r"403 \(The request signature we calculated does not match",
    ),
    "Elastic Cloud": (
        (404, {"ok": False, "message": "Unknown deployment."}), FatalError, r"404 \(Unknown deployment\.\)",
    ),
    "Kibana": (
        (404, {"statusCode": 404, "error": "Not Found", "message": "no route"}),
        FatalError, r"404 \(Not Found; no route\)",
    ),
    "Elasticsearch, no handler": (
        (400, {"error": "no handler found for uri [/x] and method [GET]", "status": 400}),
        FatalError, r"400 \(no handler found for uri",
    ),
    "Google": (
        (403, {"error": {"code": 403, "message": "Permission denied"}}), FatalError, r"403 \(Permission denied\)",
    ),
    "problem details": (
        (503, {"type": "about:blank", "title": "Unavailable", "detail": "try later"}),
        TransientError, r"503 \(Unavailable; try later\)",
    ),
    "OAuth proxy": (
        (401, {"error": "invalid_token", "error_description": "it expired"}),
        FatalError, r"401 \(invalid_token; it expired\)",
    ),
    "nginx": ((502, NGINX), TransientError, r"502 \(502 Bad Gateway; 502 Bad Gateway nginx/1.27\)"),
    "Cloudflare": (
        (403, CLOUDFLARE), FatalError, r"403 \(Access denied \| es.example.com used Cloudflare; Error 1020\)",
    ),
    "S3": ((403, b"<Error><Code>AccessDenied</Code></Error>"), FatalError, r"403 \(<Error><Code>AccessDenied"),
    "a text": ((503, b"no healthy upstream"), TransientError, r"503 \(no healthy upstream\)"),
    "an array": ((500, b'["no"]'), TransientError, r"500 \(\['no'\]\)"),
    "odd causes": (
        (500, {"error": {"type": "x", "reason": None, "root_cause": "none", "failed_shards": {"a": 1}}}),
        TransientError, r"500 \(error: no reason given\)",
    ),
    "deep causes": ((500, b'{"error":' * 5000 + b"1" + b"}" * 5000), TransientError, "500"),
}  # fmt: skip


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_of_a_gateway_is_shown(replay: Replay, source: ElasticsearchSource, case: str) -> None:
    answer, kind, words = REASONS[case]
    replay.answers["GET /i/_field_caps"] = answer
    with pytest.raises(kind, match=words) as caught:
        source.check()
    assert str(caught.value).isprintable()


# --- OpenSearch in compatibility mode


def compatible(
    lucene: str, tagline: str = "The OpenSearch Project: https://opensearch.org/"
) -> dict[str, Any]:
    version = {"number": "7.10.2", "build_type": "tar", "lucene_version": lucene}
    return {"cluster_uuid": "u", "version": version, "tagline": tagline}


@pytest.mark.parametrize("lucene", ["9.11.1", "10.2.0"])
def test_opensearch_in_compatibility_mode_is_read(
    replay: Replay, source: ElasticsearchSource, lucene: str
) -> None:
    replay.answers["GET /"] = 200, compatible(lucene)
    replay.answers["POST /i/_search/point_in_time"] = 200, {"pit_id": "os"}
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    assert replay.searches()[0]["sort"] == [{"_doc": "asc"}, {"_index": "asc"}, {"_id": "asc"}]
    assert replay.closed() == [{"pit_id": ["os"]}]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (compatible("8.10.1"), r"OpenSearch 1 \(it reports 7\.10\.2\): expected 2\.4 or newer"),
        (compatible("8.7.0", "You Know, for Search"), r"Elasticsearch 7\.10\.2: expected 8\.0 or newer"),
    ],
    ids=["OpenSearch 1", "Elasticsearch 7"],
)
def test_older_servers_are_named(
    replay: Replay, source: ElasticsearchSource, info: dict[str, Any], words: str
) -> None:
    replay.answers["GET /"] = 200, info
    with pytest.raises(FatalError, match=words):
        read_all(source, WINDOW)
