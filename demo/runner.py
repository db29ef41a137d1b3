"""The demo's Airflow: runs generated DAGs in this process by Airflow's own `dag.test`, and tells what happens.

    python -m demo.runner FD        commands come from that file descriptor, one JSON object a line:

    {"env": {…}}                    the servers, which may have started later than this process
    {"drain": DAG_ID}               run the DAG until its planner has nothing left
    {"window": [DAG_ID, START, END]}    one run with the Params window_start and window_end

Standard output is one JSON object a line as well: `{"ready": true}` once, `{"phase": …}` as a phase starts and ends,
`{"run": …}` after each run, `{"done": …}` after each drain or window. What Airflow prints goes to standard error.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from demo.children import die_with_parent


class Events(logging.Handler):
    """Phase log lines (JSON) as events on a stream of their own."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self.stream = stream

    def say(self, **event: Any) -> None:
        print(json.dumps(event), file=self.stream, flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("{"):
            self.say(phase=json.loads(message))


def dags() -> dict[str, Any]:
    """What the DAG file of the DAGs folder defines."""
    from airflow.configuration import conf
    from airflow.sdk import DAG

    file = Path(conf.get("core", "dags_folder")) / "pipelines.py"
    spec = importlib.util.spec_from_file_location("demo_pipelines", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if isinstance(value, DAG)}


def register(*chosen: Any) -> None:
    """Write the DAGs into Airflow's database, as its dag processor would."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(os.devnull, collect_dags=False)
    for dag in chosen:
        bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def run(events: Events, dag: Any, conf: dict[str, str] | None = None) -> str:
    """One DAG run to its end; returns the state of its audit task: `skipped` when there was nothing to do."""
    done = dag.test(run_after=datetime.now(timezone.utc), logical_date=None, run_conf=conf)
    audit = next(str(ti.state) for ti in done.get_task_instances() if ti.task_id == "audit")
    events.say(run={"dag_id": dag.dag_id, "run_id": done.run_id, "state": str(done.state), "audit": audit})
    return audit if str(done.state) == "success" else "failed"


def obey(events: Events, commands: Iterable[str]) -> None:
    """Carry out the commands, one JSON object a line, and tell when each is done."""
    known: dict[str, Any] = {}
    for line in commands:
        command = json.loads(line)
        if "env" in command:
            os.environ.update(command["env"])
            continue
        failed = False
        if "drain" in command:
            dag_id = command["drain"]
            known = known or _registered(dag_id)
            while (audit := run(events, known[dag_id])) == "success":
                pass
            failed = audit != "skipped"
        elif "window" in command:
            dag_id, start, end = command["window"]
            known = known or _registered(dag_id)
            failed = run(events, known[dag_id], {"window_start": start, "window_end": end}) != "success"
        events.say(done={"failed": failed})


def _registered(dag_id: str) -> dict[str, Any]:
    known = dags()
    register(known[dag_id])
    return known


def main() -> None:
    die_with_parent()
    events = Events(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    from airflow.utils.db import initdb

    initdb()
    phases = logging.getLogger("airflow_pipeline_provider.phases")
    phases.setLevel(logging.INFO)
    phases.addHandler(events)
    events.say(ready=True)
    with os.fdopen(int(sys.argv[1])) as commands:
        obey(events, commands)


if __name__ == "__main__":
    main()
