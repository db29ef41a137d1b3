"""How many connections and statements of the state each phase needs: a task opens one after the other.

They are those of a state on a server, where a phase holds no connection while it waits for another service.
A number that grows is a round trip more in every window of every pipeline; lower it here when one is saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.drain import drain
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime, whole_run
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.sql import SqlState

from .conftest import Pipeline

# phase -> connections, statements (without BEGIN)
EXPECTED = {
    "generate": (1, 17),
    "validate": (4, 13),
    "extract": (1, 7),
    "stage": (3, 13),
    "load": (4, 17),
    "audit": (3, 17),
    "drain": (1, 5),
}


class Counted:
    """Numbers of what SQLAlchemy sent."""

    def __init__(self) -> None:
        self.connections = self.statements = 0

    def connect(self, *_: Any) -> None:
        self.connections += 1

    def execute(self, *_: Any) -> None:
        self.statements += 1


@contextmanager
def counted() -> Iterator[Counted]:
    seen = Counted()
    listeners = (("connect", seen.connect), ("before_cursor_execute", seen.execute))
    for name, listener in listeners:
        sa.event.listen(sa.Engine, name, listener)
    try:
        yield seen
    finally:
        for name, listener in listeners:
            sa.event.remove(sa.Engine, name, listener)


class OnServer(SqlState):
    """Opens connections as for a server, although its tables are in a file."""

    local_session = State.local_session


def task(pipeline: Pipeline, path: Path) -> Runtime:
    """Return the runtime of a task's process: nothing is open yet."""
    runtime = pipeline.runtime()
    state = OnServer.from_url(f"sqlite:///{path}", runtime.target.identity)
    return replace(runtime, state=state, execution=whole_run())


def test_a_phase_needs_as_many_statements_as_it_did(pipeline: Pipeline, tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    assert run_window(task(pipeline, state), pipeline.request()).audited is not None  # makes the tables
    passed: dict[str, Any] = {}
    request = pipeline.request()

    def run(phase: str, runtime: Runtime) -> Any:
        claim, validated, staged = (passed.get(name) for name in ("generate", "validate", "stage"))
        match phase:
            case "generate":
                return generate(runtime, request).claim
            case "validate":
                return validate(runtime, claim)
            case "extract":
                return [extract(runtime, claim, validated.attempt, one) for one in validated.slices]
            case "stage":
                return stage(runtime, claim, validated.attempt, passed["extract"])
            case "load":
                return load(runtime, claim, staged)
            case "audit":
                return audit(runtime, claim, staged)
        return drain(runtime, claim, staged.token)

    seen = {}
    for phase in EXPECTED:
        runtime = task(pipeline, state)
        with counted() as count:
            passed[phase] = run(phase, runtime)
        seen[phase] = (count.connections, count.statements)
        runtime.state.close()
    assert passed["audit"].token == 2
    assert seen == EXPECTED


@pytest.mark.parametrize("rows", [0, 3])
def test_one_process_checks_the_version_of_the_tables_once(
    pipeline: Pipeline, tmp_path: Path, rows: int
) -> None:
    for n in range(rows):
        pipeline.rows.put(f"r{n}", pipeline.now, "{}")
    run_window(task(pipeline, tmp_path / "state.db"), pipeline.request())
    texts: list[str] = []

    def execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        texts.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", execute)
    try:
        run_window(task(pipeline, tmp_path / "state.db"), pipeline.request())
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", execute)
    assert sum("alembic_version.version_num" in text for text in texts) == 1
