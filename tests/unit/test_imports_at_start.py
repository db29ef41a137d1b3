"""Pin the modules that a DAG file and a starting task must not import, by name instead of by time."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGE = "airflow_pipeline_provider"
SECTIONS = (
    "source.elasticsearch",
    "stage.object_store",
    "target.duckdb",
    "target.postgres",
    "state.sql",
    "state.variable",
)
PARSE = f"""
import {PACKAGE}.factory.dag
from {PACKAGE}.connectors.registry import options_model
for key in {SECTIONS!r}:
    options_model(*key.split("."))
"""
# a task imports its own phase when it executes, and never the command line or the kits
NOT_WHEN_PARSING = [
    *("phases.generate", "phases.validate", "phases.extract", "phases.stage", "phases.load", "phases.audit"),
    *("phases.drain", "phases.cleanup", "phases.recheck", "phases.run_phase", "envelope.manifest"),
    *("envelope.parts", "envelope.part_writer", "core.record_generation", "core.record_validation"),
    *("core.reconciliation", "state.sql_database", "state.sql_tables", "state.sql_bulk", "cli", "testing"),
]
NOT_IN_A_TASK = [
    "phases.cleanup",
    "phases.recheck",
    "phases.doctor",
    "phases.rebuild",
    "state.sql_bulk",
    "cli",
    "testing",
]
HEAVY = {
    "pyarrow",
    "duckdb",
    "alembic",
    "s3fs",
    "fsspec",
    "psycopg",
    "psycopg2",
    "snowflake",
    "elastic_transport",
    "rich",
}


def newly_imported(ours: str) -> set[str]:
    """Return the modules that `ours` imports in addition to those of Airflow's task process."""
    script = f"""
import sys
import airflow.sdk, airflow.dag_processing.dagbag
from airflow.sdk.execution_time import task_runner
before = set(sys.modules)
{ours}
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("ours", "forbidden"),
    [
        pytest.param(PARSE, NOT_WHEN_PARSING, id="a DAG file"),
        pytest.param(PARSE + f"import {PACKAGE}.phases.load", NOT_IN_A_TASK, id="a task that loads"),
    ],
)
def test_unneeded_modules_are_not_imported(ours: str, forbidden: list[str]) -> None:
    found = newly_imported(ours)
    assert f"{PACKAGE}.factory.dag" in found
    assert sorted(found & {f"{PACKAGE}.{name}" for name in forbidden}) == []
    assert sorted(found & HEAVY) == []


def test_only_the_api_server_imports_the_page() -> None:
    """Scheduler, workers and DAG processor load every plugin."""
    plugin = f"from airflow import plugins_manager\nimport {PACKAGE}.factory.plugin as p\n"
    loaded = newly_imported(plugin + "p.PipelinePlugin.react_apps, p.PipelinePlugin()")
    assert f"{PACKAGE}.factory.plugin" in loaded
    assert [name for name in loaded if name.partition(".")[0] in ("fastapi", "starlette")] == []
    assert [name for name in loaded if name.startswith(f"{PACKAGE}.web")] == []
    asked = newly_imported(plugin + "p.PipelinePlugin().fastapi_apps")
    assert f"{PACKAGE}.web.app" in asked
