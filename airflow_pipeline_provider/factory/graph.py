"""Describe the tasks and edges of a pipeline's DAG as plain values, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from airflow_pipeline_provider.config.model import PipelineConfig


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
    """Return the graph of the phases, with drain only if `backlog` is drain.

    Every task is directly downstream of generate_window: if there was nothing to do, a later task that is cleared
    alone is skipped again. Audit is also directly downstream of validate, for windows that are loaded already. No
    task has the trigger rule all_done, because as a leaf it would mark a failed run as successful.
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
    from_generate = [(names[0], name) for name in names[2:]]
    return GraphSpec(tasks, (*chain, *from_generate, ("validate", "audit")))
