"""A DAG written by hand from the operators: whole days of weather, with a task of one's own before and after.

The operators need only the pipeline file (read when a task runs) and the arrows below. `generate_window` must stand
above every task of the pipeline; `audit` also below `validate`, for windows that are loaded already.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, task

from airflow_pipeline_provider import (
    AuditOperator,
    ExtractOperator,
    GenerateWindowOperator,
    LoadOperator,
    StageOperator,
    ValidateWindowOperator,
)

with DAG(
    "weather_by_hand",
    schedule=None,
    start_date=pendulum.datetime(2013, 11, 1, tz="America/New_York"),
    catchup=False,
    max_active_runs=1,
    default_args={"pipeline": "by_hand/daily_weather.yaml", "retries": 2},
    tags=["example"],
    doc_md=__doc__,
) as dag:
    window = GenerateWindowOperator(task_id="generate_window")
    validate = ValidateWindowOperator(task_id="validate")
    extract = ExtractOperator(task_id="extract")
    stage = StageOperator(task_id="stage")
    load = LoadOperator(task_id="load")
    audit = AuditOperator(task_id="audit")

    @task
    def report(record: dict, counts: dict) -> str:
        """Something of one's own, with the window's record and its counts."""
        return f"{record['TARGET_DAY']}: {counts['target_rows']} rows, token {counts['token']}"

    window >> validate >> extract >> stage >> load >> audit
    window >> [extract, stage, load, audit]
    validate >> audit
    report(window.output, audit.output)
