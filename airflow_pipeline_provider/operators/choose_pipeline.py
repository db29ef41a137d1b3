"""Limit a run of the maintenance DAG to one pipeline, by its Param `pipeline`, or to those whose days are due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin

from airflow_pipeline_provider.core.expectations import Deadline, parse_complete_by
from airflow_pipeline_provider.operators.base import run_type_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChoosePipelineOperator(BaseOperator, SkipMixin):
    """Skip the tasks of all other pipelines; without a pipeline, do nothing.

    Airflow skips them without a worker, however many pipelines there are.

    :param pipeline: the pipeline's id; empty: all (templated).
    :param first_tasks: the ids of the tasks directly downstream, by pipeline id.
    """

    template_fields: Sequence[str] = ("pipeline",)
    inherits_from_skipmixin = True
    ui_color = "#d7e8f7"

    def __init__(self, *, pipeline: str, first_tasks: dict[str, list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.first_tasks = first_tasks

    def execute(self, context: Context) -> None:
        if not self.pipeline:
            return
        chosen = self.first_tasks[self.pipeline]  # the DAG's Param accepts no other id
        self.log.info("only pipeline %s", self.pipeline)
        others = [task for task in self.downstream_list if task.task_id not in chosen]
        self.skip(ti=context["ti"], tasks=others)


class ChooseDueOperator(BaseOperator, SkipMixin):
    """Skip the tasks of pipelines of which no day became due in the run's data interval; a manual run skips none.

    :param deadlines: time zone and `day_complete_by` of each task directly downstream, by its id.
    """

    inherits_from_skipmixin = True
    ui_color = "#d7e8f7"

    def __init__(self, *, deadlines: dict[str, list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deadlines = deadlines

    def execute(self, context: Context) -> None:
        run = context["dag_run"]
        start, end = run.data_interval_start, run.data_interval_end
        if start is None or end is None or run_type_of(run) != "scheduled":
            return
        due = {
            task_id
            for task_id, (zone, text) in self.deadlines.items()
            if Deadline(zone, parse_complete_by(text)).last_until(end) > start
        }
        self.log.info("days of %d of %d pipelines became due", len(due), len(self.deadlines))
        self.skip(ti=context["ti"], tasks=[task for task in self.downstream_list if task.task_id not in due])
