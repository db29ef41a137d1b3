"""What a transactional load needs from Snowflake's SQL and fakesnow lacks.

Each block replaces one function of fakesnow; `install()` puts them in place. The blocks are independent:
when a later fakesnow covers one, delete the block.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import Any

import duckdb
import fakesnow.arrow as arrow
import fakesnow.transforms as transforms
import pyarrow as pa
import pyarrow.compute as pc
import snowflake.connector.errors as errors
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

WRITTEN_FOR = ("0.12.1", "0.11.22")  # the second one for Python 3.10


def install() -> None:
    """Replace the functions; call once, before the first connection."""
    if version("fakesnow") not in WRITTEN_FOR:
        raise RuntimeError(
            f"fakesnow {version('fakesnow')} is installed, but its replacements were written for "
            f"{' and '.join(WRITTEN_FOR)}: install one of these (constraints.txt pins it)"
        )
    _errors()
    _null_timestamps()
    _statements()


def _errors() -> None:
    """Every failure is a SQL error. (Unhandled, it is an HTTP 500, which the connector retries for ever.)"""
    stock = FakeSnowflakeCursor.execute

    def execute(self: FakeSnowflakeCursor, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
        try:
            return stock(self, *args, **kwargs)
        except (errors.ProgrammingError, errors.OperationalError):
            raise
        except duckdb.ConstraintException as e:
            raise errors.ProgrammingError(msg=str(e), errno=100072, sqlstate="22000") from e
        except duckdb.InterruptException as e:
            raise errors.ProgrammingError(msg="SQL execution canceled", errno=604, sqlstate="57014") from e
        except Exception as e:
            raise errors.ProgrammingError(
                msg=f"{type(e).__name__}: {e}", errno=100000, sqlstate="XX000"
            ) from e

    FakeSnowflakeCursor.execute = execute


def _null_timestamps() -> None:
    """A NULL timestamp stays NULL on its way to the client."""
    stock = arrow.timestamp_to_sf_struct

    def timestamp_to_sf_struct(column: pa.Array | pa.ChunkedArray) -> pa.Array:
        struct = stock(column)
        flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        fields = [field.fill_null(0) for field in struct.flatten()]
        return pa.StructArray.from_arrays(fields, fields=list(struct.type), mask=pc.is_null(flat))

    arrow.timestamp_to_sf_struct = timestamp_to_sf_struct


def _commit(self: FakeSnowflakeCursor) -> None:
    """DuckDB "commits" a transaction that an error has aborted without a word; here that is an error."""
    try:
        self._duck_conn.execute("SELECT 1")
    except duckdb.TransactionException:
        self._duck_conn.rollback()
        self._conn._in_transaction = False
        message = (
            "emulator: an earlier error rolled this transaction back (Snowflake would commit the rest of it)"
        )
        raise errors.ProgrammingError(msg=message, errno=100000, sqlstate="25P02") from None
    self._duck_conn.commit()
    self._conn._in_transaction = False


def _unenforced_keys(create: exp.Create) -> None:
    """Snowflake records PRIMARY KEY, UNIQUE and FOREIGN KEY but enforces only NOT NULL."""
    for column in create.find_all(exp.ColumnDef):
        for constraint in column.args.get("constraints") or []:
            if isinstance(constraint.kind, exp.PrimaryKeyColumnConstraint):
                constraint.set("kind", exp.NotNullColumnConstraint())
            elif isinstance(constraint.kind, (exp.UniqueColumnConstraint, exp.Reference)):
                constraint.pop()
    for key in list(create.find_all(exp.PrimaryKey, exp.ForeignKey, exp.UniqueColumnConstraint)):
        (key.parent if isinstance(key.parent, exp.Constraint) else key).pop()


def _swap(self: FakeSnowflakeCursor, alter: exp.Alter, other: exp.Table) -> None:
    """ALTER TABLE a SWAP WITH b: both names change hands in one transaction."""
    mine, theirs, between = alter.this.sql(dialect="duckdb"), other.sql(dialect="duckdb"), '"__SWAP__"'
    parked = exp.table_(
        between.strip('"'), db=alter.this.args.get("db"), catalog=alter.this.args.get("catalog"), quoted=True
    )
    self._duck_conn.begin()
    try:
        for old, new in ((mine, between), (theirs, alter.this.this), (parked, other.this)):
            self._duck_conn.execute(f"ALTER TABLE {old} RENAME TO {new}")
        self._duck_conn.commit()
    except duckdb.Error as e:
        self._duck_conn.rollback()
        raise errors.ProgrammingError(msg=str(e), errno=2003, sqlstate="42S02") from e


def _statements() -> None:
    """DDL commits the open transaction, MERGE is one atomic statement inside it, keys are not enforced."""
    transforms.merge = lambda expression: [
        expression
    ]  # stock: split into several statements and a temporary table
    transforms.numeric_agg_implicit_cast = lambda expression: expression  # stock: SUM of a NUMBER is a float
    stock_clone = transforms.create_clone

    def create_clone(
        expression: exp.Expr,
    ) -> exp.Expr:  # stock: CREATE OR REPLACE ... CLONE forgets the OR REPLACE
        result = stock_clone(expression)
        if result is not expression:
            result.set("replace", expression.args.get("replace"))
        return result

    transforms.create_clone = create_clone
    stock = FakeSnowflakeCursor._execute

    def merge(self: FakeSnowflakeCursor, statement: exp.Merge, params: Any) -> None:
        if not self._conn._autocommit and not self._conn._in_transaction:
            self._duck_conn.begin()
            self._conn._in_transaction = True
        for update in statement.find_all(exp.Update):  # DuckDB wants SET col, not SET alias.col
            for assignment in update.expressions:
                assignment.this.set("table", None)
        operations = {"inserted": statement.find(exp.Insert), "updated": statement.find(exp.Update)}
        operations["deleted"] = next(
            (w for w in statement.find_all(exp.When) if isinstance(w.args.get("then"), exp.Var)), None
        )
        if operations["updated"] or operations["deleted"]:
            target, using, on = (statement.args[k].sql(dialect="duckdb") for k in ("this", "using", "on"))
            twice = (
                f"SELECT 1 FROM {target} JOIN {using} ON {on} GROUP BY {statement.this.alias_or_name}.rowid"
            )
            if self._duck_conn.execute(f"{twice} HAVING count(*) > 1 LIMIT 1").fetchone():
                raise errors.ProgrammingError(
                    msg="Duplicate row detected during DML action", errno=100090, sqlstate="42P18"
                )
        sql = statement.sql(dialect="duckdb") + " RETURNING merge_action"
        done = Counter(action for (action,) in self._duck_conn.execute(sql, params).fetchall())
        action = {"inserted": "INSERT", "updated": "UPDATE", "deleted": "DELETE"}
        counts = [
            f'{done[action[k]]} AS "number of rows {k}"' for k, present in operations.items() if present
        ]
        stock(self, sqlglot.parse_one("SELECT " + ", ".join(counts), read="duckdb"))
        self._rowcount = sum(done.values())

    def _execute(self: FakeSnowflakeCursor, statement: exp.Expr, params: Any = None) -> None:
        if isinstance(statement, exp.Merge):
            return merge(self, statement, params)
        ddl = isinstance(statement, (exp.Commit, exp.Create, exp.Drop, exp.Alter, exp.Comment))
        if ddl or statement.args.get("create_stage_name") or statement.args.get("create_file_format_name"):
            _commit(self)
        if isinstance(statement, exp.Create) and statement.kind == "TABLE":
            _unenforced_keys(statement)
        swap = statement.find(exp.SwapTable) if isinstance(statement, exp.Alter) else None
        if swap:
            _swap(self, statement, swap.this)
            statement = sqlglot.parse_one(
                "SELECT 'Statement executed successfully.' AS status", read="duckdb"
            )
        return stock(self, statement, params)

    FakeSnowflakeCursor._execute = _execute
