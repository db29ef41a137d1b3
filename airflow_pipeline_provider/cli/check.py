"""Run `check`, which prints every problem of pipeline files, and `schema`, which prints their JSON Schema."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_reference_time
from airflow_pipeline_provider.cli.catalog import Catalog, load_all
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.loader import (
    DEFAULTS,
    ConfigFileError,
    Problem,
    load_file,
    load_folder,
    pipeline_files,
    used_id_problem,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.variables import Variable
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.missing import days_of
from airflow_pipeline_provider.core.readiness import too_old_days
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.connect import Probed, probe_services
from airflow_pipeline_provider.phases.identity import Datasets, declared, is_twin
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.next_runs import next_runs
from airflow_pipeline_provider.views.times import local_iso

_STYLES = {"ok": "green", "warning": "yellow", "error": "red", "unknown": "yellow"}


@dataclass(frozen=True)
class CheckedFile:
    """A file with its problems and warnings."""

    file: Path
    pipeline_id: str | None
    problems: Sequence[Problem]
    config: PipelineConfig | None = None
    services: Sequence[Probed] | None = None
    next_runs: Sequence[datetime] = ()

    @property
    def ok(self) -> bool:
        """Return whether the file and its services have no error."""
        return self.count("error") == 0

    @property
    def variables(self) -> Sequence[Variable]:
        """Return the environment variables that the file uses."""
        return self.config.variables if self.config is not None else ()

    def count(self, severity: str) -> int:
        """Return the number of errors or warnings, including those of the services."""
        found = sum(("warning" if p.severity == "warning" else "error") == severity for p in self.problems)
        return found + sum(probed.answer.status == severity for probed in self.services or ())


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
        checked = _check_named(args.files, screen)
    else:
        catalog = load_all(args.folder)
        checked = _check_catalog(catalog)
    checked = [_add_schedule(one, at) for one in checked]
    checked = _add_duplicate_loads(checked)
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


def _check_catalog(catalog: Catalog) -> list[CheckedFile]:
    good = [_valid_file(found.file, found.config) for found in catalog.pipelines.values()]
    bad = [_broken_file(file, error) for file, error in catalog.errors.items()]
    return sorted([*good, *bad], key=lambda one: str(one.file))


def _add_duplicate_loads(checked: list[CheckedFile]) -> list[CheckedFile]:
    """Add a problem to two files that load the same source into the same table, which would store each row twice."""
    tables: dict[str, list[tuple[CheckedFile, Datasets]]] = defaultdict(list)
    for one in checked:
        if one.config is not None:
            datasets = declared(one.config)
            tables[datasets.target_key].append((one, datasets))
    found: dict[str | None, list[Problem]] = {}
    pairs = chain.from_iterable(combinations(files, 2) for files in tables.values())
    for (first, one_side), (second, other_side) in pairs:
        if not is_twin(one_side, other_side.entry):
            continue
        for mine, twin in ((first, second), (second, first)):
            other, what = (twin.file, "files") if twin.file != mine.file else (twin.pipeline_id, "variants")
            message = (
                f"is also the target of {other}, which loads the same source, so each row would be stored twice: "
                f"remove one of the two {what}, or give one another target or days that do not overlap"
            )
            found.setdefault(mine.pipeline_id, []).append(Problem("target.table", message, str(mine.file)))
    return [replace(one, problems=[*one.problems, *found.get(one.pipeline_id, ())]) for one in checked]


def _valid_file(file: Path, config: PipelineConfig) -> CheckedFile:
    problems = [*config.warnings]
    if any(config.airflow.tasks.executor_configs()):
        from airflow_pipeline_provider.operators.executor_config import pod_problems

        problems += pod_problems(config, file)
    if config.airflow.notices():
        from airflow_pipeline_provider.operators.notifiers import notifier_problems

        problems += notifier_problems(config, file)
    return CheckedFile(file, config.pipeline_id, problems, config)


def _broken_file(file: Path, error: ConfigFileError) -> CheckedFile:
    return CheckedFile(file, None, error.problems)


def _add_schedule(one: CheckedFile, at: datetime) -> CheckedFile:
    """Add what depends on the time: the next runs, and a warning about days that are too old."""
    if one.config is None:
        return one
    problems = [*one.problems, *_backlog_warnings(one.file, one.config, at)]
    return replace(one, problems=problems, next_runs=next_runs(one.config, at))


def _backlog_warnings(file: Path, config: PipelineConfig, at: datetime) -> list[Problem]:
    """Return a warning about the days since `start_day` that are too old for any run."""
    span = too_old_days(config.rules, at) if config.start_day else None
    if span is None:
        return []
    days = days_of(config.rules, [span])
    message = (
        f"{config.max_backlog_days} excludes {counted(len(days), 'day')} since start_day today ({days[0]} to "
        f"{days[-1]}), too_old for any run unless they are complete: raise it, or use a later start_day"
    )
    return [Problem("max_backlog_days", message, str(file), severity="warning")]


def _check_named(names: Sequence[str], screen: Screen) -> list[CheckedFile]:
    """Check the named files, and folders as Airflow would load them; no file twice."""
    checked: dict[tuple[Path, str | None], CheckedFile] = {}
    files_by_id: dict[str, Path] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            results = _check_folder(path)
        elif path.name in DEFAULTS and path.is_file() and len(names) > 1:
            screen.print_note(f"skipped {name}: it is checked with each file that it applies to")
            continue
        else:
            results = _check_file(path)
        for one in results:
            key = one.file, one.pipeline_id
            if key in checked:
                continue
            first = files_by_id.setdefault(one.pipeline_id, one.file) if one.pipeline_id else one.file
            if first != one.file and one.config is not None:
                problem = used_id_problem(one.file, one.config, str(first))
                one = replace(one, problems=[*one.problems, problem])
            checked[key] = one
    return list(checked.values())


def _check_folder(path: Path) -> list[CheckedFile]:
    if not pipeline_files(path):
        raise ConfigError(f"FILES: folder {path} has no pipeline file (*.yaml, *.yml): name another folder")
    loaded = load_folder(path, options_model=options_model)
    found = [_valid_file(file, config) for file, config in loaded.pipelines.values()]
    found += [_broken_file(file, error) for file, error in loaded.errors.items()]
    return sorted(found, key=lambda one: str(one.file))


def _check_file(path: Path) -> list[CheckedFile]:
    """Check each pipeline of a file; the problems of those that do not load are one more result."""
    if not path.exists():
        raise ConfigError(f"FILES: file {str(path)!r} does not exist: name an existing file or folder")
    loaded = load_file(path, options_model=options_model)
    good = [_valid_file(path, config) for config in loaded.pipelines]
    return good if loaded.error is None else [*good, _broken_file(path, loaded.error)]


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


def schema(args: Namespace, screen: Screen) -> int:
    """Print the JSON Schema of pipeline files, including installed connectors.

    JSON: the schema itself, with and without `-o json`.
    """
    from airflow_pipeline_provider.config.json_schema import pipeline_schema
    from airflow_pipeline_provider.connectors.registry import KINDS, known, options_model

    options = {kind: {name: options_model(kind, name) for name in known(kind)} for kind in KINDS}
    document = pipeline_schema(options)
    if args.write is None:
        screen.print_json(document)
        return exit_codes.OK
    path = Path(args.write)
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--write: {args.write!r} cannot be written: {error.strerror or error}") from error
    screen.print_note(f"wrote {path}")
    return exit_codes.OK
