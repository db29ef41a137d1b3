"""`check`: every problem with file and line, and nothing but JSON with `--output json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Place


def test_a_good_file_is_ok(place: Place) -> None:
    file = place.write()
    result = place("check")
    assert result.code == 0
    assert result.out == (
        f"{file}: ok (flights)\n  next runs: none, every day up to end_day 2013-11-03 was scheduled\n"
        "1 file, no problems, no warnings\n"
    )
    assert result.err == ""


def test_every_problem_has_path_file_and_line(place: Place) -> None:
    place.write(granularity="5x", max_attempts=0, tiemzone="UTC")
    result = place("check")
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0] == f"{place.folder / 'flights.yaml'}:"
    found = {line.strip().partition(":")[0]: line for line in lines[1:-1]}
    assert set(found) == {"granularity", "max_attempts", "tiemzone"}
    assert found["granularity"].endswith("(flights.yaml:3)")
    assert "did you mean 'timezone'?" in found["tiemzone"]
    assert lines[-1] == "1 file, 3 problems, no warnings"


def test_a_warning_is_shown_and_is_no_problem(place: Place) -> None:
    place.write(x_time_back="1h", granularity="2h")
    result = place("check")
    assert result.code == 0
    assert "  warning: x_time_back:" in result.out
    assert result.out.endswith("1 file, no problems, 1 warning\n")


def test_one_broken_file_hides_no_other(place: Place) -> None:
    place.write("good")
    place.write("bad", granularity=0)
    (place.folder / "torn.yaml").write_text("pipeline_id: torn\nsource: {type: memory\n")
    result = place("check", "--output", "json")
    assert result.code == 1
    files = {Path(one["file"]).stem: one for one in result.json["files"]}
    assert {name: one["ok"] for name, one in files.items()} == {"good": True, "bad": False, "torn": False}
    assert files["torn"]["problems"][0]["line"] in (2, 3)
    assert (result.json["errors"], result.json["warnings"]) == (2, 0)
    assert result.err == ""


def test_json_of_a_problem(place: Place) -> None:
    file = place.write(granularity="5x")
    (one,) = place("check", str(file), "-o", "json").json["files"]
    (problem,) = one["problems"]
    assert one["pipeline_id"] is None
    assert problem["message"].startswith("must be a duration")
    assert {k: v for k, v in problem.items() if k != "message"} == {
        "severity": "error",
        "path": "granularity",
        "file": str(file),
        "line": 3,
        "variants": None,
    }


def test_named_files_are_checked_alone(place: Place) -> None:
    good, bad = place.write("good"), place.write("bad", granularity=0)
    assert place("check", str(good)).code == 0
    assert place("check", str(good), str(bad)).code == 1


def test_a_named_folder_is_checked_as_airflow_would_load_it(place: Place) -> None:
    place.write("one")
    place.write("one", file="two.yaml")
    result = place("check", str(place.folder), folder=False)
    assert result.code == 1
    assert "pipeline_id: 'one' is used by one.yaml" in result.out


def test_one_id_in_two_named_files(place: Place) -> None:
    first, second = place.write("one", file="a/one.yaml"), place.write("one", file="b/one.yaml")
    result = place("check", str(first), str(second))
    assert result.code == 1
    assert f"pipeline_id: 'one' is used by {first}" in result.out


def test_one_id_in_two_folders(place: Place) -> None:
    place.write("one", file="a/one.yaml")
    place.write("one", file="b/one.yaml")
    result = place("check")
    assert result.code == 1
    assert "'one' is used by" in result.out


def test_defaults_yaml_is_not_a_pipeline(place: Place) -> None:
    place.write()
    (place.folder / "defaults.yaml").write_text("max_attempts: 3\n")
    named = [str(file) for file in sorted(place.folder.glob("*.yaml"))]
    result = place("check", *named)
    assert result.code == 0
    assert result.out.endswith("1 file, no problems, no warnings\n")
    assert "defaults.yaml: it is checked with each file that it applies to" in result.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            ["check", "nowhere.yaml"], "FILES: file 'nowhere.yaml' does not exist", id="no-such-file"
        ),
        pytest.param(["check"], "no pipeline file in or below", id="no-file-at-all"),
        pytest.param(["check", "--folder", "/no/such/place"], "--folder: expected a folder", id="no-folder"),
        pytest.param(
            ["check", "--output", "xml"], "argument -o/--output: invalid choice: 'xml'", id="output"
        ),
        pytest.param(["chekc"], "invalid choice: 'chekc'", id="command"),
        pytest.param([], "the following arguments are required: COMMAND", id="nothing"),
    ],
)
def test_mistakes_are_one_sentence(place: Place, arguments: list[str], sentence: str) -> None:
    named = "--folder" in arguments or not arguments or arguments == ["chekc"]
    result = place(*arguments, folder=not named)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert sentence in result.err
    assert result.err.count("\n") == 1


def test_yaml_of_others_in_the_dags_folder_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("flights", file="team/pipelines/flights.yaml")
    (place.folder / "k8s").mkdir()
    (place.folder / "k8s" / "pod.yaml").write_text("kind: Pod\nspec: {}\n")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(place.folder))
    result = place("check", folder=False)
    assert result.code == 0
    assert "flights.yaml: ok (flights)" in result.out
    assert "pod.yaml" not in result.out


@pytest.mark.parametrize(
    ("changes", "at", "runs"),
    [
        pytest.param(
            {"schedule": "30 6 * * *"},
            "2013-11-02T12:00:00Z",
            "2013-11-03 06:30 EST, 2013-11-04 06:30 EST, "
            "2013-11-05 06:30 EST, 2013-11-06 06:30 EST, 2013-11-07 06:30 EST",
            id="a cron keeps its local time",
        ),
        pytest.param(
            {"schedule": "30 * * * *"},
            "2013-11-03T04:00:00Z",
            "2013-11-03 00:30 EDT, 2013-11-03 01:30 EDT, "
            "2013-11-03 01:30 EST, 2013-11-03 02:30 EST, 2013-11-03 03:30 EST",
            id="each of the repeated hours",
        ),
        pytest.param(
            {"schedule": "30 2 * * *"},
            "2013-03-09T12:00:00Z",
            "2013-03-10 03:30 EDT, 2013-03-11 02:30 EDT, "
            "2013-03-12 02:30 EDT, 2013-03-13 02:30 EDT, 2013-03-14 02:30 EDT",
            id="a time that the clock skips",
        ),
        pytest.param(
            {"granularity": "12h"},
            "2013-11-03T12:00:00Z",
            "2013-11-04 00:00 EST, 2013-11-04 11:00 EST, 2013-11-04 23:00 EST",
            id="the windows of a day, up to end_day",
        ),
        pytest.param(
            {"granularity": "1d", "end_day": None, "start_day": None, "settle": "3d"},
            "2013-11-03T12:00:00Z",
            "2013-11-03 23:00 EST, 2013-11-04 23:00 EST, "
            "2013-11-05 23:00 EST, 2013-11-07 00:00 EST, 2013-11-08 00:00 EST",
            id="days that settle late",
        ),
    ],
)
def test_the_next_runs_in_local_time(place: Place, changes: dict[str, Any], at: str, runs: str) -> None:
    place.write(**changes)
    result = place("check", "--reference-time", at)
    assert result.code == 0
    assert f"  next runs: {runs}" in result.out.splitlines()
    (one,) = place("check", "--reference-time", at, "-o", "json").json["files"]
    assert [run["local"][:16].replace("T", " ") for run in one["next_runs"]] == [
        run[:16] for run in runs.split(", ")
    ]


def test_a_pipeline_that_runs_by_hand(place: Place) -> None:
    file = place.write()
    file.write_text(file.read_text() + "schedule: null\n")
    assert "next runs: none, schedule is null" in place("check").out


def test_variables_are_named_with_their_origin(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER", "data team")
    monkeypatch.delenv("POOL", raising=False)
    file = place.write(airflow={"owner": "${OWNER}", "pool": "${POOL:-slow}"})
    lines = [line for line in place("check").out.splitlines() if line.startswith("  variable")]
    assert [line.partition(" (")[0] for line in lines] == [
        "  variable OWNER: from the environment",
        "  variable POOL: not set, using its default",
    ]
    [one] = place("check", "--output", "json").json["files"]
    assert [(v["name"], v["origin"], v["path"], v["file"]) for v in one["variables"]] == [
        ("OWNER", "environment", "airflow.owner", str(file)),
        ("POOL", "default", "airflow.pool", str(file)),
    ]


def test_a_missing_variable_is_an_error_with_its_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POOL", raising=False)
    place.write(airflow={"pool": "${POOL}"})
    result = place("check")
    assert result.code == 1
    assert "airflow.pool: the environment variable POOL is not set" in result.out


VARIANTS = [{"region": "us", "days": "2h"}, {"region": "eu", "days": "1h"}]


def write_variants(place: Place, **changes: Any) -> None:
    place.write(
        "flights_{{ region }}",
        file="flights.yaml",
        **{
            "matrix": VARIANTS,
            "granularity": "{{ days }}",
            "source": {"type": "memory", "table": "flights_{{ region }}"},
            "target": {
                "type": "duckdb",
                "path": str(place.folder.parent / "{{ region }}.duckdb"),
                "table": "main.moved",
            },
            **changes,
        },
    )


def test_a_file_with_variants_lists_each_pipeline(place: Place) -> None:
    write_variants(place)
    result = place("check", "--reference-time", "2013-11-06T00:00:00Z")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    file = place.folder / "flights.yaml"
    assert lines[::3] == [
        f"{file}: ok (flights_us)",
        f"{file}: ok (flights_eu)",
        "1 file, 2 pipelines, no problems, no warnings",
    ]
    assert lines[1] == "  variant region: us, days: 2h"
    files = place("check", str(file), "-o", "json", folder=False).json["files"]
    assert [(one["pipeline_id"], one["variant"]) for one in files] == [
        ("flights_us", VARIANTS[0]),
        ("flights_eu", VARIANTS[1]),
    ]


def test_a_bad_variant_is_named_and_the_others_are_listed(place: Place) -> None:
    write_variants(place, matrix=[*VARIANTS, {"region": "asia", "days": "1x"}])
    for arguments in ((), (str(place.folder / "flights.yaml"),), (str(place.folder),)):
        result = place("check", "-o", "json", *arguments, folder=not arguments)
        assert result.code == 1
        by_id = {one["pipeline_id"]: one for one in result.json["files"]}
        assert {name: one["ok"] for name, one in by_id.items()} == {
            "flights_us": True,
            "flights_eu": True,
            None: False,
        }
        (problem,) = by_id[None]["problems"]
        assert problem["variants"].startswith("in variant flights_asia of line ")


def test_two_variants_with_one_source_and_table_are_a_problem(place: Place) -> None:
    target = {"type": "duckdb", "path": str(place.folder.parent / "all.duckdb"), "table": "main.moved"}
    write_variants(place, target=target)
    assert place("check").code == 0
    write_variants(place, target=target, source={"type": "memory", "table": "flights"})
    result = place("check")
    assert result.code == 1
    assert "target.table: is also the target of flights_eu, which loads the same source" in result.out
    assert "remove one of the two variants, or give one another target" in result.out


def test_commands_take_the_id_of_a_variant(place: Place) -> None:
    write_variants(place)
    file = place.folder / "flights.yaml"
    for name, folder in (("flights_eu", True), (f"{file}::flights_eu", False)):
        result = place("status", name, folder=folder)
        assert (result.code, "flights_eu" in result.out) == (0, True), result.err
    result = place("status", str(file), folder=False)
    assert result.code == 2
    assert (
        "describes 2 pipelines: name one as flights.yaml::flights_us, of flights_us, flights_eu" in result.err
    )
    result = place("status", "flights_su")
    assert result.code == 2
    assert "did you mean 'flights_us'" in result.err
