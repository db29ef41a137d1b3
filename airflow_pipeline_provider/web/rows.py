"""Compute a row for each pipeline of the list; rows of unchanged states are kept in this process."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from airflow_pipeline_provider.core.days import FIRST_DAY
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.views.bulk_read import relaxed_gc
from airflow_pipeline_provider.views.day_cells import WORST_FIRST
from airflow_pipeline_provider.views.overview import STRIP_DAYS, Lead, Overview, lead, lead_spans, overview
from airflow_pipeline_provider.views.pipeline_status import shown_days, whole_of
from airflow_pipeline_provider.web.answers import unreachable_json
from airflow_pipeline_provider.web.pipelines import Found
from airflow_pipeline_provider.web.states import StateAnswer, read_entries, read_many
from airflow_pipeline_provider.web.stores import StateUnreachable

_MONTH = 30 * 86_400


class ComputedRow(NamedTuple):
    """A computed row; `mark` and `version` are those of state and DAG that it was computed from."""

    json: dict[str, Any]
    mark: str | None
    version: str
    valid_until: datetime


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
        read: dict[str, StateAnswer | StateUnreachable] = {}
        for within, group in _by_time(found, at).items():
            read |= read_many({name: one.owned for name, one in group.items()}, within, known)
        views: dict[str, Overview] = {}
        for dag_id, answer in read.items():
            if isinstance(answer, StateUnreachable):
                rows[dag_id] = _unreachable(found[dag_id], answer)
            elif answer.state is None:
                rows[dag_id] = fresh[dag_id].json
            else:
                views[dag_id] = overview(found[dag_id].facts, answer.state, at)
        leads = _leads(found, views, at)
        for dag_id, view in views.items():
            one, answer = found[dag_id], read[dag_id]
            row = row_json(one, view, leads.get(dag_id))
            rows[dag_id] = row
            if isinstance(answer, StateAnswer):
                with _lock:
                    _kept[dag_id] = ComputedRow(row, answer.mark, one.version, view.valid_until)
    listed = [{**row, **_of_dag(found[dag_id], row)} for dag_id, row in rows.items()]
    return sorted(listed, key=_worst_first)


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


def _leads(found: Mapping[str, Found], views: Mapping[str, Overview], at: datetime) -> dict[str, Lead]:
    spans = {dag_id: lead_spans(found[dag_id].facts, view, at) for dag_id, view in views.items()}
    wanted = {dag_id: (found[dag_id].owned, listed) for dag_id, listed in spans.items() if listed}
    entries: dict[str, list[Entry]] = {dag_id: [] for dag_id, listed in spans.items() if not listed}
    entries |= read_entries(wanted)
    return {dag_id: lead(found[dag_id].facts, entries[dag_id], views[dag_id], at) for dag_id in entries}


def row_json(one: Found, view: Overview, caught_up: Lead | None) -> dict[str, Any]:
    """Return the row of a pipeline whose state was read."""
    return {
        "dag_id": one.dag_id,
        "pipeline_id": one.facts.pipeline_id,
        "timezone": one.facts.timezone,
        "state": view.state,
        "reason": view.reason,
        "never_ran": view.never_ran,
        "behind_seconds": view.status.behind_seconds,
        "caught_up": view.caught_up,
        "eta": caught_up,
        "days": view.days,
        "leases": view.leases,
        "next": view.next,
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
        "problem": problem,
    }
