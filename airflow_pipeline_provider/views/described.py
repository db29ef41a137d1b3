"""What a view needs to know of a pipeline: its configuration has it, and so do its facts, which need no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from airflow_pipeline_provider.core.planning import PlanRules


class Described(Protocol):
    """The attributes of `config.model.PipelineConfig` and of `state.facts.PipelineFacts` that views read."""

    @property
    def pipeline_id(self) -> str:
        """Return the id."""

    @property
    def timezone(self) -> str:
        """Return the time zone of the days."""

    @property
    def rules(self) -> PlanRules:
        """Return the rules for the planner."""

    @property
    def max_attempts(self) -> int:
        """Return how many failures block a window."""

    @property
    def backlog(self) -> str:
        """Return "drain" or "wait"."""

    @property
    def schedule(self) -> str | None:
        """Return "auto", a cron expression, or None."""
