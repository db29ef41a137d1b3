"""Run `check`, which prints every problem of pipeline files, and with `--connect` those of their services."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_reference_time
from airflow_pipeline_provider.cli.catalog import load_all
from airflow_pipeline_provider.cli.checked_files import (
    CheckedFile,
    add_duplicate_loads,
    add_schedule,
    check_catalog,
    check_named,
)
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.phases.connect import probe_services
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.times import local_iso

_STYLES = {"ok": "green", "warning": "yellow", "error": "red", "unknown": "yellow"}


class NextRun(Struct, frozen=True):
    """Scheduled run, in UTC and in local time."""

    at: datetime
    local: str


class ReportedProblem(Struct, frozen=True):
    """Problem of a file; `path` is the key, empty for the whole file; `variants` is text, null without `matrix`."""

    severity: Literal["error", "warning"]
    path: str
    message: str
    file: str | None
    line: int | None
    variants: str | None


class UsedVariable(Struct, frozen=True):
    """Environment variable that the file uses, or its default where it is not set."""

    name: str
    origin: str
    path: str
    file: str | None
    line: int


class ReportedService(Struct, frozen=True):
    """Answer of a service; `section` is source, stage, target or state, `status` ok, warning, error or unknown."""

    section: str
    what: str
    status: str
    detail: str


class ReportedFile(Struct, frozen=True):
    """Checked pipeline of a file, with its next five scheduled runs; a file with `matrix` has one for each variant.

    Another one, without an id, has the problems of the variants that do not load.  `variant` has the values of the
    variant, null for a file without `matrix`; `services` exists only with `--connect`.
    """

    file: str
    pipeline_id: str | None
    ok: bool
    variant: dict[str, str | int | float | bool | None] | None
    next_runs: tuple[NextRun, ...]
    problems: tuple[ReportedProblem, ...]
    variables: tuple[UsedVariable, ...]
    services: tuple[ReportedService, ...] | UnsetType = UNSET


class CheckResult(Struct, frozen=True):
    """What `check` found; `errors` and `warnings` count those of all files and services."""

    files: tuple[ReportedFile, ...]
    errors: int
    warnings: int


def check(args: Namespace, screen: Screen) -> int:
    """Check the files, and with `--connect` their services; print every problem with file and line.

    Exit code 1 when a file has an error, else the highest code of a service's errors.
    """
    at = read_reference_time(args.reference_time)
    if args.files:
        checked = check_named(args.files, screen)
    else:
        catalog = load_all(args.folder)
        checked = check_catalog(catalog)
    checked = [add_schedule(one, at) for one in checked]
    checked = add_duplicate_loads(checked)
    if args.connect:
        checked = [_probe_services(one, screen) for one in checked]
    errors = sum(one.count("error") for one in checked)
    warnings = sum(one.count("warning") for one in checked)
    result = CheckResult(tuple(_reported(one) for one in checked), errors, warnings)
    screen.print_result(result, partial(_print, checked))
    return _exit_code(checked)


def _exit_code(checked: Sequence[CheckedFile]) -> int:
    if any(problem.severity != "warning" for one in checked for problem in one.problems):
        return exit_codes.CHECK_FAILED
    failed = [probed.error for one in checked for probed in one.services or () if probed.error is not None]
    return max((exit_codes.code_of_class(error) for error in failed), default=exit_codes.OK)


def _probe_services(one: CheckedFile, screen: Screen) -> CheckedFile:
    """Add the results of probing the services of a valid file."""
    if one.config is None:
        return one
    screen.print_note(f"{one.pipeline_id}: probing source, stage, target and state")
    with open_runtime(one.config) as runtime:
        return replace(one, services=list(probe_services(runtime)))


def _print(checked: Sequence[CheckedFile], result: CheckResult, screen: Screen) -> None:
    for one in checked:
        if one.ok:
            screen.print_line(f"{one.file}: ok ({one.pipeline_id})", "green")
            if one.config is not None:
                if one.config.variant is not None:
                    screen.print_line(f"  variant {one.config.variant.variant}")
                screen.print_line(f"  {_runs_text(one.config, one.next_runs)}")
        else:
            screen.print_line(f"{one.file}:", "bold")
        for problem in one.problems:
            severity, style = ("warning: ", "yellow") if problem.severity == "warning" else ("", "red")
            screen.print_line(f"  {severity}{problem}", style)
        for variable in one.variables:
            screen.print_line(f"  variable {variable}")
        for probed in one.services or ():
            status, detail = probed.answer
            screen.print_line(f"  {status:<8} {probed.section}, {probed.what}: {detail}", _STYLES[status])
    several = any(one.config is not None and one.config.variant is not None for one in checked)
    parts = [
        counted(len({one.file for one in checked}), "file"),
        *([counted(sum(one.config is not None for one in checked), "pipeline")] if several else ()),
        counted(result.errors, "problem"),
        counted(result.warnings, "warning"),
    ]
    screen.print_line(", ".join(parts), "bold red" if result.errors else "bold green")


def _runs_text(config: PipelineConfig, runs: Sequence[datetime]) -> str:
    if config.schedule is None:
        return "next runs: none, schedule is null"
    if not runs:
        return f"next runs: none, every day up to end_day {config.end_day} was scheduled"
    return "next runs: " + ", ".join(local_time(run.replace(microsecond=0), config.timezone) for run in runs)


def _reported(one: CheckedFile) -> ReportedFile:
    zone = one.config.timezone if one.config is not None else "UTC"
    variant = one.config.variant if one.config is not None else None
    services = tuple(
        ReportedService(probed.section, probed.what, probed.answer.status, probed.answer.detail)
        for probed in one.services or ()
    )
    return ReportedFile(
        file=str(one.file),
        pipeline_id=one.pipeline_id,
        ok=one.ok,
        variant=dict(variant.variant.values) if variant is not None else None,
        next_runs=tuple(NextRun(run, local_iso(run, zone)) for run in one.next_runs),
        problems=tuple(
            ReportedProblem(
                "warning" if problem.severity == "warning" else "error",
                problem.path,
                problem.message,
                problem.file,
                problem.line,
                problem.variants,
            )
            for problem in one.problems
        ),
        variables=tuple(UsedVariable(*variable) for variable in one.variables),
        services=UNSET if one.services is None else services,
    )
