"""Documents nested deeper than the JSON parser goes: read like others, and refused or quarantined by name."""

from __future__ import annotations

import json

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.deep_documents import lift_deep_sources
from airflow_pipeline_provider.connectors.elasticsearch.pages import decode_page, to_batch
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.envelope.parts import write_parts
from airflow_pipeline_provider.envelope.rejections import rejections
from airflow_pipeline_provider.exceptions import DataError, TransientError
from airflow_pipeline_provider.testing.source_kit import START, WINDOW

MILLIS = str(int(START.timestamp() * 1000))


def deep(levels: int) -> str:
    return f'{{"text": "\\\\ }}] \\" {{", "a": {"[" * levels}{{"_source":{{}}}}{"]" * levels}}}'


def page(*sources: str) -> bytes:
    hits = ",".join(
        f'{{"_index":"i","_id":"{number}","sort":[{number}],"fields":{{"ts":["{MILLIS}"]}},"_source":{source}}}'
        for number, source in enumerate(sources)
    )
    whole = '"timed_out":false,"_shards":{"total":1,"failed":0}'
    return f'{{{whole},"hits":{{"max_score":null,"hits":[{hits}]}},"pit_id":"p"}}'.encode()


@pytest.mark.parametrize("levels", [300, 1_000, 20_000, 1_000_000])
def test_deep_documents_are_read_byte_for_byte(levels: int) -> None:
    sources = [deep(1), deep(levels), "{}", deep(levels), deep(150)]
    batch = to_batch(decode_page(page(*sources), "docs").hits.hits, "ts")
    assert batch.column("BODY").to_pylist() == sources
    assert batch.column("RECORD_ID").to_pylist() == [f"i/{number}" for number in range(5)]


def test_only_what_is_deep_is_taken_out() -> None:
    """Keys and brackets in texts, and documents that look like a page, change nothing."""
    like_a_page = json.dumps({"hits": {"hits": [{"_source": json.loads(deep(150)), "x": "{[" * 999}]}})
    body = page(like_a_page, deep(201), deep(150))
    shallow, lifted = lift_deep_sources(body)
    assert lifted == {1: deep(201).encode()}
    assert shallow == page(like_a_page, "{}", deep(150))


@pytest.mark.parametrize(
    "body", [b"{" * 5000, b'{"hits":' * 5000, b'{"_shards":' * 5000 + b"}" * 5000], ids=len
)
def test_what_is_deep_outside_of_documents_is_no_page(body: bytes) -> None:
    with pytest.raises(TransientError, match=r"expected a page of documents|cut off"):
        decode_page(body, "docs")


def test_a_page_that_is_cut_off_inside_a_deep_document_is_asked_for_again() -> None:
    with pytest.raises(TransientError):
        decode_page(page(deep(5000))[:2500], "docs")


def test_a_deep_document_that_the_target_cannot_parse_is_named(tmp_path) -> None:
    batch = to_batch(decode_page(page("{}", deep(2000)), "docs").hits.hits, "ts")
    assert list(rejections(batch, SnowflakeTarget.limits)) == [1]
    limits = SnowflakeTarget.limits._replace(needs_json=False, unique_keys=False)  # as extract asks

    def write(on_reject: str):
        return write_parts(
            iter([batch]),
            open_write=lambda path: (tmp_path / path.replace("/", "_")).open("wb"),
            folder="w",
            index=0,
            interval=WINDOW,
            part_bytes=10**6,
            limits=limits,
            on_reject=on_reject,
            writers=1,
        )

    with pytest.raises(DataError, match=r"i/1.*deeper than 950 levels"):
        write("fail")
    written = write("quarantine")
    assert (sum(part.rows for part in written.parts), sum(part.rows for part in written.quarantined)) == (
        1,
        1,
    )
