"""A DAG written by hand from the operators: whole days of orders, checked and loaded, then a report.

The operators need only the pipeline file, which they read when a task runs, and the arrows below. `generate_window`
is above every task of the pipeline, so that clearing one of them skips it again after a run that had nothing to do.
`audit` is also below `validate`, for windows that are loaded already.
"""

from __future__ import annotations

from typing import Any

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
    "example_by_hand",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="America/New_York"),
    catchup=False,
    max_active_runs=1,
    default_args={"pipeline": "by_hand/example_order_days.yaml", "retries": 2},
    tags=["example"],
    doc_md=__doc__,
) as dag:
    window = GenerateWindowOperator(task_id="generate_window")
    validate = ValidateWindowOperator(task_id="validate")
    extract = ExtractOperator(task_id="extract", execution_timeout=pendulum.duration(hours=1))
    stage = StageOperator(task_id="stage")
    load = LoadOperator(task_id="load")
    audit = AuditOperator(task_id="audit")

    @task
    def report(record: dict[str, Any], counts: dict[str, Any]) -> str:
        """Use the window's record and the counts of its commit."""
        return f"{record['TARGET_DAY']}: rows {counts['target_rows']}, token {counts['token']}"

    window >> validate >> extract >> stage >> load >> audit
    window >> [extract, stage, load, audit]
    validate >> audit
    report(window.output, audit.output)
