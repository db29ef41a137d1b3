"""Airflow's own worker processes, found by the task they run, and killed from outside.

An executor's worker (a process of LocalExecutor's, or of a Celery worker's pool) forks a process for each task and
watches over it: it sends the heartbeats and tells Airflow how the task ended.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

TASK, WORKER, ORPHAN = "task", "worker", "orphan"
HOW = {
    TASK: "the task's process is killed",
    WORKER: "the task's process and the executor's worker above it are killed: the heartbeats stop",
    ORPHAN: "the executor's worker is killed, and the task's process lives on while a retry does the same work",
}
_TITLE = re.compile(r"airflow worker -- ([0-9a-f-]{36})")  # what a task's process calls itself


class Runner(NamedTuple):
    """The process that runs a task, and the worker that watches over it."""

    pid: int
    worker: int


def runners() -> dict[str, Runner]:
    """By the id of the task instance's try: what this Airflow runs now, as far as somebody watches over it."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    ours = _components()
    found = {}
    for pid, parent in parents.items():
        title = _TITLE.fullmatch(_title(pid))
        if title and not ours.isdisjoint(_ancestors(pid, parents)):
            found[title[1]] = Runner(pid, parent)
    return found


def kill(try_id: str, runner: Runner, how: str) -> bool:
    """Kill in this way; False: the try had ended already, and nothing was done."""
    with ExitStack() as stack:
        try:
            task = stack.enter_context(_held(runner.pid))
            worker = stack.enter_context(_held(runner.worker))
            # A stopped task keeps its worker waiting for it. Killed elsewhere, the worker might hold a lock of the
            # executor's queue, which then nobody can open any more.
            signal.pidfd_send_signal(task, signal.SIGSTOP)
            stack.callback(_go_on, task)
            if runners().get(try_id) != runner:
                return False
            if how != TASK:
                signal.pidfd_send_signal(worker, signal.SIGKILL)
            if how != ORPHAN:
                signal.pidfd_send_signal(task, signal.SIGKILL)
            return True
        except ProcessLookupError:
            return False


def alive(pid: int) -> bool:
    """Does the process still run a task?"""
    return _TITLE.fullmatch(_title(pid)) is not None


def _components() -> set[int]:
    """The processes that tests/services/airflow/start.sh launched: each wrote its id into a file."""
    settings = os.environ.get("AIRFLOW_ENV_FILE")
    assert settings, (
        "AIRFLOW_ENV_FILE is not set: processes are killed on the machine of tests/services/airflow"
    )
    files = Path(settings).parent.glob("run/*.pid")
    return {int(file.read_text().split()[0]) for file in files}


@contextmanager
def _held(pid: int) -> Iterator[int]:
    """A handle that means this very process, even if its number is given to another one."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def _go_on(task: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(task, signal.SIGCONT)


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it ended while it was looked at
        return 0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found
