"""The shape of a pipeline's DAG, as plain values: which tasks, which arrows.  No Airflow here."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from airflow_pipeline_provider.config.model import PipelineConfig


@dataclass(frozen=True)
class TaskSpec:
    """One task: `operator` names a class of `operators`; `mapped` names the task whose list it is mapped over."""

    task_id: str
    operator: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mapped: str | None = None


class GraphSpec(NamedTuple):
    """Tasks in order, and arrows (upstream, downstream)."""

    tasks: tuple[TaskSpec, ...]
    edges: tuple[tuple[str, str], ...]


def pipeline_graph(config: PipelineConfig) -> GraphSpec:
    """The seven phases.

    Every task hangs below generate_window, so that a lower one cleared alone stays skipped where there was nothing
    to do; audit also hangs below validate, for windows that are loaded already.  No task has the trigger rule
    all_done: as a leaf it would turn a failed run into a success.
    """
    mapped = config.source.distribute == "tasks" and config.source.slices != 1
    tasks = (
        TaskSpec("generate_window", "GenerateWindowOperator"),
        TaskSpec("validate", "ValidateWindowOperator"),
        TaskSpec(
            "extract",
            "ExtractOperator",
            {"map_index_template": "{{ task.slice['i'] + 1 }}/{{ task.slice['of'] }}"} if mapped else {},
            mapped="validate" if mapped else None,
        ),
        TaskSpec("stage", "StageOperator"),
        TaskSpec("load", "LoadOperator"),
        TaskSpec("audit", "AuditOperator"),
        *((TaskSpec("drain", "DrainOperator"),) if config.backlog == "drain" else ()),
    )
    names = [task.task_id for task in tasks]
    chain = list(pairwise(names))
    below = [(names[0], name) for name in names[2:]]
    return GraphSpec(tasks, (*chain, *below, ("validate", "audit")))
