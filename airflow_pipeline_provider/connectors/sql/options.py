"""The section `source` of type `sql` in a pipeline file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airflow_pipeline_provider.config.options import ConnId, DurationSeconds, SourceOptions, printable
from airflow_pipeline_provider.core.datasets import table_parts
from airflow_pipeline_provider.core.days import zone_of


def _listed(value: object) -> object:
    """Return a list as a tuple, which the strict reading of a file requires."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)]


class SqlSourceOptions(SourceOptions):
    """Options of a source of type sql.

    `source: {type: sql, conn_id: warehouse, table: public.weather, time_column: time_hour, key_columns: [id]}`
    """

    takes_fields = True

    type: Literal["sql"]
    conn_id: ConnId = Field(min_length=1, description="Airflow connection of any type with a DB-API hook.")
    table: str | None = Field(
        None,
        min_length=1,
        description="Table or view, such as public.weather, in the case that the database has.",
    )
    query: str | None = Field(None, min_length=1, description="SELECT without `;`, instead of a table.")
    time_column: str = Field(min_length=1, description="Column with the event time.")
    time_column_zone: str | None = Field(
        None, description="Time zone of values without an offset, such as UTC or Europe/Berlin."
    )
    key_columns: Names = Field(
        min_length=1, description="Columns that together identify a row and are never NULL."
    )
    change_column: str | None = Field(
        None,
        min_length=1,
        description="Column that grows with every change of a row, such as updated_at; null: updates in place are "
        "not seen.",
    )
    columns: Names | None = Field(
        None, min_length=1, description="Columns of BODY, in this order; null: all."
    )
    page_size: int = Field(
        5000, ge=1, le=100_000, strict=True, description="Number of rows that are read at once."
    )
    name: str | None = Field(
        None,
        min_length=1,
        description="SOURCE_NAME, and the beginning of RECORD_ID; null: the name of the table.",
    )
    statement_timeout: DurationSeconds = Field(
        900,
        ge=3,
        le=86_400,
        description="Time limit of a statement, on PostgreSQL only, such as 15m; 3s to 1d.",
    )

    @field_validator("table")
    @classmethod
    def _whole_parts(cls, value: str | None) -> str | None:
        if value is not None:
            table_parts(printable(value))
        return value

    @field_validator("query")
    @classmethod
    def _one_statement(cls, value: str | None) -> str | None:
        """Refuse a second statement, which could end the read-only transaction of the query."""
        if value is not None and ";" in value.strip().rstrip(";"):
            raise ValueError(
                "must be one statement without ';' in it, also in texts and comments: write chr(59) in a text"
            )
        return value

    @field_validator("time_column_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            zone_of(value)
        return value

    @model_validator(mode="after")
    def _table_or_query(self) -> SqlSourceOptions:
        if (self.table is None) == (self.query is None):
            raise ValueError(f"needs exactly one of table and query, got {'both' if self.table else 'none'}")
        return self

    @property
    def source_name(self) -> str:
        return self.name or self.table or "query"
