"""`make demo`: real data of a 25-hour day through the generated DAGs, on servers that live as long as the demo.

Elasticsearch → S3 → Snowflake, all three embedded; then one window is replaced, one run is killed in the middle,
and every count is asked again, from both ends.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from airflow_pipeline_provider.config.loader import load_folder
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.state.sql import SqlState
from demo import report
from demo.airflow_home import DAY, environment, make_dags
from demo.airflow_runs import Runner, RunnerFailed, follow
from demo.children import ServerFailed
from demo.servers import DemoServers

PIPELINES = ("weather", "flights")


class Demo:
    """One demonstration; `console` is where it speaks, `stack` ends all that it starts."""

    def __init__(self, console: Console, workdir: Path, stack: ExitStack) -> None:
        self.console, self.workdir, self.stack = console, workdir, stack
        self.day = date.fromisoformat(DAY)
        self.events: queue.Queue[Any] = queue.Queue()
        self.runners: dict[str, Runner] = {}
        workdir.mkdir(parents=True, exist_ok=True)
        loaded = load_folder(make_dags(workdir) / "pipelines", options_model=options_model)
        self.configs = {name: config for name, (_, config) in loaded.pipelines.items()}
        self.servers = DemoServers(workdir, beside=self._start_airflow)

    def state(self, pipeline_id: str) -> SqlState:
        identity = Identity(pipeline_id, self.configs[pipeline_id].timezone)
        return SqlState.from_url(f"sqlite:///{self.workdir / 'state.db'}", identity)

    def windows(self, pipeline_id: str) -> list[Interval]:
        return day_plan(self.configs[pipeline_id].rules, self.day)

    def start(self) -> None:
        """The servers, and beside them an Airflow for each pipeline."""
        self.stack.enter_context(self.servers)
        os.environ["REQUESTS_CA_BUNDLE"] = str(self.servers.ca_bundle)
        counts = ", ".join(f"{count:,} {name}" for name, count in self.servers.documents.items())
        self.console.print(f"  {counts} of four days indexed; Airflow starts ...")
        for _ in follow(self.events, list(self.runners.values()), "ready"):
            pass
        for runner in self.runners.values():
            runner.tell(env=self.servers.env)

    def _start_airflow(self, *names: str) -> None:
        for name in names or PIPELINES:
            log = self.workdir / f"airflow-{name}.log"
            runner = Runner(name, env=environment(self.workdir, name), log=log, events=self.events)
            self.runners[name] = self.stack.enter_context(runner)

    def move_the_day(self) -> None:
        """Every window of the day, each by a run of the generated DAG, until the planner has nothing left."""
        columns = [
            TextColumn("  {task.description:8}"),
            BarColumn(26),
            MofNCompleteColumn(),
            TextColumn("windows"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[now]}"),
        ]
        with Progress(*columns, console=self.console) as progress:
            bars = {
                name: progress.add_task(name, total=len(self.windows(name)), now="") for name in PIPELINES
            }
            for name in PIPELINES:
                self.runners[name].tell(drain=name)
            for runner, event in follow(self.events, list(self.runners.values()), "done"):
                self._show(progress, bars[runner.name], event, self.configs[runner.name].timezone)

    def _show(self, progress: Progress, bar: Any, event: dict[str, Any], zone: str) -> None:
        run, phase = event.get("run", {}), event.get("phase", {})
        if run.get("audit") == "success":
            progress.advance(bar)
        elif run.get("audit") == "skipped":
            progress.update(bar, now="nothing left to do")
            progress.stop_task(bar)
        elif phase.get("window"):
            progress.update(bar, now=f"{report.clock(interval_of(phase['window']), zone)} {phase['phase']}")

    def replace(self, pipeline_id: str, window: Interval) -> None:
        """One run for exactly this window, to its end."""
        runner = self.runners[pipeline_id]
        runner.tell(window=[pipeline_id, *msgspec.to_builtins(window)])
        for _ in follow(self.events, [runner], "done"):
            pass

    def kill_while_loading(self, pipeline_id: str, window: Interval) -> None:
        """The same, killed when the ledger says that the target is being changed; a new Airflow takes its place."""
        runner = self.runners[pipeline_id]
        runner.tell(window=[pipeline_id, *msgspec.to_builtins(window)])
        for _, event in follow(self.events, [runner], "done"):
            phase = event.get("phase", {})
            if (phase.get("phase"), phase.get("status")) == ("load", "started"):
                self._wait_for_replacing(pipeline_id)
                break
        runner.kill()
        self._start_airflow(pipeline_id)

    def _wait_for_replacing(self, pipeline_id: str) -> None:
        state = self.state(pipeline_id)
        try:
            while state.entries()[-1].kind is not Kind.REPLACING:
                time.sleep(0.01)
        finally:
            state.close()

    def wait_for_the_lease(self, pipeline_id: str) -> None:
        """Wait until the lease of the killed run has expired and the new Airflow is there."""
        state = self.state(pipeline_id)
        try:
            while leases := state.leases():
                left = max((lease.until - state.now()).total_seconds() for lease in leases)
                self.console.print(
                    f"  the lease of the killed run expires in {left:.0f} s; then another run can take the window"
                )
                time.sleep(max(left, 0) + 0.2)
        finally:
            state.close()
        runner = self.runners[pipeline_id]
        for _ in follow(self.events, [runner], "ready"):
            pass
        runner.tell(env=self.servers.env)


def interval_of(text: str) -> Interval:
    """`[2013-11-03T04:00:00Z, 2013-11-03T06:00:00Z)`, as phases write it."""
    start, end = text.strip("[)").split(", ")
    return Interval(parse_utc(start), parse_utc(end))


def story(demo: Demo) -> bool:
    """What is shown, in order; False when a count is not what it should be."""
    console = demo.console
    console.print("[bold]1. Servers[/] for Elasticsearch, S3 and Snowflake start on this machine")
    demo.start()
    hours = day_interval(demo.day, "America/New_York").seconds / 3600
    console.print(
        f"\n[bold]2. The day[/] {DAY} in New York has {hours:.0f} hours; the generated DAGs move it"
    )
    demo.move_the_day()
    for pipeline_id in PIPELINES:
        report.windows(console, demo, pipeline_id)

    window = demo.windows("flights")[6]
    shown = local_window(window, "America/New_York")
    console.print(f"\n[bold]3. Replaced[/] flights {shown}, by a run with Params")
    before = report.target_count(demo, "flights")
    demo.replace("flights", window)
    after = report.target_count(demo, "flights")
    console.print(f"  rows of the day in the target: {before} before, {after} after")

    console.print("\n[bold]4. Killed[/] by kill -9 as it begins to load the same window once more")
    demo.kill_while_loading("flights", window)
    report.day(console, demo, "flights")
    demo.wait_for_the_lease("flights")
    demo.replace("flights", window)
    report.day(console, demo, "flights")

    console.print("\n[bold]5. The whole day, counted at both ends[/]")
    return report.proof(console, demo, PIPELINES)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--workdir", type=Path, default=Path(".demo"), help="folder for logs and databases")
    workdir = parser.parse_args().workdir.resolve()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            good = story(Demo(console, workdir, stack))
    except (ServerFailed, RunnerFailed, RuntimeError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print("\nstopped; no process is left behind")
        return 130
    report.next_steps(console, time.monotonic() - began)
    return 0 if good else 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
