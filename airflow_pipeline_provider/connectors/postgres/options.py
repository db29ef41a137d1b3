"""The section `target` of type `postgres` in a pipeline file."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from airflow_pipeline_provider.config.options import ConnId, DurationSeconds, Naming, TargetOptions
from airflow_pipeline_provider.connectors.postgres import sql

_LONGEST = sql.DIALECT.longest_name


class PostgresOptions(TargetOptions):
    """Options of `target: {type: postgres, conn_id: warehouse, table: raw.flights}`."""

    longest_column: ClassVar[int | None] = _LONGEST

    type: Literal["postgres"] = "postgres"
    conn_id: ConnId = Field(
        default="postgres_default", min_length=1, description="Airflow connection of type Postgres."
    )
    table: str = Field(
        description="Table, such as raw.flights; without a schema, the first one of the connection's search_path."
    )
    statement_timeout: DurationSeconds = Field(
        default=900,
        ge=3,
        le=86_400,
        description="Time limit of a statement, and of a COPY without progress, such as 15m; 3s to 1d.",
    )

    require_jsonb: bool = Field(
        default=True,
        strict=True,
        description="Accept only documents that cast to jsonb (audit.on_reject); false stores any text.",
    )

    naming: Naming = Field(
        default="lower",
        description="Case of the typed views' names and of their columns: upper, lower or as_is.",
    )

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str) -> str:
        parts = sql.DIALECT.parse_name(value).parts
        longest = max((len(part) for part in parts[:-1]), default=0)
        if len(parts) > 2 or longest > _LONGEST or len(f"{parts[-1]}_COMMITS") > _LONGEST:
            raise ValueError(
                f"must be table or schema.table, the table of at most {_LONGEST - len('_COMMITS')} characters and "
                f"the schema of at most {_LONGEST} (longer names are cut off by PostgreSQL), got {value!r}"
            )
        return value
