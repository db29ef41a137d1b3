"""Identify the owner of a lease: installation, run, and the process that executes a task of the run.

Two Airflow installations on one state make equal run ids, so a run id alone does not identify an owner.  The tasks of
one run share its lease; of one task, only the newest execution may use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from airflow_pipeline_provider.exceptions import SupersededError

RECENT = 2 / 3
"""An execution that renewed the lease within this part of its time is at work, also if one renewal failed."""


class Execution(NamedTuple):
    """One process that executes a task of a run.

    `task` is "" for a process that executes the whole run.  A later try of the task overtakes an
    earlier one.  `process` is unique; "" is not recorded in leases.  The operators name a task by its id and map
    index, which is -1 where it is not mapped.  `at` is its last renewal in seconds since 1970, by the store's clock.
    """

    task: str = ""
    try_number: int = 0
    process: str = ""
    at: float = 0.0

    def recorded(self) -> dict[str, object]:
        """Return what a ledger entry records of it: task, try, and the map index of a mapped task."""
        task, _, index = self.task.partition(" ")
        if not task:
            return {}
        mapped = {"map_index": int(index)} if index.isdecimal() else {}  # -1 is a task that is not mapped
        return {"task": task, **mapped, "try_number": self.try_number}


class Owner(NamedTuple):
    """What takes a lease.

    `installation` identifies the Airflow that the run belongs to; None outside of Airflow, and where the state cannot
    be shared.  `renews`: this execution took the lease before, so it must not overtake one that took it since.
    """

    run: str
    installation: str | None = None
    execution: Execution = Execution()
    renews: bool = False


def as_owner(owner: Owner | str) -> Owner:
    """Return the owner of this name, for a writer that is not a run of an Airflow installation."""
    return owner if isinstance(owner, Owner) else Owner(owner)


def is_same_run(run: str | None, installation: str | None, owner: Owner) -> bool:
    """Return whether a lease of this run is the owner's.

    Installations are compared where both are known: a lease of an earlier version has none.
    """
    return run == owner.run and (
        None in (installation, owner.installation) or installation == owner.installation
    )


def executions_after(executions: Iterable[Execution], owner: Owner, now: datetime) -> tuple[Execution, ...]:
    """Return the executions that share the lease after the owner took or renewed it at `now`.

    Raise SupersededError when another execution of the same task overtook this one: one with a later try number, or
    one with the same number that took the lease after this one.
    """
    executions, asking = tuple(executions), owner.execution
    if not asking.process:
        return executions
    current = _current(executions, asking) or asking
    is_first = current.try_number == asking.try_number and not owner.renews
    if current.process != asking.process and current.try_number >= asking.try_number and not is_first:
        raise SupersededError(
            f"another execution of this task (try {current.try_number}) took over the run's lease: this one "
            f"(try {asking.try_number}) is stale, ends here and changes nothing"
        )
    asking = asking._replace(at=now.timestamp())
    return tuple(sorted((*(e for e in executions if e.task != asking.task), asking)))


def may_release(executions: Iterable[Execution], asking: Execution) -> bool:
    """Return False for a stale execution, whose successor uses the lease."""
    current = _current(executions, asking) or asking
    return not asking.process or current.process == asking.process or current.try_number < asking.try_number


def executions_left(
    executions: Iterable[Execution], asking: Execution, now: datetime, seconds: float
) -> tuple[Execution, ...]:
    """Return the executions that keep the lease of `seconds` when this one releases it; empty if it goes.

    It stays while another execution of the same mapped task is at work, which renews it each third of its time.
    """
    task_id, _, index = asking.task.rpartition(" ")
    if not index.isdecimal():
        return ()
    others = tuple(execution for execution in executions if execution.task != asking.task)
    working = any(
        other.task.rpartition(" ")[0] == task_id and now.timestamp() - other.at < seconds * RECENT
        for other in others
    )
    return others if working else ()


def _current(executions: Iterable[Execution], asking: Execution) -> Execution | None:
    return next((execution for execution in executions if execution.task == asking.task), None)
