"""The part of a contestant that counts: from its first request to its last byte; imports are nobody's merit.

`rss_before_mb` is what the process held in memory before it, imports for the most part; `own_peak_rss_mb` is the most
that it held until now, whatever started it (what the harness sees is never below the memory of the harness).
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from types import TracebackType


class Timing:
    """`with Timing() as timing: ...`, then `timing.figures`."""

    figures: dict[str, float]

    def __enter__(self) -> Timing:
        self._before = _resident_bytes()
        self._began, self._cpu = time.monotonic(), _cpu()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.figures = {
            "seconds": time.monotonic() - self._began,
            "cpu_seconds": _cpu() - self._cpu,
            "rss_before_mb": self._before / 1e6,
            "own_peak_rss_mb": _peak_bytes() / 1e6,
        }


def _cpu() -> float:
    """User and system time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak_bytes() -> int:
    (line,) = (
        text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024
