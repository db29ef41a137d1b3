"""Imported by Airflow's workers at their start: they fork every task from there, with these libraries in memory."""

from airflow_pipeline_provider.preload import preload

preload("elasticsearch", "object_store", "postgres", "sql")
