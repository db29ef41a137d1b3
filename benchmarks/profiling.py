"""`make profile`: where an extraction's time goes, by sampling every thread that works.

Prints the functions in which samples were taken, and by whom of ours those were called; writes the folded stacks,
which any flame graph viewer reads.  docs/performance.md explains one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contract import Settings
from benchmarks.harness import ROOT, say
from benchmarks.servers import start_replay

SAMPLES_A_SECOND = 200
SHOWN = 18
OURS = "airflow_pipeline_provider/"

Stacks = Counter[tuple[str, ...]]  # outermost frame first


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("--docs", type=int, default=1_000_000)
    parser.add_argument("--slices", type=int, help="without it: the default")
    parser.add_argument("--delay-ms", type=int, default=0, help="of the server, a page")
    parser.add_argument("--data", type=Path, default=ROOT / ".bench", help="where the stacks go")
    given = parser.parse_args()
    given.data.mkdir(exist_ok=True)
    path = given.data / "profile.txt"
    with ExitStack() as opened:
        work = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="work-", dir=given.data)))
        settings = Settings(rounds=1, docs=given.docs, work=work, data=given.data)
        start_replay(settings, opened, "replay", "--docs", given.docs, "--delay-ms", given.delay_ms)
        url = settings.servers["replay"].url
        command = settings.module("contestants.ours", "--url", url, "--docs", given.docs, "--out", work)
        if given.slices:
            command += ("--slices", str(given.slices))
        stacks = record(command, path)
    say(report(stacks))
    say(f"folded stacks: {path}")


def record(command: tuple[str, ...], path: Path) -> Stacks:
    """Run the command and sample it."""
    sampler = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or "py-spy"
    options = ["--nonblocking", "--threads", "-r", str(SAMPLES_A_SECOND), "-f", "raw", "-o", str(path)]
    subprocess.run([sampler, "record", *options, "--", *command], cwd=ROOT, check=True)
    return read_stacks(path.read_text())


def read_stacks(text: str) -> Stacks:
    found: Stacks = Counter()
    for line in text.splitlines():
        frames, _, samples = line.rpartition(" ")
        found[tuple(frames.split(";"))] += int(samples)
    return found


def report(stacks: Stacks) -> str:
    """Of the samples of readers and writers: the functions they ended in, and the innermost of ours above each.

    What importing modules takes is left out: it happens once in a process.
    """
    chosen = {stack: n for stack, n in stacks.items() if any(_works(frame) for frame in stack)}
    chosen = {stack: n for stack, n in chosen.items() if not any("importlib" in frame for frame in stack)}
    total = sum(chosen.values()) or 1
    ends: Counter[tuple[str, str]] = Counter()
    for stack, n in chosen.items():
        ours = next((frame for frame in reversed(stack) if OURS in frame), "")
        ends[_name(ours), _name(stack[-1])] += n
    lines = [f"{total:,} samples while extracting, {SAMPLES_A_SECOND} a second and thread", ""]
    for (ours, leaf), n in ends.most_common(SHOWN):
        lines.append(f"{n / total:6.1%}  {ours:<34} {leaf if leaf != ours else ''}".rstrip())
    return "\n".join(lines)


def _works(frame: str) -> bool:
    return frame.startswith(("extract (", "write_parts (", "_next_page ("))


def _name(frame: str) -> str:
    """`decode_page (airflow_pipeline_provider/connectors/elasticsearch/pages.py:71)` -> `decode_page`"""
    return frame.partition(" (")[0][:60]


if __name__ == "__main__":
    main()
