"""Check whether a pipeline's day is complete, for the sensor and the trigger, and wait for it in the triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import date, datetime, timezone
from typing import Any

import msgspec
from airflow.triggers.base import BaseTrigger, TriggerEvent
from msgspec import Struct

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Check, Entry, drifted
from airflow_pipeline_provider.exceptions import DataError, PipelineError, TransientError
from airflow_pipeline_provider.state.about import find_rename

logger = logging.getLogger(__name__)


class DayQuestion(Struct, frozen=True):
    """The arguments of a check whether a day is complete, as JSON values without secrets.

    They contain everything the check needs, because the triggerer may run on a machine without the pipeline's file.
    `state` is the pipeline's section of that name; `settle_seconds` and `max_attempts` are its settings.
    """

    pipeline_id: str
    timezone: str
    settle_seconds: int
    max_attempts: int
    state: dict[str, Any]
    day: str
    accept_waived: bool = False
    fail_on_blocked: bool = True
    start_day: str | None = None
    end_day: str | None = None

    @classmethod
    def for_day(
        cls, config: PipelineConfig, day: date, *, accept_waived: bool, fail_on_blocked: bool
    ) -> DayQuestion:
        """Build the question for a day of the pipeline."""
        return cls(
            config.pipeline_id,
            config.timezone,
            config.rules.settle_seconds,
            config.max_attempts,
            config.state.model_dump(mode="json", by_alias=True),
            day.isoformat(),
            accept_waived,
            fail_on_blocked,
            config.start_day.isoformat() if config.start_day else None,
            config.end_day.isoformat() if config.end_day else None,
        )

    def ask(self) -> dict[str, object] | None:
        """Read the state; return `{"pipeline", "day", "status", "rows", "reason"}` if the day is complete, else None.

        Also return None if the store is temporarily unavailable. Raise DataError if the day cannot become complete by
        itself: it is outside `start_day` and `end_day`, blocked, partly waived or shrunk, or the pipeline was
        renamed. Other PipelineErrors of the state store are not handled.
        """
        kind = connector_class("state", self.state["type"])
        state = kind(kind.Options.model_validate(self.state), Identity(self.pipeline_id, self.timezone))
        day = day_interval(date.fromisoformat(self.day), self.timezone)
        try:
            entries = state.entries(day)
            about = state.about()
            renamed = find_rename(self.pipeline_id, about)
            if renamed is not None and about.renamed_to is None and state.leases():
                logger.info(
                    "pipeline %s is being renamed; checking day %s again later", self.pipeline_id, self.day
                )
                return None
            report = day_status(
                day,
                entries,
                now=datetime.now(timezone.utc),
                settle_seconds=self.settle_seconds,
                max_attempts=self.max_attempts,
                timezone=self.timezone,
            )
        except TransientError as error:
            logger.warning("pipeline %s, day %s: %s", self.pipeline_id, self.day, error)
            return None
        finally:
            state.close()
        if renamed is not None:
            raise DataError(
                f"day {self.day} of pipeline {self.pipeline_id} will not become complete: {renamed.sentence}. "
                f"{renamed.remedy}; after a rename, set the sensor's pipeline to the file of the new id"
            )
        logger.info(
            "pipeline %s, day %s: %s, %s", self.pipeline_id, self.day, report.status.value, report.reason
        )
        if report.status is DayStatus.COMPLETE or (report.status is DayStatus.WAIVED and self.accept_waived):
            return {
                "pipeline": self.pipeline_id,
                "day": self.day,
                "status": report.status.value,
                "rows": report.rows,
                "reason": report.reason,
            }
        self._raise_if_waiting_is_useless(report.status, report.reason, shrunk=_has_shrunk(entries, day))
        return None

    def _raise_if_waiting_is_useless(self, status: DayStatus, reason: str, *, shrunk: bool) -> None:
        day = f"day {self.day} of pipeline {self.pipeline_id}"
        for name, bound, beyond in (
            ("end_day", self.end_day, self.end_day is not None and self.day > self.end_day),
            ("start_day", self.start_day, self.start_day is not None and self.day < self.start_day),
        ):
            if beyond:
                where = "after" if name == "end_day" else "before"
                raise DataError(
                    f"{day} is {where} {name} {bound}, so no run moves it: change the sensor's day, or {name} in the "
                    "pipeline's file"
                )
        problem = f"{day} is {status.value} and will not become complete by itself: {reason}"
        if status is DayStatus.WAIVED:
            raise DataError(f"{problem}; set accept_waived to continue without the waived windows")
        if self.fail_on_blocked and (status is DayStatus.BLOCKED or (status is DayStatus.DRIFTED and shrunk)):
            raise DataError(f"{problem}; repair it, or set fail_on_blocked to False to wait")


def _has_shrunk(entries: list[Entry], day: Interval) -> bool:
    """Return whether the source has fewer rows of the day than the target, which needs an operator's decision."""
    shrank = Check.SHRANK.value
    return any(
        piece.overlaps(day) and check.detail.get("verdict") == shrank for piece, check in drifted(entries)
    )


class DayCompleteTrigger(BaseTrigger):
    """Fire once: `{"answer": ...}` with the result of `DayQuestion.ask`, or `{"error": ...}` with its error.

    :param question: a `DayQuestion` as builtins.
    :param poke_interval: seconds between two reads of the state.
    """

    def __init__(self, question: dict[str, object], poke_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.question = question
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, object]]:
        """Return the path of the class and the arguments of the constructor."""
        path = f"{DayCompleteTrigger.__module__}.{DayCompleteTrigger.__qualname__}"
        return path, {"question": self.question, "poke_interval": self.poke_interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask every `poke_interval` seconds until there is an answer or an error."""
        question = msgspec.convert(self.question, DayQuestion)
        while True:
            try:
                # in a thread, so that the database or Airflow's API does not block the other triggers
                answer = await asyncio.to_thread(question.ask)
            except PipelineError as error:
                yield TriggerEvent({"error": str(error)})  # type: ignore[no-untyped-call]
                return
            if answer is not None:
                yield TriggerEvent({"answer": answer})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poke_interval)
