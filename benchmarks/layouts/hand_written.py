"""DAGs as one writes them today, with the stock hooks: search by pages, NDJSON to S3, COPY into Snowflake, count.

A DAG file: `dags.py` copies it into the DAGs folder under another name, next to a JSON file with its settings.  A run
moves its data interval.  It replaces what an earlier try of the run loaded, in one transaction, and compares the rows
and the distinct ids of the table with the number of documents that it read.

What it does not do: count in the source, keep a run that was resumed late from replacing newer rows, notice documents
that come later, or record what is complete.
"""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, task

SETTINGS = json.loads(Path(__file__).with_suffix(".json").read_text())
PAGE = 5_000


def extract(key: str, query: list[dict[str, Any]], start: datetime, end: datetime) -> int:
    """Write the documents of [start, end) to S3; return their number."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.elasticsearch.hooks.elasticsearch import ElasticsearchPythonHook

    hook = ElasticsearchPythonHook(hosts=[SETTINGS["search"]], es_conn_args={"request_timeout": 60})
    times = {"range": {"at": {"gte": start.isoformat(), "lt": end.isoformat()}}}
    client = hook.get_conn
    point = client.open_point_in_time(index=SETTINGS["index"], keep_alive="5m")["id"]
    body: dict[str, Any] = {
        "query": {"bool": {"filter": [times, *query]}},
        "pit": {"id": point, "keep_alive": "5m"},
        "sort": ["_shard_doc"],
        "size": PAGE,
        "track_total_hits": False,
    }
    lines = []
    try:
        while True:
            hits = client.search(**body)["hits"]["hits"]
            lines += [
                json.dumps({"id": hit["_id"], "body": hit["_source"]}, ensure_ascii=False) for hit in hits
            ]
            if len(hits) < PAGE:
                break
            body["search_after"] = hits[-1]["sort"]
    finally:
        client.close_point_in_time(id=point)
    S3Hook(aws_conn_id="layouts_aws").load_bytes(
        gzip.compress("".join(f"{line}\n" for line in lines).encode()),
        key=f"{SETTINGS['prefix']}/{key}",
        bucket_name=SETTINGS["bucket"],
        replace=True,
    )
    return len(lines)


def load(table: str, key: str, start: datetime) -> None:
    """Replace the window's rows by those of the file, in one transaction."""
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    window = f"'{start:%Y-%m-%d %H:%M:%S}'"
    SnowflakeHook(snowflake_conn_id="layouts_snowflake").run(
        [
            f"DELETE FROM {table} WHERE WINDOW_START = {window}",
            f"COPY INTO {table} (WINDOW_START, ID, EVENT_TIME, BODY) FROM (SELECT {window}::TIMESTAMP_NTZ, "
            f"$1:id::VARCHAR, $1:body:at::TIMESTAMP_NTZ, $1:body FROM @{SETTINGS['stage']}/{key}) "
            "FILE_FORMAT = (TYPE = JSON) FORCE = TRUE",
        ],
        autocommit=False,
    )


def check(table: str, start: datetime, expected: int) -> None:
    """Compare the rows and the distinct ids of the window with the number of documents that were read."""
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    sql = f"SELECT COUNT(*), COUNT(DISTINCT ID) FROM {table} WHERE WINDOW_START = '{start:%Y-%m-%d %H:%M:%S}'"
    found = SnowflakeHook(snowflake_conn_id="layouts_snowflake").get_first(sql)
    if tuple(found) != (expected, expected):
        raise ValueError(f"expected {expected} rows, found {found[0]} with {found[1]} ids in {table}")


def build(dag_id: str, table: str, query: list[dict[str, Any]]) -> DAG:
    """Return the DAG of one pipeline: of three tasks, or of one that does the same."""
    with DAG(
        dag_id,
        schedule=CronDataIntervalTimetable(SETTINGS["cron"], timezone="UTC"),
        start_date=datetime.fromisoformat(SETTINGS["start"]),
        end_date=datetime.fromisoformat(SETTINGS["last"]),
        catchup=True,
        max_active_runs=SETTINGS["at_once"],
        default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    ) as dag:

        def key_of(start: datetime) -> str:
            return f"{dag_id}/{start:%Y%m%dT%H%M}.json.gz"

        if SETTINGS["tasks"] == 1:

            @task(task_id="move")
            def move(data_interval_start: Any = None, data_interval_end: Any = None) -> int:
                key = key_of(data_interval_start)
                rows = extract(key, query, data_interval_start, data_interval_end)
                load(table, key, data_interval_start)
                check(table, data_interval_start, rows)
                return rows

            move()
            return dag

        @task(task_id="extract")
        def extract_task(data_interval_start: Any = None, data_interval_end: Any = None) -> int:
            return extract(key_of(data_interval_start), query, data_interval_start, data_interval_end)

        @task(task_id="load")
        def load_task(rows: int, data_interval_start: Any = None) -> int:
            load(table, key_of(data_interval_start), data_interval_start)
            return rows

        @task(task_id="check")
        def check_task(rows: int, data_interval_start: Any = None) -> None:
            check(table, data_interval_start, rows)

        check_task(load_task(extract_task()))  # type: ignore[arg-type]
    return dag


for _row in SETTINGS["dags"]:
    globals()[_row["id"]] = build(_row["id"], _row["table"], _row["query"])
