"""Decide which notice a failure is, and send each notice once: its key is recorded before it is sent."""

from __future__ import annotations

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.command_line import (
    IN_AIRFLOW,
    Words,
    history,
    reprocess,
    shell_line,
    status,
)
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval, common, iso_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.notices import Notice, NoticeKind
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.about import About
from airflow_pipeline_provider.state.base import State


def claim_notice(state: State, key: str) -> bool:
    """Record the notice; return whether no process did so before."""
    claimed = False

    def change(about: About) -> About:
        nonlocal claimed
        claimed = key not in about.notices
        return about.with_notice(key) if claimed else about

    state.change_about(change)
    return claimed


def forget_notice(state: State, key: str) -> None:
    """Remove the record of a notice that no notifier took."""
    state.change_about(lambda about: about.without_notice(key))


def failure_notice(
    runtime: Runtime, run: str, task_id: str, try_number: int, reason: str
) -> tuple[str, Notice]:
    """Return the key and the notice of a task that has failed and is not retried; link and run are the caller's.

    A window that is blocked, or that a policy refused, is one thing until it is committed or waived, however many
    runs fail on it.
    """
    config = runtime.config
    window = runtime.state.bound(run)
    if window is None:
        return _failure_key(run, task_id, try_number), failure_without_window(
            config.pipeline_id, task_id, reason
        )
    entries = runtime.state.entries(window)
    mine = [entry for entry in entries if entry.run == run]
    decided = any(entry.kind in (Kind.COMMITTED, Kind.WAIVED) for entry in mine[-1:])
    failures, _ = ledger.failures_in(_since_decided(entries, window), window)
    blocked = bool(common(ledger.blocked(entries, config.max_attempts), [window]))
    waits = bool(mine) and ledger.needs_decision(mine[-1])
    kind = NoticeKind.BLOCKED if (blocked or waits) and not decided else NoticeKind.FAILURE
    where = f"{config.pipeline_id}, {local_window(window, config.timezone)}"
    what = {
        NoticeKind.BLOCKED: "is blocked" if blocked else "needs a decision",
        NoticeKind.FAILURE: f"{task_id} failed",
    }[kind]
    key = _failure_key(run, task_id, try_number)
    if kind is NoticeKind.BLOCKED:
        resets = sum(entry.kind in (Kind.COMMITTED, Kind.WAIVED) for entry in entries)
        key = f"blocked {iso_utc(window.start)}/{iso_utc(window.end)} {resets}"
    notice = Notice(
        kind=kind.value,
        pipeline=config.pipeline_id,
        title=f"{where}: {what}",
        reason=reason,
        window=local_window(window, config.timezone),
        start=iso_utc(window.start),
        end=iso_utc(window.end),
        counts=f"failures: {failures} of {config.max_attempts}" if failures else "",
        task=task_id,
        command=shell_line(
            _command(config.pipeline_id, config.timezone, window, blocked), program=IN_AIRFLOW
        ),
    )
    return key, notice


def failure_without_window(pipeline_id: str, task_id: str, reason: str) -> Notice:
    """Return the notice of a task whose window is not known: it has none yet, or the state does not answer."""
    return Notice(
        kind=NoticeKind.FAILURE.value,
        pipeline=pipeline_id,
        title=f"{pipeline_id}: {task_id} failed",
        reason=reason,
        task=task_id,
        command=shell_line(status(pipeline_id), program=IN_AIRFLOW),
    )


def _failure_key(run: str, task_id: str, try_number: int) -> str:
    """Return one key for all map indexes of a task: they move one window."""
    return f"failure {run} {task_id} {try_number}"


def _since_decided(entries: list[ledger.Entry], window: Interval) -> list[ledger.Entry]:
    """Return what follows the last commit or waiver of the window."""
    last = max(
        (
            number
            for number, entry in enumerate(entries)
            if entry.kind in (Kind.COMMITTED, Kind.WAIVED) and entry.interval.overlaps(window)
        ),
        default=-1,
    )
    return [entry for entry in entries[last + 1 :] if ledger.counts_as_failure(entry)]


def _command(name: str, timezone: str, window: Interval, blocked: bool) -> Words:
    if blocked:
        return reprocess(name, window)
    return history(name, Window(name, window, day_of(window.start, timezone)).window_id)
