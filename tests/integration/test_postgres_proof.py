"""How a load into PostgreSQL proves its rows (POSTGRES_URL).

By what was sent, if the table stores that and nothing else; otherwise by counting the table.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_pipeline_provider.connectors.base import Identity, LoadResult, TargetCounts
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.postgres import sent_rows
from airflow_pipeline_provider.connectors.postgres.session import PostgresSession
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.core.columns import Column, parse_type
from airflow_pipeline_provider.exceptions import DataError, RepeatedIdsError
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, Loader, Row, hours, rows

pytestmark = pytest.mark.integration

WINDOW = hours(0, 2)
NEW = rows(WINDOW, 7, "new")
N = Column("N", ("n",), parse_type("integer"), physical=True)


@pytest.fixture(scope="module")
def admin(postgres: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def schema(admin: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"proof_{uuid.uuid4().hex[:8]}"
    admin.execute(f"CREATE SCHEMA {name}; SET search_path = {name}")
    yield name
    admin.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def connect(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    parts = urlsplit(postgres["POSTGRES_URL"])
    where = {"conn_type": "postgres", "host": parts.hostname, "port": parts.port, "login": parts.username}

    def connect(**extra: str) -> None:
        conn = {**where, "password": parts.password, "schema": parts.path[1:], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_PROOF", json.dumps(conn))

    connect()
    return connect


MakeLoader = Callable[..., Loader]


@pytest.fixture
def make_loader(schema: str, connect: Callable[..., None], tmp_path: Path) -> MakeLoader:
    def make(**identity: Any) -> Loader:
        def target(pipeline_id: str) -> PostgresTarget:
            options = PostgresTarget.Options(conn_id="proof", table=f"{schema}.flights")
            return PostgresTarget(options, Identity(pipeline_id, "UTC", **identity))

        path = str(tmp_path / "stage")
        stage = ObjectStoreStage(
            ObjectStoreStage.Options(type="object_store", path=path), Identity("p", "UTC")
        )
        target("flights").prepare()
        return Loader(target, stage)

    return make


@pytest.fixture
def load(make_loader: MakeLoader) -> Loader:
    """Load into a table whose window has five rows."""
    made = make_loader()
    assert made(WINDOW, rows(WINDOW, 5), token=1) == LoadResult(5, 5)
    return made


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the statements so far that counted ids in the table."""
    found: list[str] = []
    execute = PostgresSession.execute

    def watched(self: PostgresSession, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        if "COUNT(DISTINCT" in statement:
            found.append(statement)
        return execute(self, statement, *args)

    monkeypatch.setattr(PostgresSession, "execute", watched)
    return found


def stored(admin: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return admin.execute('SELECT * FROM flights ORDER BY "RECORD_ID", "EVENT_TIME"').fetchall()


def test_a_plain_table_is_not_read_back(admin, load, counting):
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert counting == []
    assert [row[0] for row in stored(admin)] == sorted(row.record_id for row in NEW)


@pytest.mark.parametrize("identity", [{}, {"keeps_history": True}, {"columns": (N,)}], ids=str)
def test_an_id_that_is_sent_twice_is_refused(admin, make_loader, counting, identity):
    load = make_loader(**identity)
    assert load(WINDOW, NEW, token=1) == LoadResult(7, 7)
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert counting == []
    before = stored(admin)
    assert [row[0] for row in before] == sorted(row.record_id for row in NEW)
    with pytest.raises(RepeatedIdsError, match="got 8 rows and 7 distinct ids"):
        load(WINDOW, [*NEW, Row(NEW[2].record_id, MIDNIGHT)], token=3)
    assert len(counting) == 1
    assert stored(admin) == before


def test_rows_under_physical_columns_are_those_that_were_sent(admin, make_loader, counting):
    load = make_loader(columns=(N,))
    load(WINDOW, [], token=1)
    counting.clear()
    assert load(WINDOW, [Row("a", MIDNIGHT, '{"n": 5}'), Row("b", MIDNIGHT)], token=2) == LoadResult(2, 2)
    assert counting == []
    found = admin.execute('SELECT "RECORD_ID", n FROM flights ORDER BY 1').fetchall()
    assert found == [("a", 5), ("b", None)]


def function(body: str, returns: str = "trigger") -> str:
    return f"CREATE FUNCTION SCHEMA.odd() RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN {body} END $$"


def trigger(when: str, body: str) -> str:
    return f"{function(body)}; CREATE TRIGGER odd {when} ON flights {{}} EXECUTE FUNCTION SCHEMA.odd()"


def each_row(when: str, body: str) -> str:
    return trigger(when, body).format("FOR EACH ROW")


DOUBLING = trigger(
    "AFTER INSERT",
    "IF pg_trigger_depth() = 1 THEN INSERT INTO SCHEMA.flights SELECT * FROM SCHEMA.flights; END IF; RETURN NULL;",
).format("")
MORE = "('more' || random(), now(), '', '', 'flights', now(), now(), 1, now(), 0)"
MOVED = f"""UPDATE SCHEMA.flights SET "EVENT_TIME" = '{MIDNIGHT}' WHERE "RECORD_ID" LIKE 'more%';"""
DEFAULT = (
    "ALTER TABLE flights ADD COLUMN extra integer; ALTER TABLE flights ALTER extra SET DEFAULT SCHEMA.odd()"
)
INSERTING = (
    f"{function(f'INSERT INTO SCHEMA.flights VALUES {MORE}; {MOVED} RETURN 1;', 'integer')}; {DEFAULT}"
)
UPDATING = f"""
    INSERT INTO flights SELECT 'more', '2000-01-01', '', '', 'flights', now(), now(), 1, now();
    {function(f"{MOVED} RETURN 1;", "integer")}; {DEFAULT}
"""

DELETING = (
    function(f"""DELETE FROM SCHEMA.flights WHERE "RECORD_ID" = '{NEW[0].record_id}'; RETURN 1;""", "integer")
    + f"; {DEFAULT}"
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            DOUBLING, DataError, "expected 7 rows .*got 14 rows and 7 distinct", id="a trigger doubles the rows"
        ),
        pytest.param(
            each_row("BEFORE INSERT", """NEW."RECORD_ID" = 'same'; RETURN NEW;"""),
            RepeatedIdsError, "got 7 rows and 1 distinct id", id="a trigger changes the ids",
        ),
        pytest.param(
            each_row("BEFORE INSERT", """NEW."EVENT_TIME" = '2000-01-01'; RETURN NEW;"""),
            DataError, "got no rows", id="a trigger moves the rows out of the window",
        ),
        pytest.param(
            each_row("BEFORE INSERT", "RETURN NULL;"),
            DataError, "expected 7 rows in the parts .*got 0", id="a trigger drops the rows",
        ),
        pytest.param(
            each_row("BEFORE DELETE", "RETURN NULL;"), DataError, "got 12 rows", id="a trigger keeps the old rows"
        ),
        pytest.param(
            "CREATE RULE odd AS ON DELETE TO flights DO INSTEAD NOTHING",
            DataError, "got 12 rows", id="a rule keeps the old rows",
        ),
        pytest.param(INSERTING, DataError, "got 14 rows", id="a default inserts rows"),
        pytest.param(UPDATING, DataError, "got 8 rows", id="a default moves a row into the window"),
        pytest.param(DELETING, DataError, "got 6 rows", id="a default deletes a row that was sent"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_store_what_it_gets_is_refused(admin, schema, load, change, error, message):
    admin.execute(change.replace("SCHEMA", schema))
    before = stored(admin)
    with pytest.raises(error, match=message):
        load(WINDOW, NEW, token=2)
    assert stored(admin) == before


@pytest.mark.parametrize(
    ("column", "message"),
    [
        pytest.param('"EVENT_TIME" TYPE timestamptz(0)', "got 2 rows", id="times are rounded"),
        pytest.param('"RECORD_ID" TYPE char(40)', "got 3 rows and 2 distinct ids", id="ids lose blanks"),
    ],
)
def test_a_table_that_got_other_types_since_it_was_prepared_is_counted(admin, load, column, message):
    admin.execute(f'DROP VIEW "flights_LATEST"; ALTER TABLE flights ALTER {column}')
    before = stored(admin)
    sent = [Row("a", MIDNIGHT), Row("a ", MIDNIGHT), Row("b", WINDOW.end - timedelta(milliseconds=1))]
    with pytest.raises(DataError, match=message):
        load(WINDOW, sent, token=2)
    assert stored(admin) == before


PARTITIONED = """
    CREATE TABLE parts (LIKE flights) PARTITION BY RANGE ("EVENT_TIME");
    CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts SELECT * FROM flights;
    DROP TABLE flights CASCADE; ALTER TABLE parts RENAME TO flights
"""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(each_row("BEFORE INSERT", "RETURN NEW;"), id="a trigger that changes nothing"),
        pytest.param("CREATE TABLE child () INHERITS (flights)", id="a child table"),
        pytest.param(PARTITIONED, id="a partitioned table"),
        pytest.param("ALTER TABLE flights ENABLE ROW LEVEL SECURITY", id="policies"),
    ],
)
def test_other_tables_are_counted(admin, schema, load, counting, change):
    admin.execute(change.replace("SCHEMA", schema))
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert len(counting) == 1
    assert [row[0] for row in stored(admin)] == sorted(row.record_id for row in NEW)


def test_rows_are_counted_if_the_server_keeps_no_statistics(load, connect, counting):
    connect(options="-c track_counts=off")
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert len(counting) == 1


@pytest.mark.parametrize("hashed", [lambda _: 7, len], ids=["one hash for all", "few hashes"])
def test_different_ids_of_equal_hash_are_counted(admin, load, counting, monkeypatch, hashed):
    monkeypatch.setattr(sent_rows, "hash", hashed, raising=False)
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert len(counting) == 1
    with pytest.raises(RepeatedIdsError, match="got 2 rows and 1 distinct id"):
        load(WINDOW, [Row("a", MIDNIGHT), Row("a", MIDNIGHT)], token=3)
    assert len(stored(admin)) == 7


def test_a_row_of_another_writer_is_counted_after_the_commit(admin, load, make_loader, monkeypatch):
    """A load cannot see it, and the audit counts the table after each load."""
    copy = PostgresSession.copy

    def copied(self: PostgresSession, *args: Any) -> int:
        number = copy(self, *args)
        admin.execute(
            "INSERT INTO flights SELECT 'other', %s, '', '', 'flights', now(), now(), 1, now()", [MIDNIGHT]
        )
        return number

    monkeypatch.setattr(PostgresSession, "copy", copied)
    assert load(WINDOW, NEW, token=2) == LoadResult(7, 7)
    assert load._make_target("flights").count(WINDOW) == TargetCounts(8, 8)


def test_rows_that_already_have_the_token_are_counted(admin, make_loader, counting):
    """They are left where the commit rows were lost together with the state, and tokens begin again."""
    load = make_loader(keeps_history=True)
    assert load(WINDOW, NEW, token=1) == LoadResult(7, 7)
    admin.execute('DELETE FROM "flights_COMMITS"')
    before = stored(admin)
    with pytest.raises(DataError, match=r"expected 7 rows .*got 14 rows and 7 distinct ids"):
        load(WINDOW, NEW, token=1)
    assert stored(admin) == before
