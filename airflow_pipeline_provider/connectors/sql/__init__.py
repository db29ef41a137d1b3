"""Read windows of rows from a SQL database."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["SqlSource"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.sql.source import SqlSource
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"connectors.sql.source": ["SqlSource"]})
