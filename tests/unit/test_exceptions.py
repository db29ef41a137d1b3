"""Pickle and copy every exception of the package, as executors and process pools do."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.config.problems import ConfigFileError, CrossFieldError, Problem
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError
from airflow_pipeline_provider.views.move_preview import MoveRow
from airflow_pipeline_provider.views.times import local_interval
from airflow_pipeline_provider.views.window_states import WindowState

AT = datetime(2013, 11, 3, 5, tzinfo=timezone.utc)
PROBLEMS = [Problem("source.index", "missing", "a.yaml", 3), Problem("target", "missing", "a.yaml", 9)]
CHANGED = MoveRow(
    local_interval(Interval(AT, AT + timedelta(hours=1)), "America/New_York"),
    WindowState.COMPLETE,
    rows=5,
    goes=None,
    chosen=False,
    will="replace",
    why="committed meanwhile",
)
NOT_IMPORTED = ("airflow_pipeline_provider.state.migrations.env",)  # importing it runs a migration

# Constructors with other arguments than one message.
EXAMPLES: dict[str, Callable[[type], BaseException]] = {
    "TaskSettingError": lambda cls: cls(("airflow", "tasks", "load", "executor"), "no such executor"),
    "LeaseHeldError": lambda cls: cls("run 1", AT, AT, windows=((AT, AT),), follows=True),
    "ConfigFileError": lambda cls: cls(PROBLEMS, "dags/a.yaml"),
    "CrossFieldError": lambda cls: cls(PROBLEMS),
    "YamlError": lambda cls: cls(PROBLEMS),
    "EndedBySignal": lambda cls: cls(15),
    "UnexpectedAnswerError": lambda cls: cls("GET /", "a JSON object", b"<html>"),
    "_ForbiddenError": lambda cls: cls(True),
    "StateUnreachable": lambda cls: cls("no answer", "pipeline_state", AT),
    "WindowsChanged": lambda cls: cls([CHANGED], "America/New_York"),
}


def exceptions() -> Iterator[type[BaseException]]:
    """Yield each exception class that a module of the package defines."""
    walked = pkgutil.walk_packages(airflow_pipeline_provider.__path__, "airflow_pipeline_provider.")
    for module in walked:
        if module.name in NOT_IMPORTED:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseException)
                and value.__module__ == module.name
            ):
                yield value


FOUND = sorted(exceptions(), key=lambda cls: (cls.__module__, cls.__name__))


def described(error: BaseException) -> tuple[object, ...]:
    return type(error), str(error), error.args, vars(error)


def test_every_exception_has_an_example_where_it_needs_one() -> None:
    names = {cls.__name__ for cls in FOUND}
    assert {"PipelineError", "LeaseHeldError", "ConfigFileError", "CrossFieldError"} <= names
    assert EXAMPLES.keys() <= names


@pytest.mark.parametrize("cls", FOUND, ids=lambda cls: cls.__name__)
def test_exception_survives_pickle_and_copy(cls: type[BaseException]) -> None:
    error = EXAMPLES.get(cls.__name__, lambda cls: cls("a table is missing"))(cls)
    if isinstance(error, PipelineError):
        error.detail = {"windows": [1, 2]}
        error.add_context("pipeline flights, extract")
    expected = described(error)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert described(pickle.loads(pickle.dumps(error, protocol))) == expected
    assert described(copy.copy(error)) == expected
    assert described(copy.deepcopy(error)) == expected


@pytest.mark.parametrize(
    ("error", "attribute", "value"),
    [
        (LeaseHeldError("run 1", AT, AT, follows=True), "follows", True),
        (ConfigFileError(PROBLEMS, "dags/a.yaml"), "problems", PROBLEMS),
        (CrossFieldError(PROBLEMS), "problems", PROBLEMS),
    ],
    ids=["lease", "file", "fields"],
)
def test_a_copy_keeps_the_attributes(error: Exception, attribute: str, value: object) -> None:
    assert getattr(pickle.loads(pickle.dumps(error)), attribute) == value


def test_an_error_class_of_another_package_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(VendorError("orders", 503)))
    assert (str(error), error.status) == ("orders: HTTP 503", 503)


class VendorError(PipelineError):
    def __init__(self, table: str, status: int) -> None:
        super().__init__(f"{table}: HTTP {status}")
        self.status = status
