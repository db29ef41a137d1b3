"""Preview moving windows from the page: what each one is now, what will happen, how long it takes, what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.days import day_interval, day_of, days_in
from airflow_pipeline_provider.core.eta import SAMPLES, pace_of
from airflow_pipeline_provider.core.intervals import Interval, merge, split
from airflow_pipeline_provider.core.ledger import Entry, drifted, unverified
from airflow_pipeline_provider.core.missing import WAITING, days_of
from airflow_pipeline_provider.core.planning import all_days, day_plan, plan_window
from airflow_pipeline_provider.core.readiness import PlanRules
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.pipeline_status import Readable, read_missing
from airflow_pipeline_provider.views.reprocess import preview_window
from airflow_pipeline_provider.views.times import LocalInterval, local_interval
from airflow_pipeline_provider.views.window_states import (
    WindowRow,
    WindowState,
    judge_all,
    planned_at,
)

MOST_WINDOWS = 2000
MOST_DAYS = 366
CHOSEN = frozenset(
    {
        WindowState.MISSING,
        WindowState.FAILED,
        WindowState.BLOCKED,
        WindowState.UNVERIFIED,
        WindowState.DRIFTED,
        WindowState.TOO_OLD,
    }
)
"""States that are preselected: a run must move them, and what is there now is wrong or missing."""
COMPLETE = frozenset({WindowState.COMPLETE, WindowState.REPLACED})


class Selection(NamedTuple):
    """Windows of the day plan, those that the spans overlap, whole days, or everything that is not complete."""

    windows: tuple[Interval, ...] = ()
    spans: tuple[Interval, ...] = ()
    days: tuple[date, ...] = ()
    all: bool = False


class MoveRow(Struct, frozen=True):
    """A window, and what moving it does: `skip` is never moved, `why` is the reason of its state or of the skip.

    `rows` are committed now, null without an exact count; `goes` is how many rows a load of a shrunk window deletes.
    """

    window: LocalInterval
    state: WindowState | None
    rows: int | None
    goes: int | None
    chosen: bool
    will: Literal["move", "replace", "skip"]
    why: str


class MovePreview(Struct, frozen=True):
    """The windows in order, and what moving the chosen ones takes.

    `seconds_per_hour` is the pace of the last windows for an hour of data, null without a commit to judge by.
    `left_out` counts windows beyond the limit.
    """

    windows: tuple[MoveRow, ...]
    estimate_seconds: float | None
    seconds_per_hour: float | None
    left_out: int
    command: str

    @property
    def chosen(self) -> list[Interval]:
        """Return the windows that are preselected."""
        return [row.window.interval for row in self.windows if row.chosen]


def preview_move(
    config: Described, state: Readable, at: datetime, selection: Selection, *, accepts_shrink: bool = False
) -> MovePreview:
    """Preview the selection; `accepts_shrink`: the pipeline file has `audit.on_shrink: accept`.

    Raises ConfigError for a window of no day plan, and for a selection that is too large.
    """
    rules = config.rules
    days = _days_of(config, state, at, selection)
    later, days = days[MOST_DAYS:], days[:MOST_DAYS]
    entries, leases = _read(state, days, rules), state.leases()
    first_day = state.first_day(None) if rules.start_day is None else None
    planned = planned_at(rules, at, config.max_attempts, first_day)
    plan = [window for day in days for window in day_plan(rules, day)]
    judged = {row.interval: row for row in judge_all(planned, plan, entries, leases)}
    windows = _selected(rules, judged, selection)
    left_out = len(windows[MOST_WINDOWS:]) + sum(len(day_plan(rules, day)) for day in later)
    windows = windows[:MOST_WINDOWS]
    rows = []
    for window, written in zip(windows, split(entries, windows), strict=True):
        found = preview_window(config, window, at, written, leases)
        rows.append(_row(judged[window], found.action, found.detail, rules.timezone, accepts_shrink))
    chosen = [row.window.interval for row in rows if row.chosen]
    newest = state.entries(Interval(at - _back(rules), at)) if chosen else []
    pace = pace_of(rules, _once([*entries, *newest]), drains=config.backlog == "drain")
    seconds = sum(window.seconds for window in chosen)
    return MovePreview(
        windows=tuple(rows),
        estimate_seconds=None if pace is None else round(pace.ratio * seconds, 1),
        seconds_per_hour=None if pace is None else round(pace.ratio * 3600, 1),
        left_out=left_out,
        command=commands(config.pipeline_id, chosen),
    )


def commands(pipeline_id: str, windows: Sequence[Interval]) -> str:
    """Return the commands that move these windows in a shell: one for each of the first stretches."""
    name = command_line.name_of(pipeline_id)
    joined = merge(windows)
    lines = [
        command_line.shell_line(command_line.reprocess(name, one))
        for one in joined[: command_line.MOST_SHOWN]
    ]
    more = len(joined) - len(lines)
    return "\n".join([*lines, *([f"# and {counted(more, 'more interval')}"] if more > 0 else [])])


# --- what is selected


def _days_of(config: Described, state: Readable, at: datetime, selection: Selection) -> list[date]:
    """Return the days that the selection touches, in order."""
    rules = config.rules
    for window in selection.windows:
        plan_window(rules, window, at, cut=False, exact=False)
    if any(span.seconds > MOST_DAYS * 86_400 for span in selection.spans):
        raise ConfigError(f"windows: expected at most {MOST_DAYS} days: choose fewer")
    days = {*selection.days, *(day_of(window.start, rules.timezone) for window in selection.windows)}
    days |= {day for span in selection.spans for day, _ in days_in(span, rules.timezone)}
    if len(days) > MOST_DAYS:
        raise ConfigError(f"days: expected at most {MOST_DAYS} days, got {len(days):,}: choose fewer")
    return sorted(days) if days else _days_to_look_at(config, state, at)


def _selected(rules: PlanRules, judged: Mapping[Interval, WindowRow], selection: Selection) -> list[Interval]:
    """Return the windows of the selection, in order; ConfigError for one that is in no day plan."""
    if selection.all:
        return [window for window, row in judged.items() if row.state in CHOSEN]
    if selection.spans:
        spans = merge(selection.spans)
        return [window for window in judged if any(span.overlaps(window) for span in spans)]
    for window in selection.windows:
        if window not in judged:
            raise ConfigError(
                f"window: expected a window of the day plan, got {local_window(window, rules.timezone)}"
            )
    return sorted(set(selection.windows)) or list(judged)


def _days_to_look_at(config: Described, state: Readable, at: datetime) -> list[date]:
    """Return the days with anything missing, drifted or in doubt."""
    read = read_missing(config, state, at)
    asked = all_days(config.rules, at, read.first_day)
    entries = state.entries(asked) if asked else []
    pieces = [one.interval for one in read.missing if one.why not in WAITING]
    pieces += [piece for piece, _ in drifted(entries)] + unverified(entries)
    return days_of(config.rules, pieces)


def _read(state: Readable, days: Sequence[date], rules: PlanRules) -> list[Entry]:
    """Return the entries of these days, in the order of writing; neighbouring days are read together."""
    return state.entries_in(merge(day_interval(day, rules.timezone) for day in days))


def _once(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries by time, without repetitions."""
    seen: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        seen.setdefault((entry.kind, entry.interval, entry.at, entry.token, entry.attempt), entry)
    return sorted(seen.values(), key=lambda entry: entry.at)


def _back(rules: PlanRules) -> timedelta:
    return timedelta(seconds=max(SAMPLES * rules.granularity.elapsed_seconds, 86_400))


# --- one window


def _row(row: WindowRow, action: str, detail: str, timezone: str, accepts_shrink: bool) -> MoveRow:
    will: Literal["move", "replace", "skip"] = "replace" if action == "replace" else "move"
    why = row.reason
    shrank = row.drift == "shrank" and row.state is WindowState.DRIFTED and not accepts_shrink
    if action == "leave_out" or row.state is None:
        will, why = "skip", detail or row.reason
    elif shrank:
        will, why = "skip", f"{row.reason}: accept that these rows go, or waive it and keep them"
    elif row.state is WindowState.RUNNING:
        why = f"{detail}; then it is moved again"
    return MoveRow(
        window=local_interval(row.interval, timezone),
        state=row.state,
        rows=row.rows,
        goes=row.goes,
        chosen=will != "skip" and row.state in CHOSEN,
        will=will,
        why=why,
    )
