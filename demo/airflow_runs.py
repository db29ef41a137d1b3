"""Airflow processes of the demo (`demo.runner`): one a pipeline, told what to do, telling what happens."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from demo.children import PARENT


class RunnerFailed(RuntimeError):
    """An Airflow process ended badly; the message ends with the last lines of its log."""


class Runner:
    """One `demo.runner` process; as a context manager it never outlives the block.

    Its events go to `events` as (runner, event); None for the event means that the process has ended.
    """

    def __init__(self, name: str, *, env: Mapping[str, str], log: Path, events: queue.Queue[Any]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log, self.events = name, log, events
        theirs, ours = os.pipe()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.runner", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[theirs],
                start_new_session=True,
                text=True,
                env={**os.environ, **env, PARENT: str(os.getpid())},
            )
        os.close(theirs)
        self.commands = os.fdopen(ours, "w")
        self.reader = threading.Thread(target=self._read, name=f"events-{name}", daemon=True)
        self.reader.start()

    def tell(self, **command: Any) -> None:
        """Give a command; it is carried out after those before it."""
        print(json.dumps(command), file=self.commands, flush=True)

    def kill(self) -> None:
        """SIGKILL, as when the machine goes down: nothing is cleaned up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def failure(self, what: str) -> RunnerFailed:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        return RunnerFailed(f"Airflow {what} for {self.name}; the end of {self.log}:\n{tail}")

    def _read(self) -> None:
        if self.process.stdout is not None:
            for line in self.process.stdout:
                self.events.put((self, json.loads(line)))
        self.events.put((self, None))

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.reader.join()
        for stream in (self.commands, self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def follow(
    events: queue.Queue[Any], runners: list[Runner], until: str
) -> Iterator[tuple[Runner, dict[str, Any]]]:
    """Events as they come, until each of the runners has said `until` ("ready" or "done").

    Raises RunnerFailed when one ends before, or says that it failed.
    """
    waiting = set(runners)
    while waiting:
        runner, event = events.get()
        if event is None:
            if runner in waiting:
                raise runner.failure(f"ended with exit status {runner.process.wait()}")
            continue
        if until in event:
            if until == "done" and event["done"]["failed"]:
                raise runner.failure("could not finish a run")
            waiting.discard(runner)
        yield runner, event
