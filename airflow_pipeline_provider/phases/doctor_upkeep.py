"""Check gaps, leases, files and the external stage, for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_pipeline_provider.core import command_line, ledger
from airflow_pipeline_provider.core.intervals import Interval, common, subtract
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.core.missing import Missing, Why, explain, too_old_text, within
from airflow_pipeline_provider.core.planning import target_day
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError
from airflow_pipeline_provider.phases.attempt_files import find_attempts
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.findings import Action, Finding, Loading, Repair, View
from airflow_pipeline_provider.phases.source_facts import fact_warnings, latest


def blocked(view: View) -> Iterator[Finding]:
    """Yield windows that planning skips because they failed too often."""
    limit = view.runtime.config.max_attempts
    stuck = common(ledger.blocked(view.entries, limit), [view.span])
    for piece in subtract(stuck, ledger.committed(view.entries)):
        failed = [e for e in view.entries if e.kind is ledger.Kind.FAILED and e.interval.overlaps(piece)]
        message = failed[-1].detail.get("message", "no message")
        yield Finding(
            "blocked",
            piece,
            f"it failed {counted(limit, 'time')} or more on its data, the last time: {message}; review it, then "
            "reprocess or waive it",
            view.load(Repair.LOAD_AFTER_REVIEW, Loading(piece)),
        )


def ready_gaps(view: View) -> Iterator[Finding]:
    """Yield what a run could move now."""
    if view.state_is_lost:
        return
    missing = within(view.missing, view.span)
    ready = [
        one
        for one in explain(missing, view.entries)
        if one.why in (Why.FAILED, Why.UNFINISHED, Why.NEVER_RUN)
    ]
    pieces = [one.interval for one in ready]
    deleted = common(pieces, _deleted(view, view.span)) if pieces else []
    for piece in deleted:
        yield Finding(
            "gap",
            piece,
            "planning skips it as done, but its entries are missing in the ledger: they were deleted",
            view.load(Repair.LOAD_AFTER_REVIEW, Loading(piece)),
        )
    stops = False  # a run of all that is ready ends at the first window that fails again
    for one in ready:
        stops = stops or _fails_again(one)
        for piece in subtract([one.interval], deleted):
            if one.why is Why.FAILED:
                yield _failed(view, one, piece)
            else:
                sentence = f"it is ready and neither committed nor waived: {one.detail}"
                loading = Loading(piece) if stops else Loading()
                yield Finding("gap", piece, sentence, view.load(Repair.MOVE_MISSING, loading))


_LASTING = {
    DataError.__name__: "repair the data first",
    FatalError.__name__: "remove the cause first",
    ConfigError.__name__: "correct the file or the connection first",
}
"""What to do about an error that another run meets again, by the name that the ledger has."""


def _fails_again(one: Missing) -> bool:
    return one.why is Why.FAILED and one.error in _LASTING


def _failed(view: View, one: Missing, piece: Interval) -> Finding:
    """Return the finding of a failed window.

    After an error in the data, a permission or the file, another run fails again, so the repair needs a review.
    """
    lasting = _fails_again(one)
    hint = f"; {_LASTING[one.error or '']}" if lasting else ""
    return Finding(
        "failed",
        piece,
        f"it failed {counted(one.failures, 'time')}: {one.detail}{hint}",
        view.load(Repair.LOAD_AFTER_REVIEW if lasting else Repair.MOVE_MISSING, view.window(piece)),
    )


def too_old(view: View) -> Iterator[Finding]:
    """Yield what is missing in days that no run plans."""
    pieces = [one.interval for one in view.missing if one.why is Why.TOO_OLD]
    if pieces and not view.state_is_lost:
        whole = Interval(pieces[0].start, pieces[-1].end)
        rules = view.runtime.config.rules
        yield Finding(
            "too_old",
            whole,
            too_old_text(rules, pieces),
            view.load(Repair.LOAD_AFTER_REVIEW, Loading(whole)),
        )


def _deleted(view: View, span: Interval) -> list[Interval]:
    """Return what planning has stored as done and the ledger no longer has an entry of."""
    folded = view.runtime.state.coverage(span).done
    entries = view.runtime.state.entries(span)
    return subtract(folded, [*ledger.committed(entries), *ledger.waived(entries)])


def drifted(view: View) -> Iterator[Finding]:
    """Yield the drift that `recheck` found."""
    for piece, check in ledger.drifted(view.entries):
        if not piece.overlaps(view.span):
            continue
        source, target = check.detail.get("source"), check.detail.get("target")
        verdict = check.detail.get("verdict")
        grew = verdict in (Check.GREW.value, Check.CHANGED.value)
        written = (
            f", {counted(check.detail['changed'], 'row')} of them written since the load"
            if verdict == Check.CHANGED.value
            else ""
        )
        committed = [entry.rows or 0 for there, entry in view.commits if there == piece == entry.interval]
        part_of = "" if piece == check.interval else f"it is part of {check.interval}, where "
        yield Finding(
            "drifted",
            piece,
            f"{part_of}the source had {counted(source, 'row')}{written}, and the target {target} when they were "
            "counted again",
            view.load_again(piece, max(view.runtime.target.count(piece).rows, *committed, 0), Loading(piece))
            if grew
            else view.delete_rows(piece),
        )


def first_day(view: View) -> Iterator[Finding]:
    """Yield a missing or wrong first day, with which planning skips older days."""
    config = view.runtime.config
    if config.start_day is not None or view.state_is_lost:
        return
    first_day, commits = view.runtime.state.first_day(None), ledger.committed(view.entries)
    today = target_day(config.rules, view.runtime.state.now())
    if first_day is not None and first_day > today:
        yield Finding(
            "first_day_ahead",
            None,
            f"the state's first day is {first_day}, after today's target day {today}, so no run plans the days "
            "before it: a clock was ahead, or a run had a reference time in the future",
            view.rebuild() if commits else view.load(Repair.MOVE_MISSING, Loading()),
        )
    if first_day is None and commits:
        yield Finding(
            "first_day_missing",
            None,
            "the file has no start_day and the state no first day, so no run plans days before the target day",
            view.rebuild(),
        )


def source_facts(view: View) -> Iterator[Finding]:
    """Yield rows that no window holds, and documents that lack fields, as the last validate recorded them."""
    facts = latest(view.entries)
    for sentence in fact_warnings(facts):
        yield Finding(
            "source", None, sentence, harmless=sentence in fact_warnings({"body": facts.get("body")})
        )


def expired_leases(view: View) -> Iterator[Finding]:
    """Yield expired leases: they block no run, and show that a run crashed or waits for its retry."""
    live, now = view.runtime.state.leases(), view.runtime.state.now()
    for lease in view.runtime.state.leases(expired=True):
        if lease not in live:
            until = f"{lease.until:%Y-%m-%d %H:%M:%S}Z"
            why = (
                f"ends only at {until}, later than a lease lasts: the clock was ahead when it was taken"
                if lease.until > now
                else f"was not renewed after {until}: its run crashed, or waits for its retry"
            )
            yield Finding(
                "expired_lease",
                lease.interval,
                f"{lease.holder} held it since {lease.since:%Y-%m-%d %H:%M:%S}Z and {why}",
                Action(Repair.REMOVE_LEASES, command_line.unlock(view.name)),
            )


def orphans(view: View) -> Iterator[Finding]:
    """Yield what `cleanup` would remove."""
    found = cleanup(view.runtime, dry_run=True)
    action = Action(Repair.REMOVE_FILES, command_line.cleanup(view.name))
    for attempt in found.attempts:
        yield Finding(
            "orphan_files",
            attempt.interval,
            f"{counted(len(attempt.files), 'file')} of the abandoned attempt {attempt.attempt} "
            f"({counted(attempt.size_bytes, 'byte')}): "
            f"{attempt.why}",
            action,
        )
    for what in found.unfinished:
        yield Finding("unfinished_upload", None, f"the upload was not finished: {what}", action)


def manifests(view: View) -> Iterator[Finding]:
    """Yield missing manifests; a folder that is missing completely was removed by a lifecycle rule of the store."""
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
                "of it are not: find out what deletes files in the stage",
                view.load_again(entry.interval, entry.rows or 0),
            )
        else:
            gone += 1
    if gone:
        yield Finding(
            "files_expired",
            None,
            f"the stage keeps no files of {counted(gone, 'committed window')} any more; the rows are in the target",
            harmless=True,
        )


def external_stage(view: View) -> Iterator[Finding]:
    """Yield a finding if the target cannot read the stage as its options state."""
    files = view.runtime.stage.list("")
    try:
        view.runtime.target.check_stage(view.runtime.stage, files[0].path if files else None)
    except (ConfigError, FatalError) as error:
        yield Finding("external_stage", None, error.message)


def unsafe_connections(view: View) -> Iterator[Finding]:
    """Yield connections that do not verify the server."""
    for connector in (view.runtime.source, view.runtime.stage, view.runtime.target):
        for sentence in connector.unsafe_settings():
            yield Finding("unsafe_connection", None, sentence)
