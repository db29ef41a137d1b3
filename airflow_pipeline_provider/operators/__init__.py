"""Airflow operators for the phases, for generated DAGs and for DAGs written by hand.

    generate_window >> validate >> extract >> stage >> load >> audit      and generate_window >> each of them

Make `generate_window` upstream of every task: Airflow then skips a task that is cleared alone after a run that had
nothing to do.  `MoveWindowOperator` does the work of all of them in one task.
"""

from airflow_pipeline_provider.operators.audit import AuditOperator
from airflow_pipeline_provider.operators.drain import DrainOperator
from airflow_pipeline_provider.operators.extract import ExtractOperator
from airflow_pipeline_provider.operators.generate import GenerateWindowOperator
from airflow_pipeline_provider.operators.load import LoadOperator
from airflow_pipeline_provider.operators.move import MoveWindowOperator
from airflow_pipeline_provider.operators.own_task import OwnTaskOperator
from airflow_pipeline_provider.operators.stage import StageOperator
from airflow_pipeline_provider.operators.validate import ValidateWindowOperator

__all__ = [
    "AuditOperator",
    "DrainOperator",
    "ExtractOperator",
    "GenerateWindowOperator",
    "LoadOperator",
    "MoveWindowOperator",
    "OwnTaskOperator",
    "StageOperator",
    "ValidateWindowOperator",
]
