"""A DAG whose tasks do nothing, one after the other: what Airflow itself needs for a run of so many tasks.

A DAG file: `dags.py` copies it into the DAGs folder under another name, next to a JSON file with its settings.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, chain, task

SETTINGS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())

with DAG(
    SETTINGS["dags"][0]["id"],
    schedule=CronDataIntervalTimetable(SETTINGS["cron"], timezone="UTC"),
    start_date=datetime.fromisoformat(SETTINGS["start"]),
    end_date=datetime.fromisoformat(SETTINGS["last"]),
    catchup=True,
    max_active_runs=SETTINGS["at_once"],
) as dag:

    @task
    def nothing() -> None:
        pass

    chain(*(nothing.override(task_id=f"nothing_{number}")() for number in range(SETTINGS["tasks"])))
