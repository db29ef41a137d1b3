"""Values of a notice, which templates of a pipeline file may use, and the texts made of them."""

from __future__ import annotations

from enum import Enum
from html import escape

from msgspec import Struct


class NoticeKind(str, Enum):
    """What a notice is about; `on_<kind>` is the key of a pipeline file."""

    FAILURE = "failure"  # a task has failed and is not retried
    BLOCKED = "blocked"  # the window does not continue until a person acts
    DRIFT = "drift"  # source and target differ since the commit
    LATE = "late"  # a day or window is not as expected
    BROKEN = "broken"  # a pipeline file cannot be loaded; sent to `on_failure`


class Notice(Struct, frozen=True, kw_only=True):
    """Values of a notice.

    :param kind: failure, blocked, drift, late or broken.
    :param pipeline: id of the pipeline; of a broken file, its name.
    :param title: one line: what happened, and where.
    :param reason: the error, or the findings, one a line.
    :param window: the window in local time, such as 2013-11-03 [06:00, 08:00) EST; empty without one window.
    :param start: its start in UTC, empty without one window.
    :param end: its end in UTC.
    :param counts: numbers, such as failures: 2 of 5.
    :param task: id of the task that failed.
    :param run: id of the DAG run.
    :param command: the command that shows or repairs it.
    :param link: address of the page.
    """

    kind: str
    pipeline: str
    title: str
    reason: str
    window: str = ""
    start: str = ""
    end: str = ""
    counts: str = ""
    task: str = ""
    run: str = ""
    command: str = ""
    link: str = ""

    @property
    def text(self) -> str:
        """Return all of it as plain text: title, reason, counts, command and link, each on lines of its own."""
        return "\n".join([self.title, *(f"{label}{value}" for label, value in self._parts())])

    @property
    def html(self) -> str:
        """Return all of it as HTML."""
        rows = [f"<p>{escape(label)}{self._marked_up(value)}</p>" for label, value in self._parts()]
        return "\n".join([f"<p><b>{escape(self.title)}</b></p>", *rows])

    def _parts(self) -> list[tuple[str, str]]:
        parts = [("", self.reason), ("", self.counts), ("Command: ", self.command), ("Page: ", self.link)]
        return [(label, value) for label, value in parts if value]

    def _marked_up(self, value: str) -> str:
        text = escape(value).replace("\n", "<br>")
        if value == self.command:
            return f"<code>{text}</code>"
        return f'<a href="{text}">{text}</a>' if value == self.link else text


NOTICE_NAMES = frozenset({*Notice.__struct_fields__, "text", "html"})
