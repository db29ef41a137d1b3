"""Build a pipeline's runtime: configuration, connectors, state and clock."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity, Source, Stage, Target
from airflow_pipeline_provider.connectors.redacted_source import redacted
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.envelope.allocator import share_one_arena
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.owners import Execution, Owner


def utc_now() -> datetime:
    """Return the current time of this process's clock, aware UTC."""
    return datetime.now(timezone.utc)


def whole_run() -> Execution:
    """Return the execution of a process that runs all tasks of a run, outside of Airflow."""
    return Execution(process=uuid.uuid4().hex[:16])


@dataclass(frozen=True)
class Runtime:
    """Configuration, connectors, state and clock of a phase; `clock` returns the current time, aware.

    `accepts_unusual`: commit a window whose rows are not as expected, and record that it was accepted.
    `installation` and `execution` distinguish this process from others that work on a run of the same id.
    """

    config: PipelineConfig
    source: Source
    stage: Stage
    target: Target
    state: State
    clock: Callable[[], datetime] = utc_now
    renewed: dict[tuple[str, Interval], datetime] = field(default_factory=dict)
    """Time, by `clock`, at which this process took or renewed each lease that it holds, by run and interval."""
    installation: str | None = None
    execution: Execution = field(default_factory=whole_run)
    accepts_unusual: bool = False

    def owner(self, run: str) -> Owner:
        """Return this process as the owner of the run's lease."""
        return Owner(run, self.installation, self.execution)

    def now(self) -> datetime:
        """Return the earlier time of this process's clock and the store's."""
        return min(self.clock(), self.state.now())

    def window(self, interval: Interval) -> Window:
        """Return the interval as a window of this pipeline, with the local day that holds it."""
        return Window(self.config.pipeline_id, interval, day_of(interval.start, self.config.timezone))


def identity_of(config: PipelineConfig) -> Identity:
    """Return the identity that the pipeline's connectors get."""
    return Identity(config.pipeline_id, config.timezone, config.source.history == "changes", config.columns)


@contextmanager
def open_runtime(
    config: PipelineConfig,
    clock: Callable[[], datetime] = utc_now,
    *,
    installation: str | None = None,
    execution: Execution | None = None,
) -> Iterator[Runtime]:
    """Build the connectors that the configuration names; they are closed when the block ends."""
    share_one_arena()
    identity = identity_of(config)
    with ExitStack() as stack:

        def build(kind: str) -> object:
            options = getattr(config, kind)
            connector = connector_class(kind, options.type)(options, identity)
            stack.callback(connector.close)
            return connector

        yield Runtime(
            config,
            redacted(build("source")),  # type: ignore[arg-type]
            build("stage"),  # type: ignore[arg-type]
            build("target"),  # type: ignore[arg-type]
            build("state"),  # type: ignore[arg-type]
            clock,
            installation=installation,
            execution=execution or whole_run(),
        )
