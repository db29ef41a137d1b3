"""`check [FILES]`: every problem of pipeline files, with file and line.

JSON: `{"files": [{"file", "pipeline_id" | null, "ok", "problems": [{"severity", "path", "message", "file",
"line"}]}], "errors": n, "warnings": n}`; `severity` is "error" or "warning".  Exit code 1 when there is an error.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.find import Catalog, load_all
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.loader import (
    DEFAULTS,
    ConfigFileError,
    Problem,
    load_folder,
    load_pipeline,
    pipeline_files,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError


@dataclass(frozen=True)
class Checked:
    """One file: its problems, warnings among them."""

    file: Path
    pipeline_id: str | None
    problems: Sequence[Problem]

    @property
    def ok(self) -> bool:
        return all(problem.severity == "warning" for problem in self.problems)


def check(args: Namespace, screen: Screen) -> int:
    """The command."""
    if args.files:
        checked = _given(args.files, screen)
    else:
        catalog = load_all(args.folder)
        checked = _found(catalog)
        if not checked:
            raise ConfigError(
                f"no pipeline file in or below {catalog.root}: name the files, or their folder with --folder DIR"
            )
    errors = sum(p.severity != "warning" for one in checked for p in one.problems)
    warnings = sum(p.severity == "warning" for one in checked for p in one.problems)
    if screen.as_json:
        screen.answer({"files": [_json(one) for one in checked], "errors": errors, "warnings": warnings})
    else:
        _print(checked, errors, warnings, screen)
    return exits.NO if errors else exits.OK


def _found(catalog: Catalog) -> list[Checked]:
    good = [_good(found.file, found.config) for found in catalog.pipelines.values()]
    bad = [Checked(file, None, error.problems) for file, error in catalog.errors.items()]
    return sorted([*good, *bad], key=lambda one: str(one.file))


def _good(file: Path, config: PipelineConfig) -> Checked:
    return Checked(file, config.pipeline_id, config.warnings)


def _given(names: Sequence[str], screen: Screen) -> list[Checked]:
    """Files as they were named, folders as Airflow would load them; no file twice."""
    checked: dict[Path, Checked] = {}
    takers: dict[str, Path] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            results = _folder(path)
        elif path.name in DEFAULTS and path.is_file() and len(names) > 1:
            screen.note(f"{name} is checked with each file that it is merged under")
            continue
        else:
            results = [_file(path)]
        for one in results:
            if one.file in checked:
                continue
            first = takers.setdefault(one.pipeline_id, one.file) if one.pipeline_id else one.file
            if first != one.file:
                problem = Problem("pipeline_id", f"{one.pipeline_id!r} is taken by {first}", str(one.file))
                one = Checked(one.file, one.pipeline_id, [*one.problems, problem])
            checked[one.file] = one
    return list(checked.values())


def _folder(path: Path) -> list[Checked]:
    if not pipeline_files(path):
        raise ConfigError(f"FILES: there is no pipeline file (*.yaml, *.yml) in {path}")
    loaded = load_folder(path, options_model=options_model)
    found = [_good(file, config) for file, config in loaded.pipelines.values()]
    found += [Checked(file, None, error.problems) for file, error in loaded.errors.items()]
    return sorted(found, key=lambda one: str(one.file))


def _file(path: Path) -> Checked:
    if not path.exists():
        raise ConfigError(f"FILES: there is no file {str(path)!r}")
    try:
        return _good(path, load_pipeline(path, options_model=options_model))
    except ConfigFileError as error:
        return Checked(path, None, error.problems)


def _print(checked: Sequence[Checked], errors: int, warnings: int, screen: Screen) -> None:
    for one in checked:
        if one.ok:
            screen.say(f"{one.file}: ok ({one.pipeline_id})", "green")
        else:
            screen.say(f"{one.file}:", "bold")
        for problem in one.problems:
            severity, style = ("warning: ", "yellow") if problem.severity == "warning" else ("", "red")
            screen.say(f"  {severity}{problem}", style)
    parts = [counted(len(checked), "file"), counted(errors, "problem"), counted(warnings, "warning")]
    screen.say(", ".join(parts), "bold red" if errors else "bold green")


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`, `no files`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _json(one: Checked) -> dict[str, Any]:
    return {
        "file": str(one.file),
        "pipeline_id": one.pipeline_id,
        "ok": one.ok,
        "problems": [
            {
                "severity": "warning" if problem.severity == "warning" else "error",
                "path": problem.path,
                "message": problem.message,
                "file": problem.file,
                "line": problem.line,
            }
            for problem in one.problems
        ],
    }
