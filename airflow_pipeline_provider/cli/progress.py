"""What `run` shows on standard error while it works: a live bar on a terminal, plain lines elsewhere.

The phases are followed through their log, which goes nowhere else meanwhile: warnings become lines here, and with
`--verbose` everything does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.cli.runner import Moved
from airflow_pipeline_provider.core.wording import counted, local_window

if TYPE_CHECKING:
    from rich.progress import Progress

PACKAGE = "airflow_pipeline_provider"
# The lines of `observability.log_generator`, as key=value or as JSON.
_PHASE = re.compile(r"""\bphase"?[=:] ?"?(\w+)"?,? "?status\b""")


class Display:
    """Lines about windows; `tell` is for everything that people should know at once."""

    def __init__(self, screen: Screen, pipeline_id: str, timezone: str) -> None:
        self.screen, self.pipeline_id, self.timezone = screen, pipeline_id, timezone
        self._progress: Progress | None = None
        self._task: Any = None

    @contextmanager
    def live(self, total_seconds: Callable[[], float]) -> Iterator[None]:
        """A bar over the time that is to be moved (asked for once; 0: unknown), on a terminal."""
        console = self.screen.console(self.screen.err)
        if not console.is_terminal:
            yield
            return
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            self._progress = bar
            self._task = bar.add_task(self.pipeline_id, total=total_seconds() or None)
            try:
                yield
            finally:
                self._progress = None

    def tell(self, text: str) -> None:
        """A sentence, on a line of its own above the bar."""
        self.line(f"{self.pipeline_id}: {text}", "yellow")

    def phase(self, name: str) -> None:
        """Which phase is at work."""
        if self._progress is not None:
            self._progress.update(self._task, description=f"{self.pipeline_id}: {name}")

    def moved(self, moved: Moved) -> None:
        """A line for each window that was committed or skipped."""
        if moved.status == "failed":
            return  # its error ends the run and is told there
        window = local_window(moved.interval, self.timezone)
        if moved.audited is not None:
            rows, token = moved.audited.target_rows, moved.audited.token
            text = f"{window}: {counted(rows, 'row')} in {moved.seconds:.1f}s (token {token})"
        else:
            text = f"{window}: {moved.status}: {moved.reason}: {one_line(moved.detail)}"
        self.line(f"{self.pipeline_id}: {text}", None if moved.audited else "yellow")
        if self._progress is not None:
            self._progress.advance(self._task, moved.interval.seconds)

    def line(self, text: str, style: str | None = None) -> None:
        """A line of its own, above the bar."""
        if self._progress is None:
            self.screen.note(text, style)
        else:
            from rich.text import Text

            self._progress.console.print(Text(text, style=style or ""), soft_wrap=True)


class _Follow(logging.Handler):
    """The package's log, turned into what the display shows."""

    def __init__(self, display: Display, verbose: bool) -> None:
        super().__init__(logging.INFO)
        self.display, self.verbose = display, verbose
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            event = _PHASE.search(text)  # its failures come back as the run's error
            if event:
                self.display.phase(event[1])
            if self.verbose:
                self.display.line(text)
            elif record.levelno >= logging.WARNING and not event:
                self.display.tell(text)
        except Exception:  # noqa: BLE001  (a display that fails must not end the run)
            self.handleError(record)


@contextmanager
def followed_log(display: Display, verbose: bool) -> Iterator[None]:
    """The package's log goes to the display during the block, and nowhere else."""
    logger = logging.getLogger(PACKAGE)
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers[:] = [_Follow(display, verbose)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
