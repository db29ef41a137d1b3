"""Load part files into PostgreSQL."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["PostgresTarget"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"connectors.postgres.target": ["PostgresTarget"]})
