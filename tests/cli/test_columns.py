"""`columns`: proposals from the source and from documents in the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.columns import parse_path, parse_type
from airflow_pipeline_provider.exceptions import TransientError
from tests.cli.conftest import AFTER, Place
from tests.doubles.memory_source import MemorySource

AT = ("--reference-time", AFTER)
DOCUMENTS: list[dict[str, Any]] = [
    {"carrier": "UA", "dep": {"time": "2013-11-03T05:00:00Z"}, "tags": ["a"], "legs": [{"from": "EWR"}]},
    {"carrier": "AA", "dep": {"time": "2013-11-03T05:10:00Z"}, "tags": "b", "dep_delay": 5},
]


def moved(place: Place, *documents: Any, **changes: Any) -> Path:
    """A pipeline whose windows hold these documents, one or more in each window."""
    path = place.write(**changes)
    for number, document in enumerate(documents or DOCUMENTS):
        place.rows().put(f"r{number:04}", f"2013-11-03T{4 + number % 20:02}:00:00Z", json.dumps(document))
    assert place("run", "flights", "--until-done", *AT).code == 0
    return path


def declare(monkeypatch: pytest.MonkeyPatch, **types: str) -> None:
    found = [FieldType(parse_path(path), parse_type(type_)) for path, type_ in types.items()]
    monkeypatch.setattr(MemorySource, "field_types", lambda _: found)


def test_columns_are_proposed_from_documents_of_the_stage(place: Place) -> None:
    moved(place)
    result = place("columns", "infer", "flights")
    assert result.code == 0
    proposed = yaml.safe_load(result.out)["columns"]
    assert [(one["name"], one["path"], one["type"]) for one in proposed] == [
        ("CARRIER", "carrier", "text"),
        ("DEP_TIME", "dep.time", "timestamp"),
        ("TAGS", "tags", "array"),
        ("LEGS", "legs", "rows"),
        ("DEP_DELAY", "dep_delay", "integer"),
    ]
    assert (
        "# proposed on this basis: the source declares no types; a sample of 2 of 2 documents in 1 of 1 window"
        in result.out
    )
    assert result.out.count("# guessed") == 6


def test_types_of_the_source_win_and_documents_show_arrays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(place)
    declare(monkeypatch, carrier="text", tags="text", dep_delay="decimal(12,2)", unused="boolean")
    answer = place("columns", "infer", "flights", "-o", "json").json
    by_path = {one["path"]: (one["type"], one["guessed"], one["note"]) for one in answer["columns"]}
    assert by_path["carrier"] == ("text", False, None)
    assert by_path["tags"][:2] == ("array", False)
    assert by_path["dep_delay"] == ("decimal(12,2)", False, None)
    assert by_path["unused"] == ("boolean", False, "in no sampled document")
    assert by_path["dep.time"][:2] == ("timestamp", True)
    assert [(one["side"], one["looked_at"]) for one in answer["looked_at"]] == [
        ("source", True),
        ("documents", True),
    ]
    assert answer["documents"] == 2
    assert answer["written"] is None


def unreachable(_: object) -> None:
    raise TransientError("the cluster does not answer")


def test_documents_are_enough_where_the_source_does_not_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(place)
    monkeypatch.setattr(MemorySource, "field_types", unreachable)
    result = place("columns", "infer", "flights", "-o", "json")
    assert (result.code, len(result.json["columns"])) == (0, 5)
    assert result.json["looked_at"][0] == {
        "side": "source",
        "looked_at": False,
        "detail": "the cluster does not answer",
    }
    assert "not looked at: source: the cluster does not answer" in result.err


def test_nothing_is_proposed_where_the_only_side_does_not_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write()
    monkeypatch.setattr(MemorySource, "field_types", unreachable)
    result = place("columns", "infer", "flights")
    assert (result.code, result.out) == (3, "")
    assert "pipeline flights, columns infer: the cluster does not answer" in result.err


@pytest.mark.parametrize("files", ["manifest-*.json", "part-*.parquet"])
def test_files_that_the_stage_no_longer_holds(place: Place, tmp_path: Path, files: str) -> None:
    moved(place)
    for part in (tmp_path / "stage").rglob(files):
        part.unlink()
    result = place("columns", "infer", "flights")
    assert result.code == 1
    assert "the stage holds no part file of 1 committed window" in result.err


def test_part_file_that_is_not_readable(place: Place, tmp_path: Path) -> None:
    moved(place)
    for part in (tmp_path / "stage").rglob("part-*.parquet"):
        part.write_bytes(b"PAR1")
    result = place("columns", "infer", "flights")
    assert result.code == 4
    assert "is not a readable Parquet file" in result.err


def test_large_documents_are_sampled_in_every_window(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.phases import columns_sample

    monkeypatch.setattr(columns_sample, "MOST_VALUES", 40)
    moved(place, *({f"f{k}": k for k in range(10)} | {f"window{n % 20 // 5}": True} for n in range(400)))
    answer = place("columns", "infer", "flights", "-o", "json").json
    assert answer["documents"] < 20
    assert "so each window gave fewer" in answer["looked_at"][1]["detail"]
    present = {one["path"]: one["present"] for one in answer["columns"]}
    assert present["f0"] == answer["documents"] == sum(present[f"window{n}"] for n in range(4))
    assert all(present[f"window{n}"] for n in range(4))


def test_sample_is_bounded_and_spread_over_windows(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.phases import columns_sample

    monkeypatch.setattr(columns_sample, "MOST_DOCUMENTS", 20)
    moved(place, *({"n": n, f"window{n % 20 // 5}": True} for n in range(400)))
    answer = place("columns", "infer", "flights", "-o", "json").json
    assert answer["documents"] == 20
    assert {one["path"] for one in answer["columns"]} == {"n", *(f"window{n}" for n in range(4))}


HOSTILE = {  # from reports of bugs in other loaders
    "Name": 1,
    "name": 2,
    "a.b": 1,
    "a": {"c": {}},
    "c.d": {"e.f": 1},
    "": 1,
    "with\nline": 1,
    "${HOME}": 1,
    "null": None,
    "yes": [],
    "select": "2024-01-01",
    "record_id": "x",
    "token": 18446744073709551615,
    "latest": [{"ordinal": 1, "Ordinal": [{"x": 1}]}],
    "x" * 300: "2024-01-01T10:00:00.123456789Z",
    "日本語": {"鍵": True},
    'quo"te': {"d.x": "n/a"},
    **{f"field{n}": n for n in range(1_500)},
}


def test_written_columns_are_valid_whatever_the_documents_hold(place: Place) -> None:
    path = moved(place, HOSTILE)
    before = path.read_bytes()
    result = place("columns", "infer", "flights", "--write", "-o", "json")
    assert result.code == 0, result.err
    assert result.json["written"] == str(path)
    assert path.read_bytes().startswith(before)
    assert place("check", str(path)).code == 0
    assert len(result.json["columns"]) == 1_500
    assert {one["why"] for one in result.json["left_out"]} == {
        "a view has at most 1,500 columns",
        "a key of its path is empty or has characters that are not printable",
    }


def test_written_columns_are_not_proposed_again(place: Place) -> None:
    path = moved(place)
    assert place("columns", "infer", "flights", "--write").out == (
        f"added 5 columns to {path}; the types of 5 are guessed, read their comments\n"
    )
    written = path.read_bytes()
    again = place("columns", "infer", "flights", "--write")
    assert (again.code, again.out) == (0, "flights: no field was found without a column\n")
    assert path.read_bytes() == written


def test_new_fields_are_added_behind_the_columns_of_the_file(place: Place) -> None:
    path = moved(place, columns=[{"name": "dep_time", "path": "carrier", "type": "text"}])
    kept = path.read_text()
    assert place("columns", "infer", "flights", "--write").code == 0
    assert path.read_text().startswith(kept)
    names = [one["name"] for one in yaml.safe_load(path.read_text())["columns"]]
    assert names == ["dep_time", "DEP_TIME_2", "TAGS", "LEGS", "DEP_DELAY"]


COLUMNS = [
    {"name": "CARRIER", "path": "carrier", "type": "text"},
    {"name": "DEP_TIME", "path": "dep.time", "type": "timestamp"},
    {"name": "TAGS", "path": "tags", "type": "array"},
    {"name": "DEP_DELAY", "path": "dep_delay", "type": "integer"},
    {
        "name": "LEGS",
        "path": "legs",
        "type": "rows",
        "columns": [{"name": "FROM", "path": "from", "type": "text"}],
    },
]


def differences(place: Place) -> list[tuple[str, str, str | None]]:
    return [
        (one["change"], one["side"], one["path"])
        for one in place("columns", "diff", "flights", "-o", "json").json["differences"]
    ]


def test_loads_make_the_views_and_nothing_differs(place: Place) -> None:
    moved(place, columns=COLUMNS)
    result = place("columns", "diff", "flights")
    assert (result.code, result.out) == (
        0,
        "flights: no difference in 2 sides: documents (a sample of 2 of 2 documents in 1 of 1 window), "
        "target (the target has 2 typed views; values were counted in the newest window)\n",
    )
    assert result.err == "not looked at: source: the source declares no types\n"


def test_each_side_that_differs_is_shown(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    moved(place, columns=COLUMNS)
    declare(monkeypatch, carrier="text", gate="text")
    place.write(
        columns=[*COLUMNS[:3], {**COLUMNS[3], "type": "boolean"}, {"name": "X", "path": "x", "type": "text"}]
    )
    result = place("columns", "diff", "flights")
    assert result.code == 1
    assert differences(place) == [
        ("new_field", "documents", "legs"),
        ("new_field", "source", "gate"),
        ("uncastable", "documents", "dep_delay"),
        ("missing_field", "documents", "x"),
        ("not_applied", "target", None),
        ("not_applied", "target", None),
    ]
    assert place("columns", "apply", "flights").code == 0
    assert [side for _, side, _ in differences(place)] == [
        "documents",
        "source",
        "documents",
        "documents",
    ], "the view of the column that is gone was dropped"


def test_target_counts_what_no_sample_shows(place: Place, tmp_path: Path) -> None:
    moved(place, {"dep_delay": "n/a", "legs": [{"from": {}}, {"from": "x"}]}, columns=COLUMNS)
    for part in (tmp_path / "stage").rglob("part-*.parquet"):
        part.unlink()
    answer = place("columns", "diff", "flights", "-o", "json").json
    assert [(one["side"], one["column"], one["detail"]) for one in answer["differences"]] == [
        ("target", "DEP_DELAY", "NULL as integer: 1 of 1 value in the newest window"),
        ("target", "LEGS.FROM", "NULL as text: 1 of 2 values in the newest window"),
    ]


def test_target_that_does_not_answer_is_not_equal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.connectors.duckdb import DuckDBTarget

    moved(place, columns=COLUMNS)
    monkeypatch.setattr(DuckDBTarget, "typed_views", unreachable)
    result = place("columns", "diff", "flights", "-o", "json")
    assert (result.code, result.json["differences"]) == (3, [])
    assert result.json["looked_at"][2] == {
        "side": "target",
        "looked_at": False,
        "detail": "the cluster does not answer",
    }
    assert "error: not looked at: target: the cluster does not answer" in result.err


def test_apply_executes_what_a_dry_run_prints(place: Place) -> None:
    moved(place)
    place.write(columns=COLUMNS)
    assert differences(place) == [("not_applied", "target", None)]
    shown = place("columns", "apply", "flights", "--dry-run", "-o", "json").json
    assert shown["dry_run"]
    assert differences(place) != []
    done = place("columns", "apply", "flights", "-o", "json").json
    assert done["statements"] == shown["statements"] != []
    assert differences(place) == []
    again = place("columns", "apply", "flights")
    assert (again.code, again.out) == (0, "flights: the views follow the columns\n")


def test_apply_fills_physical_columns(place: Place) -> None:
    moved(place)
    place.write(columns=[{**COLUMNS[0], "physical": True}, *COLUMNS[1:]])
    shown = place("columns", "apply", "flights", "--dry-run", "-o", "json").json["statements"]
    assert place("columns", "apply", "flights", "-o", "json").json["statements"] == shown
    assert differences(place) == []
    place.write(columns=[{**COLUMNS[0], "physical": True}, {**COLUMNS[1], "physical": True}, *COLUMNS[2:]])
    place("columns", "apply", "flights", "--dry-run")
    result = place("columns", "diff", "flights")
    assert (result.code, "physical: not a column of the table yet" in result.out) == (1, True)
    assert place("columns", "apply", "flights").code == 0
    assert place("columns", "diff", "flights").code == 0


def test_apply_before_the_first_load(place: Place) -> None:
    place.write(columns=COLUMNS)
    place.seed()
    result = place("columns", "apply", "flights")
    assert (result.code, result.out) == (5, "")
    assert "does not exist yet: the first load creates it, and the typed views" in result.err
    assert differences(place) == [("not_applied", "target", None)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("diff", "flights"),
            "columns: pipeline flights has none: propose them with `airflow-pipelines columns infer flights",
        ),
        (
            ("apply", "flights"),
            "columns: pipeline flights has none: propose them with `airflow-pipelines columns infer flights",
        ),
        (
            ("sql", "flights"),
            "columns: pipeline flights has none: propose them with `airflow-pipelines columns infer flights",
        ),
        (("infer", "flights", "--dry-run"), "--dry-run: only works with columns apply: remove it"),
        (
            ("apply", "flights", "--days", "3"),
            "--days: only works with columns infer and columns diff: remove it",
        ),
        (("infer", "flights", "--days", "0"), "--days: expected a whole number between 1 and 10000"),
    ],
)
def test_usage_errors(place: Place, arguments: tuple[str, ...], message: str) -> None:
    place.write()
    result = place("columns", *arguments)
    assert result.code == 2
    assert message in result.err


def test_statements_are_parsed_and_make_the_views(place: Place) -> None:
    import duckdb
    import sqlglot

    moved(place)
    place.write(columns=COLUMNS)
    printed = place("columns", "sql", "flights").out
    assert place("columns", "sql", "flights", "-o", "json").json["files"] == {}
    assert all(sqlglot.parse(printed, read="duckdb"))
    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        connection.execute(printed)
        rows = connection.execute("SELECT carrier, dep_delay FROM main.moved_typed ORDER BY 1").fetchall()
    assert rows == [("AA", 5), ("UA", None)]


def test_dbt_files_are_valid_and_read_the_views(place: Place) -> None:
    import duckdb
    import sqlglot

    moved(place, columns=COLUMNS)
    files = place("columns", "sql", "flights", "--dbt", "-o", "json").json["files"]
    assert list(files) == ["sources.yml", "stg_flights.sql", "stg_flights_legs.sql"]
    (source,) = yaml.safe_load(files["sources.yml"])["sources"]
    assert (source["name"], source["schema"]) == ("flights", "main")
    by_name = {table["name"]: table for table in source["tables"]}
    for name, table in by_name.items():
        text = files[f"stg_{name}.sql"].replace(f"{{{{ source('flights', '{name}') }}}}", table["identifier"])
        assert [column["name"] for column in table["columns"]] == sqlglot.parse_one(text).named_selects
        with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
            assert len(connection.execute(text).fetchall()) == {"flights": 2, "flights_legs": 1}[name]
    described = {one["name"]: one.get("description") for one in by_name["flights"]["columns"]}
    assert described["dep_time"] == "timestamp, from dep.time"
    assert described["token"] is None


@pytest.mark.parametrize(
    ("target", "source", "identifier"),
    [
        pytest.param(
            {"type": "postgres", "table": "raw.flights"}, {"schema": "raw"}, "flights_typed", id="schema"
        ),
        pytest.param(
            {"type": "postgres", "table": '"my $raw".flights', "naming": "upper"},
            {"schema": "my $raw"},
            "flights_TYPED",
            id="quoted",
        ),
        pytest.param(
            {"type": "postgres", "table": "flights"},
            {"schema": "{{ target.schema }}"},
            "flights_typed",
            id="no schema",
        ),
        pytest.param(
            {"type": "snowflake", "table": "analytics.raw.flights"},
            {"database": "ANALYTICS", "schema": "RAW"},
            "FLIGHTS_TYPED",
            id="database",
        ),
    ],
)
def test_dbt_files_need_no_connection(
    place: Place, target: dict[str, str], source: dict[str, str], identifier: str
) -> None:
    place.write(target={"conn_id": "nowhere", **target}, columns=COLUMNS)
    result = place("columns", "sql", "flights", "--dbt", "-o", "json")
    assert result.code == 0, result.err
    (found,) = yaml.safe_load(result.json["files"]["sources.yml"])["sources"]
    assert {key: found[key] for key in ("database", "schema") if key in found} == source
    assert found["tables"][0]["identifier"] == identifier


def test_dbt_files_are_written_and_only_their_own_are_replaced(place: Place, tmp_path: Path) -> None:
    place.write(columns=COLUMNS)
    into = tmp_path / "models" / "flights"
    arguments = ("columns", "sql", "flights", "--dbt", "--into", str(into))
    assert place(*arguments).out.count("wrote ") == 3
    assert place(*arguments).code == 0
    (into / "sources.yml").write_text("version: 2\n")
    (into / "stg_flights.sql").unlink()
    result = place(*arguments)
    assert (result.code, "was not written by this command" in result.err) == (2, True)
    assert not (into / "stg_flights.sql").exists()


def test_dbt_files_of_another_pipeline_are_kept(place: Place, tmp_path: Path) -> None:
    place.write(columns=COLUMNS)
    sources = tmp_path / "sources.yml"
    arguments = ("columns", "sql", "flights", "--dbt", "--into", str(tmp_path))
    assert place(*arguments).code == 0
    text = sources.read_text()
    assert " of flights; writing it again" in text
    sources.write_text(text.replace(" of flights;", " of trains;"))
    result = place(*arguments)
    assert (result.code, "was not written by this command for flights" in result.err) == (2, True)


def test_dbt_tests_no_column_for_null_but_the_record_id(place: Place) -> None:
    place.write(columns=[{"name": "CARRIER", "path": "carrier", "type": "text", "required": True}])
    files = place("columns", "sql", "flights", "--dbt", "-o", "json").json["files"]
    (source,) = yaml.safe_load(files["sources.yml"])["sources"]
    tested = [column["name"] for column in source["tables"][0]["columns"] if "data_tests" in column]
    assert tested == ["record_id"]
