"""The first day of a pipeline without `start_day`, and the reference times that a run may have.

A first day that is too late hides every day before it from planner, status, gaps and doctor.  So it never comes from
a caller's reference time: it is the target day of the earlier of the time when the run was due and the store's clock,
and it only moves earlier.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.planning import PlanRules, target_day
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.fallback import refuse_older_state
from airflow_pipeline_provider.phases.runtime import Runtime

EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)  # of what is written, unless start_day is earlier
CLOCKS_APART = timedelta(minutes=5)  # scheduler and worker; a later reference time is refused


def at_most_now(runtime: Runtime, reference_time: datetime, run_after: datetime | None = None) -> datetime:
    """Return the reference time, at most now; raise ConfigError for one in the future.

    It is in the future if it is later than this machine's clock and than the time when the run was due.  Either may
    be ahead, so the result is not later than the store's clock either.
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


def refuse_far_past(rules: PlanRules, name: str, instant: datetime) -> None:
    """Raise ConfigError for an instant before 1970 and before `start_day`, such as one with a mistyped year.

    `name` is the argument that the instant came from.
    """
    earliest = EARLIEST
    if rules.start_day is not None:
        earliest = min(earliest, day_interval(rules.start_day, rules.timezone).start)
    if instant < earliest:
        raise ConfigError(
            f"{name}: expected an instant from {local_time(earliest, rules.timezone)} on, got "
            f"{local_time(instant, rules.timezone)}; nothing was written: correct it, or set start_day to the first "
            "day of the data"
        )


def refuse_before_first_day(runtime: Runtime, reference_time: datetime, first_day: date | None) -> None:
    """Raise ConfigError for a reference time whose target day is before the pipeline's first day."""
    target = target_day(runtime.config.rules, reference_time)
    if first_day is not None and target < first_day:
        raise ConfigError(
            f"reference_time: expected one with a target day from {first_day} on, the pipeline's first day, got "
            f"{local_time(reference_time, runtime.config.timezone)} with the target day {target}; no window was "
            "moved: correct it, set start_day to load earlier days, or name the window (window_start, window_end)"
        )


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
    if known is not None and known <= day:
        return known
    refuse_older_state(runtime)
    return state.first_day(day)
