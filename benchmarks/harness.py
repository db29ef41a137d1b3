"""`python -m benchmarks`: start what a group needs, run its contestants interleaved, measure, check, report.

A contestant is a process of its own, measured by `os.wait4` and, for the servers it uses, /proc/<pid>/stat.  Another
process started meanwhile on the machine is in the figures: rounds and medians are against that.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.contract import Contestant, Results, Run, Settings, interleaved

ROOT = Path(__file__).parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class FailedError(Exception):
    """A contestant that ended badly, or delivered something else than it should have."""


def run_group(module: str, settings: Settings) -> tuple[ModuleType, Results, FailedError | None]:
    """All rounds of one group; an error ends it, and what was measured before is returned."""
    group = importlib.import_module(f"benchmarks.groups.{module}")
    results = Results()
    with ExitStack() as opened:
        try:
            if hasattr(group, "prepare"):
                group.prepare(settings, opened)
            chosen = [
                contestant
                for contestant in group.contestants(settings)
                if settings.wants_race(contestant.race) and _chosen(settings.names, contestant.name)
            ]
            for contestant in interleaved(chosen, settings.rounds):
                run = measure(contestant, settings)
                results.add(contestant, run)
                say(f"{contestant.race} · {contestant.name}: {_in_short(run)}")
        except FailedError as error:
            return group, results, error
    return group, results, None


def _chosen(parts: Sequence[str], name: str) -> bool:
    return not parts or any(part in name for part in parts)


def _in_short(run: Run) -> str:
    return (
        f"{run.seconds:.2f} s, client CPU {run.client_cpu_seconds:.2f} s, server CPU {run.server_cpu_seconds:.2f} s, "
        f"{run.peak_rss_bytes / 1e6:.0f} MB"
    )


def measure(contestant: Contestant, settings: Settings) -> Run:
    """One run, and its check afterwards; the folder it wrote to is removed."""
    out = Path(tempfile.mkdtemp(prefix="out-", dir=settings.work))
    try:
        pids = [pid for name in contestant.servers for pid in settings.servers[name].pids]
        before = sum(map(cpu_seconds, pids))
        wall, usage, figures = run_command(contestant.command, contestant, out, settings.work)
        after = sum(map(cpu_seconds, pids))
        process_cpu = usage.ru_utime + usage.ru_stime
        written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        if contestant.check:
            figures |= run_command(contestant.check, contestant, out, settings.work)[2]
        _compare(contestant, figures)
        return Run(
            wall_seconds=wall,
            seconds=figures.get("seconds", wall),
            process_cpu_seconds=process_cpu,
            client_cpu_seconds=figures.get("cpu_seconds", process_cpu),
            server_cpu_seconds=after - before,
            # what several processes of one contestant held is told by itself
            peak_rss_bytes=max(usage.ru_maxrss * 1024, int(figures.get("own_peak_rss_mb", 0) * 1e6)),
            written_bytes=written,
            moved_bytes=contestant.moves_bytes,
            figures=figures,
        )
    finally:
        shutil.rmtree(out)


def run_command(
    command: Sequence[str], contestant: Contestant, out: Path, work: Path
) -> tuple[float, Any, dict[str, Any]]:
    """(wall seconds, resources used, the JSON of the last line of stdout)"""
    with tempfile.TemporaryFile(dir=work) as output, tempfile.TemporaryFile(dir=work) as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            [argument.replace("{out}", str(out)) for argument in command],
            cwd=ROOT,
            env={**os.environ, **contestant.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        status, usage = _wait(process, contestant.timeout)
        wall = time.monotonic() - began
        text = _read(output)
        if status != 0:
            tail = "\n".join((text + _read(errors)).splitlines()[-30:])
            raise FailedError(
                f"{contestant.race}, {contestant.name}: {' '.join(command)} ended with {status}:\n{tail}"
            )
        return wall, usage, _figures(text)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> tuple[int, Any]:
    """The exit status and what `os.wait4` tells; after the time-out it is killed with its children."""

    def give_up(*_: object) -> None:
        os.killpg(process.pid, signal.SIGKILL)

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        give_up()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def _figures(text: str) -> dict[str, Any]:
    """A command that is not ours (elasticdump) says something else: no figures."""
    lines = text.strip().splitlines()
    try:
        figures = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return figures if isinstance(figures, dict) else {}


def _compare(contestant: Contestant, figures: dict[str, Any]) -> None:
    for name, expected in contestant.expected.items():
        if figures.get(name) != expected:
            raise FailedError(
                f"{contestant.race}, {contestant.name}: expected {name} {expected!r}, got {figures.get(name)!r}"
            )


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def output_of(command: Sequence[str], **env: str) -> dict[str, Any]:
    """The figures of a command that is no contestant: what the truth is, what was built."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True, text=True
    )
    return _figures(done.stdout)


def say(text: str) -> None:
    print(text, flush=True)
