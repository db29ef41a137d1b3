"""Run `quarantine`: list and show the rows that the target rejected."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from importlib import import_module

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_span, read_window_option
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.quarantine import (
    QuarantinedWindow,
    ShownRow,
    list_quarantined,
    show_quarantined,
)

MOST_ROWS = 100_000
_SPAN = ("window", "first", "last")
_LOAD = ("here", "dry_run", "accept_shrink", "accept_changes", "accept_unusual")
_ACTIONS = {  # action -> module:function, and its own options
    "list": ("quarantine:list_windows", _SPAN),
    "show": ("quarantine:show_rows", (*_SPAN, "limit", "body")),
    "load": ("quarantine_load:load_windows", (*_SPAN, *_LOAD)),
    "rebuild": ("quarantine_load:rebuild_table", ()),
}
_PLACES = {"table": "table", "stage": "stage", "ledger": "gone"}


class QuarantineList(Struct, frozen=True):
    """Loads with quarantined rows.

    `table` is the target's table of quarantined rows, null if it does not exist: then only the stage has them.
    """

    pipeline_id: str
    timezone: str
    table: str | None
    windows: tuple[QuarantinedWindow, ...]


class QuarantineRows(Struct, frozen=True):
    """Quarantined rows; `left` counts those beyond the limit, `gone` has a sentence for each that cannot be read."""

    pipeline_id: str
    timezone: str
    table: str | None
    rows: tuple[ShownRow, ...]
    left: int
    gone: tuple[str, ...]


def quarantine(args: Namespace, screen: Screen) -> int:
    """List, show and load again the rows that the target rejected, with `audit.on_reject: quarantine`.

    `quarantine list` prints each window with such rows, their number and the reasons. `quarantine show` prints the
    rows, and with `--body` their documents. Both read the target's table, and the files of the stage where the table
    does not have the rows. Exit code 1 when rows or documents are gone; they are named, and counted from the ledger.

    `quarantine load` moves the windows again, by a run of the DAG for each, or with `--here` in this process. Use it
    after the documents were corrected in the source, or the target's limit was raised. Exit code 1 when there is
    nothing to load, a window was skipped, or with `--here` rows are still rejected.

    `quarantine rebuild` writes the rows that the table lacks from the files of the stage. Exit code 1 when files are
    gone.
    """
    place, own = _ACTIONS[args.action]
    for option in {name for _, names in _ACTIONS.values() for name in names} - set(own):
        if getattr(args, option) not in (None, False):
            users = " and ".join(
                f"quarantine {action}" for action, (_, names) in _ACTIONS.items() if option in names
            )
            flag = {"first": "from", "last": "to"}.get(option, option.replace("_", "-"))
            raise ConfigError(f"--{flag}: only works with {users}: remove it")
    module, _, function = place.partition(":")
    code: int = getattr(import_module(f"airflow_pipeline_provider.cli.{module}"), function)(args, screen)
    return code


def read_selection(args: Namespace, config: PipelineConfig) -> Interval | None:
    """Parse `--window`, or `--from` and `--to`; None for all windows."""
    if (args.first is None) != (args.last is None) or (args.window and args.first):
        raise ConfigError("--window: expected --window, or --from and --to, or neither for all windows")
    if args.window is not None:
        return read_window_option(args.window, config)
    return read_span(args.first, args.last, config.timezone) if args.first is not None else None


def list_windows(args: Namespace, screen: Screen) -> int:
    """Print the windows with quarantined rows."""
    config = load_one(args.pipeline, args.folder).config
    within = read_selection(args, config)
    with open_runtime(config) as runtime:
        exists = runtime.target.quarantined() is not None
        table = runtime.target.quarantine_table() if exists else None
        windows = tuple(list_quarantined(runtime, within))
    result = QuarantineList(config.pipeline_id, config.timezone, table, windows)
    screen.print_result(result, _print_list)
    gone = any(window.known_in == "ledger" for window in windows)
    return exit_codes.CHECK_FAILED if gone else exit_codes.OK


def _print_list(result: QuarantineList, screen: Screen) -> None:
    if result.windows:
        screen.print_table(
            ("window", "token", "rows", "from", "reasons"),
            [
                (
                    local_window(window.interval, result.timezone) + (" (partly)" if window.replaced else ""),
                    str(window.token),
                    "-" if window.rows is None else f"{window.rows:,}",
                    _PLACES[window.known_in],
                    _reasons(window),
                )
                for window in result.windows
            ],
            right=("token", "rows"),
            styles=["red" if window.known_in == "ledger" else None for window in result.windows],
        )
    total = sum(window.rows or 0 for window in result.windows)
    screen.print_line(
        f"{counted(total, 'quarantined row')} in {counted(len(result.windows), 'window')}; {_looked(result.table)}"
    )


def _reasons(window: QuarantinedWindow) -> str:
    listed = [f"{one.rows:,} × {one.reason}" for one in window.reasons[:3]]
    if len(window.reasons) > 3:
        listed.append(f"{len(window.reasons) - 3} other reasons")
    return "; ".join([*listed, *([window.detail] if window.detail else [])]) or "-"


def _looked(table: str | None) -> str:
    if table is None:
        return "the target has no table of them: looked in the files of the stage"
    return f"looked in {table}, and in the files of the stage where it has fewer than the ledger"


def show_rows(args: Namespace, screen: Screen) -> int:
    """Print quarantined rows, with `--body` also their documents."""
    config = load_one(args.pipeline, args.folder).config
    within = read_selection(args, config)
    most = read_count("100" if args.limit is None else args.limit, "--limit", least=1, most=MOST_ROWS)
    with open_runtime(config) as runtime:
        exists = runtime.target.quarantined() is not None
        table = runtime.target.quarantine_table() if exists else None
        shown = show_quarantined(runtime, within, most, with_body=args.body)
    result = QuarantineRows(config.pipeline_id, config.timezone, table, shown.rows, shown.left, shown.gone)
    screen.print_result(result, partial(_print_rows, with_body=args.body))
    return exit_codes.CHECK_FAILED if shown.gone else exit_codes.OK


def _print_rows(result: QuarantineRows, screen: Screen, *, with_body: bool) -> None:
    if with_body:
        for row in result.rows:
            screen.print_line(f"{row.record_id} at {local_time(row.event_time, result.timezone)}", "bold")
            screen.print_line(f"    {row.reason}")
            screen.print_line(f"    {row.stage_file}")
            screen.print_line(f"    {_body(row)}")
    elif result.rows:
        screen.print_table(
            ("record", "event time", "reason", "file"),
            [
                (row.record_id, local_time(row.event_time, result.timezone), row.reason, row.stage_file)
                for row in result.rows
            ],
        )
    for sentence in result.gone:
        screen.print_line(sentence, "red")
    more = f", {result.left:,} more: raise --limit" if result.left else ""
    screen.print_line(f"{counted(len(result.rows), 'quarantined row')}{more}; {_looked(result.table)}")


def _body(row: ShownRow) -> str:
    if row.body is None or row.body_characters is None:
        return "(the document is gone)"
    left = row.body_characters - len(row.body)
    return one_line(row.body) + (f" … ({left:,} more characters are in the file)" if left else "")
