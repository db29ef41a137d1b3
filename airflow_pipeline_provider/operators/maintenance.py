"""Maintain a pipeline after its commits: find and reload late data, remove leftover files.

    recheck >> [reload (mapped over what grew), drift]        cleanup        expectations (with `expect`)

`drift` is a task of its own: shrinkage fails the run, and what grew is reloaded nevertheless.  With
`airflow.decide_shrinkage`, recheck is also followed by `ask` (`operators.decide_shrinkage`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from airflow_pipeline_provider.core.command_line import IN_AIRFLOW, doctor, shell_line
from airflow_pipeline_provider.core.days import day_of, parse_day
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun, Window
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.operators import asset_events
from airflow_pipeline_provider.operators.base import PipelineOperator, run_of, run_type_of
from airflow_pipeline_provider.operators.notices import report_drift, report_late
from airflow_pipeline_provider.operators.trigger_run import trigger_run
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.decide_shrinkage import find_shrunk
from airflow_pipeline_provider.phases.expectations import check_expectations
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.recheck_findings import RecheckedWindow
from airflow_pipeline_provider.state.base import State

if TYPE_CHECKING:
    from airflow.sdk import Context

DRIFT_KEY = "drift"
NEW_DRIFT_KEY = "new_drift"
MOST_RELOADS = 40  # windows of one run: its XCom stays small, and the next run takes the others
MOST_LISTED = 5
LONGEST_WAIT = timedelta(minutes=10)  # for a clock that is behind: more than that is no small difference


class RecheckOperator(PipelineOperator):
    """Count the committed windows of the last days again; return what to load again as ``[[start, end], …]``.

    The XCom ``drift`` holds sentences about what shrank.

    :param days: number of days, up to and including the target day.
    :param day: only this day, as `2013-11-03`; empty: the last days (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "day")
    operator_extra_links = ()

    def __init__(self, *, days: int = 7, day: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.day = day

    def execute(self, context: Context) -> list[list[str]]:
        with self.runtime(context) as runtime:
            day = parse_day(self.day, "day") if self.day else None
            report = recheck(runtime, self.days, context["dag_run"].run_after, day=day, run=run_of(context))
            zone, on_shrink = runtime.config.timezone, runtime.config.audit.on_shrink
            unanswered = report.unanswered(on_shrink)
            if runtime.config.airflow.decide_shrinkage is not None:
                self._push_shrunk(context["ti"], runtime.state, unanswered)
        for left in report.left_out:
            self.log.info("left out: %s: %s", left.reason.value, left.detail)
        for reason, windows in report.not_seen.items():
            self.log.info("updates in place are not seen in %s: %s", counted(windows, "window"), reason)
        for found in report.stale_kept:
            self.log.warning(
                "its rows are kept (waive), so what was written since is not loaded: %s",
                _difference(found, zone),
            )
        for found in report.shrunk:
            if found not in unanswered:
                self.log.info(
                    "unchanged since the last recheck (audit.on_shrink: accept): %s", _difference(found, zone)
                )
        context["ti"].xcom_push(
            key=DRIFT_KEY, value=_listed([_difference(found, zone) for found in unanswered])
        )
        new = [_difference(found, zone) for found in report.new]
        context["ti"].xcom_push(key=NEW_DRIFT_KEY, value={"number": len(new), "windows": _listed(new)})
        stale = report.stale
        if len(stale) > MOST_RELOADS:
            self.log.warning(
                "%d windows grew or changed: %d are reloaded now, the next run takes more",
                len(stale),
                MOST_RELOADS,
            )
        return [msgspec.to_builtins(found.interval) for found in stale[:MOST_RELOADS]]

    def _push_shrunk(self, ti: Any, state: State, found: Sequence[RecheckedWindow]) -> None:
        """Push what the form asks about."""
        from airflow_pipeline_provider.operators.decide_shrinkage import MOST_ASKED, SHRUNK_KEY

        read = (find_shrunk(state.entries(one.interval), one.interval) for one in found)
        shrunk = [one for one in read if one is not None]
        if len(shrunk) > MOST_ASKED:
            self.log.warning(
                "%d windows shrank: the form has the first %d, the next one has more", len(shrunk), MOST_ASKED
            )
        ti.xcom_push(key=SHRUNK_KEY, value=msgspec.to_builtins(shrunk[:MOST_ASKED]))


def _listed(sentences: list[str]) -> list[str]:
    """Return the first sentences, and how many more there are."""
    more = len(sentences) - MOST_LISTED
    return sentences[:MOST_LISTED] + ([f"and {more} more"] if more > 0 else [])


def _difference(found: RecheckedWindow, zone: str) -> str:
    rows = f"{counted(found.source, 'row')} in the source, {found.target:,} in the target"
    written = f", {counted(found.changed, 'row')} written since" if found.changed else ""
    return f"{local_window(found.interval, zone)} has {rows}{written}"


class ReloadOperator(PipelineOperator):
    """Start a run of the pipeline's DAG that moves exactly this window again.

    :param window: ``[start, end]``, ISO 8601 with offsets (mapped over what `RecheckOperator` returns).
    """

    template_fields: Sequence[str] = ("pipeline", "window")
    label_template = (
        "{{ task.window_label }}"  # Airflow reads a mapped task's before it calls the constructor
    )

    def __init__(self, *, window: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    @property
    def window_label(self) -> str:
        """Return the window in local time."""
        return local_window(msgspec.convert(self.window, Interval), self.load_config().timezone)

    def execute(self, context: Context) -> None:
        config, interval = self.load_config(), msgspec.convert(self.window, Interval)
        self.shown_window = config.pipeline_id, interval
        window = Window(config.pipeline_id, interval, day_of(interval.start, config.timezone))
        stamp = context["dag_run"].run_after.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        trigger_run(
            config.pipeline_id,
            NamedRun("recheck", window.window_id, stamp).run_id,
            {
                "window_start": iso_utc(interval.start),
                "window_end": iso_utc(interval.end),
                "exact": True,
                "only_drifted": True,  # another maintenance run may have started the same
            },
            f"late data in {local_window(interval, config.timezone)}",
        )


class DriftOperator(PipelineOperator):
    """Report what shrank at the source; the target keeps its rows until the difference was reviewed.

    :param on_shrink: ``fail`` fails the task, ``warn`` logs a warning.
    :param recheck_task_id: the task that counted (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "recheck_task_id")
    operator_extra_links = ()

    def __init__(self, *, on_shrink: str = "fail", recheck_task_id: str = "recheck", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_shrink = on_shrink
        self.recheck_task_id = recheck_task_id

    def execute(self, context: Context) -> None:
        self._notify(context)
        sentences = context["ti"].xcom_pull(task_ids=self.recheck_task_id, key=DRIFT_KEY)
        if not self.one(sentences, self.recheck_task_id, DRIFT_KEY):
            raise AirflowSkipException("nothing shrank")
        name = self.load_config().pipeline_id
        sentence = (
            f"pipeline {name} drifted (shrunk): {'; '.join(sentences)}. The target keeps its rows. Review the "
            f"source; `{shell_line(doctor(name), program=IN_AIRFLOW)}` prints the commands that delete them"
        )
        if self.on_shrink == "fail":
            raise AirflowFailException(sentence)
        self.log.warning("%s", sentence)

    def _notify(self, context: Context) -> None:
        config = self.load_config()
        if not config.airflow.on_drift:
            return
        new = context["ti"].xcom_pull(task_ids=self.recheck_task_id, key=NEW_DRIFT_KEY)
        if new and new["number"]:
            report_drift(config, new["windows"], new["number"], context)


class ExpectationsOperator(PipelineOperator):
    """Judge the last days by `expect`, record new misses in the ledger, and return sentences about these.

    A day is judged at the time of the task, not at the run's.  The clock for that may be a little behind Airflow's,
    and a run of the schedule begins when a day is due, so its task waits until the day is due by that clock too.

    :param days: number of days.
    :param day: a run that only rechecks this day skips this task (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "day")
    operator_extra_links = ()

    def __init__(self, *, days: int = 7, day: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.day = day

    def execute(self, context: Context) -> list[str]:
        if self.day:
            raise AirflowSkipException(f"this run only rechecks {self.day}")
        with self.runtime(context) as runtime:
            early = _before(context, runtime.now())
            found = None if early else check_expectations(runtime, self.days, run_of(context))
            zone = runtime.config.timezone
        if found is None:
            self.log.info(
                "the clock is %.1f s behind Airflow's; this task looks again then", early.total_seconds()
            )
            raise AirflowRescheduleException(datetime.now(timezone.utc) + early)  # type: ignore[no-untyped-call]
        new = [miss.sentence(zone) for miss in found.new]
        for miss in found.judgement.misses:
            known = "" if miss in found.new else " (known)"
            self.log.warning("not as expected%s: %s", known, miss.sentence(zone))
        for reason, number in Counter(one.sentence for one in found.judgement.not_judged).items():
            self.log.info("%s not judged: %s", counted(number, "window"), reason)
        if new and self.load_config().airflow.on_late:
            report_late(self.load_config(), _listed(new), len(new), context)
        return _listed(new)


def _before(context: Context, now: datetime) -> timedelta:
    """Return how long before its scheduled time the run begins by this clock; zero if the clock is far behind."""
    run = context["dag_run"]
    end = run.data_interval_end
    if end is None or run_type_of(run) != "scheduled":
        return timedelta()
    early = end - now
    return early if timedelta() < early <= LONGEST_WAIT else timedelta()


class CleanupOperator(PipelineOperator):
    """Remove files of abandoned attempts, part files older than `stage.keep`, unfinished uploads and expired leases.

    Its success sends the ``<pipeline id>.days`` events that the pipeline's own runs left unsent.

    :param day: a run that only rechecks this day skips this task (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "day")
    operator_extra_links = ()

    def __init__(self, *, day: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.day = day
        self._alias = asset_events.alias_of(self._config or self.pipeline)
        self.outlets = [*self.outlets, self._alias]

    def execute(self, context: Context) -> dict[str, int]:
        if self.day:
            raise AirflowSkipException(f"this run only rechecks {self.day}")
        with self.runtime(context) as runtime:
            cleaned = cleanup(runtime)
            asset_events.emit_late(context, self._alias, runtime)
        for attempt in (*cleaned.attempts, *cleaned.expired):
            self.log.info("removed %s: %s", attempt.folder, attempt.why)
        return {
            "attempts": len(cleaned.attempts),
            "expired": len(cleaned.expired),
            "files": cleaned.files,
            "unfinished": len(cleaned.unfinished),
            "leases": len(cleaned.leases),
            "kept": cleaned.kept,
        }
