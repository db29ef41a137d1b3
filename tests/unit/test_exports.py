"""Pin the names that each package exports, so that none is added or removed by accident."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_pipeline_provider

PACKAGE = "airflow_pipeline_provider"
OPERATORS = [
    "AuditOperator",
    "DrainOperator",
    "ExtractOperator",
    "GenerateWindowOperator",
    "LoadOperator",
    "MoveWindowOperator",
    "OwnTaskOperator",
    "StageOperator",
    "ValidateWindowOperator",
]
RECORD_FUNCTIONS = [
    "build_complete_pipeline_record",
    "build_window_record",
    "calculate_day_from_timestamp",
    "calculate_time_window",
    "convert_to_pendulum",
    "generate_pipeline_time_window_record",
    "parse_time_to_seconds",
    "seconds_to_time_string",
]
EXPORTS = {
    "": [
        *OPERATORS,
        "DayCompleteSensor",
        "DayCompleteTrigger",
        "OwnTaskWindow",
        "PipelineError",
        "WholeDayMapper",
        "load_maintenance",
        "load_pipelines",
        *RECORD_FUNCTIONS,
    ],
    "cli": [],
    "config": [
        "ByteCount",
        "ConnId",
        "DurationSeconds",
        "PipelineConfig",
        "SourceOptions",
        "StageOptions",
        "StateOptions",
        "TargetOptions",
        "load_folder",
        "load_pipeline",
    ],
    "connectors": [
        "Answer",
        "Body",
        "BodyReport",
        "CommitRow",
        "FieldType",
        "Identity",
        "LoadProtocol",
        "LoadResult",
        "ObjectName",
        "RecordIdForm",
        "Slice",
        "Source",
        "SqlSession",
        "SqlTarget",
        "Stage",
        "StageFile",
        "TargetTables",
        "Target",
        "TargetCounts",
        "TargetDialect",
        "TargetLimits",
        "WriteConflictError",
        "get_connection",
        "register",
        "require",
        "retry_conflicts",
    ],
    "connectors.duckdb": ["DuckDBTarget"],
    "connectors.elasticsearch": ["ElasticsearchSource"],
    "connectors.object_store": ["ObjectStoreStage"],
    "connectors.postgres": ["PostgresTarget"],
    "connectors.snowflake": ["SnowflakeTarget"],
    "connectors.sql": ["SqlSource"],
    "core": ["Interval", "Window"],
    "envelope": ["ENVELOPE", "Manifest", "iter_parts"],
    "factory": ["build_dag", "build_maintenance", "load_maintenance", "load_pipelines"],
    "observability": [],
    "operators": OPERATORS,
    "phases": [],
    "sensors": ["DayCompleteSensor"],
    "state": ["Lease", "Snapshot", "State"],
    "state.migrations": [],
    "testing.properties": [],
    "testing": [
        "Expected",
        "KitRow",
        "Loaded",
        "SnapshotConformance",
        "SourceConformance",
        "SqlTargetConformance",
        "StageConformance",
        "StateConformance",
        "TargetConformance",
    ],
    "triggers": ["DayCompleteTrigger"],
    "views": [],
    "web": [],
}
# The signatures that callers of other packages rely on: names, kinds and defaults of the parameters.
SIGNATURES = {
    "load_pipelines": "(namespace, folder)",
    "load_maintenance": (
        "(namespace, folder, *, schedule='0 6 * * *', days=7, on_shrink='fail', dag_id='pipelines_maintenance')"
    ),
    "calculate_time_window": "(target_day, granularity, continuation_timestamp=None)",
    "generate_pipeline_time_window_record": "(final_config, *, reference_time, latest_timestamp_available)",
    "build_complete_pipeline_record": (
        "(final_config, *, reference_time, latest_timestamp_available, record_functions=None)"
    ),
    "build_window_record": "(final_config, interval, day=None, *, record_functions=None)",
    "calculate_day_from_timestamp": "(timestamp, time_back, timezone, *, name='timestamp')",
    "convert_to_pendulum": "(timestamp, timezone=None, *, name='timestamp')",
    "parse_time_to_seconds": "(text)",
    "seconds_to_time_string": "(seconds)",
}


def full_name(package: str) -> str:
    return f"{PACKAGE}.{package}" if package else PACKAGE


def packages() -> Iterator[str]:
    yield ""
    for module in pkgutil.walk_packages(airflow_pipeline_provider.__path__, f"{PACKAGE}."):
        if module.ispkg:
            yield module.name.removeprefix(f"{PACKAGE}.")


def test_each_package_pins_its_exports() -> None:
    found = {package: sorted(importlib.import_module(full_name(package)).__all__) for package in packages()}
    assert found == {package: sorted(names) for package, names in EXPORTS.items()}


@pytest.mark.parametrize(
    "package", [name for name in EXPORTS if EXPORTS[name]], ids=lambda name: name or "root"
)
def test_each_exported_name_resolves(package: str) -> None:
    module = importlib.import_module(full_name(package))
    for name in EXPORTS[package]:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = module.no_such_name


@pytest.mark.parametrize(("name", "expected"), SIGNATURES.items(), ids=list(SIGNATURES))
def test_signatures_are_true(name: str, expected: str) -> None:
    signature = inspect.signature(getattr(airflow_pipeline_provider, name))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    assert str(inspect.Signature(bare)) == expected


@pytest.mark.parametrize("package", ["", "config", "connectors", "core", "factory", "state", "testing"])
def test_importing_a_package_imports_nothing_of_its_parts(package: str) -> None:
    """Airflow's provider discovery imports the package before Airflow's configuration is ready."""
    script = f"""
import sys
import {full_name(package)}
print(*sorted(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names))
"""
    # -S: without the .pth files of site-packages, which may import anything
    command = [sys.executable, "-S", "-c", script]
    root = str(airflow_pipeline_provider.__path__[0]).removesuffix(PACKAGE)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": root}, timeout=120
    )
    parents = {PACKAGE, full_name(package), f"{PACKAGE}.lazy_exports", f"{PACKAGE}.garbage_collection"}
    assert set(done.stdout.split()) - {"__main__"} == parents


def test_the_changelog_has_the_version() -> None:
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    assert f"\n## {airflow_pipeline_provider.__version__} - " in changelog
