"""What is imported stays, so the garbage collector need not scan it; nothing else changes for it."""

from __future__ import annotations

import gc
import sys
from types import ModuleType, SimpleNamespace

import pytest

from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.garbage_collection import freeze_imports, relaxed_gc

RUNNER = "airflow.sdk.execution_time.task_runner"


@pytest.mark.parametrize(
    ("runner", "frozen"),
    [
        pytest.param(None, 0, id="no Airflow"),
        pytest.param(SimpleNamespace(), 0, id="an Airflow that runs no task"),
        pytest.param(SimpleNamespace(SUPERVISOR_COMMS=None), 0, id="between tasks"),
        pytest.param(SimpleNamespace(SUPERVISOR_COMMS=object()), 1, id="a task's own process"),
    ],
)
def test_only_a_tasks_own_process_freezes_its_imports(
    monkeypatch: pytest.MonkeyPatch, runner: object, frozen: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(None))
    if runner is None:
        monkeypatch.delitem(sys.modules, RUNNER, raising=False)
    else:
        monkeypatch.setitem(sys.modules, RUNNER, runner)
    freeze_imports()
    assert len(calls) == frozen


def test_thresholds_return_after_the_last_block() -> None:
    before = gc.get_threshold()
    with relaxed_gc():
        with relaxed_gc():
            assert gc.get_threshold()[0] > before[0]
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("exists", [True, False])
def test_a_library_is_imported_under_relaxed_collection(
    monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    before, during = gc.get_threshold(), []

    def load(_: str) -> ModuleType:
        during.append(gc.get_threshold()[0])
        if not exists:
            raise ImportError("missing")
        return sys

    monkeypatch.setattr("airflow_pipeline_provider.connectors.registry.import_module", load)
    if exists:
        assert require("vendor", "vendor", "a test") is sys
    else:
        with pytest.raises(FatalError, match="cannot be imported"):
            require("vendor", "vendor", "a test")
    assert during == [100_000]
    assert gc.get_threshold() == before
