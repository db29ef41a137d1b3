"""The JSON bodies of the page's changes, and what they answer.

Pydantic refuses unknown keys, texts without an offset and numbers as text; the sentences are made in `web.app`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from airflow_pipeline_provider.core.days import FIRST_DAY, LAST_DAY
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.views.move_preview import MOST_DAYS, MOST_WINDOWS, Selection
from airflow_pipeline_provider.views.window_states import WindowState

LONGEST_REASON = 500


def one_line(text: str) -> str:
    """Return the text on one line; raise ValueError for characters that a reader would not see."""
    line = " ".join(text.split())
    if not line.isprintable():
        raise ValueError("expected printable text: remove the characters that are not")
    return line


def given(text: str) -> str:
    """Return the text, which must not be empty."""
    if not text:
        raise ValueError("expected a reason")
    return text


OptionalReason = Annotated[str, Field(max_length=LONGEST_REASON), AfterValidator(one_line)]
Day = Annotated[date, Field(strict=False, ge=FIRST_DAY, le=LAST_DAY)]
Reason = Annotated[OptionalReason, AfterValidator(given)]


class PageBody(BaseModel):
    """A body; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class WindowBody(PageBody):
    """Bounds of a window, ISO 8601 with an offset."""

    start: Annotated[AwareDatetime, Field(strict=False)]
    end: Annotated[AwareDatetime, Field(strict=False)]

    @model_validator(mode="after")
    def _is_an_interval(self) -> WindowBody:
        if self.end <= self.start:
            raise ValueError("expected an end after its start")
        if not FIRST_DAY.year < self.start.year <= self.end.year < LAST_DAY.year:
            raise ValueError(f"expected years after {FIRST_DAY.year} and before {LAST_DAY.year}")
        return self

    @property
    def interval(self) -> Interval:
        """Return the interval."""
        return Interval(self.start, self.end)


class SeenWindowBody(WindowBody):
    """A window, with the state that the preview showed."""

    state: Annotated[WindowState | None, Field(strict=False)] = None


class SelectionBody(PageBody):
    """Windows of the day plan, whole days, or everything that is not complete: one of the three."""

    windows: Annotated[list[SeenWindowBody], Field(max_length=MOST_WINDOWS)] | None = None
    days: Annotated[list[Day], Field(max_length=MOST_DAYS)] | None = None
    all: bool = False

    @model_validator(mode="after")
    def _one_of_three(self) -> SelectionBody:
        if sum((bool(self.windows), bool(self.days), self.all)) != 1:
            raise ValueError("expected one of windows, days and all: true")
        return self

    @property
    def selection(self) -> Selection:
        """Return the selection."""
        windows = tuple(window.interval for window in self.windows or ())
        return Selection(windows, days=tuple(self.days or ()), all=self.all)

    @property
    def overlapping(self) -> Selection:
        """Return the selection of the windows that the given ones overlap, such as those of a gap."""
        return Selection(spans=self.selection.windows, days=tuple(self.days or ()), all=self.all)


class MoveBody(SelectionBody):
    """Windows to move again."""

    reason: OptionalReason = ""


class RecheckBody(PageBody):
    """A day to count again."""

    day: Day
    reason: OptionalReason = ""


class WaiveBody(WindowBody):
    """Time to give up."""

    reason: Reason


class AcceptShrinkBody(WindowBody):
    """How many rows of the window may go."""

    rows: Annotated[int, Field(ge=1)]
    reason: Reason


class ReleaseBody(WindowBody):
    """A lease to release; `run_id` is typed for one that has not expired."""

    run_id: Annotated[str, Field(max_length=250)] | None = None
    reason: OptionalReason = ""

    @model_validator(mode="after")
    def _why(self) -> ReleaseBody:
        if self.run_id is not None and not self.reason:
            raise ValueError("reason: expected one with run_id: the lease has not expired")
        return self
