"""`gaps [PIPELINE] [--days N]`: each stretch of time that is missing, why, and how often it failed.

JSON: `{"pipelines": [{"pipeline_id", "timezone", "reference_time", "first_day" | null, "last_day" | null, "gaps":
[piece + {"seconds", "days", "reason", "detail", "failures", "ready"}]}], "errors": [{"file", "pipeline_id" | null,
"message"}]}`; a piece is `{"day", "start", "end", "local_start", "local_end"}`; `days` counts the local days that it
touches; `reason` is not_settled, leased, blocked, failed, unfinished, never_run or too_old.  The days from
`first_day` to `last_day` were looked at; what is `too_old` lies before them.

Exit code 1 when a gap is ready: a run could move it now, or it needs review.
"""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_count, read_reference_time
from airflow_pipeline_provider.cli.find import Found, load_all, load_one
from airflow_pipeline_provider.cli.localtime import length_text
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.spans import day_text, piece_json
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.missing import Why, days_of, too_old_text
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.phases.identity import declared, refuse_changed
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.standing import Gaps, find_gaps

GIVEN_UP = "not needed"
_STYLES = {Why.BLOCKED: "red", Why.FAILED: "red", Why.TOO_OLD: "red", Why.LEASED: "yellow"}


def gaps(args: Namespace, screen: Screen) -> int:
    """The command."""
    at = read_reference_time(args.reference_time)
    days = None if args.days is None else read_count(args.days, "--days", least=1, most=10_000)
    found, errors = _pipelines(args)
    seen: list[tuple[PipelineConfig, Gaps]] = []
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
        screen.answer({"pipelines": [_json(config, at, found) for config, found in seen], "errors": broken})
    else:
        _print(seen, screen)
    for _, problem in errors:
        screen.error(str(problem))
    ready = any(gap.ready for _, one in seen for gap in one.missing)
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


def look(config: PipelineConfig, at: datetime, days: int | None) -> Gaps:
    """Return the gaps of the last days up to the target day (None: of all days), in order."""
    with open_runtime(config) as runtime:
        try:
            refuse_changed(config.pipeline_id, runtime.state.about(), declared(config))
            return find_gaps(config, runtime.state, at, days)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def _print(seen: list[tuple[PipelineConfig, Gaps]], screen: Screen) -> None:
    rows, styles = [], []
    for config, found in seen:
        zone = config.timezone
        if not found.missing:
            screen.say(*_nothing(config, found))
        for gap in found.missing:
            window = local_window(gap.interval, zone).partition(" ")[2]
            rows.append(
                (
                    config.pipeline_id,
                    day_text(gap.interval.start, zone),
                    window,
                    length_text(gap.interval.seconds),
                    gap.why.value,
                    str(gap.failures),
                    gap.detail,
                )
            )
            styles.append(_STYLES.get(gap.why))
    if rows:
        columns = ("pipeline", "day", "gap", "length", "why", "failures", "detail")
        screen.table(columns, rows, right=("length", "failures"), styles=styles)
    for config, found in seen:
        old = [gap.interval for gap in found.missing if gap.why is Why.TOO_OLD]
        if old:
            screen.say(f"{config.pipeline_id}: {too_old_text(config.rules, old)}", "red")
        for command in _commands(config, found):
            screen.say(f"    {command}")


def _commands(config: PipelineConfig, found: Gaps) -> list[str]:
    """Return what a person can do about the first gaps that no run moves by itself."""
    name = command_line.name_of(config.pipeline_id)
    stuck = [gap.interval for gap in found.missing if gap.why in (Why.BLOCKED, Why.TOO_OLD)]
    lines = []
    for interval in stuck[: command_line.MOST_SHOWN]:
        lines.append(command_line.shown(command_line.reprocess(name, interval)))
        lines.append(command_line.shown(command_line.waive(name, interval, GIVEN_UP)))
    return lines


def _nothing(config: PipelineConfig, found: Gaps) -> tuple[str, str]:
    if found.first is None:
        return f"{config.pipeline_id}: no day is looked at yet", "yellow"
    return f"{config.pipeline_id}: no gap from {found.first} to {found.last}", "green"


def _json(config: PipelineConfig, at: datetime, found: Gaps) -> dict[str, object]:
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": config.timezone,
        "reference_time": iso_utc(at),
        "first_day": found.first and found.first.isoformat(),
        "last_day": found.last and found.last.isoformat(),
        "gaps": [
            {
                **piece_json(gap.interval, config.timezone),
                "seconds": gap.interval.seconds,
                "days": len(days_of(config.rules, [gap.interval])),
                "reason": gap.why.value,
                "detail": gap.detail,
                "failures": gap.failures,
                "ready": gap.ready,
            }
            for gap in found.missing
        ],
    }
