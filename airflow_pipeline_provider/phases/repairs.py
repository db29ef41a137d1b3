"""List the repairs that `doctor` proposes, and whether `doctor --fix` may run them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import Words
from airflow_pipeline_provider.core.intervals import Interval


class Repair(Enum):
    """The table of repairs: a description, and whether the repair is lossless.

    A lossless repair needs no review: it deletes no row that the source no longer holds, and waives nothing.
    """

    REBUILD_LEDGER = "write missing ledger entries from the target's commit rows", True
    MOVE_MISSING = "move windows that are neither committed nor waived", True
    LOAD_AGAIN = "load a window again whose rows the source still holds", True
    REMOVE_LEASES = "remove expired leases", True
    REMOVE_FILES = "remove files of abandoned attempts and unfinished uploads", True
    LOAD_AFTER_REVIEW = "load a window again, which may lose rows or fail again", False
    DELETE_ROWS = "load a window again, and delete target rows that the source lacks", False
    ADOPT = "accept a changed source or target, or a shared table", False
    RENAME = "transfer state and target rows of a renamed pipeline", False
    INSPECT = "show everything that is recorded about a window", False

    def __init__(self, description: str, lossless: bool) -> None:
        self.description = description
        self.lossless = lossless


@dataclass(frozen=True)
class Loading:
    """What a repair loads: all that is ready, or an interval: as one window if `exact`, else by the day plan."""

    interval: Interval | None = None
    exact: bool = False
    accept_shrink: bool = False

    def words(self, name: str) -> Words:
        """Return the command that does it."""
        if self.interval is None:
            return command_line.run_until_done(name)
        if self.exact:
            return command_line.run_window(name, self.interval)
        return command_line.reprocess(name, self.interval, accept_shrink=self.accept_shrink)


class Action(NamedTuple):
    """A repair of one finding; `words` is its command without the name of the program, `loading` what it loads."""

    repair: Repair
    words: Words
    loading: Loading | None = None
