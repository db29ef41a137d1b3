"""Load part files into DuckDB database files."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["DuckDBTarget"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"connectors.duckdb.target": ["DuckDBTarget"]})
