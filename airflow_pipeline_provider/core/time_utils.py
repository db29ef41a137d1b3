"""Durations, timestamps and days, as the pipeline's configuration and its callers write them."""

from __future__ import annotations

from airflow_pipeline_provider.core.durations import (
    Duration,
    parse_duration,
    parse_time_to_seconds,
    seconds_to_time_string,
)

__all__ = ["Duration", "parse_duration", "parse_time_to_seconds", "seconds_to_time_string"]
