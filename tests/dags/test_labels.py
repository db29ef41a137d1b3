"""The label of a task instance (Airflow's Map Index) is what the task found, never "None" or an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.phases.values import Audited, Validated

from .conftest import Folder
from .test_maintenance import with_maintenance

FIRST = "2013-11-03 [00:00 EDT, 04:00 EST)"


def labels(run: Any) -> dict[str, str | None]:
    return {ti.task_id.partition("__")[0]: ti.rendered_map_index for ti in run.get_task_instances()}


def shown(run: Any, *task_ids: str) -> list[str | None]:
    found = labels(run)
    assert not {"None", "0", "-1"} & set(found.values())
    return [found[task_id] or None for task_id in task_ids]  # Airflow shows an empty label as nothing


def test_a_moved_window_shows_its_counts_and_token(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait")
    run = run_dag(folder.dag())
    assert shown(run, "generate_window", "validate", "audit") == [FIRST, "run", "15 = 15 rows, token 1"]


@pytest.mark.parametrize(
    ("counts", "label"),
    [
        pytest.param((902, 902, 0), "902 = 902 rows, token 13", id="all"),
        pytest.param((1, 1, 0), "1 = 1 row, token 13", id="one row"),
        pytest.param((0, 0, 0), "0 = 0 rows, token 13", id="an empty window"),
        pytest.param((1234, 1232, 2), "1,234 = 1,232 rows + 2 quarantined, token 13", id="quarantined"),
        pytest.param((902, 900, 0), "902 ≠ 900 rows, token 13", id="on_mismatch: warn"),
    ],
)
def test_the_counts_of_a_commit(counts: tuple[int, int, int], label: str) -> None:
    from airflow_pipeline_provider.operators.audit import counts_label

    source, target, quarantined = counts
    assert counts_label(Audited(13, source, target, target, target, quarantined)) == label


@pytest.mark.parametrize(
    ("validated", "label"),
    [
        (Validated("run", "the window is ready"), "run"),
        (Validated("already_loaded", "the target has it"), "already_loaded"),
        (Validated("skip", "it is committed", "complete"), "skip: complete"),
    ],
    ids=lambda value: value.verdict if isinstance(value, Validated) else "",
)
def test_the_verdict_of_validate(validated: Validated, label: str) -> None:
    from airflow_pipeline_provider.operators.validate import verdict_label

    assert verdict_label(validated) == label


def test_a_run_with_nothing_to_do_shows_the_reason_and_no_other_label(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait", granularity="1d")
    run_dag(folder.dag())
    run = run_dag(folder.dag())
    assert shown(run, "generate_window", "validate", "audit") == ["after_end_day", None, None]


def test_a_failed_generate_shows_no_label(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write()
    run = run_dag(folder.dag(), run_conf={"window_start": "2013-11-03T00:00:00-04:00"})
    assert str(run.state) == "failed"
    assert shown(run, "generate_window", "validate", "audit") == [None, None, None]


def test_a_reload_shows_its_window(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait", granularity="1d")
    run_dag(folder.dag())
    folder.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    maintenance = with_maintenance(folder)
    run = run_dag(folder.dags()[maintenance])
    assert shown(run, "reload") == ["2013-11-03 [00:00 EDT, 24:00 EST)"]
