"""Physical columns: which of a table's columns hold typed values, and for which rows.

NULL is a value like others, so a column does not show whether it is filled.  The fence row records it, as JSON.
Every load and every step of `columns apply` takes the fence first, so each sees which columns the loads before it
filled.  A load fills the columns that the table has, whichever its own pipeline file declares.  What is not filled
yet is in the past, from an EVENT_TIME on that only `columns apply` moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_sql import TypedSql
from airflow_pipeline_provider.connectors.typed_views import VERSION
from airflow_pipeline_provider.core.columns import Column, formats_of
from airflow_pipeline_provider.exceptions import DataError, FatalError

COLUMN = "PHYSICAL"  # of the fence table
FIRST = "0001-01-01T00:00:00.000000Z"  # no row is older


class PhysicalColumn(Struct, frozen=True, omit_defaults=True):
    """A column of the table.

    Attributes:
        name: As the table spells it.
        column: What it holds.
        version: Of the expressions that filled it.
        is_added: False while it is about to be added, where that cannot be a part of the transaction.
        replaces: While it is about to be added: a column of another type has its name.
        is_filled: Every row has its value.
        filled_before: The rows with an earlier EVENT_TIME have theirs; None: no row of the past has.
    """

    name: str
    column: Column
    version: int
    is_added: bool = True
    replaces: bool = False
    is_filled: bool = False
    filled_before: str | None = None

    def holds(self, column: Column) -> bool:
        """Return whether the values are those of a declared column, by the expressions of this version."""
        mine = self.column
        same = (mine.path, mine.type, formats_of(mine)) == (column.path, column.type, formats_of(column))
        return self.is_added and self.version == VERSION and same

    def added(self, *, is_filled: bool) -> PhysicalColumn:
        """Return the column when it is one of the table."""
        return replace(self, is_added=True, replaces=False, is_filled=self.is_filled or is_filled)

    def emptied(self) -> PhysicalColumn:
        """Return the column with no row of the past filled."""
        return replace(self, is_filled=False, filled_before=None)


State = Sequence[PhysicalColumn]


def read_state(protocol: LoadProtocol) -> list[PhysicalColumn]:
    """Return the physical columns of the table.

    Raises:
        DataError: The fence row holds something else.
    """
    tables = protocol.tables
    rows = protocol.execute(f"SELECT {tables.columns.physical} FROM {tables.fence}", [])  # noqa: S608
    protocol.check_fence(len(rows))
    text = rows[0][0]
    try:
        return [] if text is None else msgspec.json.decode(str(text), type=list[PhysicalColumn])
    except msgspec.MsgspecError as error:
        raise DataError(
            f"fence table {tables.fence}: expected the physical columns in {COLUMN}, got {str(text)[:60]!r} "
            f"({error}); drop these columns of {tables.data}, set {COLUMN} to NULL, and run columns apply"
        ) from error


def write_state(protocol: LoadProtocol, state: State) -> None:
    """Write the physical columns, inside the open transaction that has the fence."""
    tables = protocol.tables
    text = msgspec.json.encode(list(state)).decode() if state else None
    protocol.execute(
        f"UPDATE {tables.fence} SET {tables.columns.physical} = {tables.dialect.placeholder}",  # noqa: S608
        [text],
    )


def wanted(columns: Iterable[Column]) -> list[Column]:
    """Return the declared columns that are to be columns of the table."""
    return [column for column in columns if column.physical]


def found(state: State, column: Column) -> PhysicalColumn | None:
    """Return the table's column for a declared one; the case of a name makes no difference."""
    return next((one for one in state if one.name.casefold() == column.name.casefold()), None)


def readable(state: State, columns: Iterable[Column]) -> dict[str, str]:
    """Return the columns that a view may read: the declared name, and the table's."""
    pairs = ((column, found(state, column)) for column in wanted(columns))
    return {
        column.name: one.name
        for column, one in pairs
        if one is not None and one.is_filled and one.holds(column)
    }


def not_readable(state: State, columns: Iterable[Column]) -> dict[str, str]:
    """Return the declared physical columns that views do not read, and why."""
    read, reasons = readable(state, columns), {}
    for column in wanted(columns):
        one = found(state, column)
        if column.name in read:
            continue
        if one is None or not one.is_added:
            reasons[column.name] = "not a column of the table yet"
        elif not one.holds(column):
            reasons[column.name] = (
                "the table's column holds another path, type or format, or values of another version"
            )
        else:
            upto = f" from {one.filled_before} on" if one.filled_before else ""
            reasons[column.name] = f"rows{upto} from before it was added are not filled yet"
    return reasons


class ColumnPlan(NamedTuple):
    """The statements that give the table the declared columns.

    Attributes:
        state: The physical columns afterwards; those that are still to be added have `is_added=False`.
        statements: The statements that add columns, and drop those of another type.
        changes: Views may read a column whose values change.
    """

    state: list[PhysicalColumn]
    statements: list[str]
    changes: bool


def make_plan(
    state: State,
    columns: Mapping[str, Column],
    exists: Callable[[str], bool],
    tables: TargetTables,
    sql: TypedSql,
) -> ColumnPlan:
    """Plan the declared columns under their names in the table; all others stay.

    Raises:
        FatalError: The table has a column of the user's own under a name.
    """
    after, statements, changes = {one.name: one for one in state}, [], False
    for name, column in columns.items():
        one = found(state, column)
        if one is not None and one.holds(column) and exists(one.name):
            continue
        if one is None:
            if exists(name):
                raise FatalError(
                    f"columns: {tables.data} has a column {name} that this package did not add: rename or drop "
                    "it, or give the column another name in the pipeline file"
                )
            one = PhysicalColumn(name, column, VERSION, is_added=False)
        else:
            changes |= one.is_added and one.is_filled
            other_type = one.column.type != column.type or (one.replaces and not one.is_added)
            keeps = one.is_added and exists(one.name) and not other_type
            one = PhysicalColumn(
                one.name, column, VERSION, is_added=keeps, replaces=other_type and exists(one.name)
            )
        alter, column_name = f"ALTER TABLE {tables.data}", tables.dialect.quoted(one.name)
        if one.replaces:
            statements.append(f"{alter} DROP COLUMN {column_name}")
        if one.replaces or not exists(one.name):
            statements.append(f"{alter} ADD COLUMN IF NOT EXISTS {column_name} {sql.sql_type(column.type)}")
        after[one.name] = one
    return ColumnPlan(list(after.values()), statements, changes)


class FillStep(NamedTuple):
    """One step of filling the past: the columns and the times of their rows; None: up to the last one."""

    columns: dict[str, Column]
    start: str
    end: str | None


def next_step(state: State, ends: Sequence[str]) -> FillStep | None:
    """Return the next step, up to one of the ends of windows; None when every row is filled."""
    left = [one for one in state if one.is_added and not one.is_filled and one.version == VERSION]
    if not left:
        return None
    starts = sorted({one.filled_before or FIRST for one in left})
    first = starts[0]
    # columns that were added later catch up first, then they are filled together
    end = next((end for end in sorted({*ends, *starts}) if end > first), None)
    columns = {one.name: one.column for one in left if (one.filled_before or FIRST) == first}
    return FillStep(columns, first, end)


def after_step(state: State, step: FillStep) -> list[PhysicalColumn]:
    """Return the physical columns when a step is done."""
    return [
        replace(one, is_filled=step.end is None, filled_before=step.end) if one.name in step.columns else one
        for one in state
    ]
