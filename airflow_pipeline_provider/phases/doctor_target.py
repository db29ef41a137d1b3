"""Compare the ledger with the target, for `doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timezone

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core import command_line, ledger
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, merge, subtract
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.phases.commit_rows import count_pieces, difference
from airflow_pipeline_provider.phases.findings import Action, Finding, Repair, View
from airflow_pipeline_provider.phases.identity import (
    change_sentence,
    datasets_of,
    differences,
    is_twin,
)
from airflow_pipeline_provider.state.about import find_rename

ALL_TIME = Interval(
    datetime(1, 1, 1, tzinfo=timezone.utc), datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
)


CHANGED = "source_or_target_changed"
RENAMED = "renamed"
TAKEN = "source_taken"
NO_RUN_LOADS = (CHANGED, RENAMED, TAKEN)
"""Kinds of findings under which every run is refused, so no other finding can be repaired before."""


def identity(view: View) -> Iterator[Finding]:
    """Yield a rename, a changed source or target, and other pipelines with the same rows in the table."""
    runtime, now, about = view.runtime, datasets_of(view.runtime), view.runtime.state.about()
    if (renamed := find_rename(runtime.config.pipeline_id, about)) is not None:
        yield Finding(RENAMED, None, renamed.sentence, Action(Repair.RENAME, renamed.command))
        return
    if found := differences(about, now):
        yield Finding(
            CHANGED,
            None,
            f"{change_sentence(found)}: put it back, adopt it when it is the same data, or move all of it again with "
            f"{command_line.shell_line(command_line.reprocess_all(view.name))}",
            Action(Repair.ADOPT, command_line.adopt(view.name)),
        )
    for name, entry in sorted(runtime.target.pipelines().items()):
        if name == runtime.config.pipeline_id or not is_twin(now, entry):
            continue
        sentence = f"pipeline {name} loads the same source into the same table"
        if about.source is not None or view.rows:  # this pipeline has loaded into the same table
            yield Finding("source_shared", None, sentence, harmless=True)
            continue
        yield Finding(
            TAKEN,
            None,
            f"{sentence}, so no run of this one loads: if it was renamed, run "
            f"{command_line.shell_line(command_line.rename_state(name, view.name))}; otherwise choose another "
            "target.table, or adopt the table when both are wanted in it",
            Action(Repair.ADOPT, command_line.adopt(view.name, "both are wanted in one table")),
        )


def state_lost(view: View) -> Iterator[Finding]:
    """Yield a finding when the target has loads of the pipeline and the ledger none."""
    if view.state_is_lost:
        yield Finding(
            "state_lost",
            None,
            f"the ledger has no commit and the target has {counted(len(view.rows), 'commit row')}: the state "
            "was lost",
            view.rebuild(),
        )


def state_behind(view: View) -> Iterator[Finding]:
    """Yield a finding when the target was loaded with a token that the state never issued."""
    known, newest = view.runtime.state.newest_token(), view.runtime.target.newest_token()
    if 0 < known < newest:
        yield Finding(
            "state_behind",
            None,
            f"the newest token of the state is {known}, and the target was loaded with token {newest}: the store "
            "fell back to an older copy, and no run writes until the state is rebuilt",
            view.rebuild(),
        )


def ledger_beyond_target(view: View) -> Iterator[Finding]:
    """Yield commits of the ledger whose commit row in the target is missing or differs."""
    held = {(row.interval, row.token): row for row in view.rows}
    newest = [(piece, row.token) for row, pieces in view.effective_loads for piece in pieces]
    for piece, entry in view.commits:
        token = entry.token or 0
        row = held.get((entry.interval, token))
        if row is not None and (row.manifest_sha, row.rows) == (entry.manifest, entry.rows):
            continue
        if row is not None:
            yield Finding(
                "disagreement",
                piece,
                f"under token {token} the ledger has {counted(entry.rows, 'row')} of manifest "
                f"{(entry.manifest or '')[:12]}, "
                f"the target {row.rows} of {row.manifest_sha[:12]}: one of them was edited",
                view.inspect(entry.interval),
            )
        elif not any(other > token and there.overlaps(piece) for there, other in newest):
            whole = piece == entry.interval and entry.rows is not None
            seen = view.runtime.target.count(piece).rows
            yield Finding(
                "not_in_target",
                piece,
                f"committed with token {token} and {counted(entry.rows, 'row')} in the ledger, but the target has no "
                f"such commit row and {counted(seen, 'row')} there: check whether it was restored or emptied",
                view.load_again(piece, max(entry.rows or 0, seen) if whole else None),
            )


def target_beyond_ledger(view: View) -> Iterator[Finding]:
    """Yield commit rows of the target that the ledger has not committed."""
    if view.state_is_lost:
        return
    known = {(entry.kind, entry.interval, entry.token) for entry in view.entries}
    for row, pieces in view.effective_loads:
        if (Kind.COMMITTED, row.interval, row.token) in known or not view.idle(pieces):
            continue
        if (Kind.REPLACING, row.interval, row.token) in known:
            yield Finding(
                "not_audited",
                row.interval,
                f"token {row.token} loaded {counted(row.rows, 'row')} and was never audited: its run was interrupted",
                view.load_again(row.interval, row.rows),
            )
        else:
            yield Finding(
                "not_in_ledger",
                row.interval,
                f"the target has a commit row of token {row.token} that the ledger does not know: the end of the "
                "ledger was lost",
                view.rebuild(),
            )


def unverified(view: View) -> Iterator[Finding]:
    """Yield replacements that were started and never committed; `target_beyond_ledger` reports loaded ones."""
    known = {(entry.kind, entry.interval, entry.token) for entry in view.entries}
    reported = [
        row.interval
        for row, _ in view.effective_loads
        if (Kind.COMMITTED, row.interval, row.token) not in known
    ]
    in_doubt = common(ledger.unverified(view.entries), [view.span])
    for piece in view.idle(subtract(in_doubt, reported)):
        yield Finding(
            "unverified",
            piece,
            "a replacement was started, and neither loaded nor waived: the target still holds the previous version",
            view.load_again(piece, view.runtime.target.count(piece).rows),
        )


def counts(view: View) -> Iterator[Finding]:
    """Compare the target's rows with their commit rows: a whole day at once, then each window where it differs."""
    for found in _by_day(view):
        if view.keeps_history:
            yield from _count_versions(view, found)
            continue
        whole = all(pieces == [row.interval] for row, pieces in found)
        target = view.runtime.target
        seen = count_pieces(target, merge(piece for _, pieces in found for piece in pieces), 0)
        if whole and seen == (sum(row.rows for row, _ in found),) * 2:
            continue
        for row, pieces in found:
            yield from _count(view, row, pieces)


def _by_day(view: View) -> list[list[tuple[CommitRow, list[Interval]]]]:
    by_day: dict[date, list[tuple[CommitRow, list[Interval]]]] = {}
    for row, pieces in view.effective_loads:
        day = day_of(row.interval.start, view.runtime.config.timezone)
        by_day.setdefault(day, []).append((row, pieces))
    return [found for _, found in sorted(by_day.items())]


def _count_versions(view: View, found: list[tuple[CommitRow, list[Interval]]]) -> Iterator[Finding]:
    """Compare each load of the day by its token, where the target keeps history.

    Effective loads must have the rows of their commit rows, older ones at most as many: newer loads replaced some
    of them.
    """
    seen: Counter[int] = Counter()
    ids: Counter[int] = Counter()
    spans = merge(piece for _, pieces in found for piece in pieces)
    for span in spans:
        for token, counts in view.runtime.target.count_by_token(span).items():
            seen[token] += counts.rows
            ids[token] += counts.distinct_ids
    for row, pieces in found:
        if pieces == [row.interval] and seen[row.token] == ids[row.token] < row.rows:
            yield Finding(
                "count_differs",
                row.interval,
                f"the load of token {row.token} left {counted(row.rows, 'row')} there, and the target holds "
                f"{seen[row.token]:,} of them: "
                "the others were deleted",
                view.load_again(row.interval, 0),
            )
    loaded = {row.token: row.rows for row in view.rows}
    for token, rows in sorted(seen.items()):
        if rows > loaded.get(token, 0) or rows != ids[token]:
            yield Finding(
                "count_differs",
                Interval(spans[0].start, spans[-1].end),
                f"the target holds {counted(rows, 'row')} of token {token} there with "
                f"{counted(ids[token], 'distinct id')}, and its "
                f"load wrote {loaded.get(token, 0):,}: find out what wrote the others, and delete them",
            )


def _count(view: View, row: CommitRow, pieces: list[Interval]) -> Iterator[Finding]:
    seen = count_pieces(view.runtime.target, pieces, row.token)
    why = difference(row, pieces, seen)
    if why is None:
        return
    if seen.distinct_ids > row.rows:
        yield Finding(
            "count_differs",
            row.interval,
            f"{why}: find out what wrote the others; loading the window again deletes them",
            view.delete_rows(row.interval),
        )
        return
    doubled = seen.rows > row.rows
    yield Finding(
        "count_differs",
        row.interval,
        f"{why}: another writer changed the table",
        view.delete_rows(row.interval)
        if doubled
        else view.load_again(row.interval, row.rows if pieces == [row.interval] else None),
    )


def uncovered(view: View) -> Iterator[Finding]:
    """Yield rows of the pipeline outside all its loads, at any time."""
    for gap in gaps(ALL_TIME, [row.interval for row in view.rows]):
        rows = view.runtime.target.count(gap).rows
        if rows:
            yield Finding(
                "uncovered",
                gap,
                f"the target holds {counted(rows, 'row')} there that no load of this pipeline wrote: find out "
                "what did",
            )


def overlaps(view: View) -> Iterator[Finding]:
    """Yield windows that share a token; a newer commit row that covers part of an older one is normal."""
    first: dict[int, CommitRow] = {}
    for row in view.rows:
        other = first.setdefault(row.token, row)
        if other is not row:
            yield Finding(
                "overlap",
                row.interval,
                f"the target has two commit rows of token {row.token}, the other for {other.interval}: a token is "
                "for one window, so they were edited",
                view.inspect(row.interval),
            )
