"""Make several pipelines of one file with `matrix`."""

# ruff: noqa: E501  (one case a line, whatever its sentence needs)

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    find_file,
    load_file,
    load_folder,
    load_pipeline,
    parse_pipeline,
    split_name,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors import registry
from tests.unit.config_examples import LEAST, options_model

FILE = """\
pipeline_id: flights_{{ region }}
matrix:
  - {region: us, zone: America/New_York, size: 100}
  - {region: eu, zone: Europe/Berlin, size: 7, last: 2013-11-30}
  - {region: "01", zone: Asia/Tokyo, size: 1, last: null}
timezone: "{{ zone }}"
source: {type: search, index: "flights-{{region}}-*", page_size: "{{ size }}"}
stage: {type: files, path: "/stage/{{ region }}"}
target: {type: table, table: "flights_{{ region }}"}
"""
HEAD = "pipeline_id: f_{{ a }}\n"
REST = LEAST.partition("\n")[2]


def write(folder: Path, text: str, defaults: str | None = None) -> Path:
    if defaults is not None:
        (folder / "defaults.yaml").write_text(textwrap.dedent(defaults))
    path = folder / "flights.yaml"
    path.write_text(text)
    return path


def pipelines(folder: Path, text: str, defaults: str | None = None) -> list[PipelineConfig]:
    loaded = load_file(write(folder, text, defaults), options_model=options_model)
    assert loaded.error is None
    return list(loaded.pipelines)


def problems(folder: Path, text: str, defaults: str | None = None) -> list[str]:
    loaded = load_file(write(folder, text, defaults), options_model=options_model)
    assert loaded.error is not None
    return [str(problem) for problem in loaded.error.problems]


def test_each_variant_is_a_pipeline_with_its_values(tmp_path: Path) -> None:
    configs = pipelines(tmp_path, FILE)
    assert [
        (c.pipeline_id, c.timezone, c.source.index, c.source.page_size, c.target.table)  # type: ignore[attr-defined]
        for c in configs
    ] == [
        ("flights_us", "America/New_York", "flights-us-*", 100, "flights_us"),
        ("flights_eu", "Europe/Berlin", "flights-eu-*", 7, "flights_eu"),
        ("flights_01", "Asia/Tokyo", "flights-01-*", 1, "flights_01"),
    ]
    assert configs[1].variant is not None
    assert str(configs[1].variant.variant) == "region: eu, zone: Europe/Berlin, size: 7, last: 2013-11-30"
    assert (configs[1].variant.variant.line, configs[1].variant.total) == (4, 3)


def test_a_mapping_of_lists_is_every_combination(tmp_path: Path) -> None:
    text = LEAST.replace(
        "pipeline_id: flights", "pipeline_id: f_{{ a }}_{{ b }}\nmatrix: {a: [x, y], b: [1, 2]}"
    )
    assert [str(one) for one in pipelines(tmp_path, text)] == ["f_x_1", "f_x_2", "f_y_1", "f_y_2"]


def test_values_reach_the_defaults_the_environment_and_included_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE", "lake-{{ region }}")  # a value of the environment is not replaced again
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns/us.yaml").write_text("- {name: A, path: 'a.{{ region }}', type: text}\n")
    text = """\
        pipeline_id: flights_{{ region }}
        matrix: [{region: us}]
        source: {type: elasticsearch, index: flights, time_field: at}
        stage: {type: object_store, path: "/${LAKE}/{{ region }}"}
        target: {type: duckdb, path: /lake.duckdb, table: main.flights}
        """
    defaults = """\
        columns: {include: "columns/{{ region }}.yaml"}
        airflow: {owner: "team {{ region }}"}
        """
    path = write(tmp_path, textwrap.dedent(text), defaults)
    config = load_pipeline(path, options_model=registry.options_model, pipeline_id="flights_us")
    assert config.stage.path == "/lake-{{ region }}/us"  # type: ignore[attr-defined]
    assert config.airflow.owner == "team us"
    assert [column.path for column in config.columns] == [("a", "us")]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param('"{{ n }}"', 5, id="alone, it has its type"),
        pytest.param('"{{ yes }}"', True, id="true"),
        pytest.param('"{{ none }}"', None, id="null"),
        pytest.param('"{{ half }}"', 0.5, id="a number alone"),
        pytest.param('"{{ n }} "', "5 ", id="in quotes it is text"),
        pytest.param("a{{ n }}{{yes}}", "a5true", id="several"),
        pytest.param("1{{ n }}", 15, id="without quotes it is read as YAML"),
        pytest.param("""'a {{ "{{" }} b }}'""", "a {{ b }}", id="the text itself"),
    ],
)
def test_a_value_after_its_variables_are_replaced(tmp_path: Path, written: str, value: object) -> None:
    variant = "{id: a, n: 5, yes: true, none: null, half: 0.5}"
    text = f"matrix: [{variant}]\npipeline_id: '{{{{ id }}}}'\n{REST}"
    (config,) = pipelines(tmp_path, f"{text}default_record:\n  A: {written}\n")
    assert config.default_record == {"A": value}
    assert type(config.default_record["A"]) is type(value)


def test_without_a_matrix_braces_are_text(tmp_path: Path) -> None:
    (config,) = pipelines(tmp_path, LEAST + "default_record: {A: '{{ x }}'}\n")
    assert (config.default_record, config.variant) == ({"A": "{{ x }}"}, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEAD + "matrix: us\n" + REST, "matrix: must be a list of mappings such as [{region: us, index: flights-us-*}], got 'us' (flights.yaml:2)", id="text"),
        pytest.param(HEAD + "matrix: []\n" + REST, "matrix: has no variant: add one, or remove the key (flights.yaml:2)", id="empty"),
        pytest.param(HEAD + "matrix: {}\n" + REST, "matrix: has no variant: add one, or remove the key (flights.yaml:2)", id="empty mapping"),
        pytest.param(HEAD + "matrix:\n- {a: 1}\n- b\n" + REST, "matrix[1]: must be a mapping such as {region: us, index: flights-us-*}, got 'b' (flights.yaml:4)", id="no mapping"),
        pytest.param(HEAD + "matrix:\n- a: {b: 1}\n" + REST, "matrix[0].a: must be text, a number, true, false or null, got a mapping (flights.yaml:3)", id="no scalar"),
        pytest.param(HEAD + "matrix: {a: us}\n" + REST, "matrix.a: must be a list of values such as [us, eu], got 'us' (flights.yaml:2)", id="no list of values"),
        pytest.param(HEAD + "matrix: {a: [1, [2]]}\n" + REST, "matrix.a[1]: must be text, a number, true, false or null, got a list (flights.yaml:2)", id="list of lists"),
        pytest.param(HEAD + "matrix: [{a-b: 1}]\n" + REST, "matrix[0].a-b: must be a name of letters, digits and '_', which does not start with a digit (flights.yaml:2)", id="name"),
        pytest.param(HEAD + "matrix: [{a: '${HOME}'}]\n" + REST, "matrix[0].a: must be a plain value, got '${HOME}': write variables where a is used (flights.yaml:2)", id="variable"),
        pytest.param(HEAD + f"matrix: {{a: {list(range(100))}, b: {list(range(51))}}}\n" + REST, "matrix: must have at most 5,000 variants, got 5,100 combinations (flights.yaml:2)", id="too many"),
        pytest.param("pipeline_id: f\nmatrix: [{a: 1}, {a: 2}]\n" + REST, "pipeline_id: must differ between the 2 variants of matrix, write a value of each in it, such as f_{{ a }} (flights.yaml:1)", id="one id"),
        pytest.param("pipeline_id: f_{{ a }}\nmatrix:\n- {a: 1}\n- {a: 2}\n- {a: 1}\n" + REST, "pipeline_id: is the same as that of the variant in line 3: write a value of the variant in it (flights.yaml:1), in variant f_1 of line 5", id="id twice"),
        pytest.param("pipeline_id: f_{{ a }}\nmatrix: [{a: 1.5}]\n" + REST, "pipeline_id: {{ a }} is 1.5 in this variant, which cannot be a part of a text: put it in quotes in matrix (flights.yaml:1), in variant 1 of line 2", id="a float in a text"),
        pytest.param("pipeline_id: f_{{ b }}\nmatrix: [{a: 1}, {a: 2}]\n" + REST, "pipeline_id: {{ b }} is not a value of the variant; it has a (flights.yaml:1), in each of the 2 variants", id="unknown name in the id"),
        pytest.param("pipeline_id: f_${HOME}{{ a }}\nmatrix: [{a: 1}]\n" + REST, "pipeline_id: must not contain a variable, got ${HOME}: it names the DAG and the state (flights.yaml:1), in variant 1 of line 2", id="environment in the id"),
        pytest.param("pipeline_id: [f]\nmatrix: [{a: 1}, {a: 2}]\n" + REST, "pipeline_id: must be text, got a list (flights.yaml:1), in each of the 2 variants", id="a list as the id"),
        pytest.param("pipeline_id: {f: 1}\nmatrix: [{a: 1}, {a: 2}]\n" + REST, "pipeline_id: must be text, got a mapping (flights.yaml:1), in each of the 2 variants", id="a mapping as the id"),
        pytest.param(HEAD + f"matrix: [{{a: {'x' * 500}}}]\n" + REST, f"pipeline_id: must be at most 120 characters long, got 502 (flights.yaml:1), in variant f_{'x' * 57}… of line 2", id="a long id"),
        pytest.param("matrix:\n- {a: 1}\n- {a: 2}\n" + REST, "pipeline_id: is missing (flights.yaml), in each of the 2 variants", id="no id"),
        pytest.param(HEAD + "matrix: [{a: 1}]\ndefault_record: {A: '{{ a | upper }}'}\n" + REST, """default_record.A: '{{ a | upper }}' is not a variable: write {{ name }}, or {{ "{{" }} for the text {{ (flights.yaml:3), in variant f_1 of line 2""", id="an expression"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_a_bad_variant_does_not_affect_the_others(tmp_path: Path) -> None:
    text = FILE.replace("Europe/Berlin", "Europe/Berln").replace("size: 7", "size: 0")
    loaded = load_file(write(tmp_path, text), options_model=options_model)
    assert [str(config) for config in loaded.pipelines] == ["flights_us", "flights_01"]
    assert loaded.error is not None
    assert [str(problem) for problem in loaded.error.problems] == [
        "timezone: must be an IANA timezone such as America/New_York, got 'Europe/Berln'; did you mean 'Europe/Berlin'? (flights.yaml:6), in variant flights_eu of line 4",
        "source.page_size: must be between 1 and 10000, got 0 (flights.yaml:7), in variant flights_eu of line 4",
    ]
    folder = load_folder(tmp_path, options_model=options_model)
    assert sorted(folder.pipelines) == ["flights_01", "flights_us"]
    assert list(folder.errors) == [tmp_path / "flights.yaml"]
    config = load_pipeline(tmp_path / "flights.yaml", options_model=options_model, pipeline_id="flights_us")
    assert config.pipeline_id == "flights_us"
    with pytest.raises(ConfigFileError, match="Europe/Berln"):
        load_pipeline(tmp_path / "flights.yaml", options_model=options_model, pipeline_id="flights_eu")


def test_a_mistake_of_several_variants_is_reported_once(tmp_path: Path) -> None:
    variants = "".join(f"- {{a: {n}, on: {'drain' if n else 'drian'}}}\n" for n in range(8))
    text = HEAD + f"matrix:\n{variants}{REST}settle: soon\nbacklog: '{{{{ on }}}}'\n"
    assert problems(tmp_path, text) == [
        "settle: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'soon' (flights.yaml:14), in each of the 8 variants",
        "backlog: must be drain or wait, got 'drian' (flights.yaml:15), in variant f_0 of line 3",
    ]
    some = text.replace("settle: soon", "settle: 1s").replace("on: drain", "on: x").replace("drian", "drain")
    assert problems(tmp_path, some) == [
        "backlog: must be drain or wait, got 'x' (flights.yaml:15), in 7 variants: f_1, f_2, f_3, f_4, f_5 and 2 more"
    ]


def test_an_id_of_another_file_breaks_that_variant_only(tmp_path: Path) -> None:
    write(tmp_path, FILE)
    (tmp_path / "flights_eu.yaml").write_text(LEAST.replace("id: flights", "id: flights_eu"))
    folder = load_folder(tmp_path, options_model=options_model)
    assert sorted(folder.pipelines) == ["flights_01", "flights_eu", "flights_us"]
    assert folder.pipelines["flights_eu"][0].name == "flights_eu.yaml"
    (error,) = folder.errors.values()
    assert str(error) == (
        "pipeline_id: 'flights_eu' is used by flights_eu.yaml: choose another id, or remove the variant "
        "(flights.yaml:1), in variant flights_eu of line 4"
    )


@pytest.mark.parametrize(
    ("pipeline_id", "found"),
    [("flights_us", True), ("flights_01", True), ("flights_x", False), ("flights", False)],
)
def test_the_file_of_a_variant_is_found(tmp_path: Path, pipeline_id: str, found: bool) -> None:
    path = write(tmp_path, FILE)
    assert find_file(tmp_path, pipeline_id) == (path if found else None)


def test_one_of_several_pipelines_is_named_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    assert split_name(f"{path}::flights_us") == (str(path), "flights_us")
    assert split_name("a::b") == ("a::b", None)
    with pytest.raises(ConfigFileError) as caught:
        load_pipeline(path, options_model=options_model)
    assert str(caught.value) == (
        "matrix: describes 3 pipelines: name one as flights.yaml::flights_us, of flights_us, flights_eu, flights_01 "
        "(flights.yaml:2)"
    )
    with pytest.raises(ConfigFileError, match="has no pipeline 'flights_su'; did you mean 'flights_us'"):
        load_pipeline(path, options_model=options_model, pipeline_id="flights_su")


def test_defaults_and_mappings_have_no_matrix(tmp_path: Path) -> None:
    assert problems(tmp_path, LEAST, "matrix: [{a: 1}]\n") == [
        "matrix: must be in each pipeline's own file: remove it from the defaults (defaults.yaml:1)"
    ]
    with pytest.raises(ConfigFileError, match="matrix: describes several pipelines: it must be in a file"):
        parse_pipeline({"pipeline_id": "a", "matrix": []}, options_model=options_model)
