"""A run whose first tasks ran in the version before is continued by tasks of this version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider import operators
from airflow_pipeline_provider.phases.values import Audited, Claim, Staged, Validated

from .conftest import Folder
from .test_generated_dag import DAY, xcom

# What version 0.1 wrote (see tests/formats)
WRITTEN = json.loads((Path(__file__).parents[1] / "formats" / "written" / "xcoms.json").read_text())
KINDS = {Claim: "claims", Validated: "verdicts", Staged: "staged", Audited: "audited"}


def as_written_before(value: Any) -> Any:
    """Return the JSON of a value with only the keys that version 0.1 wrote."""
    built = msgspec.to_builtins(value)
    known = WRITTEN[KINDS[type(value)]][0].keys() | {"slices"}  # validate takes them out
    for slice_ in built.get("slices", ()):
        for key in slice_.keys() - WRITTEN["slices"][0].keys():
            del slice_[key]
    return {key: item for key, item in built.items() if key in known}


@pytest.mark.parametrize("slices", ["1", "3, distribute: tasks"], ids=["one slice", "a task for each slice"])
def test_values_that_the_version_before_left_are_read(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, slices: str
) -> None:
    for module in (operators.generate, operators.validate, operators.stage, operators.audit):
        monkeypatch.setattr(
            module, "msgspec", SimpleNamespace(convert=msgspec.convert, to_builtins=as_written_before)
        )
    folder.write(
        backlog="drain",
        granularity="1d",
        source="{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
        f"slices: {slices}}}",
    )
    run = run_dag(folder.dag())
    assert {str(ti.state) for ti in run.get_task_instances() if ti.task_id != "drain"} == {"success"}
    assert sorted(folder.target().values()) == folder.source(*DAY)
    assert xcom(run, "generate_window", "window").keys() <= WRITTEN["claims"][0].keys()
    assert xcom(run, "audit").keys() == WRITTEN["audited"][0].keys()
