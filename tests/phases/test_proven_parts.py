"""Stage reads no byte back that the store proves, and every byte that it does not; no flipped bit is loaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from airflow_pipeline_provider.connectors.object_store import s3_upload
from airflow_pipeline_provider.envelope.manifest import Manifest, Part, Receipt
from airflow_pipeline_provider.exceptions import DataError, PipelineError
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, Staged
from tests.connectors.object_store.checksum_store import (
    ChecksumStore,
    crc_of,
    flipped,
    serve_checksums,
)

from .conftest import Pipeline

BUCKET = "proven"
STAGE = {"path": f"s3://proven_kit@{BUCKET}/lake"}


@pytest.fixture(scope="module")
def server() -> Iterator[ChecksumStore]:
    import airflow.sdk.io  # noqa: F401  (its first import sets up logging, which a test must not lose)

    with serve_checksums() as store:
        yield store


@pytest.fixture
def store(server: ChecksumStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChecksumStore]:
    tries = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    monkeypatch.setenv("AIRFLOW_CONN_PROVEN_KIT", server.connection(**tries))
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    server.reset()
    client = server.client()
    client.create_bucket(Bucket=BUCKET)
    yield server
    server.reset()
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


class Extracted(NamedTuple):
    runtime: Runtime
    claim: Claim
    attempt: str
    receipts: list[str]

    @property
    def parts(self) -> tuple[Part, ...]:
        return Receipt.from_bytes(self.runtime.stage.read(self.receipts[0])).parts


Extract = Callable[..., Extracted]


@pytest.fixture
def extracted(pipeline: Pipeline, store: ChecksumStore) -> Extract:
    def extracted(**options: Any) -> Extracted:
        pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
        runtime = pipeline.runtime(stage={**STAGE, **options})
        claim = generate(runtime, pipeline.request()).claim
        assert claim is not None
        validated = validate(runtime, claim)
        assert validated.attempt is not None
        paths = [extract(runtime, claim, validated.attempt, slice_) for slice_ in validated.slices]
        store.asked.clear()
        return Extracted(runtime, claim, validated.attempt, paths)

    return extracted


def staged_and_read(window: Extracted, caplog: pytest.LogCaptureFixture) -> tuple[Staged, int]:
    """What stage returns, and the bytes that its log line says were read back."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "airflow_pipeline_provider.phases"):
        staged = stage(*window)
    [line] = [one for one in caplog.messages if "phase=stage status=ok" in one]
    found = re.search(r" bytes_read_back=(\d+) ", line)
    assert found is not None, line
    return staged, int(found[1])


def assert_loaded(pipeline: Pipeline, window: Extracted, staged: Staged) -> None:
    load(window.runtime, window.claim, staged)
    pipeline.assert_target_is(window.claim.interval)


PIECES = pytest.mark.parametrize("piece", [16 * 2**20, 1000], ids=["at once", "in pieces"])


@PIECES
def test_no_byte_is_read_back_that_the_store_proves(
    pipeline: Pipeline,
    store: ChecksumStore,
    extracted: Extract,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    piece: int,
) -> None:
    monkeypatch.setattr(s3_upload, "PIECE_BYTES", piece)
    window = extracted()
    staged, read_back = staged_and_read(window, caplog)
    assert read_back == 0
    assert [one.path for one in store.questions("GET") if "/part-" in one.path] == []
    assert [part.upload is not None and part.upload.pieces > 1 for part in window.parts] == [piece == 1000]
    assert_loaded(pipeline, window, staged)


DOUBTS: dict[str, Callable[[ChecksumStore], object]] = {
    "a store that compares nothing": lambda store: store.compares.clear(),
    "a store without checksums": lambda store: setattr(
        store,
        "answers",
        lambda asked, headers: [headers.pop(name) for name in list(headers) if "checksum" in name],
    ),
    "no permission for HEAD with checksums": lambda store: setattr(
        store,
        "rule",
        lambda asked: (
            (403, "AccessDenied", "kms:Decrypt")
            if asked.method == "HEAD" and "x-amz-checksum-mode" in asked.headers
            else None
        ),
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS.keys())
def test_every_byte_is_read_back_that_the_store_does_not_prove(
    pipeline: Pipeline,
    store: ChecksumStore,
    extracted: Extract,
    caplog: pytest.LogCaptureFixture,
    doubt: Callable[[ChecksumStore], object],
) -> None:
    window = extracted()
    doubt(store)
    staged, read_back = staged_and_read(window, caplog)
    assert read_back == sum(part.bytes for part in window.parts) > 0
    assert_loaded(pipeline, window, staged)


@pytest.mark.parametrize("options", [{"read_back": "always"}, {"checksums": "when_required"}], ids=str)
def test_every_byte_is_read_back_if_the_pipeline_file_asks_for_it(
    extracted: Extract, caplog: pytest.LogCaptureFixture, options: dict[str, str]
) -> None:
    window = extracted(s3=options)
    assert staged_and_read(window, caplog)[1] == sum(part.bytes for part in window.parts) > 0


FLIPS: dict[str, Callable[[ChecksumStore], object]] = {
    "on the way, compared": lambda store: setattr(store, "arrives", flipped_part),
    "on the way, not compared": lambda store: (
        store.compares.clear(),
        setattr(store, "arrives", flipped_part),
    ),
    "in a store that repeats the checksum": lambda store: (
        store.compares.clear(),
        setattr(store, "keeps", flipped_part),
    ),
}


def flipped_part(asked: Any, data: bytes) -> bytes:
    return flipped(data) if "/part-" in asked.path else data


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS.keys())
def test_a_bit_that_flips_during_the_upload_is_never_staged(
    store: ChecksumStore, extracted: Extract, flip: Callable[[ChecksumStore], object]
) -> None:
    flip(store)
    with pytest.raises(PipelineError, match=r"other bytes arrived|changed after|did not match calculated"):
        stage(*extracted())


def test_a_bit_that_flips_after_the_comparison_is_read_back_if_the_store_is_not_trusted(
    store: ChecksumStore, extracted: Extract
) -> None:
    """What a store accepted and then returns otherwise is found only by reading it."""
    store.keeps = flipped_part
    window = extracted(s3={"read_back": "always"})
    with pytest.raises(PipelineError, match=r"changed after|did not match calculated"):
        stage(*window)


def put(store: ChecksumStore, key: str, data: bytes) -> None:
    store.client().put_object(Bucket=BUCKET, Key=key, Body=data, ChecksumCRC32=crc_of(data))


def content(store: ChecksumStore, key: str) -> bytes:
    answer = store.client().get_object(Bucket=BUCKET, Key=key)
    return bytes(answer["Body"].read())


CHANGES: dict[str, Callable[[ChecksumStore, str, bytes], object]] = {
    "a bit": lambda store, key, data: put(store, key, flipped(data)),
    "cut": lambda store, key, data: put(store, key, data[:-1]),
    "empty": lambda store, key, data: put(store, key, b""),
    "another part": lambda store, key, data: put(store, key, content(store, f"{key}.other")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_part_that_was_replaced_is_refused(
    store: ChecksumStore, extracted: Extract, change: Callable[[ChecksumStore, str, bytes], object]
) -> None:
    window = extracted()
    [part] = window.parts
    key = f"lake/{part.path}"
    data = content(store, key)
    put(store, f"{key}.other", data[::-1])
    change(store, key, data)
    with pytest.raises(DataError, match="changed after it was extracted"):
        stage(*window)


def test_a_part_that_was_copied_back_is_read(
    pipeline: Pipeline, store: ChecksumStore, extracted: Extract, caplog: pytest.LogCaptureFixture
) -> None:
    """Its bytes are right, and its ETag is another's: a stale answer must not prove it, nor fail the window."""
    window = extracted()
    [part] = window.parts
    store.answers = lambda asked, headers: headers.update({"etag": '"of an older object"'})
    staged, read_back = staged_and_read(window, caplog)
    assert read_back == part.bytes
    assert_loaded(pipeline, window, staged)


def test_a_flipped_bit_in_a_receipt_is_refused(store: ChecksumStore, extracted: Extract) -> None:
    window = extracted()
    [path] = window.receipts
    whole = window.runtime.stage.read(path)
    at = whole.index(b'"rows":120') + len(b'"rows":12')
    window.runtime.stage.write(path, whole[:at] + b"1" + whole[at + 1 :])
    with pytest.raises(DataError, match=r"receipt-0-.* is not what extract wrote .*expected the sha256"):
        stage(*window)


def test_receipts_and_manifests_of_earlier_versions_are_read_and_their_parts_read_back(
    pipeline: Pipeline, store: ChecksumStore, extracted: Extract, caplog: pytest.LogCaptureFixture
) -> None:
    window = extracted()
    [path] = window.receipts
    old = msgspec.json.decode(window.runtime.stage.read(path))
    for part in old["parts"]:
        del part["upload"]
    folder = path.rpartition("/")[0]
    earlier = f"{folder}/receipt-0-{'0' * 32}.json"
    window.runtime.stage.write(earlier, msgspec.json.encode(old))
    staged, read_back = staged_and_read(window._replace(receipts=[earlier]), caplog)
    assert read_back == sum(part.bytes for part in window.parts) > 0
    assert staged.path is not None
    manifest = window.runtime.stage.read(staged.path)
    assert b'"upload"' not in manifest
    assert Manifest.from_bytes(manifest).to_bytes() == manifest
    assert_loaded(pipeline, window, staged)


def test_a_local_folder_is_read_back(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    with caplog.at_level(logging.INFO, "airflow_pipeline_provider.phases"):
        pipeline.move(pipeline.runtime())
    [line] = [one for one in caplog.messages if "phase=stage status=ok" in one]
    size = re.search(r" bytes=(\d+) ", line)
    assert size is not None
    assert f" bytes_read_back={size[1]} " in line
