"""Accept that rows go from the target: for one window, one run, and at most as many rows as a person typed.

The acceptance is recorded with the state before the run is started, so the right to start runs does not suffice to
delete rows.  `load` checks it against what the source returns then, each time before the target changes.

It holds for what the person saw: a later commit, waiver or new finding of a recheck ends it, also where its run was
never started.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_pipeline_provider.core.command_line import name_of, reprocess, shell_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind, drifted, effective
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.state.about import Act
from airflow_pipeline_provider.state.base import State

ACT = "accept shrink"
ENDS = (Kind.COMMITTED, Kind.WAIVED, Kind.CHECKED)


def rows_that_go(entries: Iterable[Entry], window: Interval) -> int | None:
    """Return how many rows a load of the window would delete, as the last recheck counted.

    None if no recheck found that it shrank, or only as a part of another window.
    """
    written, rows = list(entries), 0
    shrunk = [
        (piece, check)
        for piece, check in drifted(written)
        if piece.overlaps(window) and check.detail.get("verdict") == Check.SHRANK.value
    ]
    if any(piece != check.interval or not window.covers(piece) for piece, check in shrunk):
        return None
    commits = {piece: entry for piece, entry, _ in effective(written) if piece == entry.interval}
    for piece, check in shrunk:
        commit = commits.get(piece)
        committed, aside = (commit.rows or 0, commit.detail.get("quarantined", 0)) if commit else (0, 0)
        rows += max(0, max(check.detail["target"], committed) + aside - check.detail["source"])
    return rows if shrunk else None


def record_acceptance(state: State, window: Interval, rows: int, *, run: str, by: str, reason: str) -> None:
    """Record that the run ("dag_id/run_id") may delete this many rows of the window.

    Raises ConfigError, with nothing recorded, if the last recheck did not find that exactly these rows are gone.
    """
    found, shown = rows_that_go(state.entries(window), window), local_window(window, state.identity.timezone)
    if found is None:
        raise ConfigError(
            f"window: no recheck found that {shown} shrank, or only as a part of another window: recheck its day, "
            "then accept the window that it reports"
        )
    if rows != found:
        raise ConfigError(
            f"rows: expected the {counted(found, 'row')} that are gone from the source in {shown}, got {rows:,}: "
            "nothing was accepted"
        )
    state.record_act(ACT, by, reason, window, rows=rows, run=run)
    reach("accept_shrink.recorded")


def accepted_rows(state: State, window: Interval, run: str) -> int | None:
    """Return how many rows of the window the run may delete.

    None without an acceptance, after the run's own commit, and after anything that ended the acceptance.
    """
    entries, act = state.entries(window), _recorded(state, window, run)
    if act is None or _ended_by(entries, act, run) is not None:
        return None
    if any(entry.kind is Kind.COMMITTED and entry.run == run for entry in entries):
        return None
    rows: int = act.detail["rows"]
    return rows


def _recorded(state: State, window: Interval, run: str) -> Act | None:
    for act in reversed(state.about().acts):
        if (act.what, act.interval, act.detail.get("run")) == (ACT, window, run):
            return act
    return None


def _ended_by(entries: Iterable[Entry], act: Act, run: str) -> Entry | None:
    """Return the first entry of another run or a person after the acceptance that decided about the window again.

    A recheck that finds the same again writes nothing, so it ends no acceptance.
    """
    later = (entry for entry in entries if entry.kind in ENDS and entry.run != run and entry.at > act.at)
    return next(later, None)


def check_acceptance(state: State, window: Interval, run: str, rows: int) -> None:
    """Raise ConfigError for a run whose conf accepts other rows than were recorded for it, or too late."""
    act, zone = _recorded(state, window, run), state.identity.timezone
    ended = _ended_by(state.entries(window), act, run) if act is not None else None
    if act is None:
        what = "none is recorded"
    elif ended is not None:
        what = f"the one of {local_time(act.at, zone)} ended: the window was {ended.kind.value} since"
    elif act.detail["rows"] < rows:
        what = f"{counted(act.detail['rows'], 'row')} are recorded"
    else:
        return
    command = reprocess(name_of(state.identity.pipeline_id), window, accept_shrink=True)
    raise ConfigError(
        f"accept_shrink: expected an acceptance of {counted(rows, 'row')} of "
        f"{local_window(window, zone)} by this run, {what}: the conf alone deletes nothing. "
        f"Accept it on the page of the pipeline, or run `{shell_line(command)}`"
    )


def check_loss(state: State, window: Interval, run: str, rows: int, lost: int) -> None:
    """Raise DataError if more rows would go than the run may delete."""
    accepted = min(rows, accepted_rows(state, window, run) or 0)
    if lost > accepted:
        raise DataError(
            f"{counted(lost, 'row')} of {local_window(window, state.identity.timezone)} would go, and "
            f"{counted(accepted, 'row')} were accepted: nothing was changed; recheck the day, review the source, and "
            "accept the new number"
        )
