"""Find the functions that a pipeline file names: by dotted path, or in a Python file next to the pipeline file.

Nothing is imported before a function is called: `file_function_problem` reads the file without running it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.config.fields import module_and_attribute
from airflow_pipeline_provider.config.policy import file_problem, function_problem, module_problem
from airflow_pipeline_provider.config.problems import format_value
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.exits import exits_as_errors

Function = Callable[..., Any]
LARGEST = 1_000_000  # bytes


def import_function(key: str, path: str) -> Function:
    """Import the function at a dotted path; raise ConfigError with the key, the path and the reason."""
    module_name, attribute = module_and_attribute(path)
    place = f"{key}: {path!r}"
    if problem := module_problem(module_name):
        raise ConfigError(f"{place}: {problem}")
    try:
        with exits_as_errors():
            module = importlib.import_module(module_name)
        function = functools.reduce(getattr, attribute.split("."), module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{place} cannot be imported: there is no module {error.name!r} on the path"
        ) from None
    except AttributeError:
        raise ConfigError(f"{place}: module {module_name!r} has no {attribute!r}") from None
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{place} cannot be imported: module {module_name!r} raised {what}") from error
    if not callable(function):
        raise ConfigError(f"{place} must be a function, got {type(function).__name__}")
    if problem := function_problem(function, path):
        raise ConfigError(f"{place}: {problem}")
    found: Function = function
    return found


def split_file(path: str) -> tuple[str, str] | None:
    """Return file and function of `checks.py:no_nulls`, None for a dotted path."""
    file, _, function = path.rpartition(":")
    return (file, function) if file.endswith(".py") else None


def file_function_problem(folder: Path, file: str, function: str) -> str | None:
    """Return why a function of a Python file next to the pipeline file cannot be used, None if it can."""
    if problem := file_problem():
        return problem
    if Path(file).is_absolute() or ".." in Path(file).parts:
        return (
            "must be a file in the folder of the pipeline file, such as ./checks.py:no_nulls, got "
            f"{format_value(file)}"
        )
    place = folder / file
    if not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
        return f"{format_value(file)} leads out of the folder of the pipeline file"
    try:
        stat = place.stat()
        names = _functions(place, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        return f"file {format_value(file)} cannot be read: {error.strerror or type(error).__name__}"
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{file}{line} is not valid Python: {reason}"
    if names.get(function) is ast.AsyncFunctionDef:
        return f"function {format_value(function)} of file {format_value(file)} must be a plain function, not async"
    if function not in names:
        return f"file {format_value(file)} defines no function {format_value(function)}"
    return None


@functools.lru_cache(maxsize=64)
def _functions(path: Path, _modified: int, size: int) -> dict[str, type[ast.stmt]]:
    """Return what the file defines at its top level, or imports there, by name."""
    if size > LARGEST:
        raise ValueError(f"larger than {LARGEST:,} bytes")
    names: dict[str, type[ast.stmt]] = {}
    for node in ast.parse(path.read_bytes()).body:
        found: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Assign):
            found = [target.id for target in node.targets if isinstance(target, ast.Name)]
        names.update(dict.fromkeys(found, type(node)))
    return names


def import_file_function(key: str, folder: Path, file: str, function: str) -> Function:
    """Run the file as a module of its own, and return its function; raise ConfigError with the reason."""
    if problem := file_function_problem(folder, file, function):
        raise ConfigError(f"{key}: {problem}")
    path = (folder / file).resolve()
    name = f"_own_tasks_{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{key}: file {file!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with exits_as_errors():
            spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise ConfigError(f"{key}: file {file!r} raised {type(error).__name__}: {error}") from error
    found: object = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"{key}: {function!r} of {file!r} must be a function, got {type(found).__name__}")
    return found
