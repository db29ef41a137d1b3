"""Imported by the scheduler at its start: the executor forks every task from it, with these libraries in memory.

Without it each task of a test spends seconds of CPU time on importing them, most of what a small window costs.
"""

import elastic_transport  # noqa: F401
import psycopg2  # noqa: F401
import s3fs  # noqa: F401
from airflow.providers.amazon.aws.fs import s3  # noqa: F401
from airflow.providers.snowflake.hooks import snowflake as hooks  # noqa: F401

import airflow_pipeline_provider.factory  # noqa: F401
