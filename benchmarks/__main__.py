"""`make bench`: all groups, or what BENCH_ARGS narrows it to; writes benchmarks/results.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import groups
from benchmarks.contract import Settings
from benchmarks.harness import ROOT, run_group, say
from benchmarks.report import write


def _option(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=groups.names(), help="these groups")
    parser.add_argument("--races", nargs="+", default=[], help="races whose names hold one of these words")
    parser.add_argument(
        "--names", nargs="+", default=[], help="contestants whose names hold one of these words"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=int, default=1_000_000, help="documents that each contestant moves")
    parser.add_argument("--set", type=_option, action="append", default=[], help="name=value, for a group")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.md")
    parser.add_argument("--data", type=Path, default=ROOT / ".bench", help="what is built once and kept")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    given.data.mkdir(exist_ok=True)
    results, failed = [], []
    with tempfile.TemporaryDirectory(prefix="work-", dir=given.data) as work:
        common = Settings(
            rounds=given.rounds,
            docs=given.docs,
            work=Path(work),
            data=given.data.resolve(),
            races=tuple(given.races),
            names=tuple(given.names),
            options=dict(given.set),
        )
        for name in given.only or groups.names():
            group, measured, error = run_group(name, replace(common, servers={}))
            results.append((group, measured))
            if error is not None:
                failed.append(name)
                say(f"error: {error}")
    narrowed = bool(given.only or given.races or given.names)
    write(given.out, results, common, failed, narrowed=narrowed)
    say(f"written: {given.out}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
