# ruff: noqa: S608  (names are checked by `parse_name` and quoted, values are bound)
"""Which pipelines load into a table, and from where: kept as JSON in the one row of its fence table.

A writer updates the fence row first, so it changes between two loads and never during one.  Fence tables of
older versions get the column when they are prepared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_pipeline_provider.connectors.load_protocol import Execute, Statements
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.fault_points import reach

COLUMN = "PIPELINES"
Pipelines = dict[str, dict[str, Any]]
Check = Callable[[Pipelines], None]


def add_column(statements: Statements, seen: Mapping[str, str], table: str) -> str | None:
    """Return the statement that adds the column to a fence table of an older version, None when it is there."""
    if table != str(statements.fence) or COLUMN in seen:
        return None
    return f'ALTER TABLE {statements.fence} ADD COLUMN IF NOT EXISTS "{COLUMN}" {statements.dialect.text}'


def read_pipelines(statements: Statements, execute: Execute) -> Pipelines:
    """Return what each pipeline has registered; DataError for what is not ours, FatalError if no load can begin."""
    rows = execute(f'SELECT "{COLUMN}" FROM {statements.fence}', [])
    statements.check_fence(len(rows))
    [(text, *_)] = rows
    if text is None:
        return {}
    try:
        return {str(name): dict(value) for name, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"fence table {statements.fence}: expected a JSON object in {COLUMN}, got {str(text)[:60]!r}; set it to "
            "NULL, each pipeline registers again with its next load after `adopt`"
        ) from error


def register(
    statements: Statements, execute: Execute, pipeline_id: str, entry: dict[str, Any], check: Check
) -> None:
    """Register the pipeline inside of the open transaction; `check` gets the other pipelines and may refuse."""
    _take_fence(statements, execute)
    pipelines = read_pipelines(statements, execute)
    pipelines.pop(pipeline_id, None)
    check(pipelines)
    _write(statements, execute, {**pipelines, pipeline_id: entry})


def rename(statements: Statements, execute: Execute, old: str, new: str) -> int:
    """Give the rows, commit rows and registration of pipeline `old` to `new`, inside of the open transaction.

    Return the number of data rows: 0 when it was done already.  DataError when both pipelines have commit rows.
    """
    mark = statements.dialect.mark
    _take_fence(statements, execute)
    reach("rename.fence_taken")
    counts = {}
    for name in (old, new):
        [(counts[name],)] = execute(
            f'SELECT COUNT(*) FROM {statements.commits} WHERE "PIPELINE_ID" = {mark}', [name]
        )
    if counts[old] and counts[new]:
        raise DataError(
            f"{statements.table} holds commit rows of both {old!r} ({counts[old]}) and {new!r} ({counts[new]}): rows "
            "of two pipelines cannot be told apart again; nothing was changed"
        )
    [(rows, *_)] = execute(
        f'UPDATE {statements.table} SET "PIPELINE_ID" = {mark} WHERE "PIPELINE_ID" = {mark}', [new, old]
    )
    reach("rename.rows_renamed")
    execute(
        f'UPDATE {statements.commits} SET "PIPELINE_ID" = {mark} WHERE "PIPELINE_ID" = {mark}', [new, old]
    )
    pipelines = read_pipelines(statements, execute)
    if old in pipelines:
        pipelines[new] = pipelines.pop(old)
        _write(statements, execute, pipelines)
    return int(rows)


def _take_fence(statements: Statements, execute: Execute) -> None:
    [(taken, *_)] = execute(f'UPDATE {statements.fence} SET "TAKEN_AT" = CURRENT_TIMESTAMP', [])
    statements.check_fence(taken)


def _write(statements: Statements, execute: Execute, pipelines: Pipelines) -> None:
    text = json.dumps(pipelines, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    execute(f'UPDATE {statements.fence} SET "{COLUMN}" = {statements.dialect.mark}', [text])
