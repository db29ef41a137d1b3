"""Take the change marker of an extraction, find it again, and ask the source what was written since.

A marker is taken before the view of a slice is opened, so nothing that the view lacks is below it.  A row that is
written between the two is in the view and above the marker: it causes one needless reload.  The marker travels with
the receipt and the manifest, so a commit keeps the one of the parts that were loaded, whatever was extracted before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.core.change_markers import (
    NO_MARKER,
    ChangeMarker,
    MarkedWindow,
    Seen,
    WindowChanges,
    from_detail,
    to_detail,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, entry_of_load
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Staged

logger = logging.getLogger(__name__)

LONGEST_REASON = 300  # characters that a commit keeps


def take_marker(runtime: Runtime, slice_: Slice) -> ChangeMarker | None:
    """Return the source's marker for a view that is opened next; an error becomes its reason.

    Whether rows changed later is worth less than moving them now.
    """
    if slice_.interval.is_empty:
        return None
    try:
        marker = runtime.source.change_marker()
    except PipelineError as error:
        marker = ChangeMarker(unknown=f"the source gave no change marker: {error.message[:LONGEST_REASON]}")
    reason = marker.unknown or marker.doubt if marker is not None else None
    if reason is not None:
        logger.info("updates in place of this window will not be seen for sure: %s", reason)
    return marker


def marker_of_load(entries: Iterable[Entry], staged: Staged) -> dict[str, object]:
    """Return what the commit of `staged` keeps of its marker: {} where load recorded none."""
    load = entry_of_load(entries, staged.token, staged.sha256)
    return {} if load is None else to_detail(from_detail(load.detail))


def ask_changes(runtime: Runtime, pieces: Sequence[tuple[Interval, Entry]]) -> list[WindowChanges]:
    """Return what the source can state about each effective interval, given with its commit.

    Intervals whose commit has no marker are not asked for.  An answer without a count of the rows gets the one of the
    audit, where nothing was written since and the interval is the commit's own.

    Raises TransientError of the source.
    """
    markers = [from_detail(commit.detail) for _, commit in pieces]
    answers: list[WindowChanges | None] = [
        None if marker else WindowChanges(Seen.UNKNOWN, reason=NO_MARKER) for marker in markers
    ]
    asked = [number for number, answer in enumerate(answers) if answer is None]
    windows = [MarkedWindow(pieces[number][0], markers[number]) for number in asked]
    found = runtime.source.changes(windows) if windows else []
    for number, changes in zip(asked, found, strict=True):
        piece, commit = pieces[number]
        answers[number] = _with_rows(changes, piece, commit)
    return [answer for answer in answers if answer is not None]


def _with_rows(changes: WindowChanges, piece: Interval, commit: Entry) -> WindowChanges:
    rows = commit.detail.get("source")
    if changes.seen is Seen.UNCHANGED and piece == commit.interval and isinstance(rows, int):
        return changes._replace(rows=rows)
    return changes
