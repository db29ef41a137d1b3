"""Imported by Airflow's workers at their start: they fork every task from there, with these libraries in memory.

Without it each task imports them anew, a second of CPU and more.
"""

import elastic_transport  # noqa: F401
import psycopg2  # noqa: F401
import pyarrow.parquet  # noqa: F401
from airflow.providers.postgres.hooks import postgres  # noqa: F401

import airflow_pipeline_provider.connectors.elasticsearch.source
import airflow_pipeline_provider.connectors.object_store.stage
import airflow_pipeline_provider.connectors.postgres.session
import airflow_pipeline_provider.factory
import airflow_pipeline_provider.state.sql_database  # noqa: F401
