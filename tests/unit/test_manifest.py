"""Receipts and manifests are read as written, and a hash identifies one content."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.envelope.manifest import Manifest, Part, Receipt

HOUR = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T05:00:00Z"))
PART = Part(
    "2013-11-03/w/a/part-0-0-ü.parquet", 3, 1024, HOUR.start, parse_utc("2013-11-03T04:59:59.999999Z")
)
MANIFEST = Manifest("flights", HOUR, "a", 7, parts=(PART, replace(PART, path="other", rows=4)))


def test_a_receipt_is_read_as_it_was_written() -> None:
    receipt = Receipt(0, 2, HOUR, parts=(PART,))
    again = Receipt.from_bytes(receipt.to_bytes())
    assert again == receipt
    assert (again.rows, again.size_bytes) == (3, 1024)


def test_a_manifest_is_read_as_it_was_written() -> None:
    again = Manifest.from_bytes(MANIFEST.to_bytes())
    assert again == MANIFEST
    assert again.sha256 == MANIFEST.sha256
    assert (again.rows, again.size_bytes) == (7, 2048)


KEPT = replace(PART, path="2013-11-03/w/a/quarantine-0-0-ü.parquet", rows=2)


def test_quarantined_parts_are_listed_separately() -> None:
    receipt = Receipt(0, 2, HOUR, parts=(PART,), quarantined=(KEPT,))
    again = Receipt.from_bytes(receipt.to_bytes())
    assert again == receipt
    assert (again.rows, again.quarantined_rows) == (3, 2)
    manifest = replace(MANIFEST, quarantined=(KEPT, KEPT))
    read = Manifest.from_bytes(manifest.to_bytes())
    assert read == manifest
    assert (read.rows, read.quarantined_rows, read.size_bytes) == (7, 4, 2048)


def test_files_without_quarantine_keep_their_hash() -> None:
    old = (
        b'{"attempt":"a","interval":["2013-11-03T04:00:00Z","2013-11-03T05:00:00Z"],"parts":[],'
        b'"pipeline_id":"flights","token":7,"version":1}'
    )
    manifest = Manifest.from_bytes(old)
    assert manifest.quarantined == ()
    assert manifest.to_bytes() == old
    assert b"quarantined" not in Receipt(0, 1, HOUR, parts=(PART,)).to_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        replace(MANIFEST, token=8),
        replace(MANIFEST, attempt="b"),
        replace(MANIFEST, pipeline_id="weather"),
        replace(MANIFEST, parts=(PART,)),
        replace(MANIFEST, quarantined=(PART,)),
        replace(MANIFEST, interval=Interval(HOUR.start, parse_utc("2013-11-03T06:00:00Z"))),
    ],
    ids=["token", "attempt", "pipeline", "parts", "quarantined", "interval"],
)
def test_different_content_has_a_different_hash(changed: Manifest) -> None:
    assert changed.sha256 != MANIFEST.sha256
