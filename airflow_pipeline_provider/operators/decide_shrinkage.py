"""Ask a person in Airflow's human-in-the-loop form what becomes of rows that are gone from the source.

    maintenance DAG:         recheck >> ask (starts a run of the DAG below)
    DAG `<id>.shrinkage`:    decide (the form) >> apply (mapped over the windows)

The form has a DAG of its own, since a run of the maintenance DAG that waits would keep the next one from starting.
`decide` waits without a worker and reads no state once it was answered, because Airflow asks again when a task is
retried.  What can fail is in `apply`, whose retries keep the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from msgspec import Struct

from airflow_pipeline_provider.config.airflow_options import ShrinkageForm
from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.core.intervals import Instant, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun, window_id_of
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.operators.base import LABEL, PipelineOperator, run_of
from airflow_pipeline_provider.operators.day_runs import DayRuns
from airflow_pipeline_provider.operators.hitl import shrinkage_dag_id
from airflow_pipeline_provider.operators.trigger_run import trigger_run
from airflow_pipeline_provider.phases.decide_shrinkage import ShrunkWindow, accept, find_shrunk, keep
from airflow_pipeline_provider.state.about import author_name

if TYPE_CHECKING:
    from airflow.sdk import Context

ACCEPT, KEEP, LATER = "accept", "keep", "later"
OPTIONS = (ACCEPT, KEEP, LATER)
SHRUNK_KEY = "shrunk"  # XCom of recheck, and key of the conf of the form's run
ASKED_KEY = "asked"
ANSWER_KEY = "answer"
MOST_ASKED = 30  # windows in one form: its XComs stay below 4 KB, and the next form has the others
LONGEST_REASON = 1000
PREFIX = "accept_shrink"
TEXT = """\
A recheck found fewer rows in the source than were committed. The target keeps its rows until this is answered.

| window | committed | source | target | accept deletes |
|---|--:|--:|--:|--:|
{rows}

- **accept**: a run of `{pipeline}` loads each window again and deletes the rows that the source no longer has.
- **keep**: the target keeps them; each window is waived with your name and the reason.
- **later**: nothing changes; the next recheck asks again.
"""


class Decision(Struct, frozen=True):
    """Answer to a form; `at` is when it was given."""

    choice: str
    by: str
    reason: str
    at: Instant


class AskShrinkageOperator(PipelineOperator):
    """Start a run of the form's DAG for the windows that `recheck` found to have shrunk, unless one is unfinished.

    :param recheck_task_id: the task that counted (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "recheck_task_id")
    operator_extra_links = ()

    def __init__(self, *, recheck_task_id: str = "recheck", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recheck_task_id = recheck_task_id

    def execute(self, context: Context) -> None:
        ti, dag_id = context["ti"], shrinkage_dag_id(self.load_config().pipeline_id)
        shrunk = self.one(
            ti.xcom_pull(task_ids=self.recheck_task_id, key=SHRUNK_KEY), self.recheck_task_id, SHRUNK_KEY
        )
        if not shrunk:
            raise AirflowSkipException("nothing shrank that needs a decision")
        if DayRuns(ti).has_unfinished(dag_id):
            raise AirflowSkipException(
                f"a form of {dag_id} waits for an answer: the recheck after it asks again"
            )
        stamp = context["dag_run"].run_after.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        note = f"{counted(len(shrunk), 'window')} shrank at the source"
        trigger_run(dag_id, f"recheck__{stamp}", {SHRUNK_KEY: shrunk}, note)


class DecideShrinkageOperator(PipelineOperator, HITLOperator):
    """Show a form with the windows of the run's conf that are still as the recheck found them; wait for its answer.

    Returns the windows to change, ``[]`` for *later*, and pushes the XComs ``asked`` and ``answer``.
    When it is cleared, it asks again.

    :param form: how long it waits, and who may answer.
    """

    template_fields: Sequence[str] = ("pipeline",)
    operator_extra_links = ()

    def __init__(self, *, form: ShrinkageForm, **kwargs: Any) -> None:
        kwargs.setdefault("map_index_template", LABEL)
        super().__init__(
            subject="Rows are gone from the source",
            options=list(OPTIONS),
            defaults=LATER,
            params={
                "windows": _param([], "Windows that accept and keep concern; all are chosen.", type="array"),
                "reason": _param("", "Reason, for the ledger.", type="string", maxLength=LONGEST_REASON),
            },
            assigned_users=[{"id": user, "name": user} for user in form.assigned_users] or None,
            response_timeout=timedelta(seconds=form.timeout),
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        asked = self._asked(context)
        zone = self.load_config().timezone
        self._show(asked, zone)
        context["ti"].xcom_push(key=ASKED_KEY, value=msgspec.to_builtins(asked))
        super().execute(context)  # ends the try; `execute_complete` continues

    def _asked(self, context: Context) -> list[ShrunkWindow]:
        """Return the windows of the conf that the ledger still has as undecided; skip the task without any."""
        conf = context["dag_run"].conf or {}
        try:
            wanted = msgspec.convert(conf.get(SHRUNK_KEY), list[ShrunkWindow])
        except msgspec.ValidationError as error:
            raise AirflowFailException(
                f"conf: expected the windows of a recheck as {SHRUNK_KEY} ({error}): do not start this DAG by hand, "
                "run the maintenance DAG"
            ) from None
        with self.runtime(context) as runtime:
            asked = [
                one
                for one in wanted[:MOST_ASKED]
                if find_shrunk(runtime.state.entries(one.interval), one.interval) == one
            ]
        if not asked:
            raise AirflowSkipException("each window was loaded, waived or counted again since the recheck")
        return asked

    def _show(self, asked: list[ShrunkWindow], zone: str) -> None:
        """Write the form's texts and the choice of windows."""
        pipeline_id = self.load_config().pipeline_id
        rows = [
            " | ".join(
                [
                    f"| {local_window(one.interval, zone)}",
                    "in parts" if one.committed is None else f"{one.committed:,}",
                    f"{one.source:,}",
                    f"{one.target:,}",
                    f"{one.goes:,} |",
                ]
            )
            for one in asked
        ]
        labels = [local_window(one.interval, zone) for one in asked]
        self.subject = f"{pipeline_id}: {counted(len(asked), 'window')} shrank at the source"
        self.body = TEXT.format(rows="\n".join(rows), pipeline=pipeline_id)
        description = self.params.get_param("windows").description or ""
        self.params["windows"] = _param(labels, description, type="array", examples=labels)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[Any]:
        ti, zone = context["ti"], self.load_config().timezone
        value = self.one(ti.xcom_pull(task_ids=ti.task_id, key=ASKED_KEY), ti.task_id, ASKED_KEY)
        asked = msgspec.convert(value, list[ShrunkWindow])
        if "error" not in event:  # a client of the API may leave fields of the form out
            labels = [local_window(one.interval, zone) for one in asked]
            fields = {"windows": labels, "reason": "", **(event["params_input"] or {})}
            event = {**event, "params_input": fields}
        given = super().execute_complete(context, event)
        (choice,), user, fields = given["chosen_options"], given["responded_by_user"], given["params_input"]
        if user is None:  # no answer in time
            choice = LATER
        by = author_name(user["name"], user["id"]) if user else ""
        reason = " ".join(str(fields["reason"]).split())[:LONGEST_REASON] or f"{choice} in Airflow's form"
        chosen = _chosen(asked, fields["windows"], zone)
        answer = Decision(choice, by, reason, given["responded_at"].astimezone(timezone.utc))
        ti.xcom_push(key=ANSWER_KEY, value=msgspec.to_builtins(answer))
        self.result_label = f"{choice} by {by}" if by else f"{choice}: no answer in time"
        self.log.info("%s", self.result_label)
        return [] if choice == LATER else [msgspec.to_builtins(one) for one in chosen]


def _chosen(asked: list[ShrunkWindow], labels: list[str], zone: str) -> list[ShrunkWindow]:
    """Return the windows of these labels; fail for a label that the form does not have."""
    known = {local_window(one.interval, zone): one for one in asked}
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise AirflowFailException(
            f"windows: expected windows of the form such as {next(iter(known))!r}, got {quote(unknown[0])}: nothing "
            "was changed; clear this task to answer again"
        )
    return [one for label, one in known.items() if label in labels]


def _param(default: Any, description: str, **schema: Any) -> Param:
    """Return a field of the form; Airflow leaves out Params that are not the task's."""
    return Param(default, description=description, source="task", **schema)


class ApplyShrinkageOperator(PipelineOperator):
    """Carry out the answer for one window: start the run that deletes its rows, or waive it.

    It is skipped, and nothing changes, if the window was loaded, waived or counted again since it was asked about.

    :param window: what the form asked (mapped over what `DecideShrinkageOperator` returns).
    :param decide_task_id: the task with the form (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "window", "decide_task_id")
    label_template = "{{ task.window_label }}"

    def __init__(self, *, window: Any, decide_task_id: str = "decide", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.decide_task_id = decide_task_id

    @property
    def window_label(self) -> str:
        """Return the window in local time."""
        return local_window(msgspec.convert(self.window, ShrunkWindow).interval, self.load_config().timezone)

    def execute(self, context: Context) -> None:
        ti, pipeline_id = context["ti"], self.load_config().pipeline_id
        asked = msgspec.convert(self.window, ShrunkWindow)
        value = ti.xcom_pull(task_ids=self.decide_task_id, key=ANSWER_KEY)
        answer = msgspec.convert(self.one(value, self.decide_task_id, ANSWER_KEY), Decision)
        self.shown_window = pipeline_id, asked.interval
        if answer.choice == KEEP:
            self._keep(context, asked, answer)
        else:
            self._accept(context, asked, answer)

    def _keep(self, context: Context, asked: ShrunkWindow, answer: Decision) -> None:
        owner = f"{run_of(context)}/{context['ti'].map_index}"  # its siblings hold leases of their own
        with self.runtime(context) as runtime:
            refused = keep(
                runtime.state,
                runtime.config.rules,
                asked,
                by=answer.by,
                reason=answer.reason,
                owner=owner,
            )
        if refused is not None:
            raise AirflowSkipException(f"nothing was waived: {refused}")
        self.log.info("waived by %s: %s", answer.by, answer.reason)

    def _accept(self, context: Context, asked: ShrunkWindow, answer: Decision) -> NoReturn:
        pipeline_id = self.load_config().pipeline_id
        window_id = window_id_of(pipeline_id, asked.interval)
        run_id = NamedRun(PREFIX, window_id, f"{answer.at:%Y%m%dT%H%M%SZ}").run_id
        with self.runtime(context) as runtime:
            run = f"{pipeline_id}/{run_id}"
            refused = accept(runtime.state, asked, run=run, by=answer.by, reason=answer.reason)
        if refused is not None:
            raise AirflowSkipException(f"nothing is deleted: {refused}")
        trigger_run(
            pipeline_id,
            run_id,
            {
                "window_start": iso_utc(asked.interval.start),
                "window_end": iso_utc(asked.interval.end),
                "exact": True,
                "by": answer.by,
                "accept_shrink": asked.goes,
            },
            f"{counted(asked.goes, 'row')} go, by {answer.by}: {answer.reason}"[:1000],
        )
