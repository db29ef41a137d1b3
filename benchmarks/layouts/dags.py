"""The DAG files of a contestant: a pipeline file with its loader, or a copy of a DAG file here and its settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.layouts.documents import HOUR, START, TIME_FIELD, name_of

SCHEMA, STAGE, BUCKET = "ANALYTICS.LAYOUTS", "ANALYTICS.LAYOUTS.LAKE", "lake"
LOADER = '''"""Each pipeline of the folder {name} as a DAG."""

from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "{name}")
'''
TASKS, SINGLE_TASK, HAND_3, HAND_1 = "tasks", "single_task", "hand-3", "hand-1"
NOTHING_7, NOTHING_1 = "nothing-7", "nothing-1"
WAYS = (TASKS, SINGLE_TASK, HAND_3, HAND_1, NOTHING_7, NOTHING_1)
_FILES = {  # the DAG file of each way that is not ours, and its number of tasks
    HAND_3: ("hand_written.py", 3),
    HAND_1: ("hand_written.py", 1),
    NOTHING_7: ("do_nothing.py", 7),
    NOTHING_1: ("do_nothing.py", 1),
}


@dataclass(frozen=True)
class Work:
    """What a contestant does: `windows` of `hours` of one pipeline, or one window of each of so many `pipelines`.

    `name` is in every id, table and path, so that two contestants share nothing.
    """

    name: str
    by: str
    windows: int = 0
    pipelines: int = 0
    hours: int = 1
    backlog_granularity: str | None = None
    at_once: int = 1
    search: str = ""

    @property
    def is_ours(self) -> bool:
        return self.by in (TASKS, SINGLE_TASK)

    @property
    def moves_rows(self) -> bool:
        return self.by not in (NOTHING_7, NOTHING_1)

    @property
    def index(self) -> str:
        return "layouts-many" if self.pipelines else "layouts-week"

    @property
    def numbers(self) -> list[str]:
        return [name_of(number) for number in range(self.pipelines or 1)]

    @property
    def dag_ids(self) -> list[str]:
        return [self.dag_id(number) for number in self.numbers]

    def dag_id(self, number: str) -> str:
        return f"{self.name}_{number}"

    def table(self, number: str) -> str:
        return f"{SCHEMA}.{self.name}_{number}".upper()

    @property
    def last(self) -> datetime:
        """Return the start of the last window."""
        return START if self.pipelines else START + (self.windows - 1) * self.hours * HOUR

    @property
    def runs(self) -> int | None:
        """How many runs there are to be; None where the planner decides."""
        if self.pipelines:
            return self.pipelines
        return None if self.is_ours else self.windows


def write(folder: Path, work: Work) -> None:
    """Write the files; the DAG file comes last, so that Airflow never reads a half."""
    if work.is_ours:
        pipelines = folder / work.name
        pipelines.mkdir()
        (pipelines / "all.yaml").write_text(json.dumps(pipeline_file(work)))  # JSON is YAML
        (folder / f"{work.name}.py").write_text(LOADER.format(name=work.name))
        return
    (folder / f"{work.name}.json").write_text(json.dumps(hand_written_settings(work)))
    shutil.copy(Path(__file__).with_name(_FILES[work.by][0]), folder / f"{work.name}.py")


def remove(folder: Path, work: Work) -> None:
    (folder / f"{work.name}.py").unlink(missing_ok=True)
    (folder / f"{work.name}.json").unlink(missing_ok=True)
    shutil.rmtree(folder / work.name, ignore_errors=True)


def pipeline_file(work: Work) -> dict[str, Any]:
    """Return what a user writes: one file, with a variant for each pipeline.

    The window of a small pipeline is a whole day with the documents of one hour, so that exactly one is ready.
    """
    many = bool(work.pipelines)
    document: dict[str, Any] = {
        "pipeline_id": f"{work.name}_{{{{ n }}}}",
        "matrix": [{"n": number} for number in work.numbers],
        "timezone": "UTC",
        "granularity": "1d" if many else f"{work.hours}h",
        "x_time_back": "1d",
        "start_day": f"{START:%Y-%m-%d}",
        "end_day": f"{work.last:%Y-%m-%d}",
        "source": {
            "type": "elasticsearch",
            "conn_id": "layouts_search",
            "index": work.index,
            "time_field": TIME_FIELD,
        },
        "stage": {"type": "object_store", "path": f"s3://layouts_aws@{BUCKET}/{work.name}/{{{{ n }}}}"},
        "target": {
            "type": "snowflake",
            "conn_id": "layouts_snowflake",
            "table": f"{SCHEMA}.{work.name}_{{{{ n }}}}".upper().replace("{{ N }}", "{{ n }}"),
            "external_stage": STAGE,
        },
        "state": {"type": "sql", "conn_id": "layouts_state", "schema": work.name},
        "airflow": {"layout": work.by},
    }
    if many:
        document["source"]["query"] = {"term": {"pipeline": "{{ n }}"}}
    if work.backlog_granularity:
        document["backlog_granularity"] = work.backlog_granularity
    return document


def hand_written_settings(work: Work) -> dict[str, Any]:
    many = bool(work.pipelines)
    return {
        "search": work.search,
        "index": work.index,
        "bucket": BUCKET,
        "prefix": work.name,
        "stage": f"{STAGE}/{work.name}",
        "cron": "@daily" if many else f"0 */{work.hours} * * *",
        "start": START.isoformat(),
        "last": (work.last + timedelta(minutes=1)).isoformat(),
        "at_once": work.at_once,
        "tasks": _FILES[work.by][1],
        "dags": [
            {
                "id": work.dag_id(number),
                "table": work.table(number),
                "query": [{"term": {"pipeline": number}}] if many else [],
            }
            for number in work.numbers
        ],
    }
