"""Answer what the page asks: pipelines, days, windows of days, gaps, one window. GET only; nothing is changed."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import target_day
from airflow_pipeline_provider.garbage_collection import relaxed_gc
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.views.changed_days import changed_days, open_spans
from airflow_pipeline_provider.views.day_cells import WORST_FIRST
from airflow_pipeline_provider.views.gaps import read_gaps
from airflow_pipeline_provider.views.lanes import lane_of
from airflow_pipeline_provider.views.misses import recorded_misses
from airflow_pipeline_provider.views.overview import (
    BUSY_VALID,
    YEAR_DAYS,
    counted,
    days_to_review,
    lead,
    lead_spans,
    next_clock_change,
    overview,
    with_changed,
)
from airflow_pipeline_provider.views.pipeline_status import Readable
from airflow_pipeline_provider.views.shell_commands import shell_commands
from airflow_pipeline_provider.views.window_page import window_page
from airflow_pipeline_provider.web.answers import (
    Validator,
    answer,
    answer_by_content,
    digest,
    instant,
    known_mark,
    not_found,
    unchanged,
)
from airflow_pipeline_provider.web.dag_runs import existing_runs
from airflow_pipeline_provider.web.permissions import may, readable
from airflow_pipeline_provider.web.pipelines import Found, broken_json, find, readable_pipelines
from airflow_pipeline_provider.web.rows import add_leads, rows_of, strip_of
from airflow_pipeline_provider.web.states import Lazy, read_one

MOST_DAYS = 31  # of lanes in one answer
MOST_ROWS = 200
LONGEST_WINDOW = timedelta(days=2)

router = APIRouter(prefix="/api")
of_pipeline = APIRouter(prefix="/api/pipelines/{dag_id}", dependencies=[Depends(readable)])


def now() -> datetime:
    """Return the time of this answer."""
    return datetime.now(timezone.utc)


@router.get("/pipelines")
def pipelines(
    request: Request,
    user: GetUserDep,
    search: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Return the pipelines that the user may read, worst first, and the pipeline files that do not load.

    `search` is part of an id, a tag or a reason, `state` one or more states separated by commas (`problem`: rows with
    one), `tag` a tag.
    """
    wanted = {name for name in state.split(",") if name}
    if unknown := wanted - {"problem", *(one.value for one in WORST_FIRST)}:
        raise HTTPException(422, f"state: unknown {', '.join(sorted(unknown))[:100]!r}")
    at = now()
    found, broken = readable_pipelines(user)
    rows = [_broken_row(file) for file in broken] + rows_of(found, at)
    states = _count(rows)
    tags = sorted({name for row in rows for name in row["tags"]})
    rows = [row for row in rows if _matches(row, search.casefold(), wanted, tag)]
    payload = {
        "total": len(rows),
        "states": states,
        "tags": tags,
        "pipelines": add_leads(rows[offset : offset + limit], found, at),
    }
    return answer_by_content(request, payload, at)


def _count(rows: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        name = row["state"].value if row["state"] is not None else "problem"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _matches(row: dict[str, Any], search: str, states: set[str], tag: str) -> bool:
    if tag and tag not in row["tags"]:
        return False
    word = row["state"].value if row["state"] is not None else None
    if states and word not in states and not ("problem" in states and row["problem"] is not None):
        return False
    texts = (row["dag_id"], row["pipeline_id"], row["reason"], *row["tags"])
    return not search or any(search in text.casefold() for text in texts if text)


def _broken_row(file: Any) -> dict[str, Any]:
    """Return the row of a file that never loaded: it has no pipeline."""
    return {
        "dag_id": None,
        "pipeline_id": file.file.rpartition("/")[2].rpartition(".")[0],
        "timezone": None,
        "tags": (),
        "paused": None,
        "state": None,
        "reason": file.message,
        "never_ran": False,
        "behind_seconds": None,
        "caught_up": False,
        "eta": None,
        "days": [],
        "leases": [],
        "next": None,
        "unexpected": [],
        "problem": broken_json(file),
    }


@of_pipeline.get("")
def pipeline(
    dag_id: str, request: Request, user: GetUserDep, until: Annotated[date | None, Query()] = None
) -> Response:
    """Return one pipeline with a year of days, up to `until` or up to now."""
    one, at = _found(dag_id), now()
    facts = one.facts
    allowed = may(user, one)
    other = digest("pipeline", one.version, one.paused, one.problem, until, allowed)
    mark = known_mark(request, other, at)
    within = strip_of(facts, at, _days_back(facts, at, until) + YEAR_DAYS)
    with relaxed_gc():
        read = read_one(one.owned, within, mark, with_open=True)
        if read.state is None:
            return unchanged(request.headers["If-None-Match"])
        view = overview(facts, read.state, at, YEAR_DAYS, until)
        days = counted(view)
    spans = open_spans(read.state.open)
    state = Lazy(one.owned, read.state, spans)
    entries = state.entries_in(lead_spans(facts, view, at))
    changed = changed_days(facts, state.entries_in(spans), spans)
    if within is not None and until is not None:  # the days after it are not shown
        changed += changed_days(facts, read.state.written, [within])
    view = with_changed(view, changed)
    change = next_clock_change(facts.timezone, at)
    payload = {
        "at": at,
        "dag_id": dag_id,
        "facts": _facts_json(one, read.state),
        "state": view.state,
        "reason": view.reason,
        "never_ran": view.never_ran,
        "problem": one.problem,
        "may": allowed,
        "commands": shell_commands(facts.pipeline_id),
        "behind_seconds": view.status.behind_seconds,
        "caught_up": view.caught_up and one.problem is None,
        "eta": lead(facts, entries, view, at),
        "leases": view.leases,
        "next": view.next,
        "continuation": view.status.continuation,
        "target_day": view.status.target_day,
        "days_to_review": days_to_review(facts, view, changed),
        "next_clock_change": change,
        "unexpected": recorded_misses(view.status, facts.timezone)[-MOST_CHANGED:],
        "first_day": facts.start_day or read.state.first_day(None),
        "days": days,
    }
    if read.mark is None:
        return answer_by_content(request, {k: v for k, v in payload.items() if k != "at"}, at)
    return answer(payload, Validator(read.mark, other, int(view.valid_until.timestamp())).etag())


@of_pipeline.get("/windows")
def windows(
    dag_id: str,
    request: Request,
    first: Annotated[date, Query(alias="from")],
    last: Annotated[date, Query(alias="to")],
) -> Response:
    """Return the windows of the days from `from` to `to`, both included."""
    number = (last - first).days + 1
    if not 1 <= number <= MOST_DAYS:
        raise HTTPException(422, f"from, to: expected 1 to {MOST_DAYS} days, got {first} to {last}")
    one, at = _found(dag_id), now()
    facts = one.facts
    other = digest("windows", one.version, first, last)
    mark = known_mark(request, other, at)
    within = strip_of(facts, at, _days_back(facts, at, last) + number)
    read = read_one(one.owned, within, mark)
    if read.state is None:
        return unchanged(request.headers["If-None-Match"])
    view = overview(facts, read.state, at, number, last)
    shown = [day for day in view.status.days if first <= day.day <= last]
    lanes = [lane_of(view.planned, day.day, day.entries, view.status.leases) for day in shown]
    payload: dict[str, Any] = {"timezone": facts.timezone, "days": lanes}
    if read.mark is None:
        return answer_by_content(request, payload, at)
    etag = Validator(read.mark, other, int(view.valid_until.timestamp())).etag()
    return answer({"at": at, **payload}, etag)


@of_pipeline.get("/gaps")
def gaps(dag_id: str, request: Request) -> Response:
    """Return all missing time with its reasons, worst first: what needs review, then the oldest.

    `changed_days` are all days that are drifted or unverified.
    """
    one, at = _found(dag_id), now()
    other = digest("gaps", one.version)
    read = read_one(one.owned, None, known_mark(request, other, at), with_open=True)
    if read.state is None:
        return unchanged(request.headers["If-None-Match"])
    spans = open_spans(read.state.open)
    state = Lazy(one.owned, read.state, spans)
    found = read_gaps(one.facts, state, at)
    changed = changed_days(one.facts, state.entries_in(spans), spans)
    order = {name: number for number, name in enumerate(_WORST_GAPS)}
    listed = sorted(found.gaps, key=lambda gap: (order.get(gap.reason.value, len(order)), gap.start))
    payload = {
        "first_day": found.first_day,
        "last_day": found.last_day,
        "total": len(listed),
        "gaps": listed[:MOST_GAPS],
        "total_changed": len(changed),
        "changed_days": changed[:MOST_CHANGED],
    }
    if read.mark is None:
        return answer_by_content(request, payload, at)
    etag = Validator(read.mark, other, int((at + BUSY_VALID).timestamp())).etag()
    return answer({"at": at, **payload}, etag)


MOST_GAPS = 500
MOST_CHANGED = 200
_WORST_GAPS = ("blocked", "failed", "unfinished", "never_run", "too_old", "ready", "leased", "not_settled")


@of_pipeline.get("/window")
def window(
    dag_id: str,
    request: Request,
    start: Annotated[str, Query(max_length=64)],
    end: Annotated[str, Query(max_length=64)],
) -> Response:
    """Return what is recorded of a window: attempts newest first, counts, checks, and a command for the same."""
    begin, stop = instant(start, "start"), instant(end, "end")
    if not timedelta() < stop - begin <= LONGEST_WINDOW:
        raise HTTPException(422, "end: expected an instant after start, at most two days later")
    one, at, span = _found(dag_id), now(), Interval(begin, stop)
    read = read_one(one.owned, None)
    assert read.state is not None  # noqa: S101  (no mark was given)
    entries = Lazy(one.owned, read.state).entries_in([span])
    page = window_page(one.facts, read.state, entries, span, at)
    runs = existing_runs(attempt.run for attempt in page.attempts)
    attempts = [_attempt_json(attempt, runs) for attempt in page.attempts]
    return answer_by_content(request, {**_fields(page), "attempts": attempts}, at)


def _fields(page: Any) -> dict[str, Any]:
    return {name: getattr(page, name) for name in page.__struct_fields__}


def _attempt_json(attempt: Any, runs: dict[str, str]) -> dict[str, Any]:
    dag, _, run_id = (attempt.run or "").partition("/")
    of_airflow = bool(run_id) and dag not in ("cli", "recheck")
    return {
        **_fields(attempt),
        "run_dag_id": dag if of_airflow else None,
        "run_id": run_id if of_airflow else None,
        "run_exists": attempt.run in runs if of_airflow else None,
        "run_state": runs.get(attempt.run) if of_airflow else None,
    }


def _found(dag_id: str) -> Found:
    one = find(dag_id)
    if one is None:
        raise not_found(dag_id)
    return one


def _days_back(facts: PipelineFacts, at: datetime, until: date | None) -> int:
    """Return how many days the page's last day is before the newest one."""
    newest = target_day(facts.rules, at)
    newest = min(newest, facts.end_day or newest)
    return max(0, (newest - until).days) if until is not None else 0


def _facts_json(one: Found, state: Readable) -> dict[str, Any]:
    facts = one.facts
    about = state.about()
    return {
        "pipeline_id": facts.pipeline_id,
        "timezone": facts.timezone,
        "granularity": facts.granularity,
        "backlog_granularity": facts.backlog_granularity,
        "x_time_back": facts.x_time_back,
        "settle_seconds": facts.settle,
        "start_day": facts.start_day,
        "end_day": facts.end_day,
        "max_backlog_days": facts.max_backlog_days,
        "max_attempts": facts.max_attempts,
        "on_shrink": facts.on_shrink,
        "schedule": facts.schedule,
        "backlog": facts.backlog,
        "source": facts.source,
        "stage": facts.stage,
        "target": facts.target,
        "state": facts.state,
        "file": facts.file,
        "paused": one.paused,
        "tags": one.tags,
        "renamed_to": about.renamed_to,
    }
