"""Run a phase with its lease, log line, error context, and a ledger entry on failure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.escaping import visible
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    PipelineError,
    StateBehindError,
    SupersededError,
)
from airflow_pipeline_provider.observability.log_generator import PhaseRecord, phase_log
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.leases import Held, hold, release
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim

logger = logging.getLogger("airflow_pipeline_provider.phases")


@dataclass
class Phase:
    """Handle for a phase's body: set counts for the log, mark a skip, check the lease."""

    record: PhaseRecord
    held: Held = field(default_factory=Held)

    def counts(self, **counts: int | None) -> None:
        """Add counts to the log line; None is left out."""
        self.record.counts.update({name: count for name, count in counts.items() if count is not None})

    def skipped(self, reason: str) -> None:
        """Log the phase as skipped, with the reason."""
        self.record.status, self.record.reason = "skipped", reason

    def check_lease(self) -> None:
        """Raise SupersededError or LeaseHeldError if the lease was lost."""
        self.held.check()


def check_pipeline(runtime: Runtime, claim: Claim, name: str) -> None:
    """Raise ConfigError for a window of another pipeline."""
    if claim.pipeline_id != runtime.config.pipeline_id:
        raise ConfigError(
            f"pipeline {runtime.config.pipeline_id}, {name}: expected a window of this pipeline, got "
            f"{claim.window_id}: the task takes its window from another pipeline's generate task; correct its "
            "generate_task_id"
        )


@contextmanager
def run_phase(runtime: Runtime, name: str, claim: Claim, attempt: str | None = None) -> Iterator[Phase]:
    """Run the block as a phase of the claim's window."""
    check_pipeline(runtime, claim, name)
    with phase_log(
        logger,
        pipeline=claim.pipeline_id,
        window=claim.interval,
        timezone=runtime.config.timezone,
        attempt=attempt,
        phase=name,
    ) as record:
        try:
            with (
                runtime.state.local_session(),
                failures_counted(runtime, claim.run, claim.interval, name, attempt),
                hold(runtime, claim) as held,
            ):
                yield Phase(record, held)
        except PipelineError as error:
            error.add_context(f"pipeline {claim.pipeline_id}, window {claim.interval}, {name}")
            if isinstance(error, SupersededError):
                record.status, record.reason = "skipped", "superseded"
            raise


@contextmanager
def failures_counted(
    runtime: Runtime, run: str, interval: Interval, name: str, attempt: str | None = None
) -> Iterator[None]:
    """Record a failure of the block in the ledger and release the run's lease, where the error's type requires it."""
    try:
        yield
    except StateBehindError:
        _release(runtime, run, interval)
        raise
    except PipelineError as error:
        if isinstance(error, (DataError, FatalError, ConfigError)):
            _give_up(runtime, run, interval, name, attempt, error)
        raise
    except Exception as error:
        _give_up(runtime, run, interval, name, attempt, error)
        raise


def _release(runtime: Runtime, run: str, interval: Interval) -> None:
    """Release the lease only: a state that fell back gets no entry, because its newer copy may return."""
    try:
        release(runtime, run, interval)
    except PipelineError as second:
        logger.warning("the lease could not be released, it ends by itself: %s", second)


def _give_up(
    runtime: Runtime, run: str, interval: Interval, name: str, attempt: str | None, error: Exception
) -> None:
    """Record the failure in the ledger and release the lease.

    Any exception counts: otherwise a window that no run can move would stay first in every plan.  An unexpected
    one is retried by Airflow, and each try counts towards `max_attempts`.
    """
    detail: dict[str, object] = {"phase": name, **runtime.execution.recorded()}
    if isinstance(error, PipelineError):
        kind = next(k.__name__ for k in (DataError, FatalError, ConfigError) if isinstance(error, k))
        detail |= {**error.detail, "error": kind, "message": redact_values(error.message)[:500]}
    else:
        message = visible(redact_values(str(error)))[:500]
        detail |= {"error": type(error).__name__, "unexpected": True, "message": message}
    try:
        runtime.state.append(
            Entry(
                Kind.FAILED,
                interval,
                runtime.clock(),
                attempt=attempt,
                run=run,
                detail=detail,
            )
        )
        release(runtime, run, interval)
    except PipelineError as second:  # report the first error; the lease expires
        logger.warning("could not write the failure to the ledger: %s", second)
