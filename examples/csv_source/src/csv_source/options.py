"""Define the keys of the section `source` with `type: csv`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_pipeline_provider.config import ConnId, SourceOptions


class CsvOptions(SourceOptions):
    """Options of source `csv`; unknown keys and wrong values are reported with their line."""

    type: Literal["csv"] = Field(description="Name of the connector.")
    conn_id: ConnId = Field(description="Airflow connection of type File (path).")
    files: str = Field(
        min_length=1, description="Pattern of the files below the connection's path: orders/*.csv."
    )
    key_column: str = Field(description="Column that identifies a row.")
    time_column: str = Field(description="Column with the row's time, ISO 8601 with an offset.")
    page_size: int = Field(default=10_000, ge=1, le=100_000, description="Rows in a batch.")
