"""`waive PIPELINE --from D --to D --reason TEXT`: give up on time that is not committed, visibly and for good.

A waived window counts as done for the continuation and the planner; the reason stays in `status` and `history`.  What
is committed is left out, unless it is unverified or has drifted: then the word means that the target keeps its rows.

JSON: `{"pipeline_id", "timezone", "reason", "by", "waived": [piece], "left_out": [piece + {"why"}]}`; a piece is
`{"day", "start", "end", "local_start", "local_end"}`.  Exit code 1 when nothing was waived.
"""

from __future__ import annotations

import os
import socket
import uuid
from argparse import Namespace
from dataclasses import dataclass, field

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_person, read_reason
from airflow_pipeline_provider.cli.find import load_one
from airflow_pipeline_provider.cli.localtime import whole_second
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.spans import piece_json, read_span
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval, common, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.wording import local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError, TransientError
from airflow_pipeline_provider.phases.first_day import refuse_far_past
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime

COMMITTED, WAIVED = "committed already: only what is not committed can be waived", "waived already"


@dataclass
class Waived:
    """What was given up, and what was not and why."""

    pieces: list[Interval] = field(default_factory=list)
    left_out: list[tuple[Interval, str]] = field(default_factory=list)


def waive(args: Namespace, screen: Screen) -> int:
    """The command."""
    reason = read_reason(args.reason)
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    span = read_span(args.first, args.last, config.timezone)
    with open_runtime(config) as runtime:
        done = give_up(runtime, span, reason, by)
    zone = config.timezone
    if screen.as_json:
        screen.answer(
            {
                "pipeline_id": config.pipeline_id,
                "timezone": zone,
                "reason": reason,
                "by": by,
                "waived": [piece_json(piece, zone) for piece in done.pieces],
                "left_out": [{**piece_json(piece, zone), "why": why} for piece, why in done.left_out],
            }
        )
    for piece in done.pieces:
        screen.say(f"waived: {local_window(piece, zone)}: {reason}", "yellow")
    for piece, why in done.left_out:
        screen.say(f"left out: {local_window(piece, zone)}: {why}")
    if not done.pieces:
        screen.error("nothing was waived")
    return exits.OK if done.pieces else exits.NO


def give_up(runtime: Runtime, span: Interval, reason: str, by: str) -> Waived:
    """Write a waive for each uncommitted piece of each day.

    ConfigError: the span reaches into the future.  TransientError: a run works on some of it; nothing is waived then.
    """
    now, zone = runtime.clock(), runtime.config.timezone
    if span.end > now:
        raise ConfigError(
            f"--to: expected a time that has passed, got {local_time(span.end, zone)}, and it is "
            f"{whole_second(now, zone)}: what is still to come can be loaded"
        )
    refuse_far_past(runtime.config, "--from", span.start)
    owner = f"cli/{socket.gethostname()}-{os.getpid()}-{uuid.uuid4()}"
    _refuse_leased(runtime, span)
    done = Waived()
    with exclusive(runtime, owner):
        for _, part in days_in(span, zone):
            pieces, left_out = waivable(runtime.state.entries(part), part)
            done.left_out += left_out
            for piece in pieces:
                _write(runtime, piece, {"reason": reason, "by": by}, owner)
                done.pieces.append(piece)
    return done


def waivable(entries: list[Entry], part: Interval) -> tuple[list[Interval], list[tuple[Interval, str]]]:
    """What of the part can be waived, and what is left out and why; both in order."""
    committed, waived = ledger.committed(entries), ledger.waived(entries)
    doubtful = [*ledger.unverified(entries), *(piece for piece, _ in ledger.drifted(entries))]
    pieces = common([*subtract([part], [*committed, *waived]), *doubtful], [part])
    rest = subtract([part], pieces)
    left_out = [(piece, COMMITTED) for piece in common(rest, committed)]
    left_out += [(piece, WAIVED) for piece in subtract(common(rest, waived), committed)]
    return pieces, sorted(left_out)


def _refuse_leased(runtime: Runtime, span: Interval) -> None:
    zone = runtime.config.timezone
    for lease in runtime.state.leases():
        if lease.interval.overlaps(span) or not runtime.state.concurrent:  # one at a time writes there
            raise TransientError(
                f"{local_window(lease.interval, zone)} is held by {lease.holder} since "
                f"{whole_second(lease.since, zone)}, until {whole_second(lease.until, zone)} unless renewed: let the "
                "run end, then waive; nothing was waived"
            )


def _write(runtime: Runtime, piece: Interval, detail: dict[str, str], owner: str) -> None:
    """Under the piece's lease: no run begins it meanwhile, and one that did so since the look is not cut off."""
    state = runtime.state
    try:
        state.acquire(piece, runtime.owner(owner), runtime.config.state.lease_seconds)
    except LeaseHeldError as error:
        raise TransientError(
            f"{local_window(piece, runtime.config.timezone)}: {error.message}; what lies before it is waived: let "
            "the run end, then say it again"
        ) from error
    try:
        state.append(Entry(Kind.WAIVED, piece, runtime.clock(), run=owner, detail=dict(detail)))
    finally:
        state.release(piece, runtime.owner(owner))
