"""Describe this package to Airflow's provider discovery.

Airflow calls `get_provider_info` before its own configuration is ready, so this module imports nothing else.
"""

from __future__ import annotations

from typing import Any

_SETTINGS = {
    "allowed_modules": (
        "Python modules (and their submodules) whose functions record_functions and own_tasks may name, and whose "
        "notifiers airflow.on_failure and its siblings, separated by commas; ./ allows Python files next to pipeline "
        "files. Empty: none.",
        "mycompany.records",
    ),
    "installation": (
        "Name of this Airflow installation in the leases of a state that several installations share: 1 to 64 "
        "letters, digits, '.', '_' or '-'. Empty: a random id, kept in the Variable pipelines.installation.",
        "blue",
    ),
    "stage_roots": (
        "Folders and URLs (without connection ids) below which stage.path must be, separated by commas. "
        "Empty: no restriction.",
        "/data/stage, s3://lake/pipelines",
    ),
    "target_roots": (
        "Folders below which the files of targets such as DuckDB must be, separated by commas. "
        "Empty: no restriction.",
        "/data/warehouse",
    ),
}


_OPERATORS = (
    "audit",
    "broken_files",
    "choose_pipeline",
    "decide_shrinkage",
    "drain",
    "extract",
    "generate",
    "load",
    "own_task",
    "maintenance",
    "move",
    "stage",
    "validate",
)


def _modules(package: str, *names: str) -> dict[str, Any]:
    modules = [f"airflow_pipeline_provider.{package}.{name}" for name in names]
    return {"integration-name": "Pipelines", "python-modules": modules}


def get_provider_info() -> dict[str, Any]:
    """Return the provider description for Airflow (entry point `apache_airflow_provider`)."""
    from airflow_pipeline_provider import __version__

    return {
        "package-name": "airflow-pipeline-provider",
        "name": "Pipelines",
        "description": "Move time windows of data exactly once: a YAML file per pipeline becomes a DAG.",
        "versions": [__version__],
        "integrations": [{"integration-name": "Pipelines", "tags": ["service"]}],
        "operators": [_modules("operators", *_OPERATORS)],
        "sensors": [_modules("sensors", "day_complete")],
        "triggers": [_modules("triggers", "day_complete")],
        # No "plugins": ours is an entry point (`airflow.plugins`). Airflow loads plugins of provider info only with
        # [core] lazy_discover_providers off, and refuses a second plugin of one name.
        "config": {
            "pipelines": {
                "description": "Restrict what pipeline files may do in this deployment.",
                "options": {
                    name: {
                        "description": description,
                        "version_added": None,
                        "type": "string",
                        "example": example,
                        "default": "",
                    }
                    for name, (description, example) in _SETTINGS.items()
                },
            }
        },
        "cli": ["airflow_pipeline_provider.cli.definition.get_pipelines_cli_commands"],
    }
