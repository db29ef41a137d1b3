"""Build the DAG of a pipeline's form about windows that shrank at the source."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from airflow_pipeline_provider.config.airflow_options import ShrinkageForm
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.factory.task_settings import dag_arguments, default_args
from airflow_pipeline_provider.operators.decide_shrinkage import (
    ApplyShrinkageOperator,
    DecideShrinkageOperator,
)
from airflow_pipeline_provider.operators.hitl import shrinkage_dag_id

KEPT_ARGUMENTS = ("tags", "owner_links", "access_control")
"""Arguments of the pipeline's own DAG that this one has too: who may edit its runs may answer."""


def build_shrinkage_dag(config: PipelineConfig, form: ShrinkageForm, start_date: Any) -> DAG:
    """Build the DAG; the maintenance DAG starts its runs, one at a time."""
    shared = {key: value for key, value in dag_arguments(config).items() if key in KEPT_ARGUMENTS}
    common = default_args(config)
    dag = DAG(
        dag_id=shrinkage_dag_id(config.pipeline_id),
        schedule=None,
        start_date=start_date,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # each run was asked for by the maintenance DAG, which is not paused
        description=f"Decide about windows of {config.pipeline_id} that shrank at the source",
        doc_md=(
            "The maintenance DAG starts a run when windows of the pipeline have fewer rows in the source than were "
            "committed. Its task `decide` shows a form (*Required Actions*): accept deletes the rows in the target "
            "too, keep waives the windows, later changes nothing."
        ),
        **shared,
    )
    with dag:
        # `execution_timeout` is for work; the form has a timeout of its own
        decide = DecideShrinkageOperator(
            task_id="decide", pipeline=config, form=form, **{**common, "execution_timeout": None}
        )
        apply = ApplyShrinkageOperator.partial(
            task_id="apply",
            pipeline=config,
            map_index_template=ApplyShrinkageOperator.label_template,
            **common,
        )
        apply.expand(window=decide.output)
    return dag
