"""Imported by the scheduler at its start: the executor forks every task from it, with these libraries in memory.

Without it each task of a test spends seconds of CPU time on importing them, most of what a small window costs.
"""

import elastic_transport  # noqa: F401
import psycopg2  # noqa: F401
import s3fs  # noqa: F401
from airflow.providers.amazon.aws.fs import s3  # noqa: F401
from airflow.providers.snowflake.hooks import snowflake as hooks  # noqa: F401

# The packages import their modules on first use, so name the modules.
import airflow_pipeline_provider.connectors.elasticsearch.source
import airflow_pipeline_provider.connectors.object_store.stage
import airflow_pipeline_provider.connectors.snowflake.target
import airflow_pipeline_provider.factory.dag
import airflow_pipeline_provider.factory.maintenance
import airflow_pipeline_provider.phases.run
import airflow_pipeline_provider.state.sql
import airflow_pipeline_provider.state.variable  # noqa: F401
