"""Change things from the page: move windows again, recheck, waive, accept a shrinkage, release a lease.

Each route checks where the request came from (`web.guard`), then Airflow's permissions on this DAG
(`web.permissions`), and writes Airflow's audit log with the body.  What changes data is a run of the pipeline's or
the maintenance DAG; waivers, acceptances and leases are written by the functions that the command line uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Response

from airflow_pipeline_provider.connectors.airflow_connections import as_team
from airflow_pipeline_provider.core.windows import NamedRun, window_id_of
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, LeaseHeldError, TransientError
from airflow_pipeline_provider.operators.asset_events import days_asset, windows_asset
from airflow_pipeline_provider.operators.partition_events import (
    day_partitions_asset,
    window_partitions_asset,
)
from airflow_pipeline_provider.phases.accept_shrink import record_acceptance
from airflow_pipeline_provider.phases.unlock import release_lease
from airflow_pipeline_provider.phases.waive import waive as waive_span
from airflow_pipeline_provider.state.about import author_name
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.views.move_preview import MovePreview, Selection, preview_move
from airflow_pipeline_provider.web import bodies, runs
from airflow_pipeline_provider.web.answers import adding, not_found, written
from airflow_pipeline_provider.web.audit import audited
from airflow_pipeline_provider.web.guard import check_post
from airflow_pipeline_provider.web.maintenance_dags import find_maintenance
from airflow_pipeline_provider.web.moving import WindowsChanged, chosen_rows, start_move, window_conf
from airflow_pipeline_provider.web.permissions import PageAction, readable, requires
from airflow_pipeline_provider.web.pipelines import Found, find
from airflow_pipeline_provider.web.states import Lazy, read_one
from airflow_pipeline_provider.web.stores import StateUnreachable, open_state

router = APIRouter(prefix="/api/pipelines/{dag_id}")


def change(action: PageAction) -> list[Any]:
    """Return the dependencies of an action's route, in the order in which they are checked."""
    return [
        Depends(check_post),
        Depends(requires(action)),
        Depends(audited(f"pipeline_{action.value}")),
    ]


@router.post("/preview", dependencies=[Depends(check_post), Depends(readable)])
def preview(dag_id: str, body: bodies.SelectionBody) -> Response:
    """Return what moving the windows does, those of the day plan that the given ones overlap; nothing is changed."""
    one, at = _found(dag_id), _now()
    shown = _preview(one, at, body.overlapping)
    name = one.facts.pipeline_id
    followers = {
        "window": runs.followers(windows_asset(name), window_partitions_asset(name)),
        "day": runs.followers(days_asset(name), day_partitions_asset(name)),
    }
    return written(
        {
            "at": at,
            "windows": shown.windows,
            "estimate_seconds": shown.estimate_seconds,
            "seconds_per_hour": shown.seconds_per_hour,
            "followers": followers,
            "left_out": shown.left_out,
            "command": shown.command,
        }
    )


@router.post("/move", dependencies=change(PageAction.MOVE))
def move(dag_id: str, body: bodies.MoveBody, user: GetUserDep) -> Response:
    """Start runs that move the windows again, unless one of them changed since the preview."""
    one = _found(dag_id)
    try:
        rows = chosen_rows(_preview(one, _now(), body.selection), body, one.facts.timezone)
    except WindowsChanged as error:
        return written({"detail": str(error), "windows": error.rows}, status=409)
    started = start_move(dag_id, one.facts, rows, user=_name(user), reason=body.reason)
    return written(
        {
            "run_id": started.run_ids[0] if len(started.run_ids) == 1 else None,
            "run_ids": started.run_ids,
            "backfill_id": started.backfill_id,
            "windows": started.windows,
            "detail": started.sentence,
        }
    )


@router.post("/recheck", dependencies=change(PageAction.RECHECK))
def recheck(dag_id: str, body: bodies.RecheckBody, user: GetUserDep) -> Response:
    """Start a run of the maintenance DAG that counts this day of the pipeline again."""
    one = _found(dag_id)
    name = one.facts.pipeline_id
    maintenance = find_maintenance(name, one.owned.team)
    if maintenance is None:  # it was there when the permission was checked
        raise HTTPException(409, f"no maintenance DAG has the pipeline {name}")
    dag = runs.runnable(maintenance)
    run_id = f"recheck__{name}__{body.day}__{_now():%Y%m%dT%H%M%SZ}"
    note = f"recheck of {name}, {body.day}, by {_name(user)}" + (f": {body.reason}" if body.reason else "")
    conf = {"pipeline": name, "day": body.day.isoformat()}
    runs.start_run(maintenance, run_id, conf, user=_name(user), note=note)
    detail = f"run {run_id} of {maintenance} counts {body.day} again{dag.pause_note()}"
    return written({"run_id": run_id, "run_dag_id": maintenance, "detail": detail})


@router.post("/waive", dependencies=change(PageAction.WAIVE))
def waive(dag_id: str, body: bodies.WaiveBody, user: GetUserDep) -> Response:
    """Mark time that is not committed as intentionally incomplete."""
    one, by = _found(dag_id), _name(user)
    with _writing(one) as state:
        done = waive_span(
            state,
            one.facts.rules,
            body.interval,
            reason=body.reason,
            by=by,
            owner=f"page/{uuid4()}",
        )
    zone = one.facts.timezone
    left_out = "; ".join(f"{local_window(piece, zone)}: {why}" for piece, why in done.left_out[:3])
    if not done.pieces:
        raise HTTPException(
            409, f"nothing was waived: {left_out or 'the interval has no time of the pipeline'}"
        )
    pieces = ", ".join(local_window(piece, zone) for piece in done.pieces[:3])
    more = f" and {len(done.pieces) - 3} more" if len(done.pieces) > 3 else ""
    detail = f"waived {pieces}{more}" + (f"; left out: {left_out}" if left_out else "")
    return written({"detail": detail, "waived": len(done.pieces)})


@router.post("/accept-shrink", dependencies=change(PageAction.ACCEPT_SHRINK))
def accept_shrink(dag_id: str, body: bodies.AcceptShrinkBody, user: GetUserDep) -> Response:
    """Record that these rows may go, then start the run that loads the window without them."""
    one, by, window = _found(dag_id), _name(user), body.interval
    dag = runs.runnable(dag_id)
    stamp = f"{_now():%Y%m%dT%H%M%SZ}"
    run_id = NamedRun("accept_shrink", window_id_of(one.facts.pipeline_id, window), stamp).run_id
    with _writing(one) as state:
        run = f"{dag_id}/{run_id}"
        record_acceptance(state, window, body.rows, run=run, by=by, reason=body.reason)
    conf = {**window_conf(window, by), "exact": True, "accept_shrink": body.rows}
    stays = (
        f"the acceptance stays recorded for run {run_id}, until the window is committed, waived or found different "
        "by a recheck: accept it again"
    )
    with adding(lambda: stays):
        runs.start_run(
            dag_id, run_id, conf, user=by, note=f"{counted(body.rows, 'row')} go, by {by}: {body.reason}"
        )
    loads = f"run {run_id} loads {local_window(window, one.facts.timezone)}"
    detail = f"{loads}: {counted(body.rows, 'row')} go{dag.pause_note()}"
    return written({"run_id": run_id, "detail": detail})


@router.post("/release", dependencies=change(PageAction.RELEASE))
def release(dag_id: str, body: bodies.ReleaseBody, user: GetUserDep) -> Response:
    """Release an expired lease of the window, or the live one of the run whose id was typed."""
    one = _found(dag_id)
    with _writing(one) as state:
        done = release_lease(state, body.interval, by=_name(user), reason=body.reason, run_id=body.run_id)
    what = ", ".join(
        f"{lease.holder} ({'expired' if status == 'unlocked' else 'live'})" for lease, status in done
    )
    return written({"detail": f"released the lease of {what}", "released": len(done)})


# --- helpers


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _found(dag_id: str) -> Found:
    one = find(dag_id)
    if one is None:
        raise not_found(dag_id)
    return one


def _name(user: Any) -> str:
    """Return the user's name as the ledger keeps it."""
    return author_name(user.get_name(), user.get_id())


def _preview(one: Found, at: datetime, selection: Selection) -> MovePreview:
    read = read_one(one.owned, None)
    assert read.state is not None  # noqa: S101  (no mark was given)
    accepts = one.facts.on_shrink == "accept"
    try:
        return preview_move(one.facts, Lazy(one.owned, read.state), at, selection, accepts_shrink=accepts)
    except ConfigError as error:
        raise HTTPException(422, error.message) from error


@contextmanager
def _writing(one: Found) -> Iterator[State]:
    """Open the state for a change; map its errors to answers."""
    try:
        with as_team(one.owned.team):
            state = open_state(one.facts)
            try:
                yield state
            finally:
                state.close()
    except LeaseHeldError as error:
        raise HTTPException(409, error.message) from error
    except ConfigError as error:
        raise HTTPException(422, error.message) from error
    except (TransientError, FatalError) as error:
        conn_id = one.facts.state.get("conn_id")
        raise StateUnreachable(error.message, str(conn_id) if conn_id else None, None) from error
