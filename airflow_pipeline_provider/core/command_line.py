"""Build every command and every "do this again" that a message prints, so that it runs as printed.

The functions below return the words after the program's name; `shell_line` makes a line for a shell of them.  The
command line sets how it was called (`invoked_as`), since a command only finds the pipeline again below the same
folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from airflow_pipeline_provider.core.intervals import Interval, iso_utc

PROGRAM = "airflow-pipelines"
IN_AIRFLOW = "airflow pipelines"

Words = tuple[str, ...]


class Invocation(NamedTuple):
    """How the command line was called: its name, its --folder, and the pipeline as it was named there."""

    program: str
    folder: str | None = None
    pipeline: str | None = None


_invocation: ContextVar[Invocation | None] = ContextVar("invocation", default=None)
_only_task: ContextVar[str | None] = ContextVar("only_task", default=None)


@contextmanager
def invoked_as(called: Invocation) -> Iterator[None]:
    """Make the commands printed inside of the block find what the command line was called with."""
    before = _invocation.set(called)
    try:
        yield
    finally:
        _invocation.reset(before)


def shell_line(words: Words, *, folder: str | None = None, program: str = PROGRAM) -> str:
    """Return the command as one would type it; what the command line was called with goes before the arguments."""
    called = _invocation.get() or Invocation(program)
    folder = called.folder or folder
    more = () if folder is None else ("--folder", folder)
    return f"{called.program} {shlex.join((*words, *more))}"


def name_of(pipeline_id: str) -> str:
    """Return how the pipeline was named on the command line, perhaps by its file; elsewhere its id."""
    called = _invocation.get()
    return called.pipeline if called is not None and called.pipeline is not None else pipeline_id


@contextmanager
def within_task(task: str) -> Iterator[None]:
    """Make the messages of the block name the task that does the whole run."""
    before = _only_task.set(task)
    try:
        yield
    finally:
        _only_task.reset(before)


def again(task: str) -> str:
    """Return how this run begins again at `task`: by clearing it in Airflow, by running again on the command line."""
    if _invocation.get() is not None:
        return "run the command again"
    if (only := _only_task.get()) is not None:
        return f"clear this run's {only} task"
    return f"clear this run's {task} task and what follows it"


def run_window(name: str, interval: Interval) -> Words:
    """Move exactly this window, again if it was moved before."""
    start, end = iso_utc(interval.start), iso_utc(interval.end)
    return ("run", name, "--window-start", start, "--window-end", end, "--exact")


def run_until_done(name: str) -> Words:
    """Move all that is ready."""
    return ("run", name, "--until-done")


def reprocess(
    name: str,
    interval: Interval,
    *,
    accept_shrink: bool = False,
    accept_changes: bool = False,
    accept_unusual: bool = False,
) -> Words:
    """Move the windows in the interval again."""
    flags = {
        "--accept-shrink": accept_shrink,
        "--accept-changes": accept_changes,
        "--accept-unusual": accept_unusual,
    }
    more = tuple(flag for flag, given in flags.items() if given)
    return ("reprocess", name, *_span(interval), "--here", *more)


SHRUNK = "the source deleted these rows"
MOST_SHOWN = 3


def shrink_commands(name: str, intervals: Sequence[Interval]) -> list[str]:
    """Return two commands for each of the first intervals: delete the rows that the source lost, or keep them."""
    lines = []
    for interval in intervals[:MOST_SHOWN]:
        lines.append(shell_line(reprocess(name, interval, accept_shrink=True)))
        lines.append(shell_line(waive(name, interval, SHRUNK)))
    if len(intervals) > MOST_SHOWN:
        lines.append(f"and so for {len(intervals) - MOST_SHOWN} more; this shows all of them:")
        lines.append(shell_line(doctor(name)))
    return lines


def waive(name: str, interval: Interval, reason: str) -> Words:
    """Give up on the interval, or keep the target's rows where the source shrank."""
    return ("waive", name, *_span(interval), "--reason", reason)


def doctor(name: str, *, fix: bool = False) -> Words:
    """Compare ledger, stage and target, and with `fix` run the repairs that lose nothing."""
    return ("doctor", name, *(("--fix",) if fix else ()))


def status(name: str) -> Words:
    """Show which days are complete."""
    return ("status", name)


def history(name: str, window_id: str) -> Words:
    """Show what happened to a window."""
    return ("history", name, window_id)


def unlock(name: str, *, force: bool = False) -> Words:
    """Remove expired leases, and with `force` live ones too."""
    return ("unlock", name, *(("--force",) if force else ()))


def cleanup(name: str) -> Words:
    """Remove what crashed attempts left behind."""
    return ("cleanup", name)


def infer_columns(name: str) -> Words:
    """Propose typed columns."""
    return ("columns", "infer", name)


def apply_columns(name: str) -> Words:
    """Make the target's typed views follow the columns."""
    return ("columns", "apply", name)


def export_state(name: str, file: str) -> Words:
    """Write the state to a file, to move it to another store."""
    return ("state", "export", name, file)


def import_state(name: str, file: str) -> Words:
    """Write the state of a file into the store that the pipeline file names."""
    return ("state", "import", name, file)


def rebuild_state(name: str) -> Words:
    """Write a lost ledger from the target's commit rows."""
    return ("state", "rebuild", name)


def rebuild_quarantine(name: str) -> Words:
    """Write the target's table of quarantined rows again from the stage."""
    return ("quarantine", "rebuild", name)


def rename_state(old: str, name: str) -> Words:
    """Give state and target rows of the pipeline `old` to this one."""
    return ("state", "rename", old, name)


SAME_DATA = "it is the same data at another place"


def adopt(name: str, reason: str = SAME_DATA) -> Words:
    """Accept another source or target."""
    return ("adopt", name, "--reason", reason)


def reprocess_all(name: str) -> Words:
    """Move every committed window again, into or from what the file names now."""
    return ("reprocess", name, "--all", "--here")


def check(folder: str) -> Words:
    """Check the pipeline files of a folder."""
    return ("check", folder)


def _span(interval: Interval) -> Words:
    return ("--from", iso_utc(interval.start), "--to", iso_utc(interval.end))
