"""CPU meanwhile: of the workers with all that they start, and of the whole machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 0.25  # seconds


def tree_cpu_seconds(roots: Iterable[int]) -> float:
    """User and system time of these processes, of those below them, and of those below that have ended."""
    known = {int(entry.name): fields for entry in Path("/proc").iterdir() if (fields := _stat(entry))}
    found, total = set(roots), 0
    while True:
        below = {pid for pid, fields in known.items() if int(fields[1]) in found} - found
        if not below:
            break
        found |= below
    for pid in found & known.keys():
        total += sum(int(value) for value in known[pid][11:15])
    return total / TICKS


def _stat(entry: Path) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on: parent 1, times 11 to 14; empty for what is no process."""
    if not entry.name.isdigit():
        return []
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended while it was looked at
        return []


class BusyMachine:
    """`with BusyMachine(workers) as machine: ...`, then `machine.share(start, end)`: of all CPUs, by whomever; and
    `machine.workers_cpu_seconds`, from the block's start to its end."""

    def __init__(self, workers: Sequence[int]) -> None:
        self._workers = workers

    def __enter__(self) -> BusyMachine:
        self._before = tree_cpu_seconds(self._workers)
        self._samples: list[tuple[float, int, int]] = []  # time, busy ticks, all ticks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.workers_cpu_seconds = tree_cpu_seconds(self._workers) - self._before

    def _watch(self) -> None:
        while True:
            first = Path("/proc/stat").read_text().partition("\n")[0]
            user, nice, system, idle, waiting, *others = map(int, first.split()[1:9])
            busy = user + nice + system + sum(others)
            self._samples.append((time.time(), busy, busy + idle + waiting))
            if self._stop.wait(EVERY):
                return

    def share(self, start: float, end: float) -> float:
        """Between two moments of `time.time()`, 0 to 1."""
        (_, busy, every), (_, busy_later, every_later) = (
            min(self._samples, key=lambda sample: abs(sample[0] - moment)) for moment in (start, end)
        )
        return (busy_later - busy) / max(1, every_later - every)
