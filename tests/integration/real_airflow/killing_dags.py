"""A DAG file that is copied into the DAGs folder: the pipelines of the folder of its name, killed at fault points.

A file `kills/DAG_ID/HOW@POINT` in that folder is an order.  The task that reaches the point first moves the file to
`kills/DAG_ID/taken`, writes its process id into it and kills itself.  HOW is one of `processes.HOW`; an orphan kills
the worker above it, sleeps until there is a file `kills/DAG_ID/wake`, and continues.
"""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, get_parsing_context

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.factory import load_pipelines

LONGEST_SLEEP = 1800.0  # seconds, so that no process outlives the test by much

FOLDER = Path(__file__).with_suffix("")
KILLS = FOLDER / "kills" / str(get_parsing_context().dag_id)


def reach(point: str) -> None:
    for order in sorted(KILLS.glob(f"*@{point}")):
        taken = KILLS / "taken" / order.name
        try:
            order.rename(taken)
        except FileNotFoundError:  # another process was quicker
            continue
        taken.write_text(str(os.getpid()))
        how = order.name.partition("@")[0]
        if how != "task":
            os.kill(os.getppid(), signal.SIGKILL)
        if how != "orphan":
            os.kill(os.getpid(), signal.SIGKILL)
        deadline = time.monotonic() + LONGEST_SLEEP
        while not (KILLS / "wake").exists() and time.monotonic() < deadline:
            time.sleep(0.2)


if KILLS.exists():
    fault_points.install(reach)
load_pipelines(globals(), FOLDER.name)
for dag in [value for value in globals().values() if isinstance(value, DAG)]:
    for task in dag.tasks:
        task.max_retry_delay = timedelta(seconds=5)  # after ten kills the pause would be minutes long
