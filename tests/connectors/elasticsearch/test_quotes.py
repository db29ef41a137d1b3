"""With `source.redact` no error or log line of the client quotes what the server answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.content_free import content_free
from airflow_pipeline_provider.connectors.elasticsearch import client as clients
from airflow_pipeline_provider.connectors.elasticsearch.client import Client, _ForbiddenError
from airflow_pipeline_provider.connectors.elasticsearch.completeness import check_complete
from airflow_pipeline_provider.connectors.elasticsearch.errors import UnexpectedAnswerError, error_of
from airflow_pipeline_provider.connectors.elasticsearch.pages import decode_page, to_batch
from airflow_pipeline_provider.exceptions import PipelineError

BIRD = "CanaryLake7Qx93ZvK"
REASON = {"type": "illegal_argument_exception", "reason": f"cannot parse {BIRD}", "root_cause": []}
PAGE = {"timed_out": False, "_shards": {"total": 1, "failed": 0}}


def hit(source: str, fields: Any, key: str = BIRD) -> str:
    return f'{{"_index":"i","_id":"{key}","sort":[1],"fields":{json.dumps(fields)},"_source":{source}}}'


def page_of(*hits: str) -> bytes:
    return f'{json.dumps(PAGE)[:-1]},"hits":{{"hits":[{",".join(hits)}]}}}}'.encode()


def batch_of(*hits: str) -> None:
    to_batch(decode_page(page_of(*hits), "index i").hits.hits, "ts")  # type: ignore[attr-defined]


def refused(status: int) -> None:
    raise error_of(status, json.dumps({"error": REASON}).encode(), "index i", "server", in_snapshot=True)


CASES: dict[str, tuple[Any, str]] = {
    "status 400": (lambda: refused(400), "index i: server answered 400 (illegal_argument_exception)"),
    "status 503": (lambda: refused(503), "index i: server answered 503 (illegal_argument_exception)"),
    "failed shard": (
        lambda: check_complete(
            {"_shards": {"failures": [{"index": "i", "reason": REASON}]}}, "index i", "server"
        ),
        "index i: server did not answer whole (illegal_argument_exception), so rows would be missing",
    ),
    "two dates": (lambda: batch_of(hit("{}", {"ts": ["1", "2"]})), "a document: ts holds 2 dates"),
    "no date": (lambda: batch_of(hit("{}", {})), "a document: ts has no doc value"),
    "odd date": (
        lambda: batch_of(hit("{}", {"ts": [BIRD]})),
        "a document: expected ts as milliseconds since 1970",
    ),
    "no object": (lambda: batch_of(hit(f'"{BIRD}"', {"ts": ["1"]})), "a document is not a JSON object"),
    "comment": (
        lambda: decode_page(page_of(hit(f'{{/*{BIRD}*/"a":1}}', {})), "index i"),
        "a document is not valid JSON",
    ),
    "surrogate": (
        lambda: decode_page(page_of(hit('{"a":"\\ud800"}', {})), "index i"),
        "a document holds half a surrogate pair",
    ),
    "other answer": (lambda: decode_page(f'{{"{BIRD}":1}}'.encode(), "index i"), "its message is not shown"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_an_error_without_content_keeps_what_is_safe(case: str) -> None:
    fail, expected = CASES[case]
    with pytest.raises(PipelineError) as caught:
        fail()
    if case != "surrogate" and not case.startswith("two"):
        assert BIRD in str(caught.value)  # the usual message names or quotes the document
    hidden = content_free(caught.value)
    assert type(hidden) is type(caught.value)
    assert expected in str(hidden)
    assert BIRD not in str(hidden) + repr(vars(hidden))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(clients, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("AIRFLOW_CONN_QUOTES", "http://127.0.0.1:1")
    made = Client("quotes", get_connection("quotes"), timeout=1, compress=False, threads=1, quotes=False)
    yield made
    made.close()


def test_tries_are_logged_without_content(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(client, "_once", lambda *_: refused(503))
    with pytest.raises(PipelineError, match=r"answered 503 \(illegal_argument_exception\)") as caught:
        client.ask("POST", "/i/_search", {}, what="index i")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "try 1 of" in caplog.text
    assert BIRD not in caplog.text


def test_a_server_that_forbids_its_version_is_still_found(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> bytes:
        raise _ForbiddenError(is_elasticsearch=True)

    monkeypatch.setattr(client, "_once", forbidden)
    assert client.server.name == "Elasticsearch"


def test_an_unexpected_answer_keeps_its_class() -> None:
    assert isinstance(content_free(UnexpectedAnswerError("index i", "JSON", BIRD)), UnexpectedAnswerError)
