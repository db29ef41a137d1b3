"""The first day of a pipeline without `start_day`, and the reference times that a run may have.

A first day that lies too late hides every day before it from planner, status, gaps and doctor.  So it never comes
from a caller's reference time: it is the target day of when the run was due or of the store's clock, whichever is
earlier, and it only ever moves earlier.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.planning import target_day
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.runtime import Runtime

CLOCKS_APART = timedelta(minutes=5)  # scheduler and worker; a later reference time is refused


def at_most_now(runtime: Runtime, reference_time: datetime, run_after: datetime | None = None) -> datetime:
    """Return the reference time, or now when it is later; ConfigError for one that lies in the future.

    It lies in the future if it is later than this machine's clock and than when the run was due.  Since either of
    these may be ahead, what is returned is not later than the store's clock either.
    """
    clock = runtime.clock()
    now = max(clock, run_after or clock)
    if reference_time > now + CLOCKS_APART:
        zone = runtime.config.timezone
        raise ConfigError(
            f"reference_time: expected an instant up to now, {local_time(now.replace(microsecond=0), zone)}, got "
            f"{local_time(reference_time, zone)}: later days would be treated as past"
        )
    return min(reference_time, now, runtime.state.now())


def remember_first_day(runtime: Runtime, run_after: datetime | None) -> date | None:
    """Return the first day to plan, after recording it; None where the file has a `start_day`."""
    rules, state = runtime.config.rules, runtime.state
    if rules.start_day is not None:
        return None
    now, known = state.now(), state.first_day(None)
    day = target_day(rules, min(run_after or now, now))
    if known is not None and known > target_day(
        rules, now
    ):  # a clock was ahead, or a caller of an older version
        commits = ledger.committed(state.entries())
        day = min([day, *(day_of(piece.start, rules.timezone) for piece in commits[:1])])
    return known if known is not None and known <= day else state.first_day(day)
