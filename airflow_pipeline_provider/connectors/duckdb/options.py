"""The section `target` of type `duckdb` in a pipeline file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from airflow_pipeline_provider.config.options import Naming, TargetOptions
from airflow_pipeline_provider.config.policy import folder_problem
from airflow_pipeline_provider.connectors.sql_dialect import TargetDialect

DIALECT = TargetDialect(
    name="duckdb",
    text="VARCHAR",
    instant="TIMESTAMP WITH TIME ZONE",
    body="VARCHAR",  # not JSON: text stays as it is, byte for byte
    integer="BIGINT",
    read_instant="epoch_us({})",  # a datetime would need pytz
    body_hash="sha256({})",
)


class DuckDBOptions(TargetOptions):
    """Options of `target: {type: duckdb, path: /data/warehouse.duckdb, table: main.flights}`."""

    longest_column: ClassVar[int | None] = 255

    type: Literal["duckdb"] = "duckdb"
    path: str = Field(description="Absolute path of the DuckDB file, which is created if it is missing.")
    table: str = Field(description="Table, such as raw.flights; without a schema it is in main.")

    naming: Naming = Field(
        default="lower",
        description="Case of the typed views' names and of their columns: upper, lower or as_is.",
    )

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not Path(value).is_absolute() or value.endswith("/") or "\x00" in value:
            raise ValueError(
                f"must be the absolute path of a file, such as /data/warehouse.duckdb, got {value!r}"
            )
        if problem := folder_problem("target_roots", value):
            raise ValueError(problem)
        return value

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str, info: ValidationInfo) -> str:
        """Refuse `x.y` where `x` is a database: DuckDB refuses a name that is a schema and a database."""
        parts = [part.lower() for part in DIALECT.parse_name(value).parts]
        file = Path(info.data.get("path", "")).name.partition(".")[0].lower()
        databases = {"temp", "system", *({file} - {"main"})}  # a file called main is the database main_db
        if len(parts) == 2 and parts[0] in databases:
            raise ValueError(
                f"must have another schema than {parts[0]}, which is the name of a database here (DuckDB names "
                f"it after the file), got {value!r}"
            )
        return value
