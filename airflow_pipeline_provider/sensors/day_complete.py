"""`DayCompleteSensor`: go on when a pipeline's day is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.operators.base import read_pipeline
from airflow_pipeline_provider.triggers.day_complete import DayCompleteTrigger, DayQuestion

if TYPE_CHECKING:
    from airflow.sdk import Context


class DayCompleteSensor(BaseSensorOperator):
    """Wait until every instant of the day is committed; returns `{"pipeline", "day", "status", "rows", "reason"}`.

    Fails without a retry when waiting is in vain: the day is outside of `start_day` and `end_day`, it is blocked,
    part of it was given up, or the source has fewer rows than the target (`drifted (shrunk)`).  A day that is being
    replaced (`unverified`), or for which late rows came (`drifted (grown)`), is waited for.

    :param pipeline: path of the pipeline's YAML file, absolute or relative to the DAG's own file (templated), or a
        configuration that was loaded already.
    :param day: local date of the pipeline, "2013-11-03" (templated) or a date.  Without it, or with a template that
        gives nothing, the newest day of the pipeline's time zone that had ended when the run's data interval ended; a
        run without a data interval (by hand, by an asset) has its `run_after` instead.
    :param accept_waived: succeed also when windows of the day were given up and the rest is committed.
    :param fail_on_blocked: fail when the day is blocked or shrunk; False waits until it was repaired.
    :param deferrable: wait in the triggerer, without a worker; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("pipeline", "day")
    ui_color = "#e4f0e8"

    def __init__(
        self,
        *,
        pipeline: str | PipelineConfig,
        day: str | date | None = None,
        accept_waived: bool = False,
        fail_on_blocked: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = pipeline if isinstance(pipeline, PipelineConfig) else None
        self.pipeline = pipeline if isinstance(pipeline, str) else pipeline.pipeline_id
        self.day = day
        self.accept_waived = accept_waived
        self.fail_on_blocked = fail_on_blocked
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        question = self._question(context)
        answer = self._ask(question)
        if answer is not None:
            return answer
        self.defer(
            trigger=DayCompleteTrigger(question.to_json(), float(self.poke_interval)),
            method_name="execute_complete",
            timeout=timedelta(seconds=float(self.timeout)),
        )
        return None  # unreachable: deferring is an exception

    def poke(self, context: Context) -> PokeReturnValue:
        answer = self._ask(self._question(context))
        return PokeReturnValue(is_done=answer is not None, xcom_value=answer)

    def execute_complete(self, _context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What the triggerer found."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        answer: dict[str, Any] = event["answer"]
        return answer

    @staticmethod
    def _ask(question: DayQuestion) -> dict[str, Any] | None:
        try:
            return question.ask()
        except PipelineError as error:
            raise AirflowFailException(str(error)) from error

    def _question(self, context: Context) -> DayQuestion:
        try:
            config = self._config or read_pipeline(self.pipeline, self.dag.fileloc)
        except PipelineError as error:
            raise AirflowFailException(str(error)) from error
        return DayQuestion.about(
            config,
            self._day(context, config.timezone),
            accept_waived=self.accept_waived,
            fail_on_blocked=self.fail_on_blocked,
        )

    def _day(self, context: Context, timezone: str) -> date:
        if isinstance(self.day, date) and not isinstance(self.day, datetime):
            return self.day
        if self.day is None or str(self.day) in ("", "None"):
            return day_of(self._ended(context), timezone) - timedelta(days=1)
        try:
            return date.fromisoformat(str(self.day))
        except ValueError:
            raise AirflowFailException(f"day: expected a date such as 2013-11-03, got {self.day!r}") from None

    @staticmethod
    def _ended(context: Context) -> datetime:
        """Return when the day to wait for has ended.

        A cron string makes intervals without a length in Airflow 3, so the interval's start does not give the day;
        keys of runs by hand may be missing.
        """
        end = context.get("data_interval_end") or getattr(context.get("dag_run"), "run_after", None)
        if end is None:
            raise AirflowFailException("day: this run has no data interval to take it from, so name the day")
        ended: datetime = end
        return ended
