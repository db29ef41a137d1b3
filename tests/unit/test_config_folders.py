"""Load folders of pipeline files, with their defaults.yaml."""

# ruff: noqa: E501  (one case a line, whatever its sentence needs)

from __future__ import annotations

import textwrap

import pytest

from airflow_pipeline_provider.config.loader import (
    find_file,
    load_folder,
    pipeline_files,
)
from airflow_pipeline_provider.exceptions import ConfigError
from tests.unit.config_examples import (
    LEAST,
    OtherTableOptions,
    load,
    options_model,
    problems,
    write,
)

# --- defaults.yaml ------------------------------------------------------------------------------------------------


def test_defaults_merge_mappings_recursively_and_replace_lists(tmp_path):
    defaults = """\
        timezone: America/New_York
        end_day: 2013-11-30
        source: {type: search, index: x, page_size: 10, query: {term: {a: 1, b: 2}}}
        stage: {type: files, path: /default}
        airflow: {tags: [a, b], retries: 7, pool: etl}
        default_record: {team: ops, nested: {a: 1, b: 2}}
        """
    text = """\
        pipeline_id: flights
        end_day: null
        source: {index: flights, query: {term: {b: 3}}}
        target: {type: table, table: t}
        airflow: {tags: [c], pool: null}
        default_record: {nested: {b: 3}}
        """
    config = load(tmp_path, textwrap.dedent(text), textwrap.dedent(defaults))
    assert (config.timezone, config.end_day) == ("America/New_York", None)
    assert (config.source.index, config.source.page_size) == ("flights", 10)
    assert config.source.query == {"term": {"a": 1, "b": 3}}
    assert config.stage.path == "/default"
    assert (config.airflow.tags, config.airflow.retries, config.airflow.pool) == (("c",), 7, None)
    assert config.default_record == {"team": "ops", "nested": {"a": 1, "b": 3}}


def test_a_section_of_another_type_inherits_nothing(tmp_path):
    defaults = "target: {type: table, table: t, schema: raw}\n"
    text = LEAST.replace("target: {type: table, table: flights}", "target: {type: other, name: n}")
    assert load(tmp_path, text, defaults).target == OtherTableOptions(type="other", name="n")


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        pytest.param("# a comment\nsettle: soon\n", "settle: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'soon' (defaults.yaml:2)", id="bad value"),
        pytest.param("source: {page_size: 0}\n", "source.page_size: must be between 1 and 10000, got 0 (defaults.yaml:1)", id="bad value in a section"),
        pytest.param("\nsetle: 5m\n", "setle: unknown key; did you mean 'settle'? (defaults.yaml:2)", id="unknown key"),
        pytest.param("pipeline_id: all\n", "pipeline_id: must be in each pipeline's own file: remove it from the defaults (defaults.yaml:1)", id="an id for all"),
        pytest.param("- a\n", "must contain a mapping (lines of 'key: value'), got a list (defaults.yaml:1)", id="list"),
        pytest.param("a: b: c\n", "is not valid YAML: mapping values are not allowed in this context (defaults.yaml:1)", id="syntax"),
    ],
)  # fmt: skip
def test_a_problem_of_the_defaults_has_their_file_and_line(tmp_path, defaults, expected):
    assert problems(tmp_path, LEAST, defaults) == [expected]


def test_an_invalid_default_affects_only_files_that_inherit_it(tmp_path):
    assert load(tmp_path, LEAST + "settle: 5m\n", "settle: soon\n").settle == 300


@pytest.mark.parametrize("defaults", ["", "# nothing\n", "{}\n"], ids=["empty", "comment", "empty mapping"])
def test_empty_defaults_change_nothing(tmp_path, defaults):
    assert load(tmp_path, LEAST, defaults).pipeline_id == "flights"


def test_changed_defaults_are_read_again(tmp_path):
    assert load(tmp_path, LEAST, "settle: 5m\n").settle == 300
    assert load(tmp_path, LEAST, "settle: 15m\n").settle == 900


# --- folders ------------------------------------------------------------------------------------------------------


def pipeline(pipeline_id: str) -> str:
    return LEAST.replace("pipeline_id: flights", f"pipeline_id: {pipeline_id}")


def test_one_invalid_file_does_not_affect_the_others(tmp_path):
    for n in range(100):
        write(tmp_path, f"p{n:03}.yaml", "pipeline_id: [" if n == 50 else pipeline(f"p{n:03}"))
    write(tmp_path, "defaults.yaml", "timezone: Europe/Berlin\n")
    write(tmp_path, ".hidden.yaml", "}")
    write(tmp_path, "README.md", "}")
    loaded = load_folder(tmp_path, options_model=options_model)
    assert len(loaded.pipelines) == 99
    assert {config.timezone for _, config in loaded.pipelines.values()} == {"Europe/Berlin"}
    assert [path.name for path in loaded.errors] == ["p050.yaml"]
    assert "p050.yaml:" in str(loaded.errors[tmp_path / "p050.yaml"])


@pytest.mark.parametrize(
    ("names", "stays"),
    [
        (("a.yaml", "b.yml"), "a.yaml"),
        (("a.yaml", "flights.yaml"), "flights.yaml"),
        (("a.yaml", "b.yaml", "c.yaml"), "a.yaml"),
    ],
    ids=["first by name", "named after it", "three"],
)
def test_of_two_files_with_one_id_the_second_is_an_error(tmp_path, names, stays):
    for name in names:
        write(tmp_path, name, "# comment\n" + LEAST)
    loaded = load_folder(tmp_path, options_model=options_model)
    assert loaded.pipelines["flights"][0].name == stays
    assert {path.name: str(error) for path, error in loaded.errors.items()} == {
        name: f"pipeline_id: 'flights' is used by {stays}: choose another id, or remove one of the two files ({name}:2)"
        for name in names
        if name != stays
    }
    found = find_file(tmp_path, "flights")
    assert found is not None
    assert found.name == stays


def test_invalid_defaults_are_reported_for_the_folder_and_each_file(tmp_path):
    write(tmp_path, "defaults.yaml", "a: b: c")
    write(tmp_path, "flights.yaml", LEAST)
    loaded = load_folder(tmp_path, options_model=options_model)
    assert loaded.pipelines == {}
    assert {path.name for path in loaded.errors} == {"defaults.yaml", "flights.yaml"}
    assert all("(defaults.yaml:1)" in str(error) for error in loaded.errors.values())


def test_an_empty_folder_has_no_pipelines(tmp_path):
    loaded = load_folder(tmp_path, options_model=options_model)
    assert (loaded.pipelines, loaded.errors, pipeline_files(tmp_path)) == ({}, {}, [])


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(
        ConfigError, match=r"folder: expected a folder of pipeline files, got '.*nowhere': No such file"
    ):
        load_folder(tmp_path / "nowhere", options_model=options_model)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("pipeline_id: wanted\n", True, id="plain"),
        pytest.param("pipeline_id: 'wanted'  # really\n", True, id="quotes and comment"),
        pytest.param("# pipeline_id: other\n\npipeline_id:   wanted\r\n", True, id="a comment before it"),
        pytest.param('{"pipeline_id": "wanted"}', True, id="JSON"),
        pytest.param(
            "default_record:\n  pipeline_id: other\npipeline_id: wanted\n", True, id="another one deeper"
        ),
        pytest.param("pipeline_id: other\ndefault_record:\n  pipeline_id: wanted\n", False, id="only deeper"),
        pytest.param("x: |\n  pipeline_id: wanted\npipeline_id: other\n", False, id="in a text"),
        pytest.param("pipeline_id: wanted: x\n", False, id="broken"),
        pytest.param("pipeline_id: wanted2\n", False, id="longer"),
        pytest.param("- pipeline_id: wanted\n", False, id="list"),
        pytest.param(b"\xff", False, id="no text"),
        pytest.param("", False, id="empty"),
    ],
)
def test_the_file_of_a_pipeline_is_found_by_its_id(tmp_path, text, found):
    write(tmp_path, "a.yaml", pipeline("a"))
    path = write(tmp_path, "m.yaml", text)
    assert find_file(tmp_path, "wanted") == (path if found else None)


@pytest.mark.parametrize("pipeline_id", ["../outside", "", "a\0b", ".", "a/b"], ids=repr)
def test_an_invalid_pipeline_id_has_no_file(tmp_path, pipeline_id):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    write(tmp_path, "outside.yaml", "pipeline_id: ../outside\n")
    assert find_file(folder, pipeline_id) is None


def test_a_file_name_without_the_id_in_it_does_not_match(tmp_path):
    write(tmp_path, "wanted.yaml", pipeline("other"))
    path = write(tmp_path, "z.yaml", pipeline("wanted"))
    assert find_file(tmp_path, "wanted") == path
