"""Load part files into Snowflake."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["SnowflakeTarget"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"connectors.snowflake.target": ["SnowflakeTarget"]})
