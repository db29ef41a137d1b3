"""OpenLineage events of a run, written to a file by OpenLineage's Airflow provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Folder

RUN_ONCE = """
import sys
from pathlib import Path
from tests.dags.conftest import Folder, run

print("state:", run(Folder(Path(sys.argv[1]), sys.argv[2]).dag()).state)
"""


@pytest.fixture
def events(folder: Folder, airflow_db: Path) -> list[dict[str, Any]]:
    """Return the events of one run, made in its own process, because Airflow loads listeners once per process."""
    column = "{name: AT, path: at, type: timestamp}"
    folder.write(backlog="wait", granularity="13h", columns=f"[{column}]")
    path = folder.path / "lineage.jsonl"
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ONCE, str(folder.path), folder.pipeline_id],
        env={
            **os.environ,
            "AIRFLOW__OPENLINEAGE__DISABLED": "false",
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "state: success" in done.stdout, done.stdout[-5000:]
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_load_and_audit_send_lineage_events(folder: Folder, events: list[dict[str, Any]]) -> None:
    completed = {
        event["job"]["name"].removeprefix(f"{folder.pipeline_id}."): event
        for event in events
        if event["eventType"] == "COMPLETE"
    }
    window = {
        "pipeline": folder.pipeline_id,
        "windowStart": "2013-11-03T04:00:00Z",
        "windowEnd": "2013-11-03T17:00:00Z",
        "day": "2013-11-03",
        "token": 1,
    }
    counts = {"staged": 39, "target": 39, "distinct": 39}
    for task, more in (("load", {}), ("audit", {"source": 39, "quarantined": 0})):
        event = completed[task]
        ((source,), (target, view)) = event["inputs"], event["outputs"]
        assert (source["namespace"], source["name"]) == (f"sqlite:{folder.path}/events.db", "events")
        assert target["namespace"] == f"duckdb:{folder.path}/lake.duckdb"
        assert target["name"] == f"main.{folder.pipeline_id}"
        assert target["outputFacets"]["outputStatistics"]["rowCount"] == 39
        assert (view["namespace"], view["name"]) == (target["namespace"], f"{target['name']}_typed")
        assert [(one["name"], one["type"]) for one in view["facets"]["schema"]["fields"]] == [
            ("record_id", "text"),
            ("event_time", "timestamp"),
            ("at", "timestamp"),
            ("_rest", "json"),
            ("token", "integer"),
        ]
        facet = event["run"]["facets"]["pipelineWindow"]
        assert {name: facet[name] for name in window} == window
        assert facet["counts"] == counts | more
    statistics = completed["load"]["outputs"][0]["outputFacets"]["outputStatistics"]
    assert (statistics["fileCount"], statistics["size"]) == (1, parts_size(folder))
    assert completed["audit"]["inputs"][0]["inputFacets"]["dataQualityMetrics"]["rowCount"] == 39
    for task in ("generate_window", "validate", "extract", "stage"):
        assert (completed[task]["inputs"], completed[task]["outputs"]) == ([], [])


def parts_size(folder: Folder) -> int:
    (part,) = (folder.path / "stage").rglob("*.parquet")
    return part.stat().st_size
