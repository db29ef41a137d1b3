"""Run `status`: show which days are complete, what is missing, and why."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_reference_time, read_seconds
from airflow_pipeline_provider.cli.catalog import PipelineFile, load_all, load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.status_table import StatusReport, print_all, print_one, too_old_message
from airflow_pipeline_provider.cli.time_format import (
    lease_json,
    length_text,
    local_iso,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.missing import days_of
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.identity import (
    change_sentence,
    declared,
    differences,
)
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.state.about import find_rename
from airflow_pipeline_provider.views.bulk_read import read_entries, read_states, relaxed_gc
from airflow_pipeline_provider.views.pipeline_status import (
    Day,
    Readable,
    eta_from,
    eta_spans,
    find_eta,
    read_status,
)


@dataclass(frozen=True)
class StatusQuery:
    """The parsed arguments."""

    reference_time: datetime
    days: int
    behind_seconds: int | None


def status(args: Namespace, screen: Screen) -> int:
    """Print the days of one pipeline, or one line for each pipeline.

    JSON of one pipeline: `{"pipeline_id", "timezone", "reference_time", "target_day", "continuation" | null,
    "ready_until" | null, "behind_seconds", "behind", "too_far_behind", "too_old": {"days", "first", "last"} | null,
    "eta": {"at" | null, "seconds" | null, "detail", "windows", "seconds_per_hour" | null} | null, "next":
    {"window": [start, end] | null, "reason" | null, "detail"}, "leases": [{"start", "end", "owner", "installation"
    | null, "since", "until"}], "untimed" | null, "elsewhere" | null, "body" | null, "days": [{"day", "start",
    "end", "length", "length_seconds", "status", "reason", "percent", "committed_seconds", "rows" | null, "missing":
    [gap], "waived": [gap + {"reason"}]}], "changes": [text], "renamed": text | null}`; a gap is `{"start", "end",
    "local_start", "local_end"}`; instants are ISO 8601, in UTC unless the key begins with `local_`; `status` of a
    day is one of `core.day_status.DayStatus`; `too_old` is the missing time in days that no run plans
    (`max_backlog_days`).

    JSON, `eta`: when all that is ready will be committed, at the pace of the last `windows` windows; `detail` is
    the reason if there is no estimate; null if the ledger could not be read for it.

    JSON, `changes`: how source and target of the file differ from those of the previous loads; `renamed`: the
    pipeline was renamed, or its rename was interrupted, and no run of it loads.

    JSON, `untimed`, `elsewhere`, `body`: what the last validate within `days` recorded about the source, null if
    none did: rows without a usable event time; `{"newest", "side": "before" | "after", "rows"}` of a source whose
    newest row is in no planned day; the type of BODY (`connectors.base.Body`).

    JSON of all: `{"pipelines": [the same], "errors": [{"file", "pipeline_id" | null, "message"}]}`.

    Exit code 1 when source or target changed, the pipeline was renamed, or `--fail-if-behind` is given and a
    pipeline is further behind than that or has days that are too old.
    """
    query = StatusQuery(
        read_reference_time(args.reference_time),
        read_count(args.days, "--days", least=1, most=10_000),
        None if args.fail_if_behind is None else read_seconds(args.fail_if_behind, "--fail-if-behind"),
    )
    if args.pipeline is not None:
        report = read_report(load_one(args.pipeline, args.folder), query)
        if screen.as_json:
            screen.print_json(_json(report, query))
        else:
            print_one(report, query.reference_time, screen)
        return _exit_code([report], query, screen)
    with relaxed_gc():
        return _all(args.folder, query, screen)


def read_report(found: PipelineFile, query: StatusQuery) -> StatusReport:
    """Read the pipeline's state and return its report."""
    config = found.config
    with open_runtime(config) as runtime:
        try:
            report = _report_of(config, runtime.state, query)
            eta = find_eta(config, runtime.state, report.status, query.reference_time)
            return replace(report, eta=eta)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def _report_of(config: PipelineConfig, state: Readable, query: StatusQuery) -> StatusReport:
    status = read_status(config, state, query.reference_time, query.days)
    limit = query.behind_seconds
    late = limit is not None and (status.behind_seconds > limit or bool(status.too_old))
    about = state.about()
    renamed = find_rename(config.pipeline_id, about)
    return StatusReport(config, status, late, differences(about, declared(config)), renamed)


def _all(folder: str | None, query: StatusQuery, screen: Screen) -> int:
    catalog = load_all(folder)
    reports: list[StatusReport] = []
    errors: list[tuple[Path, str | None, Exception]] = [
        (file, None, error) for file, error in catalog.errors.items()
    ]
    found = dict(sorted(catalog.pipelines.items()))
    states = read_states([one.config for one in found.values()], query.reference_time, query.days)
    for pipeline_id, one in found.items():
        try:
            state = states.get(pipeline_id)
            reports.append(read_report(one, query) if state is None else _report_of(one.config, state, query))
        except PipelineError as error:  # the other pipelines are still shown
            errors.append((one.file, pipeline_id, error))
    reports = _with_etas(reports, query)
    if screen.as_json:
        broken = [
            {"file": str(file), "pipeline_id": pipeline_id, "message": str(problem)}
            for file, pipeline_id, problem in errors
        ]
        screen.print_json({"pipelines": [_json(one, query) for one in reports], "errors": broken})
    else:
        print_all(reports, screen)
    for _, _, problem in errors:
        screen.print_error(str(problem))
    late = _exit_code(reports, query, screen)
    return max((exit_codes.code_of(problem) for _, _, problem in errors), default=late)


def _with_etas(reports: list[StatusReport], query: StatusQuery) -> list[StatusReport]:
    """Add the estimates of pipelines that were read together, with one query for all with a backlog."""
    at = query.reference_time
    spans = {
        one.config.pipeline_id: (one.config, eta_spans(one.config, one.status, at))
        for one in reports
        if one.eta is None
    }
    entries: dict[str, list[Entry]] = {name: [] for name, (_, listed) in spans.items() if not listed}
    entries |= read_entries((config, listed) for config, listed in spans.values() if listed)
    return [
        replace(one, eta=eta_from(one.config, entries[one.config.pipeline_id], one.status, at))
        if one.config.pipeline_id in entries
        else one
        for one in reports
    ]


def _exit_code(reports: list[StatusReport], query: StatusQuery, screen: Screen) -> int:
    changed = [one for one in reports if one.changes or one.renamed]
    for one in changed:
        if one.renamed is not None:
            screen.print_error(f"{one.renamed.sentence}. {one.renamed.remedy}")
        if one.changes:
            screen.print_error(f"pipeline {one.config.pipeline_id}: {change_sentence(one.changes)}")
    late = [one for one in reports if one.too_far_behind]
    for one in late:
        if one.status.too_old:
            screen.print_error(f"pipeline {one.config.pipeline_id}: {too_old_message(one)}")
        if one.status.behind_seconds <= (query.behind_seconds or 0):
            continue
        behind, limit = (length_text(s) for s in (one.status.behind_seconds, query.behind_seconds or 0))
        since = local_time(one.status.continuation or query.reference_time, one.config.timezone)
        screen.print_error(
            f"pipeline {one.config.pipeline_id} is {behind} behind, more than {limit}: "
            f"its oldest gap starts at {since}"
        )
    return exit_codes.CHECK_FAILED if late or changed else exit_codes.OK


# --- JSON


def _json(report: StatusReport, query: StatusQuery) -> dict[str, Any]:
    status, zone = report.status, report.config.timezone
    return {
        "pipeline_id": report.config.pipeline_id,
        "timezone": zone,
        "reference_time": iso_utc(query.reference_time),
        "target_day": status.target_day.isoformat(),
        "continuation": iso_utc(status.continuation) if status.continuation else None,
        "ready_until": iso_utc(status.ready_until) if status.ready_until else None,
        "behind_seconds": status.behind_seconds,
        "behind": length_text(status.behind_seconds),
        "too_far_behind": report.too_far_behind,
        "too_old": _too_old_json(report),
        "eta": _eta_json(report.eta) if report.eta is not None else None,
        "next": {
            "window": msgspec.to_builtins(status.plan.interval) if status.plan.interval else None,
            "reason": status.plan.reason.value if status.plan.reason else None,
            "detail": status.plan.detail,
        },
        "leases": [lease_json(lease) for lease in status.leases],
        "untimed": status.facts.get("untimed"),
        "elsewhere": status.facts.get("elsewhere"),
        "body": status.facts.get("body"),
        "days": [_day_json(day, zone) for day in status.days],
        "changes": report.changes,
        "renamed": report.renamed.sentence if report.renamed else None,
    }


def _eta_json(eta: Eta) -> dict[str, Any]:
    return {
        "at": iso_utc(eta.at.replace(microsecond=0)) if eta.at else None,
        "seconds": None if eta.seconds is None else round(eta.seconds),
        "detail": eta.detail,
        "windows": eta.pace.windows if eta.pace else 0,
        "seconds_per_hour": round(eta.pace.ratio * 3600, 3) if eta.pace else None,
    }


def _too_old_json(report: StatusReport) -> dict[str, Any] | None:
    days = days_of(report.config.rules, report.status.too_old)
    if not days:
        return None
    return {"days": len(days), "first": days[0].isoformat(), "last": days[-1].isoformat()}


def _day_json(day: Day, zone: str) -> dict[str, Any]:
    report = day.report
    return {
        "day": day.day.isoformat(),
        "start": iso_utc(day.whole.start),
        "end": iso_utc(day.whole.end),
        "length": length_text(day.whole.seconds),
        "length_seconds": int(day.whole.seconds),
        "status": report.status.value,
        "reason": report.reason,
        "percent": report.percent,
        "committed_seconds": report.committed_seconds,
        "rows": report.rows,
        "missing": [_piece_json(gap, zone) for gap in report.gaps],
        "waived": [{**_piece_json(piece, zone), "reason": reason} for piece, reason in report.given_up],
    }


def _piece_json(piece: Interval, zone: str) -> dict[str, Any]:
    return {
        "start": iso_utc(piece.start),
        "end": iso_utc(piece.end),
        "local_start": local_iso(piece.start, zone),
        "local_end": local_iso(piece.end, zone),
    }
