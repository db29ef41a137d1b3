"""Part files to S3, proven there by the store's checksums or by reading them back, as extract and stage do it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from uuid import uuid4

import s3fs  # noqa: F401  (so that its import is not timed)
from airflow.sdk.io import get_fs  # noqa: F401  (nor this one)
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.envelope.manifest import Manifest, Part
from airflow_pipeline_provider.envelope.parts import verify_part
from benchmarks.contestants.timing import Timing
from benchmarks.staged import PIPELINE


def upload(stage: ObjectStoreStage, part: Part, source: Path) -> Part:
    with stage.open_write(part.path) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file, 2**20)
    return replace(part, upload=getattr(file, "upload", None))


def prove(stage: ObjectStoreStage, part: Part) -> int:
    """Return how many bytes were read, as `phases.stage` does it."""
    if part.upload is not None and stage.proves(part.path, part.upload, part.bytes):
        return 0
    with stage.open_read(part.path) as file:
        verify_part(part, file, stage.size(part.path))
    return part.bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read-back", choices=("when_required", "always"), required=True)
    parser.add_argument("--staged", type=Path, required=True)
    parser.add_argument("--bucket", required=True)
    given = parser.parse_args()
    connection = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    os.environ["AIRFLOW_CONN_BENCH_S3"] = json.dumps(connection)
    path = f"s3://bench_s3@{given.bucket}/{uuid4().hex}"
    options = ObjectStoreStage.Options.model_validate({"path": path, "s3": {"read_back": given.read_back}})
    stage = ObjectStoreStage(options, Identity(PIPELINE, "UTC"))
    manifest = Manifest.from_bytes((given.staged / "manifest.json").read_bytes())
    stage.list("")  # opens the client
    with Timing() as uploading:
        parts = [upload(stage, part, given.staged / "stage" / part.path) for part in manifest.parts]
    with Timing() as proving:
        read_back = sum(prove(stage, part) for part in parts)
    stage.delete([part.path for part in parts])
    figures = {
        "rows": manifest.rows,
        "upload_seconds": uploading.figures["seconds"],
        "upload_cpu_seconds": uploading.figures["cpu_seconds"],
        "read_back_mb": read_back / 1e6,
        **proving.figures,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
