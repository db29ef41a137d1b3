"""Run `state`, which exports, imports, rebuilds or renames a pipeline's state, and `adopt`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import IO
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import asdict

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_person, read_reason
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.fields import PIPELINE_ID
from airflow_pipeline_provider.config.loader import find_file
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import CommitRow, Identity
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.phases import adopt as phase
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.rename import rename
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.state.portable import LONGEST_LINE, from_lines, to_lines

STREAM = "-"


class ImportedState(Struct, frozen=True):
    """What `state import` wrote."""

    pipeline_id: str
    entries: int
    runs: int
    token: int
    first_day: date | None


class RebuiltRow(Struct, frozen=True):
    """Commit row of the target."""

    start: datetime
    end: datetime
    token: int
    rows: int


class LeftOutRow(RebuiltRow, frozen=True):
    """Commit row of the target that was not written into the ledger."""

    why: str


class RebuiltState(Struct, frozen=True):
    """What `state rebuild` wrote into the ledger; `known` counts the commits that it had already."""

    pipeline_id: str
    written: tuple[RebuiltRow, ...]
    known: int
    left_out: tuple[LeftOutRow, ...]


class RenamedState(Struct, frozen=True):
    """What `state rename` transferred: entries of the ledger and rows of the target."""

    pipeline_id: str
    renamed_from: str
    entries: int
    rows: int


def state(args: Namespace, screen: Screen) -> int:
    """Export, import, rebuild or rename the state of a pipeline.

    `state export` writes JSON Lines (`state.portable`) to FILE or standard output. `state import` reads them into
    the store that the pipeline file names now, so also from the variable to the sql store. `state rebuild` restores
    a lost ledger from the target's commit rows. `state rename` transfers state and target rows of OLD to NEW.

    Exit code 1 when `rebuild` left something out.
    """
    by = read_person(args.by)
    if args.action == "rename":
        return _rename(args, by, screen)
    config = load_one(args.pipeline, args.folder).config
    if args.action == "import" and args.file is None:
        raise ConfigError("FILE: expected the file that `state export` wrote, or - for standard input")
    if args.action == "rebuild" and args.file is not None:
        raise ConfigError(f"FILE: `state rebuild` reads the target, got the file {args.file!r}: leave it out")
    if args.action == "rebuild":
        return rebuild_ledger(config, by, screen)
    with _opened(config, args.action) as runtime:
        if args.action == "export":
            return _export(runtime, args.file or STREAM, screen)
        code = _import(runtime, args.file, screen)
        runtime.state.record_act("state import", by, file=args.file)
        return code


def rebuild_ledger(config: PipelineConfig, by: str, screen: Screen) -> int:
    """Restore a lost ledger from the target's commit rows; print and return as `state rebuild`."""
    with _opened(config, "rebuild") as runtime:
        code = _rebuild(runtime, screen)
        runtime.state.record_act("state rebuild", by)
        return code


@contextmanager
def _opened(config: PipelineConfig, action: str) -> Iterator[Runtime]:
    with open_runtime(config) as runtime:
        try:
            yield runtime
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state {action}")
            raise


# --- export


def _export(runtime: Runtime, file: str, screen: Screen) -> int:
    snapshot = runtime.state.snapshot()
    lines = to_lines(runtime.config.pipeline_id, snapshot)
    if file == STREAM:
        for line in lines:
            screen.print_raw(line)
    else:
        with _new_file(Path(file)) as out:
            for line in lines:
                out.write(line + "\n")
    screen.print_note(
        f"{counted(len(snapshot.entries), 'entry')}, {counted(len(snapshot.runs), 'run')}, newest token "
        f"{snapshot.token}"
    )
    for lease in runtime.state.leases():
        since = local_time(lease.since, runtime.config.timezone)
        screen.print_note(
            f"{lease.holder} holds a lease since {since}: what it writes from now on is not exported; stop the "
            "pipeline before you export its state to move it",
            "yellow",
        )
    return exit_codes.OK


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    """Create the file completely or not at all; never overwrite an existing one, which may be the only copy."""
    if path.exists():
        raise ConfigError(f"FILE: {path} exists and is not overwritten: choose another name, or remove it")
    waiting = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        private = partial(os.open, mode=0o600)  # it lists every window, run and error
        with open(waiting, "x", encoding="utf-8", opener=private) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.link(waiting, path)
    except FileExistsError as error:
        raise ConfigError(
            f"FILE: {path} exists and is not overwritten: choose another name, or remove it"
        ) from error
    except OSError as error:
        raise ConfigError(f"FILE: {path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            waiting.unlink()


# --- import


def _lines(file: IO[str]) -> Iterator[str]:
    """Yield the lines; a line that is too long is cut just after the limit, so that it is refused unread."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line


def _import(runtime: Runtime, file: str, screen: Screen) -> int:
    pipeline_id = runtime.config.pipeline_id
    try:
        if file == STREAM:
            snapshot = from_lines(_lines(sys.stdin), pipeline_id)
        else:
            with Path(file).open(encoding="utf-8") as lines:
                snapshot = from_lines(_lines(lines), pipeline_id)
    except OSError as error:
        raise ConfigError(f"FILE: {file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"FILE: {file} is not UTF-8 text ({error.reason}): name a file that `state export` wrote"
        ) from error
    except ConfigError as error:
        raise ConfigError(f"FILE: {file}: {error.message}") from error
    runtime.state.restore(snapshot)
    result = ImportedState(
        pipeline_id, len(snapshot.entries), len(snapshot.runs), snapshot.token, snapshot.first_day
    )
    screen.print_result(result, partial(_print_imported, runtime.config.state.type))
    return exit_codes.OK


def _print_imported(store: str, result: ImportedState, screen: Screen) -> None:
    screen.print_line(
        f"the state of type {store} has {counted(result.entries, 'entry')} and {counted(result.runs, 'run')} of "
        f"{result.pipeline_id}; tokens continue above {result.token}",
        "green",
    )


# --- rebuild


def _rebuild(runtime: Runtime, screen: Screen) -> int:
    config, done = runtime.config, rebuild(runtime)
    result = RebuiltState(
        config.pipeline_id,
        tuple(_row(row) for row in done.written),
        len(done.known),
        tuple(LeftOutRow(**asdict(_row(row)), why=why) for row, why in done.left_out),
    )
    screen.print_result(result, partial(_print_rebuilt, config.timezone))
    repair = command_line.shell_line(command_line.doctor(command_line.name_of(config.pipeline_id)))
    for row, why in done.left_out:
        window = local_window(row.interval, config.timezone)
        screen.print_error(f"{window} was left out: {why}; run `{repair}` to see what to do")
    return exit_codes.CHECK_FAILED if done.left_out else exit_codes.OK


# --- rename


def _rename(args: Namespace, by: str, screen: Screen) -> int:
    if args.file is None:
        raise ConfigError(
            "NEW: expected `state rename OLD NEW`, where NEW is the current id or file of the pipeline"
        )
    found = load_one(args.file, args.folder)
    config, old_id = found.config, args.pipeline
    if not PIPELINE_ID.fullmatch(old_id) or old_id == config.pipeline_id:
        raise ConfigError(
            f"OLD: expected the id that pipeline {config.pipeline_id!r} had before, got {old_id!r}"
        )
    second = find_file(found.file.parent, old_id)
    if second is not None:
        raise ConfigError(
            f"OLD: {second} still has the id {old_id!r}: remove that file or give it another id first"
        )
    with open_runtime(config) as runtime:
        old = type(runtime.state)(config.state, Identity(old_id, config.timezone))
        with closing(old):
            done = rename(runtime, old, by)
    screen.print_result(RenamedState(config.pipeline_id, old_id, done.entries, done.rows), _print_renamed)
    return exit_codes.OK


def _print_renamed(result: RenamedState, screen: Screen) -> None:
    screen.print_line(
        f"renamed {result.renamed_from} to {result.pipeline_id}: {counted(result.entries, 'entry')} of the ledger "
        f"and {counted(result.rows, 'row')} of the target",
        "green",
    )


def _row(row: CommitRow) -> RebuiltRow:
    return RebuiltRow(row.interval.start, row.interval.end, row.token, row.rows)


def _print_rebuilt(zone: str, result: RebuiltState, screen: Screen) -> None:
    rows = [(row, "written") for row in result.written] + [(row, row.why) for row in result.left_out]
    if rows:
        rows.sort(key=lambda pair: (pair[0].start, pair[0].end))
        screen.print_table(
            ("window", "token", "rows", "what"),
            [
                (local_window(Interval(row.start, row.end), zone), str(row.token), f"{row.rows:,}", what)
                for row, what in rows
            ],
            right=("token", "rows"),
            styles=[None if what == "written" else "red" for _, what in rows],
        )
    screen.print_line(
        f"{counted(len(result.written), 'commit')} written, {result.known:,} already in the ledger", "green"
    )


class Adopted(Struct, frozen=True):
    """What `adopt` accepted: changes of source and target, and pipelines that load the same source into the table.

    `windows` is how many committed windows were found in the target, null when the target is the same.
    """

    pipeline_id: str
    changes: tuple[str, ...]
    shared_with: tuple[str, ...]
    windows: int | None
    reason: str
    by: str


def adopt(args: Namespace, screen: Screen) -> int:
    """Record the source and target that the pipeline file names now, and print what changed."""
    reason, by = read_reason(args.reason), read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    with open_runtime(config) as runtime:
        done = phase.adopt(runtime, reason, by)
    result = Adopted(config.pipeline_id, tuple(done.found), tuple(done.twins), done.windows, reason, by)
    screen.print_result(result, _print_adopted)
    return exit_codes.OK


def _print_adopted(result: Adopted, screen: Screen) -> None:
    for change in result.changes:
        screen.print_line(f"adopted: {change}", "yellow")
    for twin in result.shared_with:
        screen.print_line(
            f"adopted: pipeline {twin} loads the same source into this table, its rows are kept", "yellow"
        )
    if result.windows is not None:
        screen.print_line(f"the target holds every committed window ({result.windows:,})", "green")
    if not result.changes and not result.shared_with:
        screen.print_line("nothing to adopt: source and target are those of the previous loads")
