"""A task reacts to each error as documented in the reference of errors."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError, TransientError
from docs import reference

from .conftest import Folder


def raised_by_task(outcome: str) -> type[BaseException]:
    """Return the exception by which a task gets this outcome from Airflow."""
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSkipException,
    )

    return {
        "The task is retried": TransientError,  # any exception but Airflow's own
        "The task waits": AirflowRescheduleException,
        "The task ends as skipped": AirflowSkipException,
        "The task fails and is not retried": AirflowFailException,
    }[next(words for words in SENTENCES if outcome.startswith(words))]


SENTENCES = (
    "The task is retried",
    "The task waits",
    "The task ends as skipped",
    "The task fails and is not retried",
)


@pytest.mark.usefixtures("airflow_db")  # tasks read the installation's id
@pytest.mark.parametrize("error", reference.error_classes(), ids=lambda error: error.__name__)
def test_a_task_does_what_the_reference_says(error: type[PipelineError], folder: Folder) -> None:
    from airflow_pipeline_provider.operators.base import PipelineOperator

    config = load_pipeline(folder.write(), options_model=options_model)
    context: Any = {
        "ti": SimpleNamespace(task_id="phase", map_index=-1, try_number=1, max_tries=3),
        "dag_run": SimpleNamespace(dag_id=folder.pipeline_id, run_id="r1"),
    }
    operator = PipelineOperator(task_id="phase", pipeline=config)
    now = datetime.now(timezone.utc)
    raised = LeaseHeldError("another run", now, now) if error is LeaseHeldError else error("it happened")
    with pytest.raises(raised_by_task(reference.outcome(error))), operator.runtime(context):
        raise raised
