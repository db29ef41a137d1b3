"""Names and statements of a dialect that quotes with backticks, as BigQuery does."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.registrations import register, rename
from airflow_pipeline_provider.connectors.sql_dialect import TargetDialect
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.testing.sample_rows import hours

BACKTICKS = TargetDialect(
    name="bigquery",
    placeholder="%s",
    quoting="`{}`",
    text="STRING",
    instant="TIMESTAMP",
    body="STRING",
    integer="INT64",
    bare_part=r"[A-Za-z0-9_][A-Za-z0-9_-]*",
    quoted_part=r"[A-Za-z0-9_ -]+",
    name_rule="project.dataset.table",
)


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        ("my-project-1.raw.flights", "`my-project-1`.`raw`.`flights`"),
        ("`raw data`.flights", "`raw data`.`flights`"),
        ("Flights", "`Flights`"),
    ],
)
def test_a_dialect_defines_its_names(written: str, quoted: str) -> None:
    assert str(BACKTICKS.parse_name(written)) == quoted


@pytest.mark.parametrize("written", ["a`b", "`a", 'a."b"', "a.b.c.d", "a..b", "a;b", "x" * 241, ""])
def test_other_names_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be project\.dataset\.table, got"):
        BACKTICKS.parse_name(written)


@pytest.mark.parametrize("keeps_history", [False, True])
def test_every_statement_quotes_as_the_dialect_does(keeps_history: bool) -> None:
    tables = TargetTables(BACKTICKS.parse_name("p-1.raw.flights"), BACKTICKS, keeps_history=keeps_history)
    manifest = Manifest("flights", hours(0, 2), "a1", 7, parts=())
    statements = [*map(tables.create, tables.names), tables.create_view(), tables.create_view(replace=True)]
    statements += [tables.insert("`staged`", {"A": "1"}), tables.add_to_fence("PIPELINES")]

    def execute(statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        assert statement.count("%s") == len(parameters)
        statements.append(statement)
        if "COUNT(*)" in statement:
            width = statement.partition(" FROM ")[0].count(",") + 1
            return [(7, 0, 0)] if "GROUP BY" in statement else [(0,) * width]
        if "`PIPELINES` FROM" in statement:
            return [(None,)]
        return [] if statement.startswith("SELECT `WINDOW_START`") else [(1,)]

    protocol = LoadProtocol(tables, execute, "flights")
    assert protocol.replace_window(manifest, lambda: 0) == (0, 0, False)
    protocol.try_rights()
    protocol.read_newest_token()
    protocol.count_newest(hours(0, 2), 7)
    protocol.other_pipelines()
    register(protocol, {"n": 1}, lambda _: None)
    rename(protocol, "old")
    assert len(statements) > 20
    assert not [statement for statement in statements if '"' in statement]
    assert all("`" in statement for statement in statements)
