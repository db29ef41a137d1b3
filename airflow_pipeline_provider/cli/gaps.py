"""`gaps [PIPELINE] --days N`: each stretch of time that is missing, why, and how often it failed.

JSON: `{"pipelines": [{"pipeline_id", "timezone", "reference_time", "gaps": [piece + {"seconds", "reason", "detail",
"failures", "ready"}]}], "errors": [{"file", "pipeline_id" | null, "message"}]}`; a piece is `{"day", "start", "end",
"local_start", "local_end"}`; `reason` is not_settled, leased, blocked, failed, unfinished, never_run or too_old.

Exit code 1 when a gap is ready: a run could move it now, or a person must.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_count, read_reference_time
from airflow_pipeline_provider.cli.connections import visible_connections
from airflow_pipeline_provider.cli.find import Found, load_all, load_one
from airflow_pipeline_provider.cli.localtime import length_text, whole_second
from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.cli.spans import day_text, piece_json
from airflow_pipeline_provider.cli.standing import Standing, standing
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval, day_of, window_end
from airflow_pipeline_provider.core.intervals import Interval, common, intersect, iso_utc, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import horizon, ready_at
from airflow_pipeline_provider.core.wording import local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime

_STYLES = {"blocked": "red", "failed": "red", "too_old": "red", "leased": "yellow"}


@dataclass(frozen=True)
class Gap:
    """A stretch that is missing for one reason; `detail` is a sentence.  `ready`: it need not wait for its time."""

    interval: Interval
    reason: str
    detail: str
    failures: int
    ready: bool


def gaps(args: Namespace, screen: Screen) -> int:
    """The command."""
    at = read_reference_time(args.reference_time)
    days = read_count(args.days, "--days", least=1, most=10_000)
    found, errors = _pipelines(args)
    seen: list[tuple[PipelineConfig, list[Gap]]] = []
    for one in found:
        try:
            seen.append((one.config, look(one.config, at, days)))
        except PipelineError as error:  # the other pipelines are still shown
            errors.append((one, error))
    if screen.as_json:
        broken = [
            {
                "file": str(one.file if isinstance(one, Found) else one),
                "pipeline_id": one.config.pipeline_id if isinstance(one, Found) else None,
                "message": str(problem),
            }
            for one, problem in errors
        ]
        screen.answer(
            {"pipelines": [_json(config, at, missing) for config, missing in seen], "errors": broken}
        )
    else:
        _print(seen, days, screen)
    for _, problem in errors:
        screen.error(str(problem))
    ready = any(gap.ready for _, missing in seen for gap in missing)
    return max((exits.code_of(problem) for _, problem in errors), default=exits.NO if ready else exits.OK)


def _pipelines(args: Namespace) -> tuple[list[Found], list[tuple[object, Exception]]]:
    if args.pipeline is not None:
        return [load_one(args.pipeline, args.folder)], []
    catalog = load_all(args.folder)
    if not catalog.pipelines and not catalog.errors:
        raise ConfigError(
            f"no pipeline file in or below {catalog.root}: name the pipelines' folder with --folder DIR"
        )
    return [one for _, one in sorted(catalog.pipelines.items())], list(catalog.errors.items())


def look(config: PipelineConfig, at: datetime, days: int) -> list[Gap]:
    """The gaps of the last days up to the target day, in order."""
    with visible_connections(config, ["state"]), open_runtime(config) as runtime:
        try:
            stands = standing(config, runtime.state, at, days)
            missing = [gap for day in stands.days for gap in day.report.gaps]
            if not missing:
                return []
            entries = runtime.state.entries(Interval(missing[0].start, missing[-1].end))
            first_day = runtime.state.first_day(None) if config.rules.start_day is None else None
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise
        span = horizon(config.rules, at, first_day)
        return sorted(
            (gap for piece in missing for gap in _explained(runtime, stands, piece, entries, span)),
            key=lambda gap: gap.interval,
        )


def _explained(
    runtime: Runtime, stands: Standing, piece: Interval, entries: list[Entry], span: Interval | None
) -> list[Gap]:
    """The gap, cut where the reason changes."""
    zone, rules = runtime.config.timezone, runtime.config.rules
    found = []
    for lease in stands.leases:
        held = intersect(lease.interval, piece)
        if held is not None:
            text = f"{lease.owner} works on it since {whole_second(lease.since, zone)}"
            found.append(Gap(held, "leased", text, _failures(entries, held)[0], ready=False))
    free = subtract([piece], [lease.interval for lease in stands.leases])
    for stuck in common(ledger.blocked(entries, runtime.config.max_attempts), free):
        number, said = _failures(entries, stuck)
        text = f"{said}: look, then reprocess or waive"
        found.append(Gap(stuck, "blocked", text, number, ready=True))
    free = subtract(free, [gap.interval for gap in found])
    old = subtract(free, [span]) if span else []
    for rest in old:
        if span and rest.start < span.start:
            text = f"no run looks back further than {rules.max_backlog_days} days: reprocess it"
            found.append(Gap(rest, "too_old", text, _failures(entries, rest)[0], ready=True))
    free = subtract(free, [gap.interval for gap in found])
    until = stands.ready_until
    for rest in free:
        early = intersect(rest, Interval(rest.start, until)) if until and until > rest.start else None
        if early is not None:
            found.append(_ready(entries, early))
        for late in subtract([rest], [early] if early else []):
            whole = day_interval(day_of(late.start, zone), zone)
            first = Interval(late.start, min(late.end, window_end(late.start, whole, rules.granularity)))
            text = f"its first window is ready at {local_time(ready_at(rules, first), zone)}"
            found.append(Gap(late, "not_settled", text, _failures(entries, late)[0], ready=False))
    return found


def _ready(entries: list[Entry], piece: Interval) -> Gap:
    number, said = _failures(entries, piece)
    if number:
        return Gap(piece, "failed", said, number, ready=True)
    begun = [e for e in entries if e.kind in (Kind.ATTEMPT, Kind.REPLACING) and e.interval.overlaps(piece)]
    if begun:
        return Gap(
            piece, "unfinished", f"{begun[-1].run or 'a run'} began it and did not finish", 0, ready=True
        )
    return Gap(piece, "never_run", "no run has begun it", 0, ready=True)


def _failures(entries: Sequence[Entry], piece: Interval) -> tuple[int, str]:
    """How often it failed for good, and how the last time."""
    failed = [e for e in entries if e.kind is Kind.FAILED and e.interval.overlaps(piece)]
    if not failed:
        return 0, ""
    last = failed[-1].detail
    said = (
        f"{last.get('error', 'error')} in {last.get('phase', 'a phase')}: {last.get('message', 'no message')}"
    )
    return len(failed), one_line(said)


def _print(seen: list[tuple[PipelineConfig, list[Gap]]], days: int, screen: Screen) -> None:
    rows, styles = [], []
    for config, missing in seen:
        zone = config.timezone
        if not missing:
            screen.say(f"{config.pipeline_id}: no gap in the last {days} days", "green")
        for gap in missing:
            window = local_window(gap.interval, zone).partition(" ")[2]
            rows.append(
                (
                    config.pipeline_id,
                    day_text(gap.interval.start, zone),
                    window,
                    length_text(gap.interval.seconds),
                    gap.reason,
                    str(gap.failures),
                    gap.detail,
                )
            )
            styles.append(_STYLES.get(gap.reason))
    if rows:
        columns = ("pipeline", "day", "gap", "length", "why", "failures", "detail")
        screen.table(columns, rows, right=("length", "failures"), styles=styles)


def _json(config: PipelineConfig, at: datetime, missing: list[Gap]) -> dict[str, object]:
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": config.timezone,
        "reference_time": iso_utc(at),
        "gaps": [
            {
                **piece_json(gap.interval, config.timezone),
                "seconds": gap.interval.seconds,
                "reason": gap.reason,
                "detail": gap.detail,
                "failures": gap.failures,
                "ready": gap.ready,
            }
            for gap in missing
        ],
    }
