"""List the repairs that `doctor` proposes, and whether `doctor --fix` may run them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from airflow_pipeline_provider.core.command_line import Words


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


class Action(NamedTuple):
    """A repair of one finding; `words` is the command to run, without the name of the program."""

    repair: Repair
    words: Words
