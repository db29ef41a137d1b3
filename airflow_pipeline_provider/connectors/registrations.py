# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted, values are bound)
"""Registered pipelines of a target table, with their sources: JSON in the one row of its fence table.

A writer updates the fence row first, so the row changes between two loads and never during one.  Fence tables of
earlier versions get the column when they are prepared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.fault_points import reach

COLUMN = "PIPELINES"
Pipelines = dict[str, dict[str, Any]]
Check = Callable[[Pipelines], None]


def read_pipelines(protocol: LoadProtocol) -> Pipelines:
    """Return what each pipeline registered.

    Raises:
        DataError: The column holds something else.
        FatalError: The fence table does not have exactly one row, so no load can begin.
    """
    tables = protocol.tables
    rows = protocol.execute(f"SELECT {tables.columns.pipelines} FROM {tables.fence}", [])
    protocol.check_fence(len(rows))
    [(text, *_)] = rows
    if text is None:
        return {}
    try:
        return {str(name): dict(value) for name, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"fence table {tables.fence}: expected a JSON object in {COLUMN}, got {str(text)[:60]!r}; set it to "
            "NULL, each pipeline registers again with its next load after `adopt`"
        ) from error


def register(protocol: LoadProtocol, entry: dict[str, Any], check: Check) -> None:
    """Register the pipeline inside the open transaction; `check` gets the other pipelines and may refuse."""
    protocol.take_fence()
    pipelines = read_pipelines(protocol)
    pipelines.pop(protocol.pipeline_id, None)
    check(pipelines)
    _write(protocol, {**pipelines, protocol.pipeline_id: entry})


def rename(protocol: LoadProtocol, old: str) -> int:
    """Move the rows, commit rows and registration of pipeline `old` to this one, inside the open transaction.

    Return the number of data rows: 0 when it was done already.

    Raises:
        DataError: Both pipelines have commit rows.
    """
    tables, new = protocol.tables, protocol.pipeline_id
    column, mark = tables.columns.pipeline_id, tables.dialect.placeholder
    protocol.take_fence()
    reach("rename.fence_taken")
    counts = {}
    for name in (old, new):
        [(counts[name],)] = protocol.execute(
            f"SELECT COUNT(*) FROM {tables.commits} WHERE {column} = {mark}", [name]
        )
    if counts[old] and counts[new]:
        raise DataError(
            f"{tables.data} holds commit rows of both {old!r} ({counts[old]}) and {new!r} ({counts[new]}): rows "
            "of two pipelines cannot be separated again; nothing was changed"
        )
    [(rows, *_)] = protocol.execute(
        f"UPDATE {tables.data} SET {column} = {mark} WHERE {column} = {mark}", [new, old]
    )
    reach("rename.rows_renamed")
    protocol.execute(f"UPDATE {tables.commits} SET {column} = {mark} WHERE {column} = {mark}", [new, old])
    pipelines = read_pipelines(protocol)
    if old in pipelines:
        pipelines[new] = pipelines.pop(old)
        _write(protocol, pipelines)
    return int(rows)


def _write(protocol: LoadProtocol, pipelines: Pipelines) -> None:
    text = json.dumps(pipelines, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tables = protocol.tables
    protocol.execute(
        f"UPDATE {tables.fence} SET {tables.columns.pipelines} = {tables.dialect.placeholder}", [text]
    )
