"""`make demo`: real data of a 25-hour day through the generated DAGs, on servers that live as long as the demo.

Elasticsearch → S3 → Snowflake, all three embedded; then one window is replaced, one run is killed in the middle,
and every count is asked again, from both ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from airflow_pipeline_provider.config.loader import load_folder
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.state.sql import SqlState
from demo import report
from demo.airflow_home import DAY, environment, make_dags
from demo.airflow_runs import Runner, RunnerFailed
from demo.children import ServerFailed
from demo.servers import DemoServers

PIPELINES = ("weather", "flights")


class Demo:
    """One demonstration; `console` is where it speaks."""

    def __init__(self, console: Console, servers: DemoServers, configs: dict[str, PipelineConfig]) -> None:
        self.console, self.servers, self.configs = console, servers, configs
        self.env = {**environment(servers.workdir, servers.workdir / "dags"), **servers.env}
        self.log = servers.workdir / "logs" / "airflow.log"
        self.day = date.fromisoformat(DAY)

    def state(self, pipeline_id: str) -> SqlState:
        identity = Identity(pipeline_id, self.configs[pipeline_id].timezone)
        return SqlState.from_url(f"sqlite:///{self.servers.workdir / 'state.db'}", identity)

    def windows(self, pipeline_id: str) -> list[Interval]:
        return day_plan(self.configs[pipeline_id].rules, self.day)

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
                name: progress.add_task(name, total=len(self.windows(name)), now="", start=False)
                for name in PIPELINES
            }
            with Runner(["drain", *PIPELINES], env=self.env, log=self.log) as runner:
                for event in runner.events():
                    self._show(progress, bars, event)
                runner.finish()

    def _show(self, progress: Progress, bars: dict[str, Any], event: dict[str, Any]) -> None:
        phase = event.get("phase")
        if phase is None:
            run = event["run"]
            if run["audit"] == "success":
                progress.advance(bars[run["dag_id"]])
            elif run["audit"] == "skipped":
                progress.update(bars[run["dag_id"]], now="nothing left to do")
                progress.stop_task(bars[run["dag_id"]])
            return
        bar = bars[phase["pipeline"]]
        if not progress.tasks[bar].started:
            progress.start_task(bar)
        if phase.get("window"):
            zone = self.configs[phase["pipeline"]].timezone
            progress.update(bar, now=f"{report.clock(interval_of(phase['window']), zone)} {phase['phase']}")

    def replace(self, pipeline_id: str, window: Interval, *, kill_at: str | None = None) -> bool:
        """One run for exactly this window; killed as the phase `kill_at` begins. Did it end by itself?"""
        bounds = window.to_json()
        with Runner(["window", pipeline_id, *bounds], env=self.env, log=self.log) as runner:
            for event in runner.events():
                phase = event.get("phase", {})
                if phase.get("phase") == kill_at and phase.get("status") == "started":
                    runner.kill()
                    return False
            runner.finish()
        return True

    def wait_for_the_dead_run(self, pipeline_id: str) -> None:
        state = self.state(pipeline_id)
        try:
            while leases := state.leases():
                left = max((lease.until - state.now()).total_seconds() for lease in leases)
                self.console.print(
                    f"  its lease ends in {left:.0f} s: until then nobody else may touch the window"
                )
                time.sleep(max(left, 0) + 0.2)
        finally:
            state.close()


def interval_of(text: str) -> Interval:
    """`[2013-11-03T04:00:00Z, 2013-11-03T06:00:00Z)`, as phases write it."""
    start, end = text.strip("[)").split(", ")
    return Interval(parse_utc(start), parse_utc(end))


def start(console: Console, workdir: Path) -> DemoServers:
    """The servers, while Airflow makes its database beside them."""
    workdir.mkdir(parents=True, exist_ok=True)
    dags = make_dags(workdir)
    console.print(
        "[bold]1. Servers[/] an Elasticsearch-compatible one, S3, and a Snowflake stand-in, on this machine"
    )
    log = workdir / "airflow-init.log"
    servers = DemoServers(workdir)
    with Runner(["init"], env=environment(workdir, dags), log=log) as init:
        servers.__enter__()
        try:
            console.print(
                "  "
                + ", ".join(f"{count:,} {name}" for name, count in servers.documents.items())
                + " of four days indexed; Airflow makes its database ..."
            )
            init.finish()
        except BaseException:
            servers.__exit__(None, None, None)
            raise
    return servers


def story(demo: Demo) -> bool:
    """What is shown, in order; False when a count is not what it should be."""
    console = demo.console
    hours = day_interval(demo.day, "America/New_York").seconds / 3600
    console.print(
        f"\n[bold]2. The day[/] {DAY} in New York has {hours:.0f} hours; the generated DAGs move it"
    )
    demo.move_the_day()
    for pipeline_id in PIPELINES:
        report.windows(console, demo, pipeline_id)

    window = demo.windows("flights")[6]
    shown = local_window(window, "America/New_York")
    console.print(f"\n[bold]3. Again[/] the window {shown} of flights, by a run with Params")
    before = report.target_count(demo, "flights")
    demo.replace("flights", window)
    after = report.target_count(demo, "flights")
    console.print(f"  rows of the day in the target: {before} before, {after} after: replaced, not doubled")

    console.print("\n[bold]4. Killed[/] the same window once more, and kill -9 as the load begins")
    demo.replace("flights", window, kill_at="load")
    report.day(console, demo, "flights")
    demo.wait_for_the_dead_run("flights")
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
        servers = start(console, workdir)
        try:
            loaded = load_folder(workdir / "dags" / "pipelines", options_model=options_model)
            configs = {name: config for name, (_, config) in loaded.pipelines.items()}
            os.environ["REQUESTS_CA_BUNDLE"] = str(servers.ca_bundle)
            good = story(Demo(console, servers, configs))
        finally:
            servers.__exit__(None, None, None)
    except (ServerFailed, RunnerFailed, RuntimeError) as error:
        console.print(f"[red]error:[/] {error}", markup=True)
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
