"""Check that this Airflow has human-in-the-loop forms, which `airflow.decide_shrinkage` needs."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from airflow_pipeline_provider.config.loader import located
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.problems import Problem
from airflow_pipeline_provider.operators.executor_config import TaskSettingError

MODULE = "airflow.providers.standard.operators.hitl"
PROVIDER = "apache-airflow-providers-standard"
PARAMETER = "response_timeout"
"""Argument of `HITLOperator` that versions of the provider before 1.12.2 lack."""
FORM_SUFFIX = ".shrinkage"


def shrinkage_dag_id(pipeline_id: str) -> str:
    """Return the id of the DAG whose runs show the pipeline's form."""
    return f"{pipeline_id}{FORM_SUFFIX}"


def check_form(config: PipelineConfig) -> None:
    """Raise TaskSettingError if the pipeline asks in a form and the installed provider has none."""
    if config.airflow.decide_shrinkage is None or _has_forms():
        return
    raise TaskSettingError(
        ("airflow", "decide_shrinkage"),
        f"needs {PROVIDER} 1.12.2 or newer, whose HITLOperator has {PARAMETER}: upgrade the package, or remove the "
        "key",
    )


def form_problems(config: PipelineConfig, file: Path) -> list[Problem]:
    """Return what `check_form` raises, with the line in the pipeline file."""
    try:
        check_form(config)
    except TaskSettingError as wrong:
        return [located(file, config, wrong.path, wrong.reason)]
    return []


def _has_forms() -> bool:
    try:
        operator = import_module(MODULE).HITLOperator
    except ImportError:
        return False
    return PARAMETER in inspect.signature(operator.__init__).parameters
