"""Load a file with several pipelines as DAGs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Folder
from .test_loader import parsed


def write_variants(folder: Folder, *variants: str) -> None:
    """Write `flights.yaml` with a pipeline for each variant, which has an id and a granularity."""
    rows = "".join(f"  - {{{variant}}}\n" for variant in variants)
    (folder.path / "dags/pipelines/flights.yaml").write_text(
        f"""\
pipeline_id: {folder.pipeline_id}_{{{{ id }}}}
matrix:
{rows}\
timezone: America/New_York
granularity: "{{{{ g }}}}"
x_time_back: 1d
start_day: 2013-11-03
end_day: 2013-11-03
source: {{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: "{folder.path}/stage/{{{{ id }}}}"}}
target: {{type: duckdb, path: {folder.path}/lake.duckdb, table: "main.{folder.pipeline_id}_{{{{ id }}}}"}}
state: {{type: sql, conn_id: pipeline_state}}
airflow: {{retries: 0}}
"""
    )


def test_a_bad_variant_is_an_import_error_and_the_others_are_dags(folder: Folder) -> None:
    name = folder.pipeline_id
    write_variants(folder, "id: a, g: 5h", "id: b, g: 0s", "id: c, g: 1h")
    dags, errors = parsed(folder)
    assert dags == [f"{name}_a", f"{name}_c"]
    assert list(errors) == ["pipelines/flights.yaml"]
    assert f"in variant {name}_b of line 4" in errors["pipelines/flights.yaml"]


def test_only_the_wanted_variant_is_built_when_a_task_starts(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = folder.pipeline_id
    write_variants(folder, "id: a, g: 5h", "id: b, g: 0s", "id: c, g: 1h")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"{name}_c")
    assert list(folder.dags()) == [f"{name}_c"]


def test_another_variant_does_not_change_what_a_dag_shows(folder: Folder) -> None:
    """Airflow would make a new version of each DAG of the file."""
    name = folder.pipeline_id
    write_variants(folder, "id: a, g: 5h", "id: b, g: 1h")
    before = folder.dags()
    assert "matrix: [{id: a, g: 5h}]" in before[f"{name}_a"].doc_md
    assert "id: b" not in before[f"{name}_a"].doc_md
    write_variants(folder, "id: a, g: 5h", "id: c, g: 2h", "id: d, g: 1h")
    assert folder.dags()[f"{name}_a"].doc_md == before[f"{name}_a"].doc_md


def test_a_variant_moves_its_windows(folder: Folder, run_dag: Callable[..., Any]) -> None:
    write_variants(folder, "id: a, g: 5h", "id: b, g: 1h")
    folder.pipeline_id += "_b"
    assert run_dag(folder.dag()).state == "success"
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T05:00:00Z")
