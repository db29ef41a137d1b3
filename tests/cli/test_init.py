"""`init`: a first pipeline from nothing, for every combination of source, target and state."""

from __future__ import annotations

import io
import json
import re
import shlex
import sqlite3
import sys
from pathlib import Path

import pytest

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.config.loader import load_folder
from airflow_pipeline_provider.connectors.registry import options_model

Capture = pytest.CaptureFixture[str]


def exports(out: str) -> dict[str, str]:
    """The environment that the printed `export` commands would make."""
    lines = [line.strip() for line in out.splitlines() if line.strip().startswith("export ")]
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


def commands(out: str) -> list[list[str]]:
    """The printed `airflow-pipelines` commands, as their arguments."""
    lines = [line.strip() for line in out.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("airflow-pipelines ")]


def test_the_printed_commands_move_the_example(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my dags"
    assert main(["init", str(folder), "--from", "sql", "--to", "duckdb", "--example"]) == 0
    out = capsys.readouterr().out
    for name, value in exports(out).items():
        monkeypatch.setenv(name, value)
    check, run, status = commands(out)
    assert (check[0], run[0], status[0]) == ("check", "run", "status")
    assert main(check) == 0
    assert main(run) == 0
    capsys.readouterr()
    assert main([*status, "-o", "json"]) == 0
    days = json.loads(capsys.readouterr().out)["days"]
    assert [day["status"] for day in days][:2] == ["complete", "complete"]
    with sqlite3.connect(folder / "data" / "example.db") as connection:
        (rows,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    assert rows == 3 * 24 * 6


@pytest.mark.parametrize(
    "name", ["a: b", "a%20b", "a%b", "x{y}${Z}", "$HOME", "quo'te\"", "*star*", "- dash", "a=b&c"]
)
def test_the_printed_commands_work_in_any_folder(
    name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    assert main(["init", str(folder), "--example"]) == 0
    out = capsys.readouterr().out
    for variable, value in exports(out).items():
        monkeypatch.setenv(variable, value)
    check, _, status = commands(out)
    assert main(["check", "--connect", *check[1:]]) == 0
    said = capsys.readouterr().out
    assert f"is created in {folder / 'data'} by the first run" in said
    assert main(status) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a #b", "what?", "back\\slash"])
def test_a_folder_that_no_stage_can_be_in_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["init", str(tmp_path / name), "--example"]) == 2
    assert "DIR: must have no '..', backslash, '?', '#'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["sql", "elasticsearch"])
@pytest.mark.parametrize("target", ["duckdb", "postgres", "snowflake"])
@pytest.mark.parametrize("state", ["sql", "variable"])
def test_every_combination_is_a_valid_pipeline(
    source: str, target: str, state: str, tmp_path: Path, capsys: Capture
) -> None:
    arguments = [
        "init",
        str(tmp_path),
        "--id",
        "shop.orders",
        "--from",
        source,
        "--to",
        target,
        "--state",
        state,
    ]
    assert main([*arguments, "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    loaded = load_folder(tmp_path / "pipelines", options_model=options_model)
    assert loaded.errors == {}
    _, config = loaded.pipelines["shop.orders"]
    assert (config.source.type, config.target.type, config.state.type) == (source, target, state)
    assert config.warnings == ()
    named = {one["conn_id"] for one in answer["connections"]}
    text = "".join(path.read_text() for path in (tmp_path / "pipelines").iterdir())
    assert named == set(re.findall(r"(?:conn_id: |s3://)(\w+)", text))
    assert all(one["command"].startswith("airflow connections add ") for one in answer["connections"])


def test_the_printed_uris_are_connections_that_airflow_can_read(tmp_path: Path, capsys: Capture) -> None:
    from airflow.sdk import Connection

    types = {}
    for number, (source, target) in enumerate([("elasticsearch", "snowflake"), ("sql", "postgres")]):
        assert main(["init", str(tmp_path / str(number)), "--from", source, "--to", target]) == 0
        for name, uri in exports(capsys.readouterr().out).items():
            conn_id = name.removeprefix("AIRFLOW_CONN_").lower()
            types[conn_id] = Connection.from_uri(uri, conn_id).conn_type
    assert types == {
        "elasticsearch_default": "elasticsearch",
        "aws_default": "aws",
        "snowflake_default": "snowflake",
        "pipeline_state": "sqlite",
        "source_db": "postgres",
        "warehouse": "postgres",
    }


def test_a_second_pipeline_joins_the_first_and_nothing_is_overwritten(
    tmp_path: Path, capsys: Capture
) -> None:
    assert main(["init", str(tmp_path), "--id", "orders"]) == 0
    (tmp_path / "pipelines" / "defaults.yaml").write_text("timezone: Europe/Berlin\n")
    assert main(["init", str(tmp_path), "--id", "returns", "--state", "variable"]) == 0
    assert (tmp_path / "pipelines" / "defaults.yaml").read_text() == "timezone: Europe/Berlin\n"
    before = (tmp_path / "pipelines" / "orders.yaml").read_text()
    capsys.readouterr()
    assert main(["init", str(tmp_path), "--id", "orders", "--to", "postgres"]) == 2
    assert "orders.yaml exists and is not overwritten: choose another --id" in capsys.readouterr().err
    assert (tmp_path / "pipelines" / "orders.yaml").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--id", "../up"], "--id: "),
        (
            ["--from", "elasticsearch", "--example"],
            "--example: expected --from sql",
        ),
    ],
)
def test_bad_arguments_write_nothing(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["init", str(tmp_path / "new"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 5
    assert "cannot be written (" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_for_what_no_option_names(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("oracle\nelasticsearch\n\n"))
    assert main(["init", str(tmp_path), "--to", "snowflake"]) == 0
    err = capsys.readouterr().err
    assert err.count("Source (sql, elasticsearch) [sql]: ") == 2  # asked again after a bad answer
    assert "Target" not in err
    _, config = load_folder(tmp_path / "pipelines", options_model=options_model).pipelines["events"]
    assert (config.source.type, config.state.type) == ("elasticsearch", "sql")
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert main(["init", str(tmp_path / "other")]) == 2
    assert "the input ended before a choice was made" in capsys.readouterr().err
