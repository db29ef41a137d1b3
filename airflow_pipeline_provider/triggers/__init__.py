"""What Airflow's triggerer waits for on behalf of deferred tasks."""

from airflow_pipeline_provider.triggers.day_complete import DayCompleteTrigger

__all__ = ["DayCompleteTrigger"]
