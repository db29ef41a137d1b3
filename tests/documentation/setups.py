"""What a page finds in its folder; each function is named by a `setup` comment of a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tests.documentation.blocks import Shell

PIPELINE = """\
pipeline_id: flights
timezone: America/New_York
granularity: 5h
start_day: 2013-11-02
end_day: 2013-11-03
source: {{type: sql, conn_id: source_db, table: flights, time_column: departed, key_columns: [id]}}
stage: {{type: object_store, path: {folder}/data/stage}}
target: {{type: duckdb, path: {folder}/data/warehouse.duckdb, table: main.flights}}
state: {{type: sql, conn_id: pipeline_state}}
"""


def new(shell: Shell) -> None:
    """Enter a new folder with a pipeline of two days in New York, of 24 and 25 hours, and move nothing."""
    folder = Path.cwd() / f"folder {len(list(Path.cwd().iterdir()))}"
    (folder / "dags" / "pipelines").mkdir(parents=True)
    (folder / "data").mkdir(mode=0o700)
    shell.enter(folder)
    (folder / "dags" / "pipelines" / "flights.yaml").write_text(PIPELINE.format(folder=folder))
    first = datetime(2013, 11, 2, 4, 30, tzinfo=timezone.utc)
    rows = [(n, f"{first + n * timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}", n * 7 % 60) for n in range(97)]
    change("CREATE TABLE flights (id INTEGER PRIMARY KEY, departed TEXT, delay INTEGER)")
    change(f"INSERT INTO flights VALUES {', '.join(map(str, rows))}")
    shell.environment.setenv("AIRFLOW_HOME", str(folder))
    shell.environment.setenv("AIRFLOW_CONN_SOURCE_DB", f"sqlite:///{folder}/data/source.db")
    shell.environment.setenv("AIRFLOW_CONN_PIPELINE_STATE", f"sqlite:///{folder}/data/state.db")


def half(shell: Shell) -> None:
    """Commit the first three of its ten windows."""
    new(shell)
    for _ in range(3):
        assert shell.program(["run", "flights"])[0] == 0


def complete(shell: Shell) -> None:
    """Commit all of its windows."""
    new(shell)
    assert shell.program(["run", "flights", "--until-done"])[0] == 0


def changed_source(_: Shell) -> None:
    """Add a late row to one committed window and delete a row of another one."""
    change("INSERT INTO flights VALUES (500, '2013-11-03T05:40:00Z', 12)")
    change("DELETE FROM flights WHERE id = 3")


def withdrawn_row(shell: Shell) -> None:
    """Delete a row of a committed window and let recheck find it."""
    change("DELETE FROM flights WHERE id = 12")
    assert shell.program(["recheck", "flights", "--days", "2", "--no-reload"])[0] == 4


def rejected(shell: Shell) -> None:
    """Commit all windows of a target with a small limit, which rejects one document."""
    from airflow_pipeline_provider.connectors.base import TargetLimits
    from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget

    new(shell)
    shell.environment.setattr(DuckDBTarget, "limits", TargetLimits(max_body_bytes=100))
    with Path("dags/pipelines/flights.yaml").open("a") as file:
        file.write("audit: {on_reject: quarantine}\n")
    change(f"UPDATE flights SET delay = '{'unknown, ' * 10}' WHERE id = 20")
    assert shell.program(["run", "flights", "--until-done"])[0] == 0


def corrected_document(_: Shell) -> None:
    """Correct the document that the target rejected."""
    change("UPDATE flights SET delay = 20 WHERE id = 20")


def empty_state(_: Shell) -> None:
    """Lose the state, as a new store has none."""
    Path("data/state.db").unlink()


def change(statement: str) -> None:
    """Run a statement on the source of the current folder."""
    with closing(sqlite3.connect("data/source.db")) as connection, connection:
        connection.execute(statement)


SETUPS: dict[str, Callable[[Shell], None]] = {
    function.__name__: function
    for function in (
        *(new, half, complete, changed_source, withdrawn_row, empty_state),
        *(rejected, corrected_document),
    )
}
