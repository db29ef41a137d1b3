"""The lines of a provider's hook stay out of the log of a task."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.operators.generate import GenerateWindowOperator

from .conftest import Folder
from .test_generated_dag import states


@pytest.fixture
def info_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log from INFO on, as Airflow does; the tests' own level is WARNING."""
    for package in ("airflow", "airflow.sdk"):
        levels = importlib.import_module(f"{package}._shared.logging.structlog").PER_LOGGER_LEVELS
        monkeypatch.setitem(levels, "", logging.INFO)


@pytest.mark.usefixtures("info_logs")
@pytest.mark.parametrize("inside", [True, False], ids=["in the task's work", "outside of it"])
def test_the_aws_hook_logs_no_routine_line_in_a_task(
    folder: Folder, run_dag: Callable[..., Any], capsys: pytest.CaptureFixture[str], inside: bool
) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.sdk import DAG

    class UsesAws(GenerateWindowOperator):
        def execute(self, context: Any) -> Any:
            if not inside:
                AwsBaseHook(aws_conn_id=None, client_type="s3").get_session()
                return None
            with self.runtime(context):
                AwsBaseHook(aws_conn_id=None, client_type="s3").get_session()
                self.log.info("a line of the operator itself")
            return None

    with DAG(f"{folder.pipeline_id}_by_hand", schedule=None) as dag:
        UsesAws(task_id="aws", pipeline=str(folder.write()))
    assert states(run_dag(dag)) == {"aws": "success"}
    log = "".join(capsys.readouterr())
    assert ("No connection ID provided" in log) is not inside
    assert ("a line of the operator itself" in log) is inside
