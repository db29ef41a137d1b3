"""What Airflow discovers: this package as a provider.

Airflow calls `get_provider_info` before its own configuration is ready, so nothing is imported here.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The description that Airflow's provider discovery asks for (entry point `apache_airflow_provider`)."""
    from airflow_pipeline_provider import __version__

    return {
        "package-name": "airflow-pipeline-provider",
        "name": "Pipelines",
        "description": "Time windows of data, moved exactly once: a YAML file per pipeline becomes a DAG.",
        "versions": [__version__],
        "integrations": [{"integration-name": "Pipelines", "tags": ["service"]}],
        "operators": [
            {"integration-name": "Pipelines", "python-modules": ["airflow_pipeline_provider.operators"]},
        ],
        "sensors": [
            {"integration-name": "Pipelines", "python-modules": ["airflow_pipeline_provider.sensors"]},
        ],
        "triggers": [
            {"integration-name": "Pipelines", "python-modules": ["airflow_pipeline_provider.triggers"]},
        ],
        "cli": ["airflow_pipeline_provider.cli.definition.get_pipelines_cli_commands"],
    }
