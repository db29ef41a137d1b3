"""Define how SQL differs in SQLite, and the keys of the section `target` with `type: sqlite`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from airflow_pipeline_provider.config import ConnId, TargetOptions
from airflow_pipeline_provider.connectors import TargetDialect

# SQLite has no type for instants: they are ISO 8601 texts of one length in UTC, which sort by time and which its date
# functions read.  INT is what it calls an integer column of CREATE TABLE ... AS.
DIALECT = TargetDialect(
    name="sqlite",
    text="TEXT",
    instant="TEXT",
    body="TEXT",
    integer="INT",
    now="strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
    name_rule="a name of letters, digits, _ and $, not beginning with a digit, or in double quotes",
)


class SqliteOptions(TargetOptions):
    """Options of target `sqlite`; unknown keys and wrong values are reported with their line."""

    type: Literal["sqlite"] = Field(description="Name of the connector.")
    conn_id: ConnId = Field(
        description="Airflow connection of type SQLite; its host is the path of the file."
    )
    table: str = Field(description="The table, without a schema: flights.")

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str) -> str:
        if len(DIALECT.parse_name(value).parts) > 1:
            raise ValueError(f"must be {DIALECT.name_rule}, and without a schema, got {value!r}")
        return value
