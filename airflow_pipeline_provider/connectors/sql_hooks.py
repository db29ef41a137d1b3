"""What SQL databases do differently, and the sessions in which targets use them.

Every method with a session is called inside `open_session`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from airflow_pipeline_provider.connectors.base import Stage, Target
from airflow_pipeline_provider.connectors.datasets import place_of
from airflow_pipeline_provider.connectors.load_protocol import Copy, LoadProtocol
from airflow_pipeline_provider.connectors.probes import Answer
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName, TargetDialect
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

T = TypeVar("T")

PORTION_ROWS = 10_000  # that `stream` yields at once
LARGE_PORTION_ROWS = 100  # of rows that hold documents


class SqlSession(Protocol):
    """A connection to the database."""

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return the rows; for a statement that changes rows, one row that begins with their number."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Begin a transaction, and roll it back when the block raises.

        Otherwise the block ends it: it executes COMMIT or ROLLBACK.

        Its isolation must let statements after the fence see what other loads committed before it was taken.
        """
        ...


S = TypeVar("S", bound=SqlSession)


class SqlHooks(Target, Generic[S]):
    """A database of a target; `Options` has the key `table`, and `conn_id` unless it overrides `place`."""

    dialect: ClassVar[TargetDialect]

    # --- what each database implements

    @abstractmethod
    def open_session(self, doing: str, interval: Interval | None = None) -> AbstractContextManager[S]:
        """Open a session for the block; `doing` and the interval belong in its errors ("load")."""

    @abstractmethod
    def missing_tables(self, session: S, names: Sequence[ObjectName]) -> list[ObjectName]:
        """Return the names that no table has, in the same order."""

    @abstractmethod
    def column_types(self, session: S, table: ObjectName) -> dict[str, str]:
        """Return the type of each column of a table, written as in the dialect; names in upper case."""

    @abstractmethod
    def view_definition(self, session: S, view: ObjectName) -> str | None:
        """Return the SQL text of a view, "" when it must stay as it is, None when no view has the name."""

    @abstractmethod
    def prepare_copy(self, session: S, protocol: LoadProtocol, manifest: Manifest, stage: Stage) -> Copy:
        """Return a function that inserts the manifest's rows inside the load transaction and counts them.

        It returns their number, or a `Copied` with what it proved about them.
        What takes long and can be done before the transaction, such as an upload, is done here.
        """

    # --- what a database may change

    def dataset(self) -> dict[str, object]:
        """Return the dataset; quotes in the table's name are not a part of it."""
        return {**super().dataset(), "table": ".".join(self.tables.data.parts)}

    def place(self) -> dict[str, object]:
        return place_of(self.options.conn_id) if hasattr(self.options, "conn_id") else {}

    def describe_missing(self, session: S, missing: Sequence[ObjectName]) -> Answer:  # noqa: ARG002
        """Answer whether the tables that do not exist yet can be created, without creating any."""
        return Answer(
            "unknown",
            f"{', '.join(map(str, missing))} are created by the first load; a test of the right to create "
            "them would create them",
        )

    def find_tables(self, session: S) -> TargetTables:  # noqa: ARG002
        """Return the tables, with what only the session knows, such as the schema."""
        return self.tables

    @cached_property
    def tables(self) -> TargetTables:
        """The tables under the name in the pipeline file."""
        table = self.dialect.parse_name(self.options.table)
        return TargetTables(table, self.dialect, keeps_history=self.identity.keeps_history)

    def create_schema(self, session: S, tables: TargetTables) -> None:
        """Create the schema of the tables if it is missing; by default it must exist."""

    def create_table(self, session: S, tables: TargetTables, table: ObjectName) -> None:
        """Create one of the three tables, with its indexes; another worker may have created it meanwhile."""
        session.execute(tables.create(table))

    def create_view(self, session: S, tables: TargetTables, *, replace: bool) -> None:
        """Create the view `_LATEST`, or replace it in one step, so that no query misses it."""
        session.execute(tables.create_view(replace=replace))

    def is_outdated_view(self, definition: str) -> bool:  # noqa: ARG002
        """Return whether `prepare` should replace a view of an earlier version."""
        return False

    def allow_long_statements(self, session: S) -> None:
        """Raise the time limit of the statements that follow in the transaction."""

    def limit_lock_wait(self, session: S) -> None:
        """Let a statement that locks all readers out wait for them only briefly, since others wait behind it."""

    def retry(self, attempt: Callable[[], T]) -> T:
        """Run an operation in a session that it opens; a target may run it again after an error."""
        return attempt()

    def retry_transaction(self, attempt: Callable[[], T]) -> T:
        """Run one transaction in an open session; a target may run it again after a conflict."""
        return attempt()

    def commit_load(self, session: S, manifest: Manifest) -> None:  # noqa: ARG002
        """Commit the transaction of a load; where a reply can be lost, find out whether it was committed."""
        session.execute("COMMIT")

    def stream(
        self,
        session: S,  # noqa: ARG002
        statement: str,  # noqa: ARG002
        parameters: Sequence[object],  # noqa: ARG002
        *,
        content: bool,  # noqa: ARG002
    ) -> Generator[Sequence[tuple[object, ...]], None, None]:
        """Yield the rows of one statement in portions, without all of them in memory.

        Rows are small, except with `content` where BODY is selected or hashed: then `LARGE_PORTION_ROWS` fit.
        """
        raise ConfigError(
            f"target {self.options.type!r} cannot list its records, so `diff` cannot compare them: its class has "
            "no method `stream`"
        )

    # --- sessions

    def protocol(self, session: S, tables: TargetTables) -> LoadProtocol:
        """Return the statements of a load, run through the session."""
        return LoadProtocol(tables, session.execute, self.identity.pipeline_id)

    def require_tables(self, session: S, tables: TargetTables) -> None:
        """Raise FatalError unless the tables exist."""
        if missing := self.missing_tables(session, tables.names):
            raise FatalError(
                f"target {self.options.type} has no table {', '.join(map(str, missing))}: "
                "call prepare() before load()"
            )

    def read(
        self,
        doing: str,
        question: Callable[[S, LoadProtocol], T],
        nothing: T,
        table: Callable[[TargetTables], ObjectName],
        interval: Interval | None = None,
    ) -> T:
        """Return the answer to a question about a table, or `nothing` if the table does not exist."""

        def attempt() -> T:
            with self.open_session(doing, interval) as session:
                tables = self.find_tables(session)
                if self.missing_tables(session, [table(tables)]):
                    return nothing
                return question(session, self.protocol(session, tables))

        return self.retry(attempt)

    def change(self, doing: str, change: Callable[[LoadProtocol], T], *, is_long: bool = False) -> T:
        """Run a change of rows in a transaction of its own, and commit it."""
        return self.transact(doing, lambda _, protocol: change(protocol), is_long=is_long)

    def transact(self, doing: str, change: Callable[[S, LoadProtocol], T], *, is_long: bool = False) -> T:
        """Run a change in a transaction of its own, and commit it."""

        def attempt() -> T:
            with self.open_session(doing) as session:
                tables = self.find_tables(session)
                self.require_tables(session, tables)

                def transact() -> T:
                    with session.transaction():
                        if is_long:
                            self.allow_long_statements(session)
                        result = change(session, self.protocol(session, tables))
                        session.execute("COMMIT")
                    return result

                return self.retry_transaction(transact)

        return self.retry(attempt)
