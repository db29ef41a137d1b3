"""What Airflow's own database says of runs and task instances; reading it there costs Airflow nothing."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, NamedTuple

import psycopg2

LOOK_EVERY = 0.5  # seconds


class Progress(NamedTuple):
    """Runs of a contestant: all, ended, and not successful among them."""

    runs: int
    ended: int
    failed: int


class Records:
    """The DAGs whose ids start with `prefix`."""

    def __init__(self, database: str, prefix: str) -> None:
        self._connection = psycopg2.connect(database)
        self._connection.autocommit = True
        self._like = prefix.replace("_", r"\_") + "%"

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, {"like": self._like})
            return list(cursor.fetchall())

    def import_errors(self) -> list[str]:
        return [str(text) for (text,) in self._rows("SELECT stacktrace FROM import_error")]

    def dags(self) -> int:
        return int(self._rows("SELECT COUNT(*) FROM dag WHERE dag_id LIKE %(like)s")[0][0])

    def progress(self) -> Progress:
        sql = """
            SELECT COUNT(*), COUNT(*) FILTER (WHERE state IN ('success', 'failed')),
                   COUNT(*) FILTER (WHERE state = 'failed')
            FROM dag_run WHERE dag_id LIKE %(like)s
        """
        return Progress(*map(int, self._rows(sql)[0]))

    def wait_for(self, runs: int | None, seconds: float) -> int:
        """Wait until so many runs, or all that there are, have ended; return their number."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.progress()
            if found.failed:
                raise AssertionError(f"{found.failed} runs failed")
            if errors := self.import_errors():
                raise AssertionError(errors[0])
            if found.ended and found.ended == found.runs and (runs is None or found.runs >= runs):
                return found.runs
            if time.monotonic() > deadline:
                raise AssertionError(f"{found.ended} of {found.runs} runs ended within {seconds:.0f} s")
            time.sleep(LOOK_EVERY)

    def figures(self) -> dict[str, float]:
        """Return when runs and tasks were queued, started and ended; a task that was tried twice is an error."""
        again = self._rows(
            "SELECT dag_id, run_id, task_id, state, try_number FROM task_instance "
            "WHERE dag_id LIKE %(like)s AND (try_number > 1 OR state NOT IN ('success', 'skipped'))"
        )
        if again:
            raise AssertionError(f"{len(again)} tasks were tried again or did not succeed, first {again[0]}")
        runs = "SELECT run_id, dag_id, queued_at, run_type FROM dag_run WHERE dag_id LIKE %(like)s"
        sql = f"""
            SELECT EXTRACT(EPOCH FROM MAX(ended) - MIN(asked)), COUNT(started),
                   COALESCE(PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY waited), 0), COALESCE(MAX(waited), 0),
                   PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM ended - started))
            FROM (
                SELECT run.queued_at AS asked, task.start_date AS started, task.end_date AS ended,
                       EXTRACT(EPOCH FROM task.start_date - task.queued_dttm) AS waited
                FROM task_instance task JOIN ({runs}) run
                ON run.dag_id = task.dag_id AND run.run_id = task.run_id
            ) AS tasks
        """
        names = ("seconds", "tasks", "queued_seconds", "longest_queued_seconds", "task_seconds")
        figures = dict(zip(names, map(float, self._rows(sql)[0]), strict=True))
        parse = self._rows("SELECT MAX(last_parse_duration) FROM dag WHERE dag_id LIKE %(like)s")[0][0]
        return {**figures, "parse_seconds": float(parse or 0)}
