"""What the page shows of a window is recorded while it is moved: its manifest's files, and the task with its try."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.state.owners import Execution
from airflow_pipeline_provider.views.history import attempts_of
from airflow_pipeline_provider.views.window_page import LoadedManifest, window_page
from tests.phases.conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))


@pytest.fixture
def moved(pipeline: Pipeline) -> Runtime:
    """The first window, moved as two slices."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=1))
    runtime = pipeline.runtime(
        source={"slices": 2, "distribute": "tasks"}, stage={"keep_attempts": 1}, audit={"on_empty": "fail"}
    )
    assert run_window(runtime, pipeline.request()).audited is not None
    return runtime


def shown(runtime: Runtime, entries: list[Entry], pipeline: Pipeline) -> LoadedManifest | None:
    return window_page(runtime.config, runtime.state, entries, FIRST, pipeline.now).manifest


def test_the_page_shows_parts_and_bytes_of_the_manifest(pipeline: Pipeline, moved: Runtime) -> None:
    files = list(Path(pipeline.folder, "stage").rglob("part-*.parquet"))
    manifest = shown(moved, pipeline.entries(), pipeline)
    assert manifest is not None
    assert (manifest.rows, manifest.parts, len(files)) == (120, 2, 2)
    assert manifest.bytes == sum(file.stat().st_size for file in files)
    pipeline.store.pipelines.clear()
    rebuild(moved)
    assert shown(moved, pipeline.entries(), pipeline) == manifest, "a rebuilt ledger has both again"


def test_parts_and_bytes_that_an_earlier_version_did_not_record_are_null(
    pipeline: Pipeline, moved: Runtime
) -> None:
    old = [changed(entry, detail={"quarantined": 0}) for entry in pipeline.entries()]
    manifest = shown(moved, old, pipeline)
    assert manifest is not None
    assert (manifest.rows, manifest.parts, manifest.bytes) == (120, None, None)


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        pytest.param(Execution("validate -1", 2, "p"), ("validate", None, 2), id="task"),
        pytest.param(Execution("extract 3", 1, "p"), ("extract", 3, 1), id="mapped task"),
        pytest.param(Execution(process="p"), (None, None, None), id="command"),
    ],
)
def test_the_ledger_records_which_try_of_which_task_it_was(
    pipeline: Pipeline, execution: Execution, expected: tuple[str | None, int | None, int | None]
) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T05:00:00Z", timedelta(minutes=1))
    runtime = replace(pipeline.runtime(), execution=execution)
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    validate(runtime, claim)
    stale = replace(pipeline.runtime(validate={"max_staleness": "1m"}), execution=execution)
    with pytest.raises(DataError):
        validate(stale, claim)
    assert [entry.kind for entry in pipeline.entries()] == [Kind.ATTEMPT, Kind.FAILED]
    found = attempts_of(pipeline.entries(), "UTC")
    assert [(one.task, one.map_index, one.try_number) for one in found] == [expected] * 2
