"""Source elasticsearch and compressed answers: decompressed in steps, never beyond what may be held in memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.connectors.elasticsearch import snapshot as elasticsearch_snapshot
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.answers import DOCUMENTS, Replay, whole
from tests.connectors.elasticsearch.places import make

MB = 1_000_000


@pytest.fixture
def source(replay: Replay) -> Iterator[ElasticsearchSource]:
    source = make("i", page_size=20, compress=True)
    yield source
    source.close()


def bomb(size: int) -> bytes:
    """A page with one document of so many bytes, about a thousandth of it when compressed."""
    compress = zlib.compressobj(6, zlib.DEFLATED, 31)
    pieces = [
        compress.compress(b'{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"hits":[{"a":"')
    ]
    pieces += [compress.compress(b"a" * MB) for _ in range(size // MB)]
    return b"".join([*pieces, compress.compress(b'"}]}}'), compress.flush()])


@pytest.mark.parametrize("chunked", [False, True], ids=["length announced", "in chunks"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answers_are_read(
    replay: Replay, source: ElasticsearchSource, encoding: str, chunked: bool
) -> None:
    replay.encoding, replay.chunked, replay.padding = encoding, chunked, "x" * 30_000
    batches = read_all(source, WINDOW)
    assert len(rows_of(batches)) == DOCUMENTS
    assert all(headers["accept-encoding"] == "gzip" for headers in replay.headers_seen)
    assert all("content-encoding" not in headers for headers in replay.headers_seen)
    assert source.count(WINDOW) == DOCUMENTS


def test_several_compressed_streams_in_a_row_are_one_answer(
    replay: Replay, source: ElasticsearchSource
) -> None:
    text = json.dumps(whole(7)).encode()
    replay.encodings["POST /i/_search"] = "gzip"
    replay.answers["POST /i/_search"] = 200, gzip.compress(text[:20]) + gzip.compress(text[20:])
    assert source.count(WINDOW) == 7


def test_a_page_is_not_inflated_beyond_its_limit(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticsearch_snapshot, "LARGEST_DOCUMENT_BYTES", 32 * MB)
    replay.encodings["POST /_search"] = "gzip"
    replay.answers["POST /_search"] = 200, bomb(100 * MB)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"more than 32,000,000 bytes.*a single document is that large"):
            read_all(source, WINDOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 * MB
    assert [search["size"] for search in replay.searches()] == [10, 5, 2, 1]


def test_other_answers_are_bounded_too(replay: Replay, source: ElasticsearchSource) -> None:
    for encoding, answer in (("gzip", bomb(70 * MB)), ("identity", b" " * (70 * MB))):
        replay.encodings["POST /i/_search"] = encoding
        for status in (200, 403):
            replay.answers["POST /i/_search"] = status, answer
            with pytest.raises(FatalError, match="the answer has more than 67,108,864 bytes"):
                source.count(WINDOW)


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip", gzip.compress(b'{"a": 1}')[:-12], "IncompleteRead"),
        ("gzip", b'{"a": 1}', "incorrect header check"),
        ("gzip", b"", "IncompleteRead"),
        ("br", b"\x0b\x02\x80{}\x03", "expected gzip or no content-encoding, got 'br'"),
    ],
    ids=["cut off", "not compressed", "empty", "another encoding"],
)
def test_what_cannot_be_decompressed_is_tried_again(
    replay: Replay, source: ElasticsearchSource, encoding: str, body: bytes, words: str
) -> None:
    replay.encodings["POST /i/_search"] = encoding
    replay.answers["POST /i/_search"] = 200, body
    with pytest.raises(TransientError, match=words):
        source.count(WINDOW)
    tries: list[Any] = [path for method, path, _ in replay.asked if path == "/i/_search"]
    assert len(tries) == elasticsearch_client.ATTEMPTS
