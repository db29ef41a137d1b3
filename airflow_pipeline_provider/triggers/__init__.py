"""Provide the trigger that waits for a complete day on behalf of a deferred task."""

from airflow_pipeline_provider.triggers.day_complete import DayCompleteTrigger

__all__ = ["DayCompleteTrigger"]
