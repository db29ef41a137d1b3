"""Check pipeline files for `check`: what each file, a folder, and several files together have wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, combinations
from pathlib import Path

from airflow_pipeline_provider.cli.catalog import Catalog
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
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.connect import Probed
from airflow_pipeline_provider.phases.identity import Datasets, declared, is_twin
from airflow_pipeline_provider.views.next_runs import next_runs


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


def check_catalog(catalog: Catalog) -> list[CheckedFile]:
    """Check each pipeline of a loaded folder, and add the files that do not load."""
    good = [_valid_file(found.file, found.config) for found in catalog.pipelines.values()]
    bad = [_broken_file(file, error) for file, error in catalog.errors.items()]
    return sorted([*good, *bad], key=lambda one: str(one.file))


def add_duplicate_loads(checked: list[CheckedFile]) -> list[CheckedFile]:
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
    if config.airflow.decide_shrinkage is not None:
        from airflow_pipeline_provider.operators.hitl import form_problems

        problems += form_problems(config, file)
    return CheckedFile(file, config.pipeline_id, problems, config)


def _broken_file(file: Path, error: ConfigFileError) -> CheckedFile:
    return CheckedFile(file, None, error.problems)


def add_schedule(one: CheckedFile, at: datetime) -> CheckedFile:
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


def check_named(names: Sequence[str], screen: Screen) -> list[CheckedFile]:
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
