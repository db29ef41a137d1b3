"""The section `target` of type `snowflake` in a pipeline file."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from airflow_pipeline_provider.config.options import ByteCount, ConnId, DurationSeconds, Naming, TargetOptions
from airflow_pipeline_provider.connectors.snowflake import sql


class SnowflakeOptions(TargetOptions):
    """Options of `target: {type: snowflake, table: ANALYTICS.RAW.FLIGHTS, external_stage: ANALYTICS.RAW.LAKE}`."""

    longest_column: ClassVar[int | None] = 255

    type: Literal["snowflake"] = "snowflake"
    conn_id: ConnId = Field(
        "snowflake_default", min_length=1, description="Airflow connection of type Snowflake."
    )
    table: str = Field(
        description="Table: DATABASE.SCHEMA.TABLE, or fewer parts if the connection names the others; "
        '"quoted" parts keep their case.'
    )
    external_stage: str | None = Field(
        None, description="External stage that reads stage.path; null: part files are uploaded by PUT."
    )
    external_stage_path: str | None = Field(
        None, description="Path of stage.path below the external stage; null: found by SHOW STAGES."
    )
    max_document_size: ByteCount = Field(
        default=sql.MAX_BODY_BYTES,
        le=sql.MAX_BODY_BYTES,
        description="Largest document that is loaded; 16MiB for an account with that limit of a VARIANT.",
    )
    use_vectorized_scanner: bool = Field(
        default=True,
        strict=True,
        description="Read part files by Snowflake's vectorized Parquet scanner, which is faster and cheaper.",
    )
    statement_timeout: DurationSeconds = Field(
        default=3600,
        ge=3,
        le=86_400,
        description="Time limit of a statement, on server and client, such as 1h; 3s to 1d.",
    )

    naming: Naming = Field(
        default="upper",
        description="Case of the typed views' names and of their columns: upper, lower or as_is.",
    )

    @field_validator("table", "external_stage")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None:
            sql.DIALECT.parse_name(value)
        return value

    @field_validator("external_stage_path")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        if value is not None and any(
            s in ("", ".", "..") for s in value.strip("/").split("/") if value.strip("/")
        ):
            raise ValueError(f"must be a path below the external stage, such as lake/flights, got {value!r}")
        return value
