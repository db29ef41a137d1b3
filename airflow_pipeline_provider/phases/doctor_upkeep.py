"""The doctor's checks of what is left to do and what lies about: gaps, leases, files, the external stage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, merge, subtract
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.core.planning import day_plan, horizon, ready_at
from airflow_pipeline_provider.exceptions import ConfigError, FatalError
from airflow_pipeline_provider.phases.cleanup import cleanup, find_attempts
from airflow_pipeline_provider.phases.findings import Finding, View

_DAY, _INSTANT = timedelta(days=1), timedelta(microseconds=1)


def blocked(view: View) -> Iterator[Finding]:
    """Windows that planning passes over."""
    limit = view.runtime.config.max_attempts
    stuck = common(ledger.blocked(view.entries, limit), [view.span])
    for piece in subtract(stuck, ledger.committed(view.entries)):
        failed = [e for e in view.entries if e.kind is ledger.Kind.FAILED and e.interval.overlaps(piece)]
        said = failed[-1].detail.get("message", "no message")
        yield Finding(
            "blocked",
            piece,
            f"it failed {limit} times or more on its data, the last time: {said}; look, then reprocess or waive it",
            view.reprocess(piece),
        )


def ready_gaps(view: View) -> Iterator[Finding]:
    """What a run could move now."""
    if view.state_is_lost:
        return
    rules = view.runtime.config.rules
    first_day = view.runtime.state.first_day(None) if rules.start_day is None else None
    reach = horizon(rules, view.at, first_day)
    looked_at = common([reach], [view.span]) if reach is not None else []
    if not looked_at:
        return
    done = [*ledger.committed(view.entries), *ledger.waived(view.entries)]
    done += ledger.blocked(view.entries, view.runtime.config.max_attempts)
    loaded = [row.interval for row, _ in view.standing]  # `target_beyond_ledger` tells of those
    missing = view.idle(subtract(gaps(looked_at[0], done), loaded))
    ready = []
    day, last = (day_of(i, rules.timezone) for i in (looked_at[0].start, looked_at[0].end - _INSTANT))
    while day <= last:
        ready += [window for window in day_plan(rules, day) if ready_at(rules, window) <= view.at]
        day += _DAY
    ready_now = common(missing, merge(ready))
    deleted = common(ready_now, _deleted(view, looked_at[0])) if ready_now else []
    for piece in deleted:
        yield Finding(
            "gap",
            piece,
            "planning passes it over as done, but its lines are gone from the ledger: somebody deleted them",
            view.reprocess(piece),
        )
    for piece in subtract(ready_now, deleted):
        yield Finding(
            "gap",
            piece,
            "it is ready and neither committed nor waived",
            ("run", view.name, "--until-done"),
            safe=True,
        )


def _deleted(view: View, span: Interval) -> list[Interval]:
    """What planning has folded as done and the ledger, read later, has no line of any more."""
    folded = view.runtime.state.coverage(span).done
    entries = view.runtime.state.entries(span)
    return subtract(folded, [*ledger.committed(entries), *ledger.waived(entries)])


def drifted(view: View) -> Iterator[Finding]:
    """What `recheck` found."""
    for piece, check in ledger.drifted(view.entries):
        if not piece.overlaps(view.span):
            continue
        source, target = check.detail.get("source"), check.detail.get("target")
        grew = check.detail.get("verdict") == Check.GREW.value
        committed = [entry.rows or 0 for there, entry in view.commits if there == piece == entry.interval]
        part_of = "" if piece == check.interval else f"it is part of {check.interval}, where "
        yield Finding(
            "drifted",
            piece,
            f"{part_of}the source had {source} rows and the target {target} when they were counted again",
            view.reprocess(piece, *(() if grew else ("--accept-shrink",))),
            safe=grew and view.source_holds(piece, max(view.runtime.target.count(piece).rows, *committed, 0)),
        )


def first_day(view: View) -> Iterator[Finding]:
    """Without it planning begins at the target day, and what is older stays a gap that nobody sees."""
    config = view.runtime.config
    if config.start_day is not None or view.state_is_lost or not ledger.committed(view.entries):
        return
    if view.runtime.state.first_day(None) is None:
        yield Finding(
            "first_day_missing",
            None,
            "the file has no start_day and the state no first day, so nobody looks at days before the target day",
            ("state", "rebuild", view.name),
            safe=True,
        )


def expired_leases(view: View) -> Iterator[Finding]:
    """In nobody's way; they say that a run died, or waits for its retry."""
    now = view.runtime.state.now()
    for lease in view.runtime.state.leases(expired=True):
        if lease.until <= now:
            yield Finding(
                "expired_lease",
                lease.interval,
                f"{lease.owner} held it since {lease.since:%Y-%m-%d %H:%M:%S}Z and gave no sign of life after "
                f"{lease.until:%Y-%m-%d %H:%M:%S}Z: it died, or waits for its retry",
                ("unlock", view.name),
                safe=True,
            )


def orphans(view: View) -> Iterator[Finding]:
    """What `cleanup` would remove."""
    found = cleanup(view.runtime, dry_run=True)
    command = ("cleanup", view.name)
    for attempt in found.attempts:
        yield Finding(
            "orphan_files",
            attempt.interval,
            f"{len(attempt.files)} files of the dead attempt {attempt.attempt} ({attempt.size_bytes:,} bytes): "
            f"{attempt.why}",
            command,
            safe=True,
        )
    for what in found.unfinished:
        yield Finding("unfinished_upload", None, f"nobody finished the {what}", command, safe=True)


def manifests(view: View) -> Iterator[Finding]:
    """The proof of what was loaded.  A folder that is gone whole was removed by a rule of the store's owner."""
    attempts = find_attempts(view.runtime.config.pipeline_id, view.runtime.stage.list(""))
    seen = {sha for attempt in attempts for sha in attempt.manifests}
    folders = {attempt.attempt for attempt in attempts}
    gone = 0
    for piece, entry in view.commits:
        if entry.manifest in seen or entry.manifest is None:
            continue
        if entry.attempt in folders:
            yield Finding(
                "manifest_missing",
                piece,
                f"manifest-{entry.manifest[:12]}… of the committed attempt {entry.attempt} is gone and other files "
                "of it are not: who deletes in the stage?",
                view.run(entry.interval),
                safe=view.source_holds(entry.interval, entry.rows or 0),
            )
        else:
            gone += 1
    if gone:
        yield Finding(
            "files_expired",
            None,
            f"the stage keeps no files of {gone} committed windows any more; their rows are in the target",
            harmless=True,
        )


def external_stage(view: View) -> Iterator[Finding]:
    """Can the target read the stage the way its options say?"""
    files = view.runtime.stage.list("")
    try:
        view.runtime.target.check_stage(view.runtime.stage, files[0].path if files else None)
    except (ConfigError, FatalError) as error:
        yield Finding("external_stage", None, error.message)
