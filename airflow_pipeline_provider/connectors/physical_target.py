"""Add physical columns to a table, and fill them: in each load, and for the past."""

from __future__ import annotations

import logging
from abc import ABC
from functools import partial

from msgspec.structs import replace

from airflow_pipeline_provider.connectors import physical
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.physical import ColumnPlan, FillStep, State
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import S
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_target import TypedTarget
from airflow_pipeline_provider.connectors.typed_views import VERSION, TypedViews
from airflow_pipeline_provider.core.columns import Column
from airflow_pipeline_provider.core.command_line import apply_columns, shell_line
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.fault_points import reach

log = logging.getLogger(__name__)


class PhysicalTarget(TypedTarget[S], ABC):
    """Typed views that read columns of the table."""

    def apply_columns(self, *, dry_run: bool = False) -> list[str]:
        """Add physical columns, fill them for the past, and make the typed views follow the columns.

        Return the statements; one that is executed for each window is listed once.  After an interruption the next
        call continues from the last window, and meanwhile the views compute what is not filled.

        Raises:
            ViewConflictError: A view's name is in use.
            FatalError: The table does not exist yet, or has a column of the user's own under a name.
        """
        if not physical.wanted(self.identity.columns):
            return super().apply_columns(dry_run=dry_run)
        self.apply_views(dry_run=True)  # nothing is added before each view's name is known to be free
        plan = self.read("plan columns", self._plan, None, _data)
        if plan is None:
            return []
        # a view must not read a column while its values change
        statements = self.apply_views(dry_run=dry_run) if plan.changes else []
        if dry_run:
            state = [one.added(is_filled=False) for one in plan.state]
            step = physical.next_step(state, ())
            filled = [replace(one, is_filled=one.version == VERSION) for one in state]
            statements += plan.statements
            if step is not None:
                ask = partial(self._fill_statement, step=step)
                statements.append(self._for_all_windows(self.read("plan columns", ask, "", _data)))
            return statements + self.apply_views(dry_run=True, state=filled)
        statements += self._add_columns()
        statements += self._fill_past()
        reach("columns.filled")
        return statements + self.apply_views()

    def refresh_columns(self) -> None:
        """Add physical columns to a table without rows, and make the views follow the columns.

        No load needs either: a failure is logged, unless a view's name is in use.
        """
        if physical.wanted(self.identity.columns):
            try:
                self._add_to_empty_table()
            except PipelineError as error:
                log.warning(
                    "%s does not have the physical columns of the pipeline file yet, and no load needs them: %s; "
                    "this adds them: %s",
                    self.options.table,
                    error,
                    shell_line(apply_columns(self.identity.pipeline_id)),
                )
        self.refresh_typed_views()

    def unfilled_columns(self) -> dict[str, str]:
        if not physical.wanted(self.identity.columns):
            return {}

        def ask(session: S, protocol: LoadProtocol) -> dict[str, str]:
            return physical.not_readable(self.read_physical(session, protocol), self.identity.columns)

        return self.read("read physical columns", ask, {}, _data)

    def insert(self, session: S, protocol: LoadProtocol, rows: str) -> str:
        """Return the statement that copies the envelope columns of `rows` and fills the table's physical columns."""
        columns = self.fill_in_load(session, protocol)
        if not columns:
            return protocol.tables.insert(rows)
        typed = self.typed(self.counting_sql(session), protocol.tables)
        source, values = typed.values(rows, list(columns.values()))
        return protocol.tables.insert(source, dict(zip(columns, values, strict=True)))

    def fill_in_load(self, session: S, protocol: LoadProtocol) -> dict[str, Column]:
        """Return the columns that this load must fill, under their names in the table.

        It is called under the fence.  They are those of the table, since a view of other columns may read them.  A
        column that another version of the package filled is filled for no new row, so it is no longer complete; one
        that is gone is forgotten.
        """
        state = physical.read_state(protocol)
        if not state:
            return {}
        exists = self.existing_columns(session, protocol)
        kept = [
            one if one.version == VERSION else one.emptied()
            for one in state
            if not one.is_added or exists(one.name)
        ]
        if kept != state:
            physical.write_state(protocol, kept)
        return {one.name: one.column for one in kept if one.is_added and one.version == VERSION}

    # --- adding

    def _plan(self, session: S, protocol: LoadProtocol) -> ColumnPlan:
        typed = self.typed(self.typed_sql(None), protocol.tables)
        columns = {typed.spell(column.name): column for column in physical.wanted(self.identity.columns)}
        state = self.read_physical(session, protocol)
        exists = self.existing_columns(session, protocol)
        return physical.make_plan(state, columns, exists, protocol.tables, typed.sql)

    def _add_columns(self) -> list[str]:
        """Add what is missing under the fence, so that each load after it fills the new columns.

        Where a statement would commit the transaction, the fence row names the columns first, as ours and not added.
        """
        if not self.read("plan columns", self._needs_plan, False, _data):
            return []
        commits = self.dialect.ddl_commits

        def add_to_fence(session: S, protocol: LoadProtocol) -> None:
            if physical.COLUMN not in self.column_types(session, protocol.tables.fence):
                session.execute(protocol.tables.add_to_fence(physical.COLUMN))

        def add(session: S, protocol: LoadProtocol) -> list[str]:
            protocol.take_fence()
            reach("columns.fence_taken")
            plan = self._plan(session, protocol)
            if commits:
                physical.write_state(protocol, plan.state)
            else:
                self.limit_lock_wait(session)
                for statement in plan.statements:
                    session.execute(statement)
                self._write_added(protocol, plan.state)
            reach("columns.added")
            return plan.statements

        def finish(session: S, protocol: LoadProtocol) -> None:
            protocol.take_fence()
            exists = self.existing_columns(session, protocol)
            state = physical.read_state(protocol)
            self._write_added(protocol, [one for one in state if one.is_added or exists(one.name)])

        self.transact("add columns", add_to_fence)  # a table of an earlier version
        statements = self.transact("add columns", add)
        reach("columns.add_committed")
        if commits:
            with self.open_session("add columns") as session:
                for statement in statements:
                    session.execute(statement)
            reach("columns.altered")
            self.transact("add columns", finish)
        return statements

    def _needs_plan(self, session: S, protocol: LoadProtocol) -> bool:
        plan = self._plan(session, protocol)
        is_done = not plan.statements and all(one.is_added for one in plan.state)
        return not is_done or plan.state != self.read_physical(session, protocol)

    def _write_added(self, protocol: LoadProtocol, state: State) -> None:
        """Write that the columns are added; without rows, they are filled."""
        is_empty = not protocol.execute(f"SELECT 1 FROM {protocol.tables.data} LIMIT 1", [])  # noqa: S608
        physical.write_state(protocol, [one.added(is_filled=is_empty) for one in state])

    def _add_to_empty_table(self) -> None:
        def may_add(session: S, protocol: LoadProtocol) -> bool:
            rows = protocol.execute(f"SELECT 1 FROM {protocol.tables.data} LIMIT 1", [])  # noqa: S608
            return not rows and self._needs_plan(session, protocol)

        if self.read("look for rows", may_add, False, _data):
            self._add_columns()

    # --- filling the past

    def _fill_past(self) -> list[str]:
        """Fill the past, a window a transaction; the fence row records up to which time it is filled."""
        ends: list[str] = []
        ends = self.read("list windows", lambda _, protocol: protocol.read_window_ends(), ends, _data)

        def fill(session: S, protocol: LoadProtocol) -> list[str]:
            protocol.take_fence()
            state = physical.read_state(protocol)
            step = physical.next_step(state, ends)
            if step is None:
                return []
            statement = self._fill_statement(session, protocol, step)
            condition, bounds = protocol.between(step.start, step.end)
            session.execute(statement.replace(TypedViews.CONDITION, condition), [*bounds, *bounds])
            reach("columns.rows_filled")
            physical.write_state(protocol, physical.after_step(state, step))
            reach("columns.progress_written")
            return [self._for_all_windows(statement)]

        statements: dict[str, None] = {}
        windows = 0
        while done := self.transact("fill columns", fill):
            reach("columns.window_committed")
            windows += 1
            statements |= dict.fromkeys(done)
        if windows:
            log.info("%s: filled physical columns in %s", self.options.table, counted(windows, "transaction"))
        return list(statements)

    def _fill_statement(self, session: S, protocol: LoadProtocol, step: FillStep) -> str:
        return self.typed(self.counting_sql(session), protocol.tables).fill(step.columns)

    def _for_all_windows(self, statement: str) -> str:
        """Return a statement that binds the times of a window as one for the whole table."""
        if self.dialect.escape_percent("%") != "%":
            statement = statement.replace("%%", "%")
        condition = TypedViews.CONDITION
        return statement.replace(f" {condition} AND ", " WHERE ").replace(f" {condition}", "")


def _data(tables: TargetTables) -> ObjectName:
    return tables.data
