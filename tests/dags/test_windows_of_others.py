"""A task that receives another run's window fails and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.operators.validate import ValidateWindowOperator

from .conftest import Folder
from .test_generated_dag import states, xcom


def test_the_window_of_another_run_is_refused(
    folder: Folder, run_dag: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.sdk import DAG, task

    file = folder.write(backlog="wait")
    first = run_dag(folder.dag())
    window = xcom(first, "generate_window", "window")
    before = folder.target()

    with DAG(f"{folder.pipeline_id}_by_hand", schedule=None) as dag:

        @task(task_id="generate_window")
        def hand_over(**context: Any) -> None:
            context["ti"].xcom_push(key="window", value=window)

        hand_over() >> ValidateWindowOperator(task_id="validate", pipeline=str(file))
    run = run_dag(dag)
    assert states(run) == {"generate_window": "success", "validate": "failed"}
    assert f"gave that of {window['run']}" in "".join(capsys.readouterr())
    assert folder.target() == before
