"""Run `init`: write a DAG file, `defaults.yaml` and a first pipeline."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.starter_files import (
    EXAMPLE_DAYS,
    NeededConnection,
    Starter,
    file_texts,
    needed_connections,
    write_example,
)
from airflow_pipeline_provider.config.fields import validate_pipeline_id
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, PipelineError

SOURCES = ("sql", "elasticsearch")
TARGETS = ("duckdb", "postgres", "snowflake")
STATES = ("sql", "variable")


class StarterConnection(Struct, frozen=True):
    """Connection that the pipeline uses; `defined` is null when Airflow could not be queried."""

    conn_id: str
    defined: bool | None
    command: str


class Started(Struct, frozen=True):
    """The files that `init` wrote, the connections that they need, and the next commands."""

    pipeline_id: str
    files: tuple[str, ...]
    connections: tuple[StarterConnection, ...]
    next: tuple[str, ...]


def init(args: Namespace, screen: Screen) -> int:
    """Write the files of a first pipeline, and print the missing connections and the next commands."""
    starter = _read_choices(args)
    if os.path.lexists(starter.pipeline_file):
        raise ConfigError(
            f"DIR: {starter.pipeline_file} exists and is not overwritten: choose another --id or folder, or remove "
            "the file"
        )
    written = _write_files(starter, screen)
    connections = [(needed, _defined(needed.conn_id)) for needed in needed_connections(starter)]
    folder = str(starter.pipelines)
    following = [
        command_line.shell_line(command_line.check(folder)),
        command_line.shell_line(command_line.run_until_done(starter.pipeline_id), folder=folder),
        command_line.shell_line(command_line.status(starter.pipeline_id), folder=folder),
    ]
    result = Started(
        starter.pipeline_id,
        tuple(str(path) for path in written),
        tuple(
            StarterConnection(needed.conn_id, defined, _add_command(needed))
            for needed, defined in connections
        ),
        tuple(following),
    )
    screen.print_result(result, partial(_print, connections))
    return exit_codes.OK


def _print(
    connections: Sequence[tuple[NeededConnection, bool | None]], result: Started, screen: Screen
) -> None:
    _print_connections(connections, screen)
    screen.print_line("")
    screen.print_line("Then:")
    for command in result.next:
        screen.print_line(f"  {command}")


# --- choices


def _read_choices(args: Namespace) -> Starter:
    ask = sys.stdin.isatty() and args.output != "json"
    source = args.source or _ask_choice("Source", SOURCES, ask)
    target = args.target or _ask_choice("Target", TARGETS, ask)
    state = args.state or _ask_choice("State", STATES, ask)
    if args.example and source != "sql":
        raise ConfigError(
            f"--example: expected --from sql, got --from {source}: the example is a SQLite database"
        )
    example = args.example
    if ask and source == "sql" and not example:
        example = _ask_choice("Write a small SQLite database to try it with", ("yes", "no"), ask) == "yes"
    try:
        pipeline_id = validate_pipeline_id(args.id)
    except ValueError as error:
        raise ConfigError(f"--id: {error}") from None
    folder = Path(args.directory).expanduser()
    start_day = (datetime.now(timezone.utc) - timedelta(days=EXAMPLE_DAYS)).date()
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  (resolve would follow links)
    starter = Starter(folder, pipeline_id, source, target, state, start_day, example)
    if starter.needs_data_folder:
        _check_folder(starter)
    return starter


def _check_folder(starter: Starter) -> None:
    """Raise ConfigError before anything is written if `stage.path` cannot be below the folder."""
    from airflow_pipeline_provider.connectors.object_store.stage import parse_location

    try:
        parse_location(str(starter.data))
    except ValueError as error:
        raise ConfigError(f"DIR: {error}") from None


def _ask_choice(what: str, choices: Sequence[str], ask: bool) -> str:
    """Prompt on the terminal until the input is one of the choices; the first is the default."""
    while ask:
        sys.stderr.write(f"{what} ({', '.join(choices)}) [{choices[0]}]: ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            raise ConfigError(
                f"{what}: the input ended before a choice was made: use the option instead (see --help)"
            )
        if (answer := answer.strip().lower()) in choices:
            return answer
        if not answer:
            break
    return choices[0]


# --- files


def _write_files(starter: Starter, screen: Screen) -> list[Path]:
    """Write the missing files, the pipeline file last, so that an interrupted `init` can be repeated."""
    written: list[Path] = []
    try:
        if starter.needs_data_folder:
            starter.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if starter.example and not starter.example_database.exists():
            rows = write_example(starter.example_database, starter.start_day)
            screen.print_line(f"wrote {starter.example_database} (table events, {counted(rows, 'row')})")
            written.append(starter.example_database)
        for path, text in file_texts(starter).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
            except FileExistsError:
                screen.print_line(f"kept  {path}")
            else:
                screen.print_line(f"wrote {path}")
                written.append(path)
    except OSError as error:
        raise FatalError(
            f"{error.filename or starter.folder} cannot be written ({error.strerror or error}): choose a folder that "
            "you may write to"
        ) from None
    return written


# --- connections


def _defined(conn_id: str) -> bool | None:
    """Return whether Airflow defines the connection; None if Airflow could not be queried."""
    from airflow_pipeline_provider.connectors.airflow_connections import get_connection

    try:
        get_connection(conn_id)
    except FatalError:
        return False
    except PipelineError:
        return None
    return True


def _add_command(needed: NeededConnection) -> str:
    return f"airflow connections add {needed.conn_id} --conn-uri {shlex.quote(needed.uri)}"


def _print_connections(connections: Sequence[tuple[NeededConnection, bool | None]], screen: Screen) -> None:
    missing = [needed for needed, defined in connections if defined is not True]
    if not missing:
        screen.print_line(
            f"All connections are defined: {', '.join(needed.conn_id for needed, _ in connections)}"
        )
        return
    screen.print_line("")
    screen.print_line("Missing connections (replace words in capitals). In Airflow's database:")
    for needed in missing:
        screen.print_line(f"  {_add_command(needed)}")
    screen.print_line("or in the environment of Airflow and of this shell:")
    for needed in missing:
        screen.print_line(f"  export AIRFLOW_CONN_{needed.conn_id.upper()}={shlex.quote(needed.uri)}")
