"""Run `history`: show every ledger entry of a window, in order, and the target's commit rows."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_window_words, split_window_words
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.cli.time_format import interval_json, local_second_text
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.state.about import Act

_STYLES = {
    Kind.COMMITTED: "green",
    Kind.FAILED: "red",
    Kind.WAIVED: "yellow",
    Kind.CHECKED: "yellow",
}


def history(args: Namespace, screen: Screen) -> int:
    """Print everything that is recorded about a window.

    WINDOW is a window id, which contains the pipeline's id, or PIPELINE followed by a window id, a local day, or
    two instants. Entries that overlap the window are included: wider and narrower loads are part of its history.

    JSON: `{"pipeline_id", "timezone", "window": interval, "window_id", "entries": [interval + {"kind", "at", "run"
    | null, "attempt" | null, "token" | null, "rows" | null, "manifest" | null, "detail"}], "target": [interval +
    {"token", "rows", "manifest", "in_ledger"}] | null, "by_hand": [{"at", "what", "by", "why" | null, "window":
    interval | null, "detail"}]}`; an interval is `{"day", "start", "end", "local_start", "local_end"}`; `target` is
    null when the target could not be read, whose error then gives the exit code; `by_hand` are manual changes
    without an entry of their own.

    Exit code 1 when nothing is known of the window.
    """
    pipeline, named = split_window_words(args.window)
    config = load_one(pipeline, args.folder).config
    window = read_window_words(named, config)
    rows: list[CommitRow] | None = None
    failed: PipelineError | None = None
    with open_runtime(config) as runtime:
        entries = runtime.state.entries(window)
        acts = [
            act for act in runtime.state.about().acts if act.interval is None or act.interval.overlaps(window)
        ]
        try:
            rows = runtime.target.commits(window)
        except PipelineError as error:  # the ledger is still printed
            error.add_context(f"pipeline {config.pipeline_id}, target")
            failed = error
        window_id = runtime.window(window).window_id
    known = {(entry.interval, entry.token) for entry in entries if entry.kind is Kind.COMMITTED}
    if screen.as_json:
        answer = _json(config, window, window_id, entries, rows, known)
        screen.print_json({**answer, "by_hand": [_act_json(act, config.timezone) for act in acts]})
    else:
        _print(config, window, window_id, entries, rows, known, screen)
        for act in acts:
            screen.print_line(_act_text(act, config.timezone), "yellow")
    if failed is not None:
        raise failed
    return exit_codes.OK if entries or rows else exit_codes.CHECK_FAILED


def _print(
    config: PipelineConfig,
    window: Interval,
    window_id: str,
    entries: list[Entry],
    rows: list[CommitRow] | None,
    known: set[tuple[Interval, int | None]],
    screen: Screen,
) -> None:
    zone = config.timezone
    screen.print_line(f"{window_id}: {local_window(window, zone)}", "bold")
    if entries:
        _print_entries(window, entries, zone, screen)
    else:
        screen.print_line("the ledger has no entry of this window")
    if rows is None:
        return
    if not rows:
        screen.print_line("the target has no commit row of this window")
    for row in rows:
        where = "" if row.interval == window else f" for {local_window(row.interval, zone)}"
        missing = "" if (row.interval, row.token) in known else ": NOT committed in the ledger"
        text = (
            f"in the target: token {row.token}, {counted(row.rows, 'row')}, manifest {row.manifest_sha[:12]}"
        )
        text += f"{where}{missing}"
        screen.print_line(text, "red" if missing else None)


_COLUMNS = ("at", "what", "token", "rows", "attempt")
_INDENT = "    "


def _print_entries(window: Interval, entries: list[Entry], zone: str, screen: Screen) -> None:
    """Print one line for each entry and its long values on lines below, so that it fits into 80 columns."""
    rows = [
        (
            local_second_text(entry.at, zone),
            entry.kind.value,
            _number(entry.token),
            _number(entry.rows),
            entry.attempt or "-",
        )
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    screen.print_line(_line(_COLUMNS, widths), "bold")
    for entry, row in zip(entries, rows, strict=True):
        screen.print_line(_line(row, widths), _STYLES.get(entry.kind))
        for text in _below(entry, window, zone):
            for line in _wrapped(text, screen.width):
                screen.print_line(f"{_INDENT}{line}")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = ("token", "rows")
    cells = [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, cell, width in zip(_COLUMNS, row, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _below(entry: Entry, window: Interval, zone: str) -> Iterator[str]:
    if entry.interval != window:
        yield f"window {local_window(entry.interval, zone)}"
    if entry.manifest:
        yield f"manifest {entry.manifest[:12]}"
    if entry.run:
        yield f"run {entry.run}"
    if detail := _detail(entry):
        yield one_line(detail)


def _wrapped(text: str, width: int | None) -> list[str]:
    """Wrap the text at spaces for a terminal, without breaking ids and hashes."""
    if width is None:
        return [text]
    room = max(20, width - len(_INDENT))
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _detail(entry: Entry) -> str:
    """Return the detail of an entry as text."""
    detail = dict(entry.detail)
    if entry.kind is Kind.FAILED:
        return f"{detail.get('error')} in {detail.get('phase')}: {detail.get('message')}"
    if entry.kind is Kind.WAIVED:
        by = f", waived by {detail['by']}" if "by" in detail else ""
        return f"{detail.get('reason', 'no reason given')}{by}"
    return ", ".join(f"{k} {v if isinstance(v, int | str) else json.dumps(v)}" for k, v in detail.items())


def _act_text(act: Act, zone: str) -> str:
    """Return a manual change as one line."""
    where = f" of {local_window(act.interval, zone)}" if act.interval is not None else ""
    more = [act.why] if act.why else []
    more += [f"{k} {v if isinstance(v, int | str) else json.dumps(v)}" for k, v in act.detail.items()]
    details = f": {', '.join(more)}" if more else ""
    return f"by hand: {local_second_text(act.at, zone)} {act.what}{where} by {act.by}{details}"


def _act_json(act: Act, zone: str) -> dict[str, object]:
    return {
        "at": iso_utc(act.at),
        "what": act.what,
        "by": act.by,
        "why": act.why or None,
        "window": None if act.interval is None else interval_json(act.interval, zone),
        "detail": act.detail,
    }


def _json(
    config: PipelineConfig,
    window: Interval,
    window_id: str,
    entries: list[Entry],
    rows: list[CommitRow] | None,
    known: set[tuple[Interval, int | None]],
) -> dict[str, object]:
    zone = config.timezone
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": zone,
        "window": interval_json(window, zone),
        "window_id": window_id,
        "entries": [
            {
                **interval_json(entry.interval, zone),
                "kind": entry.kind.value,
                "at": iso_utc(entry.at),
                "run": entry.run,
                "attempt": entry.attempt,
                "token": entry.token,
                "rows": entry.rows,
                "manifest": entry.manifest,
                "detail": entry.detail,
            }
            for entry in entries
        ],
        "target": None
        if rows is None
        else [
            {
                **interval_json(row.interval, zone),
                "token": row.token,
                "rows": row.rows,
                "manifest": row.manifest_sha,
                "in_ledger": (row.interval, row.token) in known,
            }
            for row in rows
        ],
    }
