"""Imported by the scheduler at its start: the executor forks every task from it, with these libraries in memory."""

from airflow_pipeline_provider.preload import preload

preload("elasticsearch", "object_store", "snowflake", "sql", "variable")
