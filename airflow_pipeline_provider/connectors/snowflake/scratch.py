"""The scratch schema of a Snowflake account, the two ways to COPY, and what a run costs by the query history."""

from __future__ import annotations

from airflow_pipeline_provider.connectors.scratch import LoadWay, Right
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.sql_hooks import SqlSession
from airflow_pipeline_provider.connectors.sql_scratch import SchemaObject, SqlScratch
from airflow_pipeline_provider.exceptions import PipelineError

_KINDS = {"TABLES": "TABLE", "VIEWS": "VIEW"}


class SnowflakeScratch(SqlScratch):
    """A schema of a Snowflake account, which must exist."""

    time_zone = "ALTER SESSION SET TIMEZONE = '{}'"
    slow_statement = "CALL SYSTEM$WAIT(30)"
    body_length = f"LENGTH(GET({{}}, 'x')::VARCHAR({sql.MAX_BODY_BYTES}))"

    def objects(self, session: SqlSession) -> list[SchemaObject]:
        return [
            SchemaObject(kind, str(row["name"]))
            for words, kind in _KINDS.items()
            for row in session.execute_dicts(sql.show_in_schema(words, self.schema))  # type: ignore[attr-defined]
        ]

    def describe(self) -> str:
        return (
            f"{super().describe()}. It runs about 400 small statements on the connection's warehouse, in about five "
            "minutes: about 0.1 credits on an X-Small warehouse"
        )

    def grant(self, right: str) -> str:
        return f"GRANT USAGE, {right} ON SCHEMA {self.schema} TO ROLE <the connection's role>"

    def load_ways(self) -> list[LoadWay]:
        external = self.target.options.external_stage
        return [
            LoadWay("COPY of files that PUT uploads", {"external_stage": None, "external_stage_path": None}),
            LoadWay("COPY from the external stage", {} if external else None, _NO_STAGE),
        ]

    def rights(self) -> list[Right]:
        name = sql.DIALECT.object_name(f"{self.name}_RIGHTS_TEMPORARY")  # without a schema, as in a load
        return [
            *super().rights(),
            Right("CREATE TEMPORARY TABLE", sql.create_staged(name), self.grant("CREATE TABLE")),
            Right("CREATE TEMPORARY STAGE", f"CREATE TEMPORARY STAGE {name}", self.grant("CREATE STAGE")),
        ]

    def cost(self) -> str:
        """Return the credits of the run's statements; they are found by the query tag."""
        try:
            with self.target.open_session("certify") as session:
                [(statements, seconds, cloud)] = session.execute(_HISTORY, [f"%{self.name}%"])
        except PipelineError as error:
            return f"unknown: the query history could not be read ({error})"
        if not statements:
            return "unknown: the query history does not list the run's statements"
        return (
            f"{int(statements):,} statements, {float(seconds or 0):.0f} s on the warehouse (billed by its size), "
            f"{float(cloud or 0):.4f} credits of cloud services, by INFORMATION_SCHEMA.QUERY_HISTORY"
        )


_NO_STAGE = "name an external stage by --set external_stage=NAME, and the place that it reads by --stage"
_HISTORY = (
    "SELECT COUNT(*), SUM(EXECUTION_TIME) / 1000, SUM(CREDITS_USED_CLOUD_SERVICES) "
    "FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY(RESULT_LIMIT => 10000)) WHERE QUERY_TAG LIKE %s"
)
