"""Run `state`, which exports, imports, rebuilds or renames a pipeline's state, and `adopt`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_person, read_reason
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.fields import PIPELINE_ID
from airflow_pipeline_provider.config.loader import find_file
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import CommitRow, Identity
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.phases import adopt as phase
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.rename import rename
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.state.portable import LONGEST_LINE, from_lines, to_lines

STREAM = "-"


def state(args: Namespace, screen: Screen) -> int:
    """Export, import, rebuild or rename the state of a pipeline.

    `state export` writes JSON Lines (`state.portable`) to FILE or standard output. `state import` reads them into
    the store that the pipeline file names now, so also from the variable to the sql store. `state rebuild` restores
    a lost ledger from the target's commit rows. `state rename` transfers state and target rows of OLD to NEW.

    JSON of `import`: `{"pipeline_id", "entries", "runs", "token", "first_day" | null}`; of `rebuild`:
    `{"pipeline_id", "written": [row], "known": n, "left_out": [row + {"why"}]}`, where a row is `{"start", "end",
    "token", "rows"}`; of `rename`: `{"pipeline_id", "renamed_from", "entries", "rows"}`.

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
    action = {"export": _export, "import": _import, "rebuild": _rebuild}[args.action]
    with open_runtime(config) as runtime:
        try:
            code = action(runtime, args.file or STREAM, screen)
            if args.action != "export":
                runtime.state.record_act(
                    f"state {args.action}", by, **({"file": args.file} if args.file else {})
                )
            return code
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state {args.action}")
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
    if screen.as_json:
        screen.print_json(
            {
                "pipeline_id": pipeline_id,
                "entries": len(snapshot.entries),
                "runs": len(snapshot.runs),
                "token": snapshot.token,
                "first_day": snapshot.first_day.isoformat() if snapshot.first_day else None,
            }
        )
    screen.print_line(
        f"the state of type {runtime.config.state.type} has {counted(len(snapshot.entries), 'entry')} and "
        f"{counted(len(snapshot.runs), 'run')} of {pipeline_id}; tokens continue above {snapshot.token}",
        "green",
    )
    return exit_codes.OK


# --- rebuild


def _rebuild(runtime: Runtime, _file: str, screen: Screen) -> int:
    config, done = runtime.config, rebuild(runtime)
    if screen.as_json:
        screen.print_json(
            {
                "pipeline_id": config.pipeline_id,
                "written": [_row_json(row) for row in done.written],
                "known": len(done.known),
                "left_out": [{**_row_json(row), "why": why} for row, why in done.left_out],
            }
        )
    else:
        _print(config, [(row, "written") for row in done.written] + list(done.left_out), screen)
        screen.print_line(
            f"{counted(len(done.written), 'commit')} written, {len(done.known):,} already in the ledger",
            "green",
        )
    repair = command_line.shown(command_line.doctor(command_line.name_of(config.pipeline_id)))
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
    if screen.as_json:
        screen.print_json({"pipeline_id": config.pipeline_id, "renamed_from": old_id, **done._asdict()})
    screen.print_line(
        f"renamed {old_id} to {config.pipeline_id}: {counted(done.entries, 'entry')} of the ledger and "
        f"{counted(done.rows, 'row')} of the target",
        "green",
    )
    return exit_codes.OK


def _row_json(row: CommitRow) -> dict[str, Any]:
    start, end = iso_utc(row.interval.start), iso_utc(row.interval.end)
    return {"start": start, "end": end, "token": row.token, "rows": row.rows}


def _print(config: PipelineConfig, rows: list[tuple[CommitRow, str]], screen: Screen) -> None:
    if not rows:
        return
    shown = sorted(rows, key=lambda pair: pair[0].interval)
    screen.print_table(
        ("window", "token", "rows", "what"),
        [(local_window(r.interval, config.timezone), str(r.token), f"{r.rows:,}", what) for r, what in shown],
        right=("token", "rows"),
        styles=[None if what == "written" else "red" for _, what in shown],
    )


def adopt(args: Namespace, screen: Screen) -> int:
    """Record the source and target that the pipeline file names now, and print what changed.

    JSON: `{"pipeline_id", "changes": [text], "shared_with": [pipeline id], "windows" | null, "reason", "by"}`;
    `windows` is how many committed windows were found in the target, null when the target is the same.
    """
    reason, by = read_reason(args.reason), read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    with open_runtime(config) as runtime:
        done = phase.adopt(runtime, reason, by)
    if screen.as_json:
        screen.print_json(
            {
                "pipeline_id": config.pipeline_id,
                "changes": done.found,
                "shared_with": done.twins,
                "windows": done.windows,
                "reason": reason,
                "by": by,
            }
        )
    for change in done.found:
        screen.print_line(f"adopted: {change}", "yellow")
    for twin in done.twins:
        screen.print_line(
            f"adopted: pipeline {twin} loads the same source into this table, its rows are kept", "yellow"
        )
    if done.windows is not None:
        screen.print_line(f"the target holds every committed window ({done.windows:,})", "green")
    if not done.found and not done.twins:
        screen.print_line("nothing to adopt: source and target are those of the previous loads")
    return exit_codes.OK
