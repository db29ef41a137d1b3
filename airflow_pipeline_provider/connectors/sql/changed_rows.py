"""Count the rows of windows that are beyond the maxima of their change markers (`sql.changes`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from airflow_pipeline_provider.connectors.sql.changes import (
    CHANGED,
    UNKNOWN,
    are_below,
    types_of,
    why_unknown,
    with_changes,
)
from airflow_pipeline_provider.connectors.sql.reader import Reader, Shape
from airflow_pipeline_provider.core.change_markers import MarkedWindow, Seen, WindowChanges
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError

MAXIMA_AT_ONCE = 200  # in a statement; databases limit columns and parameters


class ChangedRows:
    """Answers for windows of one source; `count` counts the rows of an interval and those with each column set."""

    def __init__(
        self,
        column: str | None,
        open_reader: Callable[[], AbstractContextManager[Reader]],
        count: Callable[..., list[int]],
    ) -> None:
        self._column, self._open_reader, self._count = column, open_reader, count

    def find(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        """Return the answer for each window, with one statement for each.

        A database may refuse to compare a maximum with a column that has another type by now.  The windows are then
        asked for again by the types of their maxima.
        """
        try:
            return self._ask(windows)
        except (DataError, FatalError):
            by_types: dict[tuple[str, ...], list[int]] = defaultdict(list)
            for number, window in enumerate(windows):
                by_types[types_of(window)].append(number)
        if len(by_types) == 1:
            return [WindowChanges(Seen.UNKNOWN, reason=self._not_comparable(window)) for window in windows]
        answers: dict[int, WindowChanges] = {}
        for numbers in by_types.values():
            answers |= zip(numbers, self.find([windows[number] for number in numbers]), strict=True)
        return [answers[number] for number in range(len(windows))]

    def _not_comparable(self, window: MarkedWindow) -> str | None:
        return why_unknown(window, self._column) or (
            f"change_column {self._column!r} cannot be compared with what it held when the window was read "
            f"({', '.join(types_of(window))})"
        )

    def _ask(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        with self._open_reader() as reader:
            shape = reader.shape()
            below = self._below(reader, shape, windows)
            return [self._ask_one(reader, shape, window, below) for window in windows]

    def _below(self, reader: Reader, shape: Shape, windows: Sequence[MarkedWindow]) -> set[str]:
        """Return the maxima of the markers that the column no longer reaches."""
        if self._column is None:
            return set()
        markers = [window.marker for window in windows if why_unknown(window, self._column) is None]
        texts = list(dict.fromkeys(text for marker in markers if marker for text in marker.maxima))
        below: set[str] = set()
        for start in range(0, len(texts), MAXIMA_AT_ONCE):
            some = texts[start : start + MAXIMA_AT_ONCE]
            answers = reader.one(are_below(shape.relation, self._column, some))
            below.update(text for text, answer in zip(some, answers, strict=True) if answer)
        return below

    def _ask_one(self, reader: Reader, shape: Shape, window: MarkedWindow, below: set[str]) -> WindowChanges:
        column, reason = self._column, why_unknown(window, self._column)
        if window.marker is None or column is None or reason is not None:
            return WindowChanges(Seen.UNKNOWN, reason=reason)
        relation, values = with_changes(shape.relation, column, window.marker)
        counted_in = replace(shape, relation=relation)
        rows, changed, nulls = self._count(reader, counted_in, window.interval, (CHANGED, UNKNOWN), values)
        if changed:
            return WindowChanges(Seen.COUNTED, changed, rows)
        if nulls:
            reason = f"change_column {column!r} is NULL in {counted(nulls, 'row')} of the window"
        elif below.intersection(window.marker.maxima):
            reason = (
                f"the greatest value of change_column {column!r} is lower than when the window was read: its row was "
                "deleted, or the table was restored or filled again"
            )
        return WindowChanges(Seen.UNKNOWN if reason else Seen.COUNTED, 0, rows, reason)
