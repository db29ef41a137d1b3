"""Typed columns of a pipeline file: valid ones, what is wrong with others, and lists in a file of their own."""

# ruff: noqa: E501  (one case a line, whatever its sentence needs)

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    load_folder,
    load_pipeline,
    parse_pipeline,
)
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.columns import Column, ColumnType, Contract
from airflow_pipeline_provider.phases.runtime import identity_of
from airflow_pipeline_provider.state.facts import facts_of
from tests.unit import config_examples

HEAD = """\
pipeline_id: flights
source: {type: elasticsearch, index: flights, time_field: at}
stage: {type: object_store, path: "s3://aws_default@lake/flights"}
target: {type: postgres, table: raw.flights}
"""
AFTER_HEAD = HEAD.count("\n") + 1


def load(folder: Path, columns: str, head: str = HEAD, defaults: str | None = None) -> Any:
    if defaults is not None:
        (folder / "defaults.yaml").write_text(textwrap.dedent(defaults))
    file = folder / "flights.yaml"
    file.write_text(head + textwrap.dedent(columns))
    return load_pipeline(file, options_model=options_model)


def problems(folder: Path, columns: str, head: str = HEAD, defaults: str | None = None) -> list[str]:
    with pytest.raises(ConfigFileError) as raised:
        load(folder, columns, head, defaults)
    return [str(problem) for problem in raised.value.problems]


def test_a_masked_column_that_the_record_id_or_time_shows_is_a_warning(tmp_path):
    head = HEAD.replace(
        "{type: elasticsearch, index: flights, time_field: at}",
        "{type: sql, conn_id: db, table: flights, time_column: at, key_columns: [email, number]}",
    )
    config = load(
        tmp_path,
        """\
        columns:
          - {name: MAIL, path: email, type: text, mask: sha256}
          - {name: NUMBER, path: number, type: text}
          - {name: NAME, path: name, type: text, mask: last4}
          - {name: AT, path: at, type: timestamp, mask: drop}
        """,
        head,
    )
    assert [str(warning) for warning in config.warnings] == [
        "columns: MAIL is masked, and RECORD_ID of the views shows email, which is in source.key_columns: grant rights on a view of your own without RECORD_ID, or change the key (flights.yaml:5)",
        "columns: AT is masked, and EVENT_TIME of the views shows at, which is in source.time_column: grant rights on a view of your own without EVENT_TIME, or change the key (flights.yaml:5)",
    ]


def test_columns_have_types_paths_formats_and_masks(tmp_path):
    config = load(
        tmp_path,
        """\
        columns:
          - {name: CARRIER, path: carrier, type: text, required: true}
          - {name: dep_time, path: dep.time, type: timestamp, format: strict_date_optional_time||epoch_millis, physical: true}
          - {name: FARE, path: '"fare.usd".total', type: "decimal(12,2)"}
          - {name: SSN, path: passenger.ssn, type: text, mask: last4}
          - name: LEGS
            path: legs
            type: rows
            columns:
              - {name: FROM, path: from, type: text}
              - {name: DAY, path: day, type: date, format: basic_date}
        """,
    )
    text = ColumnType("text")
    assert config.columns == (
        Column("CARRIER", ("carrier",), text, required=True),
        Column(
            "dep_time",
            ("dep", "time"),
            ColumnType("timestamp"),
            ("strict_date_optional_time", "epoch_millis"),
            physical=True,
        ),
        Column("FARE", ("fare.usd", "total"), ColumnType("decimal", 12, 2)),
        Column("SSN", ("passenger", "ssn"), text, mask="last4"),
        Column(
            "LEGS",
            ("legs",),
            ColumnType("rows"),
            columns=(
                Column("FROM", ("from",), text),
                Column("DAY", ("day",), ColumnType("date"), ("basic_date",)),
            ),
        ),
    )
    assert identity_of(config).columns == config.columns


@pytest.mark.parametrize("columns", ["", "columns:\n", "columns: null\n", "columns: []\n"])
def test_a_pipeline_without_columns_has_none(tmp_path, columns):
    assert load(tmp_path, columns).columns == ()


def test_facts_of_the_page_do_not_depend_on_columns(tmp_path):
    without = facts_of(load(tmp_path, "")).dump_json()
    assert facts_of(load(tmp_path, "columns: [{name: A, path: a, type: text}]\n")).dump_json() == without


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("contract:\n", None, id="null"),
        pytest.param("contract: {}\n", Contract(), id="defaults"),
        pytest.param("columns: [{name: A, path: a, type: text}]\n", Contract(), id="columns alone"),
        pytest.param(
            "contract: {new_field: ignore, missing_field: fail, type_change: fail, uncastable: warn}\n",
            Contract("ignore", "fail", "fail", "warn"),
            id="every key",
        ),
    ],
)
def test_a_contract_says_what_changes_do(tmp_path, text, expected):
    assert load(tmp_path, text).contract == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("contract: {new_field: error}\n", "contract.new_field: must be one of ignore, warn, fail, got 'error' (flights.yaml:5)"),
        ("contract: {newfield: warn}\n", "contract.newfield: unknown key; did you mean 'new_field'? (flights.yaml:5)"),
        ("contract: warn\n", "contract: must be a mapping, got 'warn' (flights.yaml:5)"),
        ("columns: [{name: A, path: a, type: text, required: 1}]\n", "columns[0].required: must be true or false, got 1 (flights.yaml:5)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_contract(tmp_path, text, expected):
    assert problems(tmp_path, text) == [expected]


ONE = "columns: [{{name: A, path: a, type: text, {}}}]\n"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param("columns: text\n", ["columns: must be a list, got 'text' (flights.yaml:5)"], id="no list"),
        pytest.param("columns: [text]\n", ["columns[0]: must be a mapping, got 'text' (flights.yaml:5)"], id="no mapping"),
        pytest.param("columns: [{}]\n", ["columns[0].name: is missing (flights.yaml:5)", "columns[0].path: is missing (flights.yaml:5)", "columns[0].type: is missing (flights.yaml:5)"], id="missing keys"),
        pytest.param(ONE.format("nmae: B"), ["columns[0].nmae: unknown key; did you mean 'name'? (flights.yaml:5)"], id="unknown key"),
        pytest.param("columns: [{name: a b, path: a, type: text}]\n", ["columns[0].name: must be letters, digits and _, and not begin with a digit, got 'a b' (flights.yaml:5)"], id="name with a space"),
        pytest.param("columns: [{name: 1, path: a, type: text}]\n", ["columns[0].name: must be text, got 1 (put it in quotes) (flights.yaml:5)"], id="number as name"),
        pytest.param("columns: [{name: größe, path: a, type: text}]\n", ["columns[0].name: must be letters, digits and _, and not begin with a digit, got 'größe' (flights.yaml:5)"], id="other letters"),
        pytest.param("columns: [{name: A, path: a..b, type: text}]\n", ["columns[0].path: must be keys with dots between them such as dep.time, a key with a dot in double quotes (\"a.b\".c), got 'a..b' (flights.yaml:5)"], id="bad path"),
        pytest.param("columns: [{name: A, path: 5, type: text}]\n", ["columns[0].path: must be a path such as dep.time, got 5 (put it in quotes) (flights.yaml:5)"], id="number as path"),
        pytest.param("columns: [{name: A, path: [a], type: text}]\n", ["columns[0].path: must be a path such as dep.time, got a list (flights.yaml:5)"], id="list as path"),
        pytest.param("columns: [{name: A, path: a, type: intger}]\n", ["columns[0].type: must be one of text, integer, decimal(p,s), double, boolean, date, timestamp, json, array, rows, got 'intger'; did you mean 'integer'? (flights.yaml:5)"], id="unknown type"),
        pytest.param("columns: [{name: A, path: a, type: 5}]\n", ["columns[0].type: must be a type such as text, got 5 (flights.yaml:5)"], id="number as type"),
        pytest.param("columns: [{name: A, path: a, type: decimal(12,2)}]\n", ["columns[0].type: must be in quotes inside of { }: \"decimal(12,2)\", got 'decimal(12' (flights.yaml:5)", "columns[0].2): unknown key; known: columns, format, mask, name, path, physical, required, type (flights.yaml:5)"], id="decimal without quotes"),
        pytest.param("columns: [{name: A, path: a, type: 'decimal(40,2)'}]\n", ["columns[0].type: must have 1 to 38 digits, of which at most all are after the point, got 'decimal(40,2)' (flights.yaml:5)"], id="too many digits"),
        pytest.param("columns: [{name: A, path: a, type: date, format: yyyy-MM-DD}]\n", ["columns[0].format: unknown format 'yyyy-MM-DD'; did you mean 'yyyy-MM-dd'? (flights.yaml:5)"], id="misspelled format"),
        pytest.param("columns: [{name: A, path: a, type: date, format: 5}]\n", ["columns[0].format: must be formats such as yyyy-MM-dd||epoch_millis, got 5 (flights.yaml:5)"], id="number as format"),
        pytest.param(ONE.format("format: date"), ["columns[0].format: is for the types date and timestamp, got type text (flights.yaml:5)"], id="format of a text"),
        pytest.param("columns: [{name: A, path: a, type: json, mask: sha256}]\n", ["columns[0].mask: sha256 needs type text, which it returns, got type json (flights.yaml:5)"], id="hash of an object"),
        pytest.param(ONE.format("mask: md5"), ["columns[0].mask: must be one of sha256, last4, drop, got 'md5' (flights.yaml:5)"], id="unknown mask"),
        pytest.param(ONE.format("columns: [{name: B, path: b, type: text}]"), ["columns[0].columns: is for the type rows, got type text (flights.yaml:5)"], id="columns of a text"),
        pytest.param("columns: [{name: A, path: a, type: rows}]\n", ["columns[0].columns: is missing: type rows needs the columns of each element (flights.yaml:5)"], id="rows without columns"),
        pytest.param("columns: [{name: A, path: a, type: rows, physical: true, columns: [{name: B, path: b, type: text}]}]\n", ["columns[0].physical: is for columns of the table, and type rows is a view: remove it (flights.yaml:5)"], id="physical rows"),
        pytest.param(ONE.format("physical: true, mask: sha256"), ["columns[0].physical: would keep the value that mask sha256 hides: remove one of the two (flights.yaml:5)"], id="physical and masked"),
        pytest.param("columns: [{name: A, path: a, type: rows, columns: [{name: B, path: b, type: rows}]}]\n", ["columns[0].columns[0].type: must not be rows inside of rows: use json or array (flights.yaml:5)"], id="rows in rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_column(tmp_path, columns, expected):
    assert problems(tmp_path, columns) == expected


def test_a_format_that_resembles_none_lists_all(tmp_path):
    [problem] = problems(tmp_path, "columns: [{name: A, path: a, type: date, format: QQQ}]\n")
    assert "unknown format 'QQQ'; known: strict_date_optional_time, " in problem
    assert "epoch_millis" in problem


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(
            """\
            columns:
              - {name: CARRIER, path: carrier, type: text}
              - {name: A, path: a, type: text}
              - {name: carrier, path: carrier_code, type: text}
            """,
            "columns[2].name: carrier is the same name, whatever the case, as columns[0].name in line 6: choose another name (flights.yaml:8)",
            id="names",
        ),
        pytest.param(
            """\
            columns:
              - {name: A, path: a.b, type: text}
              - {name: B, path: '"a.b"', type: text}
            """,
            'columns[1].path: "a.b" is the same field as columns[0].path in line 6: remove one of the two columns (flights.yaml:7)',
            id="two spellings of a path",
        ),
        pytest.param(
            """\
            columns:
              - {name: A, path: a, type: text}
              - {name: a, path: a, type: text}
            """,
            "columns[1].name: a is the same name, whatever the case, as columns[0].name in line 6: choose another name (flights.yaml:7)",
            id="a copied line is one error",
        ),
        pytest.param(
            """\
            columns:
              - name: LEGS
                path: legs
                type: rows
                columns:
                  - {name: A, path: a, type: text}
                  - {name: LEGS, path: legs, type: text}
                  - {name: B, path: a, type: integer}
            """,
            "columns[0].columns[2].path: a is the same field as columns[0].columns[0].path in line 10: remove one of the two columns (flights.yaml:12)",
            id="inside of rows",
        ),
        pytest.param(
            """\
            columns:
              - {name: SSN, path: user.ssn, type: text, mask: sha256}
              - {name: USER, path: user, type: json}
            """,
            "columns[0].mask: user.ssn is shown unmasked as a part of columns[1].path in line 7: give that column mask: drop, or a column to each part that may be shown (flights.yaml:6)",
            id="a masked part of a column",
        ),
        pytest.param(
            """\
            columns:
              - {name: SSN, path: '"user.ssn"', type: text, mask: drop}
              - {name: USER, path: user, type: json}
            """,
            'columns[0].mask: "user.ssn" is shown unmasked as a part of columns[1].path in line 7: give that column mask: drop, or a column to each part that may be shown (flights.yaml:6)',
            id="in the other spelling",
        ),
        pytest.param(
            """\
            columns:
              - {name: TRIP, path: trip, type: json}
              - name: LEGS
                path: trip.legs
                type: rows
                columns:
                  - {name: SEAT, path: seat, type: text, mask: drop}
            """,
            "columns[1].columns[0].mask: seat is shown unmasked as a part of columns[0].path in line 6: give that column mask: drop, or a column to each part that may be shown (flights.yaml:11)",
            id="masked in an element, shown by the whole",
        ),
        pytest.param(
            """\
            columns:
              - name: LEGS
                path: legs
                type: rows
                columns: [{name: SEAT, path: seat, type: text, mask: drop}]
              - {name: FIRST_SEAT, path: legs.seat, type: text}
            """,
            "columns[0].columns[0].mask: seat is shown unmasked as a part of columns[1].path in line 10: give that column mask: drop, or a column to each part that may be shown (flights.yaml:9)",
            id="masked in an element, shown by another path",
        ),
    ],
)  # fmt: skip
def test_two_columns_that_contradict_each_other_are_one_error_with_both_lines(tmp_path, columns, expected):
    assert problems(tmp_path, columns) == [expected]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(
            """\
            columns:
              - {name: USER, path: user, type: json, mask: drop}
              - {name: USER_ID, path: user.id, type: text}
              - {name: SSN, path: user.ssn, type: text, mask: sha256}
            """,
            id="parts of a dropped object",
        ),
        pytest.param(
            """\
            columns:
              - {name: A, path: a, type: text, mask: sha256}
              - {name: AB, path: ab, type: text}
            """,
            id="a prefix of the name only",
        ),
        pytest.param(
            """\
            columns:
              - {name: DEP, path: dep, type: json}
              - {name: DEP_TIME, path: dep.time, type: timestamp}
              - {name: LEGS, path: legs, type: rows, columns: [{name: DEP, path: dep, type: text, mask: drop}]}
            """,
            id="the same names at two levels",
        ),
    ],
)
def test_columns_that_do_not_contradict_each_other(tmp_path, columns):
    assert load(tmp_path, columns).columns


ROWS = "columns: [{{name: {}, path: a, type: rows, columns: [{{name: B, path: b, type: text}}]}}]\n"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        *((f"columns: [{{name: {name}, path: a, type: text}}]\n", f"columns[0].name: {name} is a column of the view itself: choose another name") for name in ("RECORD_ID", "event_time", "Token", "_REST")),
        ("columns: [{name: A, path: a, type: rows, columns: [{name: Ordinal, path: a, type: text}]}]\n", "columns[0].columns[0].name: Ordinal is a column of the view itself: choose another name"),
        *((ROWS.format(name), f"columns[0].name: flights_{name} is another object of the target: choose another name") for name in ("TYPED", "latest", "COMMITS", "FENCE", "QUARANTINE")),
        ("columns: [{name: body, path: a, type: text, physical: true}]\n", "columns[0].name: body is a column of the table itself: choose another name"),
        (f"columns: [{{name: {'A' * 64}, path: a, type: text}}]\n", "columns[0].name: must be at most 63 characters long for target.type postgres"),
        (ROWS.format("A" * 56), f"columns[0].name: the view flights_{'A' * 56} would have 64 characters, the target allows 63: choose a shorter name"),
    ],
)  # fmt: skip
def test_names_must_be_valid_on_the_target(tmp_path, columns, expected):
    assert problems(tmp_path, columns) == [f"{expected} (flights.yaml:5)"]


def test_a_column_of_the_view_can_have_a_name_of_the_table(tmp_path):
    assert load(tmp_path, "columns: [{name: BODY, path: body, type: text}]\n").columns


def test_names_of_other_views_are_free(tmp_path):
    columns = "columns: [{name: ORDINAL, path: a, type: text}, {name: TYPED, path: b, type: text}]\n"
    assert [column.name for column in load(tmp_path, columns).columns] == ["ORDINAL", "TYPED"]


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("target: {type: snowflake, table: A.B.flights}", 255 - len("FLIGHTS_")),
        ("target: {type: postgres, table: raw.flights}", 63 - len("flights_")),
        ("target: {type: duckdb, path: /w.duckdb, table: raw.flights}", 255 - len("flights_")),
    ],
)
def test_the_longest_name_is_the_targets(tmp_path, target, allowed):
    head = HEAD.replace("target: {type: postgres, table: raw.flights}", target)
    assert load(tmp_path, ROWS.format("A" * allowed), head).columns
    assert "choose a shorter name" in problems(tmp_path, ROWS.format("A" * (allowed + 1)), head)[0]


def test_a_target_without_typed_views_refuses_columns(tmp_path):
    file = config_examples.write(
        tmp_path,
        "flights.yaml",
        config_examples.LEAST + "columns: [{name: A, path: a, type: text}]\n",
    )
    with pytest.raises(ConfigFileError) as raised:
        load_pipeline(file, options_model=config_examples.options_model)
    assert str(raised.value) == (
        "columns: target.type table has no typed columns: remove the key (flights.yaml:5)"
    )


def test_columns_are_checked_whatever_else_is_wrong(tmp_path):
    head = HEAD.replace("raw.flights", "raw..flights") + "settle: soon\n"
    found = problems(
        tmp_path, "columns: [{name: A, path: a, type: text}, {name: a, path: b, type: text}]\n", head
    )
    assert [problem.partition(":")[0] for problem in found] == ["target.table", "settle", "columns[1].name"]


def test_columns_are_checked_without_a_target(tmp_path):
    head = HEAD.replace("target: {type: postgres, table: raw.flights}\n", "")
    found = problems(tmp_path, "columns: [{name: A, path: a, type: txt}]\n", head)
    assert [problem.partition(":")[0] for problem in found] == ["target", "columns[0].type"]
    found = problems(tmp_path, "columns: [{name: A, path: a, type: text}]\n", head)
    assert [problem.partition(":")[0] for problem in found] == ["target"]


def test_more_columns_than_a_view_holds_are_refused(tmp_path):
    lines = [f"  - {{name: C{i}, path: a.c{i}, type: text}}" for i in range(1500)]
    assert len(load(tmp_path, "columns:\n" + "\n".join(lines)).columns) == 1500
    lines.append("  - {name: X, path: x, type: text}")
    assert problems(tmp_path, "columns:\n" + "\n".join(lines)) == [
        "columns: must be at most 1500 columns, got 1501 (flights.yaml:5)"
    ]


# --- a file of their own ------------------------------------------------------------------------------------------


INCLUDE = "columns: {include: columns/flights.yaml}\n"


def include(folder: Path, text: str, name: str = "columns/flights.yaml") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(textwrap.dedent(text))


def test_columns_can_be_in_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELD", "carrier")
    include(tmp_path, "# the contract\n- {name: CARRIER, path: '${FIELD}', type: text}\n")
    config = load(tmp_path, INCLUDE)
    assert config.columns == (Column("CARRIER", ("carrier",), ColumnType("text")),)
    assert [str(variable) for variable in config.variables] == [
        "FIELD: from the environment (columns[0].path, flights.yaml:2)"
    ]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "null\n", "[]\n"])
def test_an_empty_file_holds_no_columns(tmp_path, text):
    include(tmp_path, text)
    assert load(tmp_path, INCLUDE).columns == ()


def test_the_name_of_the_file_can_contain_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("STAGE", "dev")
    include(tmp_path, "- {name: A, path: a, type: text}\n", "columns/dev.yaml")
    assert load(tmp_path, 'columns: {include: "columns/${STAGE}.yaml"}\n').columns


def test_defaults_can_include_columns_and_a_file_can_replace_them(tmp_path):
    include(tmp_path, "- {name: A, path: a, type: text}\n")
    include(tmp_path, "- {name: B, path: b, type: text}\n", "columns/other.yaml")
    names = [
        [column.name for column in load(tmp_path, own, defaults=INCLUDE).columns]
        for own in (
            "",
            "columns: null\n",
            "columns: [{name: C, path: c, type: text}]\n",
            "columns: {include: columns/other.yaml}\n",
        )
    ]
    assert names == [["A"], [], ["C"], ["B"]]


def test_an_included_file_is_not_a_pipeline(tmp_path):
    include(tmp_path, "- {name: A, path: a, type: text}\n")
    load(tmp_path, INCLUDE)
    folder = load_folder(tmp_path, options_model=options_model)
    assert (list(folder.pipelines), folder.errors) == (["flights"], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("- {name: A, path: a, type: text}\n- {name: B, path: b, type: txt}\n", "columns[1].type: must be one of text, integer, decimal(p,s), double, boolean, date, timestamp, json, array, rows, got 'txt'; did you mean 'text'? (columns/flights.yaml:2)", id="wrong value"),
        pytest.param("- {name: A, path: a, type: text}\n\n- {name: a, path: b, type: text}\n", "columns[1].name: a is the same name, whatever the case, as columns[0].name in line 1: choose another name (columns/flights.yaml:3)", id="collision"),
        pytest.param("- {name: A, path: '${NOT_SET}', type: text}\n", "columns[0].path: the environment variable NOT_SET is not set: set it for every Airflow component, or write ${NOT_SET:-default} (columns/flights.yaml:1)", id="variable"),
        pytest.param("- a: b: c\n", "is not valid YAML: mapping values are not allowed in this context (columns/flights.yaml:1)", id="syntax"),
        pytest.param("\ncolumns: []\n", "columns: must contain a list of columns (lines of '- {name: …}'), got a mapping (columns/flights.yaml:2)", id="mapping"),
        pytest.param("text\n", "columns: must contain a list of columns (lines of '- {name: …}'), got 'text' (columns/flights.yaml:1)", id="text"),
    ],
)  # fmt: skip
def test_a_problem_of_an_included_file_has_its_name_and_line(tmp_path, text, expected):
    include(tmp_path, text)
    assert problems(tmp_path, INCLUDE) == [expected]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(INCLUDE, "columns.include: columns/flights.yaml does not exist: create it; it may be empty (flights.yaml:5)", id="missing"),
        pytest.param("columns: {include: columns/.}\n", "columns.include: must be a file in a folder below that of the pipeline file, such as columns/flights.yaml, got 'columns/.' (flights.yaml:5)", id="folder"),
        pytest.param("columns: {include: columns.yaml}\n", "columns.include: must be a file in a folder below that of the pipeline file, such as columns/flights.yaml, got 'columns.yaml' (flights.yaml:5)", id="next to pipelines"),
        pytest.param("columns: {include: ../columns/a.yaml}\n", "columns.include: must be a file in a folder below that of the pipeline file, such as columns/flights.yaml, got '../columns/a.yaml' (flights.yaml:5)", id="above"),
        pytest.param("columns: {include: /etc/passwd}\n", "columns.include: must be a file in a folder below that of the pipeline file, such as columns/flights.yaml, got '/etc/passwd' (flights.yaml:5)", id="absolute"),
        pytest.param("columns: {include: 5}\n", "columns.include: must be text, got 5 (put it in quotes) (flights.yaml:5)", id="number"),
        pytest.param("columns: {includes: a}\n", "columns.includes: unknown key; did you mean 'include'? (flights.yaml:5)", id="misspelled"),
        pytest.param("columns: {include: linked/passwd}\n", "columns.include: 'linked/passwd' leads out of the folder of the pipeline file (flights.yaml:5)", id="link"),
        pytest.param("columns: {include: loop/a}\n", "columns.include: loop/a does not exist: create it; it may be empty (flights.yaml:5)", id="loop"),
        pytest.param(f"columns: {{include: columns/{'a' * 300}}}\n", f"columns.include: columns/{'a' * 300} cannot be read: File name too long (flights.yaml:5)", id="long name"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_included(tmp_path, columns, expected):
    (tmp_path / "linked").symlink_to("/etc")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "columns").mkdir()
    assert expected in problems(tmp_path, columns)


def test_a_mapping_without_a_file_cannot_include(tmp_path):
    load(tmp_path, "")
    data = {
        "pipeline_id": "flights",
        "source": {"type": "elasticsearch", "index": "flights", "time_field": "at"},
        "stage": {"type": "object_store", "path": "s3://aws_default@lake/flights"},
        "target": {"type": "postgres", "table": "raw.flights"},
        "columns": {"include": "columns/flights.yaml"},
    }
    with pytest.raises(ConfigFileError, match=r"columns.include: needs a pipeline file"):
        parse_pipeline(data, options_model=options_model)
