"""Run `diff`: compare the records of source and target, and load the windows that differ again."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_reference_time, read_span
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.diff_output import diff_record, diff_result, print_diff
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.reload import (
    ReloadResult,
    print_reload_result,
    read_reload_options,
    reload_windows,
    require_airflow,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import shrink_commands
from airflow_pipeline_provider.core.comparison import RecordDifference
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, FatalError
from airflow_pipeline_provider.phases import diff as phase
from airflow_pipeline_provider.phases.diff import DiffedWindow, OnDifference
from airflow_pipeline_provider.phases.runtime import open_runtime

MOST_EXAMPLES = 100_000


def diff(args: Namespace, screen: Screen) -> int:
    """Compare the records of committed windows in source and target.

    Exit code 0 if all of the time was compared and nothing differs, else 1. With `--repair` the code is that of
    moving the windows, 4 where extra rows need review, and 1 if some of the time was not compared.
    """
    limit = read_count(args.limit, "--limit", least=0, most=MOST_EXAMPLES)
    options = read_reload_options(args)
    if args.here and not args.repair:
        raise ConfigError("--here: only works with --repair, since nothing is moved without it")
    if args.repair and not args.here:
        require_airflow(getattr(args, "in_airflow", False))
    config = load_one(args.pipeline, args.folder).config
    span = read_span(args.first, args.last, config.timezone)
    done = ReloadResult()
    with open_runtime(config) as runtime:
        with _records_file(args.records, config, content=args.content) as write:
            report = phase.diff(runtime, span, content=args.content, examples=limit, on_difference=write)
        if not screen.as_json:
            print_diff(config, report, screen, content=args.content)
        accepts = args.accept_shrink or config.audit.on_shrink == "accept"
        undecided = [one.interval for one in report.differing if one.loses_rows and not accepts]
        windows = [one.interval for one in report.differing if one.interval not in undecided]
        if windows and args.repair:
            at = read_reference_time(None)
            done = reload_windows(runtime, windows, screen, options, "reprocess", at)
    screen.print_result(
        diff_result(config, report, done, content=args.content, records=args.records),
        lambda *_: print_reload_result(done, config.timezone, screen),
    )
    if not args.repair:
        return exit_codes.OK if report.is_whole and not report.differing else exit_codes.CHECK_FAILED
    code = max(done.exit_code(screen), exit_codes.OK if report.is_whole else exit_codes.CHECK_FAILED)
    if undecided:
        screen.print_error(
            f"pipeline {config.pipeline_id}: {counted(len(undecided), 'window')} not repaired, since the target "
            "holds rows there that the source does not: check the source, then delete the rows with the first "
            "command or keep them with the second"
        )
        for line in shrink_commands(args.pipeline, undecided):
            screen.print_note(f"  {line}")
        return max(code, exit_codes.DATA)
    return code


@contextmanager
def _records_file(
    path: str | None, config: PipelineConfig, *, content: bool
) -> Iterator[OnDifference | None]:
    """Yield the function that writes a record to a new file that only this user may read; None without a path."""
    if path is None:
        yield None
        return
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise ConfigError(f"--records: cannot create {path}: {error.strerror}; name a new file") from error
    encode = msgspec.json.encode

    def write(window: DiffedWindow, difference: RecordDifference) -> None:
        start, end = iso_utc(window.interval.start), iso_utc(window.interval.end)
        line = {"pipeline_id": config.pipeline_id, "window_start": start, "window_end": end}
        record = msgspec.structs.asdict(diff_record(difference, content=content))
        try:
            file.write(encode({**line, **record}) + b"\n")
        except OSError as error:
            raise FatalError(f"--records: cannot write {path}: {error.strerror}; free its disk") from error

    with file:
        yield write
