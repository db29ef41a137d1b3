"""Provide the sensor that waits for a complete day."""

from airflow_pipeline_provider.sensors.day_complete import DayCompleteSensor

__all__ = ["DayCompleteSensor"]
