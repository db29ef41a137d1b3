"""Build the files that `init` writes: a DAG file, defaults, a pipeline and, on request, an example database."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from airflow_pipeline_provider.core.command_line import PROGRAM

EXAMPLE_DAYS = 3
EXAMPLE_STEP = timedelta(minutes=10)


class Starter(NamedTuple):
    """The choices of the user.

    `folder` is absolute; pipelines are in `folder/pipelines`, data in `folder/data`.
    """

    folder: Path
    pipeline_id: str
    source: str
    target: str
    state: str
    start_day: date
    example: bool

    @property
    def pipelines(self) -> Path:
        """Return the folder of the pipeline files."""
        return self.folder / "pipelines"

    @property
    def data(self) -> Path:
        """Return the folder of databases and staged files."""
        return self.folder / "data"

    @property
    def pipeline_file(self) -> Path:
        """Return the path of the pipeline file."""
        return self.pipelines / f"{self.pipeline_id}.yaml"

    @property
    def needs_data_folder(self) -> bool:
        """Return whether anything is stored in the data folder."""
        return self.example or self.state == "sql" or self.target != "snowflake"

    @property
    def example_database(self) -> Path:
        """Return the path of the example database."""
        return self.data / "example.db"


class NeededConnection(NamedTuple):
    """An Airflow connection that the files name, with a URI to create it; words in capitals must be replaced."""

    conn_id: str
    uri: str


def file_texts(starter: Starter) -> dict[Path, str]:
    """Return the text of each file by its path, in the order of writing."""
    return {
        starter.folder / "pipelines.py": _DAG_FILE,
        starter.pipelines / "defaults.yaml": _defaults(starter),
        starter.pipeline_file: _pipeline(starter),
    }


def needed_connections(starter: Starter) -> list[NeededConnection]:
    """Return the connections that the written files name."""
    needed = {
        "sql": NeededConnection(
            "source_db", _sqlite_uri(starter.example_database) if starter.example else _ANY_DATABASE
        ),
        "elasticsearch": NeededConnection(
            "elasticsearch_default", "elasticsearch://USER:PASSWORD@HOST:9200/https"
        ),
    }
    found = [needed[starter.source]]
    if starter.target == "snowflake":
        found.append(NeededConnection("aws_default", "aws://"))
        found.append(
            NeededConnection(
                "snowflake_default",
                "snowflake://USER@/SCHEMA?account=ACCOUNT&warehouse=WAREHOUSE&private_key_file=KEY.p8",
            )
        )
    if starter.target == "postgres":
        found.append(NeededConnection("warehouse", "postgres://USER:PASSWORD@HOST:5432/DATABASE"))
    if starter.state == "sql":
        found.append(NeededConnection("pipeline_state", _sqlite_uri(starter.data / "state.db")))
    return found


def write_example(path: Path, start_day: date) -> int:
    """Write a SQLite database with a table `events`, one row every 10 minutes from `start_day` in UTC.

    Returns the number of rows. The last row is three days later, or now if that is earlier.
    """
    first = datetime.combine(start_day, datetime.min.time(), timezone.utc)
    last = min(first + timedelta(days=EXAMPLE_DAYS), datetime.now(timezone.utc))
    rows: list[tuple[int, str, str, int]] = []
    moment = first
    while moment < last:
        number = len(rows) + 1
        rows.append(
            (number, f"{moment:%Y-%m-%dT%H:%M:%SZ}", ("view", "order", "return")[number % 3], number % 97)
        )
        moment += EXAMPLE_STEP
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished)) as connection, connection:
        connection.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, created_at TEXT, kind TEXT, amount INTEGER)"
        )
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
    unfinished.replace(path)  # an interrupted `init` leaves no partial database under this name
    return len(rows)


_ANY_DATABASE = "postgres://USER:PASSWORD@HOST:5432/DATABASE"

_DAG_FILE = '''\
"""Load every file of `pipelines/` as an Airflow DAG."""

from airflow_pipeline_provider import load_maintenance, load_pipelines

load_pipelines(globals(), "pipelines")
load_maintenance(globals(), "pipelines")  # a daily DAG that finds late data and removes old files
'''

_SOURCES = {
    "sql": """\
source:
  type: sql
  conn_id: source_db
  table: events                 # schema.table; or `query: SELECT ...`
  time_column: created_at       # when a row happened
  time_column_zone: UTC         # only read where the column holds no offset
  key_columns: [id]             # columns that identify a row
""",
    "elasticsearch": """\
source:
  type: elasticsearch
  conn_id: elasticsearch_default
  index: "events-*"             # index, alias, data stream or pattern
  time_field: "@timestamp"
""",
}

_TARGETS = {
    "duckdb": """\
target:
  type: duckdb
  path: {warehouse}
  table: main.{table}
""",
    "postgres": """\
target:
  type: postgres
  conn_id: warehouse
  table: public.{table}
""",
    "snowflake": """\
target:
  type: snowflake
  conn_id: snowflake_default
  table: ANALYTICS.RAW.{upper}        # database.schema.table
  # external_stage: ANALYTICS.RAW.LAKE   # a stage on the bucket below; without it files are uploaded by PUT
""",
}

_STATES = {
    "sql": """\
state:
  type: sql                     # any number of runs at once, backfills next to live runs
  conn_id: pipeline_state       # PostgreSQL in production, SQLite on one machine
""",
    "variable": """\
state:
  type: variable                # Airflow Variables: nothing to set up, one run at a time
""",
}


def _sqlite_uri(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"


def _yaml_text(path: Path) -> str:
    """Return the path as a value of a pipeline file, where `$${` escapes `${`."""
    text = str(path).replace("${", "$${")
    return text if re.fullmatch(r"[\w./@%+-]+", text) else json.dumps(text, ensure_ascii=False)


def _defaults(starter: Starter) -> str:
    return f"""\
# Merged under every pipeline of this folder; keys of a pipeline file take precedence.
timezone: UTC                   # IANA zone whose calendar days are moved, such as America/New_York
granularity: 1h                 # length of a window; never across midnight
x_time_back: 1d                 # the target day is the local day of (now - this)
settle: 10m                     # how long a window waits for late rows after its end
{_STATES[starter.state]}"""


def _pipeline(starter: Starter) -> str:
    if starter.target == "snowflake":
        place = f"s3://aws_default@BUCKET/{starter.pipeline_id}"
    else:
        place = _yaml_text(starter.data / "stage" / starter.pipeline_id)
    table = starter.pipeline_id.replace("-", "_").replace(".", "_")
    target = _TARGETS[starter.target].format(
        warehouse=_yaml_text(starter.data / "warehouse.duckdb"), table=table, upper=table.upper()
    )
    return f"""\
# All keys with their meaning: {PROGRAM} schema
pipeline_id: {starter.pipeline_id}
start_day: {starter.start_day}           # first day to move
{_SOURCES[starter.source]}stage:
  type: object_store
  path: {place}
{target}"""
