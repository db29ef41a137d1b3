"""Build the DAG that judges pipelines at the time by which their days must be complete (`expect.day_complete_by`).

The maintenance DAG judges when its schedule runs it, which may be hours later.  A DAG of its own, since its run must
not wait for a recheck.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import DAG

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.factory.task_settings import default_args
from airflow_pipeline_provider.factory.timetable import DeadlineTimetable
from airflow_pipeline_provider.operators.choose_pipeline import ChooseDueOperator
from airflow_pipeline_provider.operators.maintenance import ExpectationsOperator

SUFFIX = ".deadlines"


def build_deadlines(
    configs: Iterable[PipelineConfig], *, days: int, dag_id: str, start_date: Any
) -> DAG | None:
    """Build the DAG, one task for each pipeline with `day_complete_by`; None if there is no such pipeline."""
    judged = {
        config.pipeline_id: (config, (config.timezone, str(config.expectations.complete_by)))
        for config in configs
        if config.expectations.complete_by is not None
    }
    if not judged:
        return None
    dag = DAG(
        dag_id=dag_id,
        schedule=DeadlineTimetable({pair for _, pair in judged.values()}),
        start_date=start_date,
        catchup=False,
        max_active_runs=1,
        tags=["expectations"],
        doc_md=(
            "Judges each pipeline by `expect` when its `day_complete_by` is reached, so that a late day is noticed "
            "then and not when the maintenance DAG runs next. A run started by hand judges all."
        ),
    )
    with dag:
        choose = ChooseDueOperator(
            task_id="choose_due", deadlines={_task_id(name): list(pair) for name, (_, pair) in judged.items()}
        )
        choose >> [
            ExpectationsOperator(task_id=_task_id(name), pipeline=config, days=days, **default_args(config))
            for name, (config, _) in judged.items()
        ]
    return dag


def _task_id(pipeline_id: str) -> str:
    return f"expectations__{pipeline_id}"
