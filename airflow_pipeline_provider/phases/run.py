"""Run all phases in one process, for `airflow-pipelines run`, `layout: single_task` and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from airflow_pipeline_provider.config.own_tasks import Place
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import own_tasks
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.day_events import DayEvents
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Audited, Claim, RunRequest, Validated

P = ParamSpec("P")
T = TypeVar("T")
HELD = "a function of own_tasks returned False: the window is not moved now"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run: `audited` when a window was committed, otherwise the reason and a sentence.

    `validated` is None when there was no window.
    """

    claim: Claim | None
    audited: Audited | None
    reason: str | None
    detail: str
    validated: Validated | None = None


def run_window(runtime: Runtime, request: RunRequest) -> Outcome:
    """Move one window, or return why there is none; raise the errors of the phases, with their context."""
    generated = generate(runtime, request)
    if generated.claim is None:
        return Outcome(None, None, generated.reason, generated.detail)
    return move_window(runtime, generated.claim, generated.detail)


def move_window(
    runtime: Runtime, claim: Claim, detail: str = "", day_events: DayEvents | None = None
) -> Outcome:
    """Move the claim's window; `detail` is how it was chosen, `day_events` are as for `audit`."""
    validated = validate(runtime, claim)
    if validated.verdict == "skip":
        return Outcome(claim, None, validated.reason, validated.detail, validated)
    own, held = runtime.config.own_tasks, Outcome(claim, None, "own_tasks", HELD, validated)
    staged = validated.staged
    if staged is None:
        if own.before_extract and not _own(
            "before_extract", own_tasks.before_extract, runtime, claim, validated
        ):
            return held
        attempt = validated.attempt or ""
        receipts = [extract(runtime, claim, attempt, slice_) for slice_ in validated.slices]
        staged = stage(runtime, claim, attempt, receipts)
        load(runtime, claim, staged)
    if own.after_load and not _own("after_load", own_tasks.after_load, runtime, claim, validated, staged):
        return held
    audited = audit(runtime, claim, staged, day_events)
    if own.after_commit:
        _own("after_commit", own_tasks.after_commit, runtime, claim, audited)
    if own.after_day:
        _own("after_day", own_tasks.after_day, runtime, claim)
    return Outcome(claim, audited, None, detail, validated)


def own_commit(runtime: Runtime, claim: Claim) -> Audited | None:
    """Return the counts of the window's newest commit if this run made it: an earlier try ended after its commit."""
    newest = _newest_commit(runtime.state.entries(claim.interval))
    if newest is None or (newest.run, newest.interval) != (claim.run, claim.interval):
        return None
    counts = newest.detail
    return Audited(
        newest.token or 0,
        counts.get("source") or 0,
        newest.rows or 0,
        counts.get("target") or 0,
        counts.get("distinct") or 0,
        counts.get("quarantined") or 0,
        tuple(changes_in(counts).sentences()),
    )


def committed_since(runtime: Runtime, run: str, first_try: int) -> bool:
    """Return whether the newest commit of the run's window is the run's own.

    :param first_try: count only a commit whose data was read in this try or a later one; 0: count every commit.
    """
    window = runtime.state.bound(run)
    if window is None:
        return False
    entries = runtime.state.entries(window)
    newest = _newest_commit(entries)
    if newest is None or (newest.run, newest.interval) != (run, window):
        return False
    return first_try == 0 or any(
        entry.kind is Kind.ATTEMPT
        and (entry.attempt, entry.run) == (newest.attempt, run)
        and entry.detail.get("try_number", 0) >= first_try
        for entry in entries
    )


def _newest_commit(entries: Iterable[Entry]) -> Entry | None:
    commits = [entry for entry in entries if entry.kind is Kind.COMMITTED]
    return max(commits, key=lambda entry: entry.token or 0, default=None)


def _own(place: Place, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    try:
        return call(*arguments, **named)
    except PipelineError:
        raise
    except Exception as error:
        raise own_tasks.without_airflow(error, place) from error
