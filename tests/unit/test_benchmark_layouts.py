"""The group `layouts` of the benchmarks: all contestants move the same documents in the same windows."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from airflow_pipeline_provider.config.loader import load_folder
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import Known, day_plan, plan_live, ready_at
from benchmarks.layouts import dags, documents
from benchmarks.layouts.dags import HAND_1, HAND_3, NOTHING_1, NOTHING_7, SINGLE_TASK, TASKS, Work
from benchmarks.layouts.documents import HOUR, START

DAY = timedelta(days=1)


def pipelines_of(folder: Path, work: Work) -> dict[str, PipelineConfig]:
    dags.write(folder, work)
    loaded = load_folder(folder / work.name, options_model=options_model)
    assert not loaded.errors
    return {name: config for name, (_, config) in loaded.pipelines.items()}


def moved(config: PipelineConfig) -> list[Interval]:
    """The windows that the last scheduled run and those that it drains move."""
    assert config.rules.end_day is not None
    reference = ready_at(config.rules, day_plan(config.rules, config.rules.end_day)[-1])
    found: list[Interval] = []
    while (window := plan_live(config.rules, reference, Known(tuple(found))).interval) is not None:
        found.append(window)
    return found


@pytest.mark.parametrize("layout", [TASKS, SINGLE_TASK])
@pytest.mark.parametrize(
    ("backlog", "length"), [pytest.param(None, HOUR, id="hours"), pytest.param("1d", DAY, id="days")]
)
def test_a_pipeline_catches_up_with_exactly_the_lost_windows(
    tmp_path: Path, layout: str, backlog: str | None, length: timedelta
) -> None:
    work = Work("w", layout, windows=48, backlog_granularity=backlog)

    (config,) = pipelines_of(tmp_path, work).values()

    windows = moved(config)
    assert {window.end - window.start for window in windows} == {length}
    assert (windows[0].start, windows[-1].end) == (START, START + 48 * HOUR)
    assert config.airflow.layout == layout


@pytest.mark.parametrize("layout", [TASKS, SINGLE_TASK])
def test_each_small_pipeline_has_one_window_with_its_documents(tmp_path: Path, layout: str) -> None:
    configs = pipelines_of(tmp_path, Work("w", layout, pipelines=3))

    assert list(configs) == ["w_0000", "w_0001", "w_0002"]
    for number, config in zip(("0000", "0001", "0002"), configs.values(), strict=True):
        assert moved(config) == [Interval(START, START + DAY)]
        assert config.source.query == {"term": {"pipeline": number}}  # type: ignore[attr-defined]
    assert len({config.target.table for config in configs.values()}) == 3  # type: ignore[attr-defined]


def dag_file(folder: Path, work: Work) -> ModuleType:
    dags.write(folder, work)
    spec = importlib.util.spec_from_file_location(f"dag_file_{work.name}", folder / f"{work.name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("by", "tasks"), [(HAND_3, ["extract", "load", "check"]), (HAND_1, ["move"])])
def test_the_hand_written_dags_have_the_same_windows(tmp_path: Path, by: str, tasks: list[str]) -> None:
    week = Work("w", by, windows=24, search="http://search")
    many = Work("m", by, pipelines=2, search="http://search")

    (dag,) = [getattr(dag_file(tmp_path, week), name) for name in week.dag_ids]
    assert [task.task_id for task in dag.topological_sort()] == tasks
    assert (dag.catchup, dag.max_active_runs) == (True, 1)
    assert (dag.start_date, dag.end_date) == (START, START + 23 * HOUR + timedelta(minutes=1))
    assert dag.timetable.expression == "0 */1 * * *"
    module = dag_file(tmp_path, many)
    assert [getattr(module, name).timetable.expression for name in many.dag_ids] == ["0 0 * * *"] * 2


@pytest.mark.parametrize(("by", "tasks"), [(NOTHING_7, 7), (NOTHING_1, 1)])
def test_tasks_that_do_nothing_run_as_often_and_one_after_the_other(
    tmp_path: Path, by: str, tasks: int
) -> None:
    work = Work("w", by, windows=24)

    dag = dag_file(tmp_path, work).dag

    assert dag.dag_id == work.dag_ids[0]
    assert [len(task.downstream_task_ids) for task in dag.topological_sort()] == [1] * (tasks - 1) + [0]
    assert (dag.start_date, dag.end_date) == (START, START + 23 * HOUR + timedelta(minutes=1))
    assert (dag.catchup, dag.max_active_runs) == (True, 1)


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        pytest.param((3, 3), False, id="all rows"),
        pytest.param((2, 2), True, id="a row is missing"),
        pytest.param((4, 3), True, id="a row came twice"),
    ],
)
def test_the_hand_written_dag_counts_what_it_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[int, int], refused: bool
) -> None:
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    module = dag_file(tmp_path, Work("w", HAND_1, windows=24))
    monkeypatch.setattr(SnowflakeHook, "get_first", lambda *_: found)

    if refused:
        with pytest.raises(ValueError, match="expected 3 rows"):
            module.check("T", START, 3)
    else:
        module.check("T", START, 3)


def test_the_files_of_a_contestant_can_be_removed(tmp_path: Path) -> None:
    for work in (Work("a", TASKS, windows=24), Work("b", HAND_1, windows=24)):
        dags.write(tmp_path, work)
        assert list(tmp_path.glob("*.py"))
        dags.remove(tmp_path, work)
        assert list(tmp_path.iterdir()) == []


def test_documents_lie_on_both_edges_of_a_window_and_never_behind_it() -> None:
    found = [json.loads(document.body)["at"] for document in documents.of_windows(2, 1, 3)]

    assert found == [
        "2026-03-02T00:00:00.000Z",
        "2026-03-02T00:29:59.999Z",
        "2026-03-02T00:59:59.999Z",
        "2026-03-02T01:00:00.000Z",
        "2026-03-02T01:29:59.999Z",
        "2026-03-02T01:59:59.999Z",
    ]
    ids = [document.id for document in documents.of_pipelines(3, 4)]
    assert len(set(ids)) == 12
