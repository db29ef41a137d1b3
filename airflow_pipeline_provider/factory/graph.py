"""Describe the tasks and edges of a pipeline's DAG as plain values, without Airflow."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.own_tasks import Place


@dataclass(frozen=True)
class TaskSpec:
    """A task: `operator` names a class of `operators`; `mapped` names the task over whose output it is mapped."""

    task_id: str
    operator: str
    arguments: dict[str, object] = field(default_factory=dict)
    mapped: str | None = None


class GraphSpec(NamedTuple):
    """Tasks in order, and edges (upstream, downstream)."""

    tasks: tuple[TaskSpec, ...]
    edges: tuple[tuple[str, str], ...]


def pipeline_graph(config: PipelineConfig) -> GraphSpec:
    """Return the graph of the phases, with drain only if `backlog` is drain; with `single_task` one task for all.

    Every task is directly downstream of generate_window: if there was nothing to do, a later task that is cleared
    alone is skipped again. Audit and `after_load` are also directly downstream of validate, for windows that are
    loaded already. Own tasks after the commit wait for audit only. No task has the trigger rule all_done, because as
    a leaf it would mark a failed run as successful.
    """
    if config.airflow.layout == "single_task":
        return GraphSpec((TaskSpec("move_window", "MoveWindowOperator"),), ())
    own = {place for place, _ in config.own_tasks.paths()}
    mapped = config.source.distribute == "tasks" and config.source.slices != 1
    tasks = (
        TaskSpec("generate_window", "GenerateWindowOperator"),
        TaskSpec(
            "validate",
            "ValidateWindowOperator",
            {"extract_task_id": "before_extract"} if "before_extract" in own else {},
        ),
        *_own_task("before_extract", own),
        TaskSpec(
            "extract",
            "ExtractOperator",
            {"map_index_template": "{{ task.slice['i'] + 1 }}/{{ task.slice['of'] }}"} if mapped else {},
            mapped="validate" if mapped else None,
        ),
        TaskSpec("stage", "StageOperator"),
        TaskSpec("load", "LoadOperator"),
        *_own_task("after_load", own),
        TaskSpec("audit", "AuditOperator"),
        *((TaskSpec("drain", "DrainOperator"),) if config.backlog == "drain" else ()),
    )
    names = [task.task_id for task in tasks]
    chain = list(pairwise(names))
    from_generate = [(names[0], name) for name in names[2:]]
    from_validate = [("validate", name) for name in names if name in ("after_load", "audit")]
    after = (*_own_task("after_commit", own), *_own_task("after_day", own))
    below = [edge for task in after for edge in ((names[0], task.task_id), ("audit", task.task_id))]
    return GraphSpec((*tasks, *after), (*chain, *from_generate, *from_validate, *below))


def _own_task(place: Place, own: Container[str]) -> tuple[TaskSpec, ...]:
    return (TaskSpec(place, "OwnTaskOperator", {"place": place}),) if place in own else ()
