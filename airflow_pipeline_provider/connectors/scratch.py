"""A place of its own in a service that `certify` may fill, and empties again; what it needs to know of the service.

A connector returns one by its method `scratch`. Names of everything that is created begin with `Scratch.name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.base import Source


class Right(NamedTuple):
    """A statement that a load or its preparation needs, and what to grant if it is refused."""

    what: str
    statement: str
    grant: str


class LoadWay(NamedTuple):
    """A way in which a target reads part files.

    `changes` of its options select it; None if it cannot be tested, and `why_not` is the reason.
    """

    name: str
    changes: dict[str, object] | None
    why_not: str = ""


class Scratch(ABC):
    """A scratch place; every method asks the service."""

    name: str

    @abstractmethod
    def describe(self) -> str:
        """Return where it is and what will be created there, for a message before anything is."""

    @abstractmethod
    def foreign(self) -> list[str]:
        """Return what is in the place and was not created by this run; with any of it, `certify` refuses to start."""

    @abstractmethod
    def remaining(self) -> list[str]:
        """Return what this run created and is still there, as the service's catalogue lists it."""

    @abstractmethod
    def remove(self) -> None:
        """Remove everything that this run created; may be called again."""

    def cost(self) -> str:
        """Return what the run has cost, or that and why it is not known."""
        return "not metered"


class StageScratch(Scratch):
    """The folder of a stage that belongs to this run alone."""

    def create(self, path: str, data: bytes) -> bool | None:  # noqa: ARG002
        """Create a file only if none has the path; return whether it did, None if the store cannot do that."""
        return None


class SourceScratch(Scratch):
    """An index or table of this run's own, and responses that are not whole."""

    def fill(
        self, rows: Sequence[tuple[str, datetime, str]]
    ) -> tuple[Source, dict[str, tuple[datetime, str]]]:
        """Create the index or table with exactly these rows (key, time, text), in place of an earlier one.

        Return a source of it with pages of at most 50 rows, and time and BODY by record id.
        """
        raise NotImplementedError

    def empty(self) -> None:
        """Remove every row of it, at once visible to new readers."""
        raise NotImplementedError

    def partial_responses(
        self,
        source: Source,  # noqa: ARG002
    ) -> Iterator[tuple[str, Callable[[], AbstractContextManager[None]]]]:
        """Yield names of defects, and what gives the source's responses that defect during a block."""
        yield from ()
