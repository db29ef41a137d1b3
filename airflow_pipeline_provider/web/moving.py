"""Start the runs of a move: one run, one backfill of neighbouring windows, or a run for each window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, NamedTuple

from fastapi import HTTPException

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun, window_id_of
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.views.move_preview import COMPLETE, MovePreview, MoveRow
from airflow_pipeline_provider.web import bodies, runs
from airflow_pipeline_provider.web.answers import adding

MOST_RUNS = 100
"""More windows than these must be neighbours, which one backfill moves; Airflow starts each run by itself."""
PREFIX = "page"


class StartedMove(NamedTuple):
    """What was started; `sentence` is for the person, without a full stop."""

    run_ids: list[str]
    backfill_id: int | None
    windows: int
    sentence: str


def chosen_rows(preview: MovePreview, asked: bodies.MoveBody, timezone: str) -> list[MoveRow]:
    """Return the rows to move; raise WindowsChanged if one is not what was seen, HTTPException for a skipped one."""
    if not asked.windows:
        rows = [row for row in preview.windows if row.chosen]
        if not rows:
            raise HTTPException(
                409, "nothing to move: every window of the selection is complete, or must wait"
            )
        return rows
    seen = {window.interval: window.state for window in asked.windows}
    changed = [
        row
        for row in preview.windows
        if seen[row.window.interval] is not None and seen[row.window.interval] is not row.state
    ]
    if changed:
        raise WindowsChanged(changed, timezone)
    for row in preview.windows:
        if row.will == "skip":
            raise HTTPException(409, f"{local_window(row.window.interval, timezone)}: {row.why}")
    return list(preview.windows)


class WindowsChanged(Exception):
    """Windows that are in another state than the person saw when they were chosen."""

    def __init__(self, rows: Sequence[MoveRow], timezone: str) -> None:
        self.rows, self.timezone = list(rows), timezone
        first = self.rows[0]
        now = first.state.value if first.state is not None else "not planned"
        more = f", and {len(self.rows) - 1} more changed" if len(self.rows) > 1 else ""
        super().__init__(
            f"nothing was started: {local_window(first.window.interval, timezone)} is {now} now ({first.why}){more}: "
            "look again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the arguments of `__init__`, which are not those of Exception."""
        return type(self), (self.rows, self.timezone)


def start_move(
    dag_id: str, facts: PipelineFacts, rows: Sequence[MoveRow], *, user: str, reason: str
) -> StartedMove:
    """Start what moves these windows; the runs skip what another run commits before them."""
    dag = runs.runnable(dag_id)
    windows = [row.window.interval for row in rows]
    incomplete = {row.window.interval: row.state not in COMPLETE for row in rows}
    neighbours = all(before.end == after.start for before, after in pairwise(windows))
    if len(windows) > 1 and neighbours and facts.schedule == "auto":
        conf = {"by": user, "only_incomplete": all(incomplete.values())}
        made = runs.start_backfill(
            dag_id,
            windows[0].start,
            windows[-1].start,
            conf,
            user=user,
            max_active_runs=dag.max_active_runs,
        )
        busy = (
            f", {counted(made.in_flight, 'window')} with a run that is not finished" if made.in_flight else ""
        )
        sentence = f"backfill {made.backfill_id} moves {counted(made.runs, 'window')}{busy}"
        return StartedMove([], made.backfill_id, made.runs, sentence + dag.pause_note(made.runs))
    if len(windows) > MOST_RUNS:
        raise HTTPException(
            409,
            f"{counted(len(windows), 'window')} that are not neighbours need more runs than {MOST_RUNS}: "
            "choose fewer, or a stretch without holes, which one backfill moves",
        )
    stamp = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    started: list[str] = []
    for window in windows:
        run = NamedRun(PREFIX, window_id_of(facts.pipeline_id, window), stamp)
        note = f"moved by {user} on the page" + (f": {reason}" if reason else "")
        with adding(lambda: f"started before it: {counted(len(started), 'run')}" if started else ""):
            started.append(
                runs.start_run(
                    dag_id,
                    run.run_id,
                    {**window_conf(window, user), "only_incomplete": incomplete[window]},
                    user=user,
                    note=note,
                )
            )
    first = local_window(windows[0], facts.timezone)
    sentence = (
        f"run {started[0]} moves {first}"
        if len(started) == 1
        else f"{counted(len(started), 'run')} move the windows"
    )
    return StartedMove(started, None, len(started), sentence + dag.pause_note(len(started)))


def window_conf(window: Interval, user: str) -> dict[str, Any]:
    """Return the conf of a run that moves exactly this window."""
    return {"window_start": iso_utc(window.start), "window_end": iso_utc(window.end), "by": user}
