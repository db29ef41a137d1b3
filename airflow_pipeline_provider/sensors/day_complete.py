"""Wait in a task until a pipeline's day is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import day_of, parse_day
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.operators.base import read_pipeline
from airflow_pipeline_provider.triggers.day_complete import DayCompleteTrigger, DayQuestion

if TYPE_CHECKING:
    from airflow.sdk import Context


class DayCompleteSensor(BaseSensorOperator):
    """Wait until every instant of the day is committed; return `{"pipeline", "day", "status", "rows", "reason"}`.

    Fail without a retry if the day cannot become complete by itself: it is before `start_day` or after `end_day`, it
    is blocked, part of it is waived, or the source has fewer rows than the target (`drifted (shrunk)`). Wait for a
    day that is being replaced (`unverified`) or has late rows (`drifted (grown)`).

    :param pipeline: path of the pipeline's YAML file, absolute or relative to the DAG file (templated), or a loaded
        configuration.
    :param day: local date of the pipeline, as "2013-11-03" (templated) or a date. Without it, or if the template
        renders to nothing: the newest day in the pipeline's time zone that ended before the end of the run's data
        interval, or before `run_after` for a run without a data interval (manual or started by an asset).
    :param accept_waived: succeed even if windows of the day are waived, when the others are committed.
    :param fail_on_blocked: fail if the day is blocked or has shrunk; False waits until it is repaired.
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
        """Wait in the worker, or defer if the day is not complete yet."""
        if not self.deferrable:
            return super().execute(context)
        question = self._question(context)
        answer = self._ask(question)
        if answer is not None:
            return answer
        self.defer(
            trigger=DayCompleteTrigger(msgspec.to_builtins(question), float(self.poke_interval)),
            method_name="execute_complete",
            timeout=timedelta(seconds=float(self.timeout)),
        )
        return None  # unreachable: `defer` raises

    def poke(self, context: Context) -> PokeReturnValue:
        """Return whether the day is complete, with the result of the task."""
        answer = self._ask(self._question(context))
        return PokeReturnValue(is_done=answer is not None, xcom_value=answer)

    def execute_complete(self, _context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the trigger; fail if the day cannot become complete."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        answer: dict[str, Any] = event["answer"]
        return answer

    @staticmethod
    def _ask(question: DayQuestion) -> dict[str, Any] | None:
        try:
            return question.ask()
        except PipelineError as error:
            raise AirflowFailException(str(error)) from None

    def _question(self, context: Context) -> DayQuestion:
        try:
            config = self._config or read_pipeline(self.pipeline, self.dag.fileloc)
        except PipelineError as error:
            raise AirflowFailException(str(error)) from None
        return DayQuestion.for_day(
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
            return parse_day(str(self.day), "day")
        except ConfigError as error:
            raise AirflowFailException(error.message) from None

    @staticmethod
    def _ended(context: Context) -> datetime:
        """Return the instant before which the day must have ended.

        Use the end of the data interval: in Airflow 3 a cron string makes intervals of length zero, so their start
        does not determine the day. A manual run may have no data interval.
        """
        end = context.get("data_interval_end") or getattr(context.get("dag_run"), "run_after", None)
        if end is None:
            raise AirflowFailException(
                "day: this run has no data interval to derive it from; set the sensor's day"
            )
        ended: datetime = end
        return ended
