"""Create, replace and read the typed views of a SQL target."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from airflow_pipeline_provider.connectors import physical
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import S, SqlHooks
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_sql import TypedSql
from airflow_pipeline_provider.connectors.typed_views import Comment, TypedViews, ViewQuery, read_comment
from airflow_pipeline_provider.connectors.values import TypedView
from airflow_pipeline_provider.core.command_line import apply_columns, shell_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError, PipelineError

log = logging.getLogger(__name__)


class ViewConflictError(FatalError):
    """A view's name is in use, by a view of another pipeline or by an object of the user's own."""


class FoundView(NamedTuple):
    """An object under a name that a typed view may have."""

    name: ObjectName
    is_view: bool
    comment: str | None


class TypedTarget(SqlHooks[S], ABC):
    """What a target with typed views implements, and what follows from it."""

    ignores_case: ClassVar[bool] = False  # two names that differ in case only are one

    # --- what each database implements, if it has typed views

    def typed_sql(self, session: S | None) -> TypedSql:
        """Return the database's expressions; without a session, those of its newest version."""
        raise NotImplementedError

    def counting_sql(self, session: S) -> TypedSql:
        """Return the expressions for a query of this session, which may create nothing."""
        return self.typed_sql(session)

    def find_views(self, session: S, tables: TargetTables) -> list[FoundView]:
        """Return the views and tables whose names begin with the data table's and `_`."""
        raise NotImplementedError

    def view_columns(self, session: S, view: ObjectName) -> tuple[str, ...]:
        """Return the names of a view's columns, in their order."""
        raise NotImplementedError

    def view_statements(self, session: S | None, view: ViewQuery, comment: str, *, exists: bool) -> list[str]:
        """Return the statements that create a view with its comment, or replace it and keep its grants."""
        raise NotImplementedError

    def lock_views(self, session: S, tables: TargetTables, *, wait: bool) -> None:
        """Let no other worker change the views until the transaction ends; with `wait` wait long for readers."""

    # --- the views of the columns

    def apply_columns(self, *, dry_run: bool = False) -> list[str]:
        """Create or replace the typed views that do not follow the columns; return the statements.

        Raises:
            ViewConflictError: A name is in use.
            FatalError: The table does not exist yet.
        """
        return self.apply_views(dry_run=dry_run) if self.identity.columns else []

    def typed_statements(self) -> list[str]:
        """Return the statements that create the typed views."""
        if not self.identity.columns:
            return []
        typed = self.typed(self.typed_sql(None), self.tables)
        return self.statements_of(None, typed, typed.views(), set())

    def expected_views(self) -> tuple[TypedView, ...]:
        """Return the typed views of the columns, the main one first; the target is not asked."""
        if not self.identity.columns:
            return ()
        typed = self.typed(self.typed_sql(None), self.tables)
        comment = typed.comment
        return tuple(
            TypedView(view.name.last, comment.contract, comment.pipeline_id, view.columns)
            for view in typed.views()
        )

    def typed_views(self) -> tuple[TypedView, ...] | None:
        """Return the typed views of the table that exist, the main one first; None if the target has none.

        A view that this pipeline neither made nor would make is left out: it may be of a table such as `<table>_EU`.
        """
        if self.options.longest_column is None:
            return None
        expected = {self._same(view.name) for view in self.expected_views()}

        def read(session: S, protocol: LoadProtocol) -> tuple[TypedView, ...]:
            tables = protocol.tables
            main, ours = self._same(tables.data.sibling("_TYPED").last), tables.data.last.lower()
            made = [
                (found.name.last, comment, self.view_columns(session, found.name))
                for found in self.find_views(session, tables)
                if (comment := read_comment(found.comment)) is not None
                and (
                    (comment.pipeline_id, comment.table or ours) == (self.identity.pipeline_id, ours)
                    or self._same(found.name.last) in {*expected, main}
                )
            ]
            made.sort(key=lambda view: (view[0].upper() != main.upper(), view[0]))
            return tuple(TypedView(name, c.contract, c.pipeline_id, columns) for name, c, columns in made)

        nothing: tuple[TypedView, ...] = ()
        return self.read("read typed views", read, nothing, lambda tables: tables.data)

    def count_uncastable(self, interval: Interval, token: int | None = None) -> dict[str, tuple[int, int]]:
        """Count for each column the values in the interval, and those that do not cast to its type.

        With `token`, only rows of that load are counted.
        """
        if not self.identity.columns:
            return {}

        def count(session: S, protocol: LoadProtocol) -> dict[str, tuple[int, int]]:
            dialect, values = self.dialect, list[object](protocol.bounds(interval))
            condition = protocol.inside
            if token is not None:
                condition += f" AND {protocol.tables.columns.token} = {dialect.placeholder}"
                values.append(token)
            counted: dict[str, tuple[int, int]] = {}
            typed = self.typed(self.counting_sql(session), protocol.tables)
            for names, query in typed.counts():
                bound = dialect.escape_percent(query).replace(TypedViews.CONDITION, condition)
                [row] = session.execute(bound, values)
                numbers = [int(str(number)) for number in row]
                counted |= dict(zip(names, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
            return counted

        return self.read("count uncastable values", count, {}, lambda tables: tables.data, interval)

    def refresh_typed_views(self) -> None:
        """Create or replace the typed views where that is possible at once.

        No load needs them: unless a name is in use, a failure is logged, and the next load tries again.
        """
        if not self.identity.columns:
            return
        try:
            self.apply_views(wait=False)
        except ViewConflictError:
            raise
        except PipelineError as error:
            log.warning(
                "the typed views of %s do not follow the columns yet, and no load needs them: %s; the next load "
                "tries again, and so does %s",
                self.options.table,
                error,
                shell_line(apply_columns(self.identity.pipeline_id)),
            )

    # --- how they are applied

    def apply_views(
        self, *, dry_run: bool = False, wait: bool = True, state: physical.State | None = None
    ) -> list[str]:
        """Create or replace the typed views that do not follow the columns; return the statements.

        They read the table's columns as the fence row has them, or as the given state would.  With `wait`, also drop
        child views of columns that are gone: a load with an older pipeline file must not.
        """

        def attempt() -> list[str]:
            with self.open_session("apply columns") as session:
                tables = self.find_tables(session)
                if self.missing_tables(session, [tables.data]):
                    raise FatalError(
                        f"table {tables.data} does not exist yet: the first load creates it, and the typed views"
                    )
                columns = (
                    self.read_physical(session, self.protocol(session, tables)) if state is None else state
                )
                read = physical.readable(columns, self.identity.columns)
                typed = self.typed(self.typed_sql(session), tables, read)
                if not self._outdated(session, typed) and not self._retired(session, typed, wait):
                    return []
                with session.transaction():
                    self.lock_views(session, tables, wait=wait)
                    # another worker may have replaced them before the lock
                    views = self._outdated(session, typed)
                    exist = {self._same(found.name.last) for found in self.find_views(session, tables)}
                    statements = [f"DROP VIEW {name}" for name in self._retired(session, typed, wait)]
                    statements += self.statements_of(session, typed, views, exist)
                    for statement in () if dry_run else statements:
                        session.execute(statement)
                    session.execute("ROLLBACK" if dry_run else "COMMIT")
                return statements

        return self.retry(attempt)

    def read_physical(self, session: S, protocol: LoadProtocol) -> list[physical.PhysicalColumn]:
        """Return the physical columns of the table, if the pipeline has any."""
        if not physical.wanted(self.identity.columns):
            return []
        fence = protocol.tables.fence
        if self.missing_tables(session, [fence]) or physical.COLUMN not in self.column_types(session, fence):
            return []
        return physical.read_state(protocol)

    def typed(self, sql: TypedSql, tables: TargetTables, read: Mapping[str, str] | None = None) -> TypedViews:
        """Return the views of the pipeline's columns, which read these columns of the table."""
        return TypedViews(tables, self.identity, sql, self.options.naming, read)

    def statements_of(
        self, session: S | None, typed: TypedViews, views: Sequence[ViewQuery], exist: set[str]
    ) -> list[str]:
        """Return the statements that create the views, or replace those that exist."""
        statements = list(typed.sql.setup) if views else []
        for view in views:
            exists = self._same(view.name.last) in exist
            comment = typed.comment_of(view).text()
            statements += self.view_statements(session, view, comment, exists=exists)
        return statements

    def _outdated(self, session: S, typed: TypedViews) -> list[ViewQuery]:
        """Return the views that are missing or follow other columns.

        Raises:
            ViewConflictError: A name is in use.
        """
        found = {self._same(each.name.last): each for each in self.find_views(session, typed.tables)}
        outdated = []
        for view in typed.views():
            existing = found.get(self._same(view.name.last))
            comment = None if existing is None else read_comment(existing.comment)
            if existing is not None:
                if comment is None or not existing.is_view:
                    kind = "view" if existing.is_view else "table"
                    raise ViewConflictError(
                        f"columns: {existing.name} is a {kind} that this package did not create: rename or drop it, "
                        "or give target.table another name"
                    )
                self._check_columns(session, typed, existing.name, comment)
            if comment is None or comment[1:] != typed.comment_of(view)[1:]:
                outdated.append(view)
        return outdated

    def _retired(self, session: S, typed: TypedViews, gone: bool) -> list[ObjectName]:
        """Return the views that this pipeline made of columns that have none now: they show what is masked.

        With `gone`, also those of columns that were removed or renamed.
        """
        names = {self._same(name.last) for name in typed.retired()}
        kept = {view.name.last.lower() for view in typed.views()}  # in the spelling of any `target.naming`
        return [
            found.name
            for found in (self.find_views(session, typed.tables) if names or gone else ())
            if found.is_view
            and (comment := read_comment(found.comment)) is not None
            and comment.pipeline_id == self.identity.pipeline_id
            and (
                self._same(found.name.last) in names
                or (gone and comment.table == typed.comment.table and found.name.last.lower() not in kept)
            )
        ]

    def _check_columns(self, session: S, typed: TypedViews, view: ObjectName, found: Comment) -> None:
        ours = typed.comment
        if found.pipeline_id == ours.pipeline_id or found.contract == ours.contract:
            return
        if found.pipeline_id in self.protocol(session, typed.tables).other_pipelines():
            raise ViewConflictError(
                f"columns: {view} follows the columns of pipeline {found.pipeline_id}, which loads the same table: "
                f"give both pipelines the same columns, or {ours.pipeline_id} another target.table"
            )

    def existing_columns(self, session: S, protocol: LoadProtocol) -> Callable[[str], bool]:
        """Return whether the data table has a column."""
        names = {self._same(name) for name in self.column_types(session, protocol.tables.data)}
        return lambda name: self._same(name) in names

    def _same(self, name: str) -> str:
        return name.lower() if self.ignores_case else name
