"""Tasks that wait."""

from airflow_pipeline_provider.sensors.day_complete import DayCompleteSensor

__all__ = ["DayCompleteSensor"]
