"""Run `history`: show every ledger entry of a window, in order, and the target's commit rows."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_window_words, split_window_words
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.body_rules import KEY, rewritten_text
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.expectations import miss_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.history import HistoryEntry, ManualChange, WindowHistory, read_history
from airflow_pipeline_provider.views.times import local_second_text

_STYLES = {
    Kind.COMMITTED: "green",
    Kind.FAILED: "red",
    Kind.WAIVED: "yellow",
    Kind.CHECKED: "yellow",
    Kind.MISSED: "yellow",
    Kind.FILES_REMOVED: "yellow",
}


def history(args: Namespace, screen: Screen) -> int:
    """Print everything that is recorded about a window.

    WINDOW is a window id, which contains the pipeline's id, or PIPELINE followed by a window id, a local day, or
    two instants. If the target cannot be read, the ledger is still printed, and the error gives the exit code.

    Exit code 1 when nothing is known of the window.
    """
    pipeline, named = split_window_words(args.window)
    config = load_one(pipeline, args.folder).config
    window = read_window_words(named, config)
    rows: list[CommitRow] | None = None
    failed: PipelineError | None = None
    with open_runtime(config) as runtime:
        try:
            rows = runtime.target.commits(window)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, target")
            failed = error
        found = read_history(config, runtime.state, window, rows)
    screen.print_result(found, _print)
    if failed is not None:
        raise failed
    return exit_codes.OK if found.entries or found.target else exit_codes.CHECK_FAILED


def _print(found: WindowHistory, screen: Screen) -> None:
    zone, window = found.timezone, found.window.interval
    screen.print_line(f"{found.window_id}: {local_window(window, zone)}", "bold")
    if found.entries:
        _print_entries(window, found.entries, zone, screen)
    else:
        screen.print_line("the ledger has no entry of this window")
    if found.target is not None and not found.target:
        screen.print_line("the target has no commit row of this window")
    for row in found.target or ():
        where = "" if row.interval == window else f" for {local_window(row.interval, zone)}"
        missing = "" if row.in_ledger else ": NOT committed in the ledger"
        text = f"in the target: token {row.token}, {counted(row.rows, 'row')}, manifest {row.manifest[:12]}"
        screen.print_line(f"{text}{where}{missing}", "red" if missing else None)
    for change in found.by_hand:
        screen.print_line(_change_text(change, zone), "yellow")


_COLUMNS = ("at", "what", "token", "rows", "attempt")
_INDENT = "    "


def _print_entries(window: Interval, entries: Sequence[HistoryEntry], zone: str, screen: Screen) -> None:
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


def _below(entry: HistoryEntry, window: Interval, zone: str) -> Iterator[str]:
    if entry.interval != window:
        yield f"window {local_window(entry.interval, zone)}"
    if entry.manifest:
        yield f"manifest {entry.manifest[:12]}"
    if entry.run:
        yield f"run {entry.run}"
    if detail := _detail(entry, zone):
        yield one_line(detail)
    if KEY in entry.detail:
        yield f"documents are {rewritten_text(entry.detail)}"
    if fields := entry.detail.get("fields"):
        if "hash" in fields:
            yield one_line(_fields_text(fields))
        for sentence in changes_in(entry.detail).sentences():
            yield f"documents: {one_line(sentence)}"


def _wrapped(text: str, width: int | None) -> list[str]:
    """Wrap the text at spaces for a terminal, without breaking ids and hashes."""
    if width is None:
        return [text]
    room = max(20, width - len(_INDENT))
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _detail(entry: HistoryEntry, zone: str) -> str:
    """Return the detail of an entry as text."""
    detail = {key: value for key, value in entry.detail.items() if key not in ("fields", KEY)}
    if entry.kind is Kind.FAILED:
        return f"{detail.get('error')} in {detail.get('phase')}: {detail.get('message')}"
    if entry.kind is Kind.FILES_REMOVED:
        size = f"{counted(detail.get('files', 0), 'part file')}, {counted(detail.get('bytes', 0), 'byte')}"
        return f"{size}, removed by stage.keep ({detail.get('keep')}): the manifest stays"
    if entry.kind is Kind.WAIVED:
        by = f", waived by {detail['by']}" if "by" in detail else ""
        return f"{detail.get('reason', 'no reason given')}{by}"
    if entry.kind is Kind.MISSED:
        return miss_of(entry).sentence(zone)
    return ", ".join(_items(detail))


def _fields_text(fields: dict[str, Any]) -> str:
    sample = ""
    if "looked_at" in fields:
        sample = f", seen in {fields['looked_at']:,} of {counted(fields['documents'], 'document')}"
    return f"fields {fields['hash']}{sample}"


def _items(detail: dict[str, object]) -> list[str]:
    return [f"{k} {v if isinstance(v, int | str) else json.dumps(v)}" for k, v in detail.items()]


def _change_text(change: ManualChange, zone: str) -> str:
    """Return a manual change as one line."""
    where = f" of {local_window(change.window.interval, zone)}" if change.window is not None else ""
    more = [change.why] if change.why else []
    more += _items(change.detail)
    details = f": {', '.join(more)}" if more else ""
    return f"by hand: {local_second_text(change.at, zone)} {change.what}{where} by {change.by}{details}"
