"""This package: a window from Elasticsearch to Parquet parts, through the phases that a pipeline file gives.

From the file to the receipt, without Airflow: the window is leased and validated, then each slice is extracted, which
is what is timed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import connector_class, options_model, register
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope import field_kinds
from airflow_pipeline_provider.envelope.manifest import Receipt
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.runtime import open_runtime, utc_now
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from benchmarks.columns.contract import columns
from benchmarks.contestants.arguments import parser
from benchmarks.contestants.timing import Timing
from benchmarks.documents import interval
from benchmarks.shapes import TIME_FIELD


def write_pipeline(
    given: argparse.Namespace, source: dict[str, Any], state: dict[str, str] | None = None
) -> Path:
    """The pipeline file; JSON is YAML.  Without a state it is this process's memory."""
    pipeline = {
        "pipeline_id": "bench",
        "timezone": "UTC",
        "granularity": "1d",
        "x_time_back": "1d",
        "source": {"type": "elasticsearch", "index": given.index, "time_field": TIME_FIELD, **source},
        "stage": {
            "type": "object_store",
            "path": str(given.out / "stage"),
            **({"compression": given.compression} if getattr(given, "compression", None) else {}),
        },
        "target": {"type": "duckdb", "path": str(given.out / "lake.duckdb"), "table": "main.logs"},
        "state": state or {"type": "memory"},
        **({"contract": {}} if getattr(given, "contract", False) else {}),
    }
    path: Path = given.out / "bench.yaml"
    path.write_text(json.dumps(pipeline))
    return path


def connection(url: str) -> str:
    """The server as an Airflow connection, as the environment gives it."""
    parts = urlsplit(url)
    return json.dumps(
        {"conn_type": "elasticsearch", "host": parts.hostname, "port": parts.port, "schema": "http"}
    )


def import_what_phases_need() -> None:
    """So that it is not timed; not before the package, which tells Arrow what memory to take."""
    importlib.import_module("pyarrow.parquet")


def move(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of one extraction; with `plan` only how many readers it would have."""
    source = {
        name: value for name, value in (("slices", given.slices), ("page_size", given.page_size)) if value
    }
    path = write_pipeline(given, source)
    import_what_phases_need()
    with open_runtime(load_pipeline(path, options_model=options_model)) as runtime:
        if given.limits:
            runtime.target.limits = connector_class("target", given.limits).limits
        if given.contract:
            runtime.target.identity = runtime.target.identity._replace(columns=tuple(columns()))
        window = Interval(*interval(given.docs))
        claim = generate(runtime, RunRequest("bench/1", RunKind.WINDOW, utc_now(), window)).claim
        assert claim is not None
        validated = validate(runtime, claim)
        readers = sum(slice_.readers for slice_ in validated.slices)
        if given.plan:
            return {"readers": readers}
        with Timing() as timing:
            paths = [extract(runtime, claim, validated.attempt or "", slice_) for slice_ in validated.slices]
        receipts = [Receipt.from_bytes(runtime.stage.read(path)) for path in paths]
    parts = [part for receipt in receipts for part in receipt.parts]
    return {
        "rows": sum(receipt.rows for receipt in receipts),
        "bytes": sum(part.bytes for part in parts),
        "parts": len(parts),
        "readers": readers,
        **timing.figures,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--slices", type=int, help="without it: the default")
    arguments.add_argument("--page-size", type=int, help="without it: the default")
    arguments.add_argument("--limits", help="the target whose limits the rows are held to; without it: none")
    arguments.add_argument("--compression", help="the codec of the part files; without it: the default")
    arguments.add_argument("--contract", action="store_true", help="gather the fields of the documents")
    arguments.add_argument(
        "--every", type=int, help="look at one document in so many; without it: the default"
    )
    arguments.add_argument("--plan", action="store_true", help="extract nothing, print the number of readers")
    given = arguments.parse_args()
    if given.every:
        field_kinds.EVERY = given.every
    register("state", "memory", "tests.doubles.memory_state:MemoryState")
    os.environ["AIRFLOW_CONN_ELASTICSEARCH_DEFAULT"] = connection(given.url)
    print(json.dumps(move(given)))


if __name__ == "__main__":
    main()
