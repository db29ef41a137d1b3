"""Waive time that is not committed: mark it as intentionally incomplete, with a reason and a name.

Each interval is judged again under its lease, so what a run commits meanwhile is not waived.  A crash leaves the
intervals that are waived already, and a lease that expires; the same call again waives the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval, common, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.core.wording import counted, held_lease, local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError, PipelineError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.first_day import refuse_far_past
from airflow_pipeline_provider.phases.leases import local_times
from airflow_pipeline_provider.phases.runtime import utc_now
from airflow_pipeline_provider.state.base import State

ALREADY_COMMITTED = "already committed: only time that is not committed can be waived"
ALREADY_WAIVED = "already waived"


@dataclass
class Waived:
    """The waived intervals, and those left out with the reason."""

    pieces: list[Interval] = field(default_factory=list)
    left_out: list[tuple[Interval, str]] = field(default_factory=list)


def waive(
    state: State,
    rules: PlanRules,
    span: Interval,
    *,
    reason: str,
    by: str,
    owner: str,
    names: tuple[str, str] = ("start", "end"),
    clock: Callable[[], datetime] = utc_now,
    unless: Callable[[], str | None] = lambda: None,
) -> Waived:
    """Append a waiver for each uncommitted interval of each day.

    :param owner: the name under which the leases are held meanwhile.
    :param names: how the caller names the bounds of the span, for errors.
    :param unless: called under the lease of each interval; a reason leaves the interval out.
    :raises ConfigError: the span ends in the future, or begins before the pipeline can.
    :raises LeaseHeldError: a run holds part of it. Nothing is waived then, unless the message states otherwise.
    :raises PipelineError: the state failed; the message states how many intervals were waived before.
    """
    now, zone = min(clock(), state.now()), rules.timezone  # a clock that is ahead waives no future
    if span.end > now:
        raise ConfigError(
            f"{names[1]}: expected a past time, got {local_time(span.end, zone)}, and now is "
            f"{local_time(now.replace(microsecond=0), zone)}: future windows can still be loaded"
        )
    refuse_far_past(rules, names[0], span.start)
    _refuse_leased(state, span)
    done = Waived()
    try:
        with ExitStack() as stack:
            with local_times(state):
                stack.enter_context(state.exclusive(owner, state.options.lease_seconds))
            for _, part in days_in(span, zone):
                pieces, left_out = waivable(state.entries(part), part)
                done.left_out += left_out
                for piece in pieces:
                    _waive_piece(state, piece, {"reason": reason, "by": by}, owner, done, unless)
    except PipelineError as error:
        if done.pieces:
            error.append(f"waived before it: {counted(len(done.pieces), 'interval')}")
        raise
    return done


def waivable(entries: list[Entry], part: Interval) -> tuple[list[Interval], list[tuple[Interval, str]]]:
    """Return what can be waived of the day, and what is left out with the reason; both in order."""
    committed, waived = ledger.committed(entries), ledger.waived(entries)
    in_doubt = [*ledger.unverified(entries), *(piece for piece, _ in ledger.drifted(entries))]
    pieces = common([*subtract([part], [*committed, *waived]), *in_doubt], [part])
    rest = subtract([part], pieces)
    left_out = [(piece, ALREADY_COMMITTED) for piece in common(rest, committed)]
    left_out += [(piece, ALREADY_WAIVED) for piece in subtract(common(rest, waived), committed)]
    return pieces, sorted(left_out)


def _refuse_leased(state: State, span: Interval) -> None:
    zone = state.identity.timezone
    for lease in state.leases():
        # a store that is not concurrent has one writer at a time, whatever window it holds
        if lease.interval.overlaps(span) or not state.concurrent:
            held = held_lease(lease.holder, lease.since, lease.until, zone)
            raise LeaseHeldError(
                lease.owner,
                lease.since,
                lease.until,
                windows=(lease.interval,),
                holder=lease.holder,
                message=f"{local_window(lease.interval, zone)} {held}: nothing was waived; let the run end, then "
                "waive again",
            )


def _waive_piece(
    state: State,
    piece: Interval,
    detail: dict[str, str],
    owner: str,
    done: Waived,
    unless: Callable[[], str | None],
) -> None:
    """Append the waiver under the interval's lease, so that no run starts on it meanwhile."""
    try:
        state.acquire(piece, owner, state.options.lease_seconds)
    except LeaseHeldError as error:
        nothing = "" if done.pieces else "; nothing was waived"
        raise LeaseHeldError(
            error.owner,
            error.since,
            error.until,
            windows=error.windows,
            holder=error.holder,
            message=f"{local_window(piece, state.identity.timezone)}: {error.message}{nothing}: let the run "
            "end, then waive again",
        ) from error
    try:
        reach("waive.leased")
        if (why := unless()) is not None:
            done.left_out.append((piece, why))
            return
        still, left_out = waivable(state.entries(piece), piece)
        done.left_out += left_out
        for one in still:
            state.append(Entry(Kind.WAIVED, one, state.now(), run=owner, detail=dict(detail)))
            done.pieces.append(one)
            reach("waive.written")
    finally:
        state.release(piece, owner)
