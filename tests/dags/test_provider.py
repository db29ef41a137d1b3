"""Airflow discovers the provider, its commands, the timetable and the connection forms."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_pipeline_provider as package
from airflow_pipeline_provider.cli.commands import COMMANDS
from airflow_pipeline_provider.cli.main import build_parser
from airflow_pipeline_provider.config import policy
from airflow_pipeline_provider.provider import get_provider_info
from tests.dags.conftest import Folder

DISTRIBUTION = "airflow-pipeline-provider"
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 300  # a busy machine starts Airflow's command line slowly


def command(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of an installed command."""
    done = subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},  # Airflow prints Python's warnings on standard output
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("apache_airflow_provider", "provider_info"),
        ("airflow.plugins", "airflow_pipeline_provider"),
        ("console_scripts", "airflow-pipelines"),
    ],
)
def test_entry_points_resolve(group: str, name: str) -> None:
    (point,) = [
        p for p in entry_points(group=group) if p.name == name and p.dist and p.dist.name == DISTRIBUTION
    ]
    assert point.load() is not None


def test_the_description_matches_airflows_schema() -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


@pytest.mark.parametrize(
    ("section", "base"),
    [
        ("operators", "airflow.sdk:BaseOperator"),
        ("sensors", "airflow.sdk:BaseSensorOperator"),
        ("triggers", "airflow.triggers.base:BaseTrigger"),
    ],
)
def test_the_description_lists_each_class_that_a_dag_may_use(section: str, base: str) -> None:
    found_in = importlib.import_module(f"airflow_pipeline_provider.{section}")
    kind = EntryPoint("base", base, "test").load()
    listed = {module for entry in get_provider_info()[section] for module in entry["python-modules"]}
    found = {
        name
        for _, name, _ in pkgutil.iter_modules(found_in.__path__, f"{found_in.__name__}.")
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == name
    }
    assert listed == found - {"airflow_pipeline_provider.operators.base"}


def test_each_setting_of_the_description_is_read() -> None:
    folder = Path(package.__path__[0])
    source = "\n".join(path.read_text() for path in folder.rglob("*.py") if path.name != "provider.py")
    options = get_provider_info()["config"][policy.SECTION]["options"]
    assert [name for name in options if f'"{name}"' not in source] == []


def test_the_registry_file_names_classes_that_exist() -> None:
    registry = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    assert registry["package-name"] == DISTRIBUTION
    listed = [
        entry["module"] for kind in ("operators", "sensors", "triggers", "other") for entry in registry[kind]
    ]
    for name in listed:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    described = {
        module
        for section in ("operators", "sensors", "triggers")
        for entry in get_provider_info()[section]
        for module in entry["python-modules"]
    }
    assert {name.rpartition(".")[0] for name in listed} - {"airflow_pipeline_provider"} == described


def test_airflow_lists_the_provider(airflow_db: Path) -> None:
    code, out, err = command("airflow", "providers", "list", "--output", "json")
    assert code == 0, err
    (mine,) = [row for row in json.loads(out) if row["package_name"] == DISTRIBUTION]
    assert mine["description"].startswith("Move time windows of data")


def test_airflow_has_the_commands(airflow_db: Path, folder: Folder) -> None:
    folder.write()
    arguments = (
        "plan",
        folder.pipeline_id,
        "--day",
        "2013-11-03",
        "--folder",
        str(folder.path),
        "-o",
        "json",
    )
    code, out, err = command("airflow", "pipelines", *arguments)
    assert code == 0, err
    assert json.loads(out) == json.loads(command("airflow-pipelines", *arguments)[1])
    assert json.loads(out)["length"] == "25h"


def test_airflow_returns_the_commands_exit_codes(airflow_db: Path, folder: Folder) -> None:
    folder.write(granularity="0s")
    code, out, err = command("airflow", "pipelines", "check", "--folder", str(folder.path))
    assert code == 1, err
    assert "granularity: must be" in out


@pytest.fixture
def airflow_parser() -> Any:
    from airflow.cli.cli_parser import get_parser

    return get_parser()


ARGUMENTS = [
    "init",
    "init dags --id orders --from sql --to postgres --state variable --example",
    "check",
    "check a.yaml b.yaml --folder p -o json -v",
    "plan flights --day 2013-11-03",
    "run flights --until-done --reference-time 2013-11-05T00:00:00Z --wait 1h --retries 0",
    "run flights --window-start 2013-11-03T00:00:00-04:00 --window-end 2013-11-03T02:00:00-05:00",
    "status",
    "status flights --days 3 --fail-if-behind 6h --output json",
    "schema --write s.json",
]


@pytest.mark.parametrize("line", ARGUMENTS)
def test_both_command_lines_accept_the_same_arguments(airflow_parser: Any, line: str) -> None:
    theirs = vars(airflow_parser.parse_args(["pipelines", *line.split()]))
    ours = vars(build_parser().parse_args(line.split()))
    ours.pop("command")
    assert {name: theirs[name] for name in ours} == ours
    assert set(theirs) - set(ours) == {"func", "subcommand"}


def test_airflow_shows_the_help_of_every_command(
    airflow_parser: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            airflow_parser.parse_args(["pipelines", one.name, "--help"])
        assert ended.value.code == 0
        output = capsys.readouterr().out
        assert "exit codes: 0 success" in output
        for argument in one.arguments:
            assert argument.flags[-1] in output or argument.options.get("metavar", "") in output


def test_a_command_exits_airflow_with_its_code(
    airflow_parser: Any, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    args = airflow_parser.parse_args(["pipelines", "plan", "nobody", "--folder", str(folder.path)])
    with pytest.raises(SystemExit) as ended:
        args.func(args)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: PIPELINE: no pipeline 'nobody'")


def test_airflow_registers_the_timetable(airflow_db: Path) -> None:
    from airflow import plugins_manager

    module = "airflow_pipeline_provider.factory.timetable"
    names = {f"{module}.DayPlanTimetable", f"{module}.DeadlineTimetable"}
    assert names <= set(plugins_manager.get_timetables_plugins())


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")  # raised by Airflow 3.2 itself
@pytest.mark.parametrize(
    ("conn_type", "extra"),
    [
        ("elasticsearch", "elasticsearch"),
        ("snowflake", "snowflake"),
        ("aws", "amazon"),
        ("postgres", "postgres"),
    ],
)
def test_connection_forms_of_the_extras(airflow_db: Path, conn_type: str, extra: str) -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    forms = {form.connection_type: form for form in HookMetaService.hook_meta_data()}
    assert conn_type in forms, f"the extra {extra} brings no connection form"
    assert forms[conn_type].hook_name


# --- connections of the metadata database


def add_connection(conn_id: str, **values: Any) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id=conn_id, **values))


@pytest.fixture
def stored(airflow_db: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Add connections to the metadata database only."""
    monkeypatch.delenv("AIRFLOW_CONN_EVENTS_DB")
    monkeypatch.delenv("AIRFLOW_CONN_PIPELINE_STATE")
    return add_connection


def test_a_run_finds_connections_in_the_metadata_database(
    folder: Folder, stored: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_pipeline_provider import fault_points
    from airflow_pipeline_provider.cli.main import main

    source, state = f"source_{folder.pipeline_id}", f"state_{folder.pipeline_id}"
    stored(source, conn_type="sqlite", host=str(folder.path / "events.db"))
    stored(state, conn_type="sqlite", host=str(folder.path / "state.db"))
    folder.write(
        source=f"{{type: sql, conn_id: {source}, table: events, time_column: at, key_columns: [id]}}",
        state=f"{{type: sql, conn_id: {state}}}",
    )
    at = ("--reference-time", "2013-11-05T12:00:00Z")
    inherited: set[str] = set()  # by child processes started at one of the fault points
    hook = fault_points.install(lambda point: inherited.update(os.environ))
    try:
        code = main(
            ["run", folder.pipeline_id, "--until-done", *at, "--folder", str(folder.path), "-o", "json"]
        )
    finally:
        fault_points.install(hook)
    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert not inherited & {f"AIRFLOW_CONN_{source.upper()}", f"AIRFLOW_CONN_{state.upper()}"}
    assert [window["status"] for window in answer["windows"]] == ["committed"] * 5
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")


def test_hooks_find_a_connection_that_does_not_stay_in_the_environment(
    folder: Folder, stored: Callable[..., None]
) -> None:
    """Here Airflow's hooks only look in the environment, and the AWS hook would silently continue without it."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    from airflow_pipeline_provider.connectors.airflow_connections import metadata_for_hooks

    aws = f"aws_{folder.pipeline_id}"
    secret = 's/e%c:r@e"t'
    stored(aws, conn_type="aws", login="key", password=secret, extra='{"region_name": "eu-central-1"}')
    before = dict(os.environ)
    with metadata_for_hooks():
        hook: AwsGenericHook[Any] = AwsGenericHook(aws_conn_id=aws, client_type="s3")
        credentials = hook.get_session().get_credentials()
        assert (credentials.access_key, credentials.secret_key) == ("key", secret)
        assert hook.region_name == "eu-central-1"
        assert secret not in str(dict(os.environ))
    assert dict(os.environ) == before


def test_a_missing_connection_is_reported_on_one_line(
    folder: Folder, stored: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_pipeline_provider.cli.main import main

    folder.write(state="{type: sql, conn_id: nowhere}")
    for name in ("run", "status"):
        assert main([name, folder.pipeline_id, "--folder", str(folder.path)]) == 5
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "connection 'nowhere' is not defined" in err
        assert "AIRFLOW_CONN_NOWHERE" in err
