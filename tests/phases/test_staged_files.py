"""What stands in the stage between two phases is damaged, or is another attempt's: refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim

from .conftest import Pipeline


class Extracted(NamedTuple):
    runtime: Runtime
    claim: Claim
    attempt: str
    receipts: list[str]


def extracted(pipeline: Pipeline, runtime: Runtime, claim: Claim) -> Extracted:
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    paths = [extract(runtime, claim, validated.attempt, slice_) for slice_ in validated.slices]
    return Extracted(runtime, claim, validated.attempt, paths)


@pytest.fixture
def window(pipeline: Pipeline, request: pytest.FixtureRequest) -> Extracted:
    """Its rows are in the stage; nothing is loaded.  The parameter is `stage.compression`."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    runtime = pipeline.runtime(stage={"compression": getattr(request, "param", "zstd")})
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    return extracted(pipeline, runtime, claim)


def file(pipeline: Pipeline, pattern: str) -> Path:
    (found,) = (pipeline.folder / "stage").rglob(pattern)
    return found


@pytest.mark.parametrize("window", ["zstd", "lz4"], indirect=True)
def test_every_byte_of_a_part_is_what_was_extracted(pipeline: Pipeline, window: Extracted) -> None:
    """Size, rows and times are those of the receipt still; DuckDB would read other documents from most of these."""
    part = file(pipeline, "part-*.parquet")
    whole = part.read_bytes()
    for at in range(4, len(whole) - 8, max(1, len(whole) // 50)):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(
            DataError, match=r"part-0-0-.* changed after it was extracted \(content: expected the sha256"
        ):
            stage(*window)
    part.write_bytes(whole)
    assert stage(*window).rows == 120


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-1],
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "no text": lambda data: b"\xff\xfe" + data,
    "no such keys": lambda _: b"{}",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_receipt_is_named(
    pipeline: Pipeline, window: Extracted, damage: Callable[[bytes], bytes]
) -> None:
    receipt = file(pipeline, "receipt-*.json")
    receipt.write_bytes(damage(receipt.read_bytes()))
    with pytest.raises(DataError, match=rf"{receipt.name} is not what extract wrote .*: clear this run"):
        stage(*window)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_manifest_is_named(
    pipeline: Pipeline, window: Extracted, damage: Callable[[bytes], bytes]
) -> None:
    staged = stage(*window)
    manifest = file(pipeline, "manifest-*.json")
    manifest.write_bytes(damage(manifest.read_bytes()))
    with pytest.raises(DataError, match=rf"{manifest.name}: expected the sha256 .*the file was changed"):
        load(window.runtime, window.claim, staged)


def test_rows_of_another_attempt_are_refused(pipeline: Pipeline, window: Extracted) -> None:
    """They were read before this attempt began, and are removed with their own."""
    again = extracted(pipeline, window.runtime, window.claim)
    with pytest.raises(
        DataError, match=f"is a file of another attempt than .*{again.attempt}: clear this run's extract task"
    ):
        stage(again.runtime, again.claim, again.attempt, window.receipts)
    assert stage(*again).rows == 120


@pytest.mark.parametrize("keep", [0, 10, -1], ids=["empty", "ten bytes", "the last byte is gone"])
def test_a_part_that_is_cut_after_staging_is_no_matter_of_the_rows(
    pipeline: Pipeline, window: Extracted, keep: int
) -> None:
    staged = stage(*window)
    part = file(pipeline, "part-*.parquet")
    part.write_bytes(part.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a part in the stage is damaged .*; extract the window again"):
        load(window.runtime, window.claim, staged)
