"""The statements of typed views on Snowflake, by a parser of its language: no server needed."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from tests.connectors.typed_cases import COLUMNS, column, flights

# what the statements call, all of it documented by Snowflake
FUNCTIONS = {
    "AS_OBJECT",
    "IS_OBJECT",
    "OBJECT_DELETE",
}


def statements(*columns, **options):
    given = SnowflakeTarget.Options(table="ANALYTICS.RAW.FLIGHTS", **options)
    return SnowflakeTarget(given, flights(*columns)).typed_statements()


def test_the_statements_are_snowflakes_sql():
    rows = column("LEGS", "rows", columns=(column("GATE", "text"), column("PIN", "text", mask="sha256")))
    made = statements(*COLUMNS.values(), column("X", "json", "x.y.z"), rows)
    assert len(made) == 2
    for statement in made:
        [parsed] = sqlglot.parse(statement, read="snowflake")
        assert isinstance(parsed, exp.Create)
        assert {call.name for call in parsed.find_all(exp.Anonymous)} <= FUNCTIONS
        assert parsed.sql("snowflake") == sqlglot.parse_one(parsed.sql("snowflake"), read="snowflake").sql(
            "snowflake"
        )


def test_a_view_has_its_comment_and_keeps_its_grants():
    [made] = statements(column("A", "integer"))
    assert made.startswith(
        'CREATE OR REPLACE VIEW "ANALYTICS"."RAW"."FLIGHTS_TYPED" COMMENT = \'{"pipeline_id"'
    )
    assert '"EVENT_TIME" AS "EVENT_TIME"' in made
