"""The share of the work on pages that holds Python's lock, by samples of py-spy.

    python -m benchmarks.experiments.lock_share --samples 200

With a share of S, several threads of one process move at most 1 / S times the documents of one.  Other work on the
machine does not change it: it takes time from both parts alike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import threading
import time

from benchmarks.experiments import pages
from benchmarks.harness import ROOT
from benchmarks.shapes import SHAPES

WORKER = "worker"


def work_until_killed(shape: str, way: str, *, written: bool) -> None:
    page, _ = pages.page_of(shape)

    def run() -> None:
        while True:
            pages.work(page, 20, pages.WAYS[way], 1, written=written)

    threading.Thread(target=run, name=WORKER, daemon=True).start()
    print("ready", flush=True)
    time.sleep(3600)


def share(shape: str, way: str, samples: int, *, written: bool) -> float:
    """Return in which share of the samples the worker held the lock."""
    sampler = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or "py-spy"
    arguments = ["--worker", shape, way, "1" if written else "0"]
    command = [sys.executable, "-m", "benchmarks.experiments.lock_share", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as worker:
        try:
            assert worker.stdout is not None
            worker.stdout.readline()
            dump = [sampler, "dump", "--json", "--nonblocking", "--pid", str(worker.pid)]
            held = seen = 0
            while seen < samples:
                found = subprocess.run(dump, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
                if found.returncode:  # the stack changed while it was read
                    continue
                (thread,) = (
                    each for each in json.loads(found.stdout) if each["thread_name"].startswith(WORKER)
                )
                held, seen = held + thread["owns_gil"], seen + 1
        finally:
            worker.kill()
    return held / seen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        shape, way, written = given.worker
        return work_until_killed(shape, way, written=written == "1")
    print("| documents | way | part file | holds the lock |\n|---|---|---|---|")
    for shape in given.shapes:
        for way in pages.WAYS:
            for written in (False, True):
                seen = share(shape, way, given.samples, written=written)
                print(f"| {shape} | {way} | {'yes' if written else 'no'} | {seen:.0%} |", flush=True)
    return None


if __name__ == "__main__":
    main()
