"""Every error of this package, by what to do about it.

::

    PipelineError
    ├── ConfigError       fix the YAML or the argument (also a ValueError)
    ├── TransientError    try again: network, 429, a lock, a busy file
    │   ├── UnexpectedError     an exception of another type, before a run had a window
    │   ├── SnapshotLostError   what was read so far is void: discard it and read the slice again
    │   └── LeaseHeldError      another run holds the window; names the owner, begin and end
    ├── DataError         needs review: counts differ, an unreadable document, rows outside the window
    ├── FatalError        never retry: permission denied, a missing table, a missing library
    │   └── StateBehindError    the state fell back to an older copy: write nothing, an operator decides
    └── SupersededError   this run lost its window to a newer one: stop quietly, change nothing

Connectors raise these and map their vendor's exceptions in one place each. Messages hold what was expected, what
was seen and what to do; the phase that was running adds pipeline, window and phase (`add_context`).
"""

from __future__ import annotations

import copyreg
from datetime import datetime
from typing import Any

from airflow_pipeline_provider.escaping import visible


class PipelineError(Exception):
    """Base of all errors; `str()` starts with the context once a phase has added it.

    `detail` is JSON that the ledger keeps with the failure.
    """

    def __init__(self, message: str, *, detail: dict[str, Any] | None = None) -> None:
        self.message = visible(message)  # it may quote a server, a document or a name
        super().__init__(self.message)
        self.detail = detail or {}
        self.context: str | None = None

    def add_context(self, context: str) -> None:
        """Say where it happened ("pipeline flights, window 2013-…, extract"); the innermost call wins."""
        if self.context is None:
            self.context = visible(context)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy without calling `__init__`, whose parameters differ from class to class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return f"{self.context}: {self.message}" if self.context else self.message


class ConfigError(PipelineError, ValueError):
    """Bad or missing configuration; the message names the key and the value."""


class TransientError(PipelineError):
    """The same call may succeed later."""


class UnexpectedError(TransientError):
    """An exception of a type that nothing expects, before a run had a window; `__cause__` is the exception."""


class SnapshotLostError(TransientError):
    """The source's consistent view (point in time) is gone; rows read under it must be thrown away."""


class LeaseHeldError(TransientError):
    """Another owner holds a lease that overlaps the window, or the lease of the whole pipeline.

    `since` and `until` are aware datetimes by the state store's clock; `windows` is what the owner works on, empty
    for one that only writes to the state.  `follows`: a run that plans again starts after the owner's commit.
    `holder` names the owner for people.
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
    """The data is not what the promise needs; repeating the run does not help by itself."""


class RepeatedIdsError(DataError):
    """Rows of one window share a record id."""


class FatalError(PipelineError):
    """No retry can help until somebody changes a permission, a table or an installation."""


class StateBehindError(FatalError):
    """The state store fell back to an older copy: nothing may be written to it before an operator decides."""


class SupersededError(PipelineError):
    """A newer attempt owns the window; this one must end without touching anything."""
