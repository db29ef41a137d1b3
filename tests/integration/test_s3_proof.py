"""A real S3 server proves part files by their checksums, and never returns a bit that flipped on its drive."""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.envelope.manifest import Receipt
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.testing.properties.stage import StageLab, proves_only_what_it_holds
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_state import MemoryState
from tests.phases.conftest import Pipeline

pytestmark = pytest.mark.integration

SCRIPTS = Path(__file__).resolve().parent.parent / "services" / "s3"
PATH = "s3://drive_kit@lake/proof"


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The drive of a server of its own, whose files a test may damage."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
    data = tmp_path_factory.mktemp("s3")
    arguments = ["--port", port, "--data-dir", str(data)]
    started = subprocess.run([SCRIPTS / "start.sh", *arguments], check=True, capture_output=True, text=True)
    given = dict(line.split("=", 1) for line in started.stdout.splitlines())
    connection = {
        "conn_type": "aws",
        "login": given["AWS_ACCESS_KEY_ID"],
        "password": given["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": given["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_DRIVE_KIT", json.dumps(connection))
        try:
            yield data / "drive" / "lake"
        finally:
            subprocess.run([SCRIPTS / "stop.sh", *arguments[2:]], check=True, capture_output=True)


def flip_on(drive: Path, path: str, found: bytes) -> None:
    """Flip a bit of these bytes in the file of the drive that holds them."""
    for file in (one for one in (drive / "proof" / path).rglob("*") if one.is_file()):
        data = file.read_bytes()
        at = data.find(found)
        if at >= 0:
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return
    raise AssertionError(f"{path} is not on the drive as it was written")


def open_stage() -> ObjectStoreStage:
    return ObjectStoreStage(ObjectStoreStage.Options(path=PATH), Identity("kit", "UTC"))


def test_the_server_proves_objects_and_uploads_in_pieces(drive: Path) -> None:
    seen = proves_only_what_it_holds(StageLab(open_stage))
    assert seen.startswith("files of 1,000 and 20,971,520 bytes are proven by checksums")
    assert open_stage().list("") == []


@pytest.mark.parametrize("size", [5_000, 3_000_000], ids=["in the metadata", "in a file of its own"])
def test_a_bit_that_flips_on_the_drive_is_an_error_of_the_read(drive: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    store = open_stage()
    store.write(f"flip-{size}", data)
    flip_on(drive, f"flip-{size}", data[1000:1032])
    with store.open_read(f"flip-{size}") as file:
        file.seek(900)
        with pytest.raises(PipelineError):
            file.read(500)


def test_a_window_is_staged_without_a_read_and_a_flipped_bit_is_never_loaded(
    drive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    register("source", "memory", MemorySource)
    register("state", "memory", MemoryState, replace=True)
    MemorySource.clear()
    pipeline = Pipeline(tmp_path)
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    runtime = pipeline.runtime(stage={"path": PATH})
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    receipts = [extract(runtime, claim, validated.attempt, one) for one in validated.slices]
    [part] = Receipt.from_bytes(runtime.stage.read(receipts[0])).parts
    content = runtime.stage.read(part.path)
    flip_on(drive, part.path, content[len(content) // 2 :][:32])
    with caplog.at_level(logging.INFO, "airflow_pipeline_provider.phases"):
        staged = stage(runtime, claim, validated.attempt, receipts)
    [line] = [one for one in caplog.messages if "phase=stage status=ok" in one]
    assert re.search(r" bytes_read_back=0 ", line)
    with pytest.raises(PipelineError):
        load(runtime, claim, staged)
    runtime.stage.write(part.path, content)
    load(runtime, claim, staged)
    pipeline.assert_target_is(claim.interval)
    MemorySource.clear()
