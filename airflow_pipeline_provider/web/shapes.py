"""The shapes of the reading API's answers, for its reference; tests decode each answer by them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.views.changed_days import ChangedDay
from airflow_pipeline_provider.views.day_cells import CountedDay, DayCell
from airflow_pipeline_provider.views.gaps import Gap
from airflow_pipeline_provider.views.history import Attempt
from airflow_pipeline_provider.views.lanes import Lane
from airflow_pipeline_provider.views.misses import MissRow
from airflow_pipeline_provider.views.overview import ComingClockChange, ComingWindow, Lead, PageLease
from airflow_pipeline_provider.views.shell_commands import ShellCommand
from airflow_pipeline_provider.views.window_page import WindowPage
from airflow_pipeline_provider.views.window_states import WindowState


class PageProblem(Struct, forbid_unknown_fields=True):
    """Why a pipeline does not run, or cannot be shown whole.

    `kind` is `file` (it does not load; `since` is when it last did), `state` (the store gives no answer; `since` is
    the last good one) or `gone` (Airflow has no DAG of it, or its file is gone).
    """

    kind: str
    file: str | None
    line: int | None
    message: str
    since: datetime | None
    conn_id: str | None = None


class PipelineRow(Struct, forbid_unknown_fields=True):
    """One pipeline, or a file that never loaded: then only `pipeline_id`, `reason` and `problem` are known.

    `state` is null where it is not known. `behind_seconds` counts missing time that is ready; with `caught_up` there
    is none, no day is drifted, unverified or too old, and the file loads. `unexpected` are sentences about late days
    and unusual windows of the shown days.
    """

    dag_id: str | None
    pipeline_id: str
    timezone: str | None
    tags: list[str]
    paused: bool | None
    state: WindowState | None
    reason: str
    never_ran: bool
    behind_seconds: float | None
    caught_up: bool
    eta: Lead | None
    days: list[DayCell]
    leases: list[PageLease]
    next: ComingWindow | None
    unexpected: list[str]
    problem: PageProblem | None


class PipelineRows(Struct, forbid_unknown_fields=True):
    """The pipelines that the user may read, worst first.

    `total` counts those that the filters leave; `states` and `tags` are of all.
    """

    at: datetime
    total: int
    states: dict[str, int]
    tags: list[str]
    pipelines: list[PipelineRow]


class PageFacts(Struct, forbid_unknown_fields=True):
    """What the pipeline file says; source, stage, target and state by their names only, without a secret."""

    pipeline_id: str
    timezone: str
    granularity: str
    backlog_granularity: str | None
    x_time_back: str
    settle_seconds: int
    start_day: date | None
    end_day: date | None
    max_backlog_days: int | None
    max_attempts: int
    on_shrink: str
    schedule: str | None
    backlog: str
    source: dict[str, Any]
    stage: dict[str, Any]
    target: dict[str, Any]
    state: dict[str, Any]
    file: str | None
    paused: bool | None
    tags: list[str]
    renamed_to: str | None


class PipelinePage(Struct, forbid_unknown_fields=True):
    """One pipeline with up to 366 days; `may` is true for what the user may do, else the missing permission.

    `state`, `caught_up` and `days_to_review` are of all days. `unexpected` are late days and unusual windows of the
    shown days, as the maintenance DAG recorded them; the newest 200 are sent. `commands` are for a shell; some of
    them can lose data.
    """

    at: datetime
    dag_id: str
    facts: PageFacts
    state: WindowState
    reason: str
    never_ran: bool
    problem: PageProblem | None
    behind_seconds: float
    caught_up: bool
    eta: Lead
    leases: list[PageLease]
    next: ComingWindow
    continuation: datetime | None
    target_day: date
    days_to_review: int
    next_clock_change: ComingClockChange | None
    unexpected: list[MissRow]
    first_day: date | None
    may: dict[str, Any]
    commands: list[ShellCommand]
    days: list[CountedDay]


class LanesPage(Struct, forbid_unknown_fields=True):
    """The windows of some days."""

    at: datetime
    timezone: str
    days: list[Lane]


class GapsPage(Struct, forbid_unknown_fields=True):
    """All missing time, worst first; `total` counts it, at most 500 are sent.

    `changed_days` are the days of all time that were committed and are drifted or unverified since; at most 200 are
    sent.
    """

    at: datetime
    first_day: date | None
    last_day: date | None
    total: int
    gaps: list[Gap]
    total_changed: int
    changed_days: list[ChangedDay]


class PageAttempt(Attempt, frozen=True):
    """An attempt with the DAG run that made it; null for a command. A run that was deleted has no state."""

    run_dag_id: str | None
    run_id: str | None
    run_exists: bool | None
    run_state: str | None


class WindowAnswer(WindowPage, frozen=True, kw_only=True):
    """One window at `at`."""

    at: datetime
    attempts: tuple[PageAttempt, ...]
    may: dict[str, Any] | None = None


class ErrorAnswer(Struct):
    """An error; `detail` is a sentence. The others are of a state store that gives no answer (503)."""

    detail: str
    conn_id: str | None = None
    last_good_at: datetime | None = None


ANSWERS: dict[str, type[Struct]] = {
    "GET /api/pipelines?search=&state=&tag=&limit=50&offset=0": PipelineRows,
    "GET /api/pipelines/{dag_id}?until=DAY": PipelinePage,
    "GET /api/pipelines/{dag_id}/windows?from=DAY&to=DAY": LanesPage,
    "GET /api/pipelines/{dag_id}/gaps": GapsPage,
    "GET /api/pipelines/{dag_id}/window?start=INSTANT&end=INSTANT": WindowAnswer,
}
