"""Imported by Airflow's workers at their start: they fork every task from there, with these libraries in memory.

Without it each task imports them anew, a second of CPU and more.
"""

import elastic_transport  # noqa: F401
import psycopg2  # noqa: F401
import pyarrow.parquet  # noqa: F401
from airflow.providers.postgres.hooks import postgres  # noqa: F401

import airflow_pipeline_provider.connectors.sources.elasticsearch
import airflow_pipeline_provider.connectors.stages.object_store
import airflow_pipeline_provider.connectors.targets.postgres_session
import airflow_pipeline_provider.factory
import airflow_pipeline_provider.state.sql_database  # noqa: F401
