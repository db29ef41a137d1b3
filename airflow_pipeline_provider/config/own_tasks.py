"""Define the section `own_tasks`: functions of the user at places of the DAG, and find them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from airflow_pipeline_provider.config.fields import FUNCTION, module_and_attribute
from airflow_pipeline_provider.config.functions import (
    Function,
    file_function_problem,
    import_file_function,
    import_function,
    split_file,
)
from airflow_pipeline_provider.config.options import Section
from airflow_pipeline_provider.config.policy import module_problem
from airflow_pipeline_provider.config.problems import format_value
from airflow_pipeline_provider.exceptions import ConfigError

KEY = "own_tasks"
Place = Literal["before_extract", "after_load", "after_commit", "after_day"]
PLACES: tuple[Place, ...] = get_args(Place)
_NAME = re.compile(r"[^\W\d]\w*")


def _function(path: str) -> str:
    """Return the path of a function; nothing is imported, and a file is looked for by `file_problems`."""
    found = split_file(path)
    if found is not None and _NAME.fullmatch(found[1]):
        return path
    if found is not None or not FUNCTION.fullmatch(path):
        raise ValueError(
            "must be a function such as mycompany.checks:no_nulls, or ./checks.py:no_nulls for a file next to the "
            f"pipeline file, got {format_value(path)}"
        )
    if problem := module_problem(module_and_attribute(path)[0]):
        raise ValueError(problem)
    return path


FunctionPath = Annotated[str, AfterValidator(_function)]


class OwnTasksOptions(Section):
    """Functions of the user; each is called with an `OwnTaskWindow`."""

    before_extract: FunctionPath | None = Field(
        default=None, description="Before the window is read. An error or False: it is not moved now."
    )
    after_load: FunctionPath | None = Field(
        default=None,
        description="When the target holds the window, before it is committed. An error or False holds the commit.",
    )
    after_commit: FunctionPath | None = Field(default=None, description="After the window was committed.")
    after_day: FunctionPath | None = Field(
        default=None, description="After a commit that leaves the window's day complete."
    )

    def paths(self) -> Iterator[tuple[Place, str]]:
        """Yield the places that have a function, with its path."""
        for place in PLACES:
            path: str | None = getattr(self, place)
            if path is not None:
                yield place, path

    def file_problems(self, folder: Path) -> Iterator[tuple[Place, str]]:
        """Yield the problem of each function of a file in the folder."""
        for place, path in self.paths():
            found = split_file(path)
            if found is not None and (problem := file_function_problem(folder, *found)):
                yield place, problem

    def resolve(self, place: Place, folder: str | None) -> Function:
        """Import the function of a place; raise ConfigError with key, path and reason."""
        path: str = getattr(self, place)
        key, found = f"{KEY}.{place}", split_file(path)
        if found is None:
            return import_function(key, path)
        if folder is None:
            raise ConfigError(f"{key}: {path!r} is next to a pipeline file, and this pipeline has no file")
        return import_file_function(key, Path(folder), *found)
