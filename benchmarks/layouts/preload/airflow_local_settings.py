"""Imported by the scheduler at its start: the executor forks every task from it, with these libraries in memory.

Those of the pipelines and those of the hand-written DAGs, so that neither pays for imports.
"""

from airflow.providers.amazon.aws.hooks import s3  # noqa: F401
from airflow.providers.elasticsearch.hooks import elasticsearch  # noqa: F401
from airflow.providers.snowflake.hooks import snowflake  # noqa: F401

from airflow_pipeline_provider.preload import preload

preload("elasticsearch", "object_store", "snowflake", "sql")
