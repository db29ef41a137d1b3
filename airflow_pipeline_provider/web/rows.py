"""Compute a row for each pipeline of the list; rows of unchanged states are kept in this process.

All pipelines are sorted by their state, so what that needs is read of all of them: the coverage, and of the ledger
only the days that it does not decide. When a pipeline has caught up is only computed for rows that are shown.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_pipeline_provider.core.days import FIRST_DAY
from airflow_pipeline_provider.core.intervals import Interval, common, merge
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.garbage_collection import relaxed_gc
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.views.day_cells import WORST_FIRST
from airflow_pipeline_provider.views.misses import recorded_misses
from airflow_pipeline_provider.views.overview import STRIP_DAYS, Overview, lead, lead_spans, overview
from airflow_pipeline_provider.views.pipeline_status import (
    MissingTime,
    days_to_judge,
    read_missing,
    shown_days,
    whole_of,
)
from airflow_pipeline_provider.web.answers import unreachable_json
from airflow_pipeline_provider.web.pipelines import Found
from airflow_pipeline_provider.web.states import StateAnswer, read_entries, read_many
from airflow_pipeline_provider.web.stores import StateUnreachable

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.sql_bulk import ReadState

_MONTH = 30 * 86_400


class ComputedRow(NamedTuple):
    """A computed row; `mark` and `version` are those of state and DAG that it was computed from.

    `view` is what `add_leads` needs, None once it was asked.
    """

    json: dict[str, Any]
    mark: str | None
    version: str
    valid_until: datetime
    view: Overview | None


_kept: dict[str, ComputedRow] = {}
_lock = threading.Lock()


def forget_rows() -> None:
    """Compute every row again; for tests."""
    with _lock:
        _kept.clear()


def rows_of(found: Mapping[str, Found], at: datetime) -> list[dict[str, Any]]:
    """Return a row for each pipeline, worst first."""
    with _lock:
        kept = dict(_kept)
    fresh = {
        dag_id: row
        for dag_id, row in kept.items()
        if dag_id in found and row.version == found[dag_id].version and at < row.valid_until
    }
    known = {dag_id: row.mark for dag_id, row in fresh.items() if row.mark is not None}
    rows: dict[str, dict[str, Any]] = {}
    with relaxed_gc():
        answers: dict[str, StateAnswer | StateUnreachable] = {}
        for within, group in _by_time(found, at).items():
            wanted = {name: one.owned for name, one in group.items()}
            answers |= read_many(wanted, within, known, with_commits=False)
        states = {
            dag_id: answer.state
            for dag_id, answer in answers.items()
            if isinstance(answer, StateAnswer) and answer.state is not None
        }
        missing = {dag_id: read_missing(found[dag_id].facts, state, at) for dag_id, state in states.items()}
        partly = [dag_id for dag_id in states if _has_mark(answers[dag_id])]
        failed = _read_undecided({dag_id: (found[dag_id], states[dag_id]) for dag_id in partly}, missing, at)
        for dag_id, answer in (answers | failed).items():
            one = found[dag_id]
            if isinstance(answer, StateUnreachable):
                rows[dag_id] = _unreachable(one, answer)
            elif answer.state is None:
                rows[dag_id] = fresh[dag_id].json
            else:
                view = overview(one.facts, answer.state, at, read=missing[dag_id])
                rows[dag_id] = row_json(one, view)
                kept_view = view._replace(status=replace(view.status, days=()), days=())  # which are large
                row = ComputedRow(rows[dag_id], answer.mark, one.version, view.valid_until, kept_view)
                with _lock:
                    _kept[dag_id] = row
    listed = [{**row, **_of_dag(found[dag_id], row)} for dag_id, row in rows.items()]
    return sorted(listed, key=_worst_first)


def _has_mark(answer: StateAnswer | StateUnreachable) -> bool:
    return isinstance(answer, StateAnswer) and answer.mark is not None


def _read_undecided(
    partly: Mapping[str, tuple[Found, ReadState]], missing: Mapping[str, MissingTime], at: datetime
) -> dict[str, StateUnreachable]:
    """Add to the states all entries of the days that the coverage alone does not decide; return what failed."""
    days = {
        dag_id: days_to_judge(one.facts, state, at, STRIP_DAYS, missing[dag_id])
        for dag_id, (one, state) in partly.items()
    }
    entries = read_entries(
        {dag_id: (partly[dag_id][0].owned, merge(some)) for dag_id, (some, _) in days.items() if some}
    )
    over = {  # an entry reaches into a day of which nothing else was read
        dag_id: merge([*some, *other])
        for dag_id, (some, other) in days.items()
        if common([entry.interval for entry in _listed(entries.get(dag_id))], other)
    }
    entries |= read_entries({dag_id: (partly[dag_id][0].owned, spans) for dag_id, spans in over.items()})
    failed = {}
    for dag_id, found in entries.items():
        if isinstance(found, StateUnreachable):
            failed[dag_id] = found
        else:
            partly[dag_id][1].written = found
    return failed


def _listed(found: list[Entry] | StateUnreachable | None) -> list[Entry]:
    return found if isinstance(found, list) else []


def _of_dag(one: Found, row: dict[str, Any]) -> dict[str, Any]:
    """Return what is of the DAG and not of the state, so it is not kept with the row."""
    problem = row["problem"] or one.problem
    caught_up = row["caught_up"] and problem is None
    return {"paused": one.paused, "tags": one.tags, "problem": problem, "caught_up": caught_up}


def _worst_first(row: dict[str, Any]) -> tuple[bool, int, float, str]:
    state = row["state"]
    order = WORST_FIRST.index(state) if state is not None else -1
    return row["problem"] is None, order, -(row["behind_seconds"] or 0), row["dag_id"]


def _by_time(found: Mapping[str, Found], at: datetime) -> dict[Interval | None, dict[str, Found]]:
    """Group pipelines whose last days are near each other, with the hull of these days."""
    groups: dict[int | None, dict[str, Found]] = defaultdict(dict)
    spans: dict[int | None, Interval] = {}
    for dag_id, one in found.items():
        span = strip_of(one.facts, at)
        key = None if span is None else int(span.end.timestamp()) // _MONTH
        groups[key][dag_id] = one
        if span is not None:
            before = spans.get(key, span)
            spans[key] = Interval(min(before.start, span.start), max(before.end, span.end))
    return {spans.get(key): group for key, group in groups.items()}


def strip_of(facts: PipelineFacts, at: datetime, days: int = STRIP_DAYS) -> Interval | None:
    """Return the last days of a pipeline, as far as they are known without its state; None for none."""
    return whole_of(facts.rules, shown_days(facts.rules, at, days, FIRST_DAY))


def add_leads(
    rows: Sequence[dict[str, Any]], found: Mapping[str, Found], at: datetime
) -> list[dict[str, Any]]:
    """Return the rows with the time when each pipeline has caught up; rows of unreachable states have none."""
    with _lock:
        kept = {row["dag_id"]: _kept[row["dag_id"]] for row in rows if row["state"] is not None}
    views = {dag_id: row.view for dag_id, row in kept.items() if row.view is not None}
    spans = {dag_id: lead_spans(found[dag_id].facts, view, at) for dag_id, view in views.items()}
    entries: dict[str, list[Entry] | StateUnreachable] = {dag_id: [] for dag_id in spans}
    entries |= read_entries({dag_id: (found[dag_id].owned, some) for dag_id, some in spans.items() if some})
    for dag_id, written in entries.items():
        if isinstance(written, StateUnreachable):
            continue
        before = kept[dag_id]
        eta = lead(found[dag_id].facts, written, views[dag_id], at)
        kept[dag_id] = before._replace(json={**before.json, "eta": eta}, view=None)
        with _lock:
            if _kept.get(dag_id) is before:
                _kept[dag_id] = kept[dag_id]
    return [{**row, "eta": kept[row["dag_id"]].json["eta"]} if row["dag_id"] in kept else row for row in rows]


def row_json(one: Found, view: Overview) -> dict[str, Any]:
    """Return the row of a pipeline whose state was read, without the time when it has caught up."""
    return {
        "dag_id": one.dag_id,
        "pipeline_id": one.facts.pipeline_id,
        "timezone": one.facts.timezone,
        "state": view.state,
        "reason": view.reason,
        "never_ran": view.never_ran,
        "behind_seconds": view.status.behind_seconds,
        "caught_up": view.caught_up,
        "eta": None,
        "days": view.days,
        "leases": view.leases,
        "next": view.next,
        "unexpected": [miss.sentence for miss in recorded_misses(view.status, one.facts.timezone)],
        "problem": None,
    }


def _unreachable(one: Found, error: StateUnreachable) -> dict[str, Any]:
    said = unreachable_json(error)
    problem = {
        "kind": "state",
        "file": None,
        "line": None,
        "message": said["detail"],
        "since": said["last_good_at"],
        "conn_id": said["conn_id"],
    }
    return {
        "dag_id": one.dag_id,
        "pipeline_id": one.facts.pipeline_id,
        "timezone": one.facts.timezone,
        "state": None,
        "reason": said["detail"],
        "never_ran": False,
        "behind_seconds": None,
        "caught_up": False,
        "eta": None,
        "days": [],
        "leases": [],
        "next": None,
        "unexpected": [],
        "problem": problem,
    }
