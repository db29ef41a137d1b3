"""Define every error of this package, grouped by what the caller should do about it.

::

    PipelineError
    ├── ConfigError       fix the YAML or the argument (also a ValueError)
    ├── TransientError    try again: network, 429, a lock, a busy file
    │   ├── UnexpectedError     an exception of another type, before a run had a window
    │   ├── SnapshotLostError   the rows read so far are invalid: discard them and read the slice again
    │   └── LeaseHeldError      another run holds the window; names the owner, start and end
    ├── DataError         needs review: counts differ, an unreadable document, rows outside the window
    ├── FatalError        never retry: permission denied, a missing table, a missing library
    │   └── StateBehindError    the state store restored an older copy: write nothing, an operator decides
    └── SupersededError   a newer run took over the window: stop without an error, change nothing

Each connector maps its vendor's exceptions to these in one place. A message states what happened, the values, and
what to do; the running phase adds pipeline, window and phase (`add_context`).
"""

from __future__ import annotations

import copyreg
from datetime import datetime
from typing import Any, TypeVar

from airflow_pipeline_provider.escaping import visible

E = TypeVar("E", bound="PipelineError")


class PipelineError(Exception):
    """Base class of all errors; `str()` starts with the context once a phase has added it.

    `detail` is a JSON object that the ledger stores with the failure. `without_content` is the message without
    anything that a row of the source may hold, for pipelines with `source.redact`; None if that is not known.
    """

    without_content: str | None = None

    def __init__(self, message: str, *, detail: dict[str, Any] | None = None) -> None:
        self.message = visible(message)  # it may contain text from a server, a document or a name
        super().__init__(self.message)
        self.detail = detail or {}
        self.context: str | None = None

    def add_context(self, context: str) -> None:
        """Add where the error happened ("pipeline flights, window 2013-…, extract"); the innermost call wins."""
        if self.context is None:
            self.context = visible(context)

    def quotes_nothing(self: E) -> E:
        """Declare that the message holds nothing of a row, and return the error."""
        self.without_content = self.message
        return self

    def append(self, sentence: str) -> None:
        """Append what the caller knows, such as what was written before the error, to the message."""
        self.message = f"{self.message}; {visible(sentence)}"
        self.args = (self.message,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy without calling `__init__`, whose parameters differ from class to class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return f"{self.context}: {self.message}" if self.context else self.message


class ConfigError(PipelineError, ValueError):
    """Invalid or missing configuration; the message names the key and the value."""


class TransientError(PipelineError):
    """A temporary failure; the same call may succeed later."""


class UnexpectedError(TransientError):
    """An exception of a type that nothing expects, before a run had a window; `__cause__` is the exception."""


class SnapshotLostError(TransientError):
    """The source's consistent view (point in time) was lost; rows read from it must be discarded."""


class LeaseHeldError(TransientError):
    """Another owner holds a lease that overlaps the window, or the lease of the whole pipeline.

    `since` and `until` are aware datetimes by the state store's clock. `windows` lists the owner's windows; it is
    empty if the owner only writes to the state. `follows` is true if a run that plans again starts after its commit.
    `holder` is the owner's name in messages.
    """

    def __init__(
        self,
        owner: str,
        since: datetime,
        until: datetime,
        *,
        windows: tuple[Any, ...] = (),
        follows: bool = False,
        holder: str | None = None,
        message: str | None = None,
    ) -> None:
        self.holder = holder or owner
        super().__init__(
            message
            or f"the window is held by {self.holder} since {since.isoformat()}; its lease ends at "
            f"{until.isoformat()} unless it is renewed: wait for it, or let this run end"
        )
        self.owner, self.since, self.until = owner, since, until
        self.windows, self.follows = windows, follows


class DataError(PipelineError):
    """The data does not allow an exactly-once load and needs review; a retry alone does not help."""


class RepeatedIdsError(DataError):
    """Several rows of one window have the same record id."""


class FatalError(PipelineError):
    """A permanent failure; retries fail until a permission, a table or an installation is changed."""


class StateBehindError(FatalError):
    """The state store restored an older copy; nothing may be written to it until an operator decides."""


class SupersededError(PipelineError):
    """A newer attempt owns the window; this attempt must end without changing anything."""
