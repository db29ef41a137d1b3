"""Server processes that never outlive the process that started them.

A child runs in a session of its own, so that Ctrl-C in the terminal reaches the parent alone, which then
stops its children in order. Should the parent be killed without a chance to do so, two things end the child:
the kernel's parent-death signal (Linux), and the end of the pipe that is its standard input (everywhere).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

PARENT = "DEMO_PARENT_PID"  # set in a child's environment; a server started by hand has none and lives on
PR_SET_PDEATHSIG = 1


class ServerFailed(RuntimeError):
    """A server ended, or did not answer in time; the message ends with the last lines of its log."""


class Child:
    """A running server. Its log's first JSON object with a `url` says that it is ready, and where.

    Start it from the main thread: the parent-death signal follows the thread that started it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        seconds: float = 120.0,
    ) -> None:
        """Start `command`, and return at once; `wait_ready` waits for it (at most `seconds` from now)."""
        self.name, self.log = name, log
        self._deadline = time.monotonic() + seconds
        self._url: str | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {}), PARENT: str(os.getpid())},
            )

    def wait_ready(self) -> str:
        """The server's URL, once it accepts connections. Raises ServerFailed."""
        while self._url is None:
            ended = self.process.poll() is not None
            self._url = self._announced()
            if self._url is None and ended:
                raise ServerFailed(self._failure(f"ended with exit status {self.process.returncode}"))
            if self._url is None and time.monotonic() > self._deadline:
                raise ServerFailed(self._failure("was not ready in time"))
            time.sleep(0.02)
        return self._url

    def stop(self, seconds: float = 5.0) -> None:
        """End the server and all that it started; safe to call twice."""
        for signal_, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
            if self.process.poll() is None:
                self._signal(signal_)
                try:
                    self.process.wait(wait)
                except subprocess.TimeoutExpired:
                    continue
        if self.process.stdin:
            self.process.stdin.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)  # its session: the group has its process id
        except ProcessLookupError:
            return  # it ended in this very moment

    def _announced(self) -> str | None:
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and '"url"' in line:
                try:
                    return str(json.loads(line)["url"])
                except ValueError:
                    return None  # half of a line: the rest is on its way
        return None

    def _failure(self, what: str) -> str:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return f"the {self.name} server {what}; the end of {self.log}:\n{tail}"


def die_with_parent() -> None:
    """To be called first by a server's main: from here on it ends when its parent does."""
    if PARENT not in os.environ:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(os.environ[PARENT]):
        os._exit(1)  # it died before we got here
    threading.Thread(target=_watch_stdin, name="parent-watch", daemon=True).start()


def announce(url: str) -> None:
    """Say that the server accepts connections."""
    print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)


def _watch_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)
