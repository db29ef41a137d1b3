"""Call the functions of `own_tasks` with the window's record.

`before_extract` and `after_load` run like a phase: under the window's lease, and an error is a failed attempt in the
ledger. `after_commit` and `after_day` run after the commit, without a lease, and change nothing of the window. Each
may be called again for the same window: after a crash, by a retry, and when the window is moved again.
"""

from __future__ import annotations

import inspect
import logging
from datetime import date, datetime

from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.config.own_tasks import Place
from airflow_pipeline_provider.core.day_status import is_complete
from airflow_pipeline_provider.core.days import day_interval, in_zone, zone_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import committed_token, rows_inside
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError
from airflow_pipeline_provider.exits import exits_as_errors
from airflow_pipeline_provider.phases.leases import release
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Audited, Claim, Staged, Validated

logger = logging.getLogger(__name__)
_SKIP = "AirflowSkipException"


class OwnTaskWindow(Struct, frozen=True, kw_only=True):
    """The window that a function of `own_tasks` is called with; None is a value that is not known at this place.

    `start` and `end` are aware datetimes in the time zone of the pipeline; for `after_day` those of the day.
    `window_id`, `pipeline_id` and `run` (`dag_id/run_id`) are names for messages. `table` is the name in the pipeline
    file. `attempt` is the id of this reading of the window. `token` grows with each load; the column TOKEN of the
    window's rows holds it. `target_rows` are the rows with this token, for `after_day` those of the day.
    """

    place: Place
    pipeline_id: str
    timezone: str
    day: date
    start: datetime
    end: datetime
    window_id: str
    run: str
    table: str | None
    attempt: str | None = None
    token: int | None = None
    source_rows: int | None = None
    staged_rows: int | None = None
    quarantined_rows: int | None = None
    target_rows: int | None = None


def before_extract(runtime: Runtime, claim: Claim, validated: Validated) -> bool:
    """Return whether the window is to be moved now; False also releases its lease."""
    window = _window(runtime, claim, "before_extract", claim.interval)
    return _gate(
        runtime, claim, replace(window, attempt=validated.attempt, source_rows=validated.source_rows)
    )


def after_load(runtime: Runtime, claim: Claim, validated: Validated, staged: Staged) -> bool:
    """Return whether the window is to be committed now; False also releases its lease."""
    window = replace(
        _window(runtime, claim, "after_load", claim.interval),
        attempt=staged.attempt,
        token=staged.token,
        source_rows=validated.source_rows,
        staged_rows=staged.rows,
        quarantined_rows=staged.quarantined,
        target_rows=staged.rows,
    )
    return _gate(runtime, claim, window)


def after_commit(runtime: Runtime, claim: Claim, audited: Audited) -> bool:
    """Call the function for a committed window; return False if it returned False."""
    window = replace(
        _window(runtime, claim, "after_commit", claim.interval),
        token=audited.token,
        source_rows=audited.source_rows,
        staged_rows=audited.staged_rows,
        quarantined_rows=audited.quarantined_rows,
        target_rows=audited.target_rows,
    )
    return _call(runtime, window)


def after_day(runtime: Runtime, claim: Claim) -> bool | None:
    """Call the function if the window's day is complete, else return None; return False if it returned False."""
    day = day_interval(claim.day, runtime.config.timezone)
    entries = runtime.state.entries(day)
    if not is_complete(day, entries):
        return None
    rows, exact = rows_inside(entries, day)
    window = _window(runtime, claim, "after_day", day)
    return _call(
        runtime,
        replace(window, token=committed_token(entries, day), target_rows=(rows or 0) if exact else None),
    )


def _window(runtime: Runtime, claim: Claim, place: Place, interval: Interval) -> OwnTaskWindow:
    zone = zone_of(runtime.config.timezone)
    return OwnTaskWindow(
        place=place,
        pipeline_id=claim.pipeline_id,
        timezone=runtime.config.timezone,
        day=claim.day,
        start=in_zone(interval.start, zone),
        end=in_zone(interval.end, zone),
        window_id=claim.window_id,
        run=claim.run,
        table=getattr(runtime.config.target, "table", None),
    )


def _gate(runtime: Runtime, claim: Claim, window: OwnTaskWindow) -> bool:
    with run_phase(runtime, window.place, claim, window.attempt) as phase:
        proceeds = _call(runtime, window)
        phase.check_lease()
        if not proceeds:
            phase.skipped("not now")
            release(runtime, claim.run, claim.interval)
        return proceeds


def _call(runtime: Runtime, window: OwnTaskWindow) -> bool:
    """Call the function; return False if it returned a false bool or raised Airflow's AirflowSkipException."""
    own_tasks = runtime.config.own_tasks
    function = own_tasks.resolve(window.place, runtime.config.folder)
    try:
        with exits_as_errors():
            answer = function(window)
    except Exception as error:
        if any(kind.__name__ == _SKIP for kind in type(error).__mro__):  # Airflow is not imported here
            logger.info("own_tasks.%s: %s", window.place, error)
            return False
        raise
    if inspect.iscoroutine(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        if not inspect.isasyncgen(answer):
            answer.close()
        path = getattr(own_tasks, window.place)
        raise ConfigError(
            f"own_tasks.{window.place}: {path!r} must be a plain function: one with async or yield does not run when "
            "it is called"
        )
    is_bool = type(answer).__name__ in ("bool", "bool_")  # also numpy's, which comparisons of pandas return
    return not is_bool or bool(answer)


def without_airflow(error: Exception, place: Place) -> PipelineError:
    """Return the error of a user's function for a run outside of Airflow, whose retries are for Airflow's tasks."""
    return DataError(f"own_tasks.{place} raised {type(error).__name__}: {error}")
