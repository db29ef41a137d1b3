"""Starts `demo.runner` processes and reads the events they print."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from demo.children import PARENT


class RunnerFailed(RuntimeError):
    """An Airflow process ended badly; the message ends with the last lines of its log."""


class Runner:
    """One `python -m demo.runner ARGUMENTS` process; as a context manager it never outlives the block."""

    def __init__(self, arguments: list[str], *, env: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.runner", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
                env={**os.environ, **env, PARENT: str(os.getpid())},
            )

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens, as it happens, until the process ends."""
        if self.process.stdout is not None:
            for line in self.process.stdout:
                yield json.loads(line)

    def finish(self) -> None:
        """Wait for the end; an exit status other than 0 is a RunnerFailed."""
        if self.process.wait() != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise RunnerFailed(
                f"Airflow ended with exit status {self.process.returncode}; the end of {self.log}:\n{tail}"
            )

    def kill(self) -> None:
        """SIGKILL, as when the machine goes down: nothing is cleaned up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
