"""Target duckdb: the conformance kit, and what is its own: a file that one process has open at a time."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity, LoadResult
from airflow_pipeline_provider.connectors.duckdb import target as duckdb_target
from airflow_pipeline_provider.connectors.duckdb.session import DuckDBFile, DuckDBSession
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.sql_tables import DATA_COLUMNS
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, Loader, Row, hours, rows
from airflow_pipeline_provider.testing.sql_target_kit import SqlTargetConformance

TABLE = "raw.Events"


def target_at(path, pipeline_id="flights", table=TABLE) -> DuckDBTarget:
    options = DuckDBTarget.Options(type="duckdb", path=str(path), table=table)
    return DuckDBTarget(options, Identity(pipeline_id, "UTC"))


def query(path, sql: str) -> list[dict]:
    with duckdb.connect(str(path)) as connection:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "not made yet" / "ware house.duckdb"


class TestDuckDB(SqlTargetConformance):
    @pytest.fixture
    def make_target(self, path):
        return lambda pipeline_id: target_at(path, pipeline_id)

    @pytest.fixture
    def fetch(self, path):
        return lambda suffix: query(path, f"SELECT * FROM raw.events{suffix}")

    @pytest.fixture
    def make_other_shape(self, path):
        def make():
            path.parent.mkdir()
            query(path, "CREATE SCHEMA raw")
            query(path, "CREATE TABLE raw.events (record_id VARCHAR, body INTEGER)")

        return make

    def test_contents_of_large_documents_are_hashed(self, target, load):
        """DuckDB works on 2,048 rows at a time, for which the memory that suffices for ids is too little."""
        body = '"' + "x" * 200_000 + '"'
        load(hours(0, 2), [Row(f"r{n}", MIDNIGHT, body) for n in range(700)], token=1)
        with target.records(hours(0, 2), content=True) as portions:
            found = [row for portion in portions for row in portion]
        assert len(found) == 700
        assert {row[2:] for row in found} == {target.digest(body.encode())}

    def test_the_limit_of_memory_ends_with_the_records(self, target, load):
        limit = "SELECT current_setting('memory_limit')"
        load(hours(0, 2), rows(hours(0, 2), 3), token=1)
        with target.open_session("check") as session:
            before = session.execute(limit)
        with target.records(hours(0, 2)) as portions:
            assert next(iter(portions))
        with target.open_session("check") as session:
            assert session.execute(limit) == before

    def test_parts_of_a_stage_that_is_not_local_are_streamed(self, target, load, stage, fetch):
        class Far(ObjectStoreStage):
            base = "s3://far/away"

        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 2500), token=1, part_bytes=5_000)
        assert target.load(manifest, Far(stage.options, stage.identity)) == LoadResult(2500, 2500)
        assert [r["EVENT_TIME"].timestamp() for r in fetch("") if r["BODY"] == '{"i":0}'] == [
            MIDNIGHT.timestamp()
        ]

    def test_a_stage_with_glob_characters_in_its_path(self, make_target, tmp_path):
        stage = ObjectStoreStage(
            ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "st[a]ge*/k=v")),
            Identity("kit", "UTC"),
        )
        make_target("flights").prepare()
        assert Loader(make_target, stage)(hours(0, 2), rows(hours(0, 2), 9), token=1) == LoadResult(9, 9)

    def test_a_view_name_that_is_taken_is_refused(self, path, make_target):
        path.parent.mkdir()
        query(path, "CREATE SCHEMA raw")
        query(path, "CREATE TABLE raw.events_latest (a INTEGER)")
        with pytest.raises(FatalError, match="Events_LATEST"):
            make_target("flights").prepare()

    @pytest.mark.parametrize("condition", ["", " WHERE TOKEN > 0"], ids=["ours", "the user's own"])
    def test_the_view_of_an_earlier_version_is_replaced(self, path, make_target, target, condition):
        """A filter then reads the rows that it chooses, and the ids and times of the others."""
        columns = ", ".join(f'"{name}"' for name in DATA_COLUMNS)
        query(
            path,
            f'CREATE OR REPLACE VIEW raw."Events_LATEST" AS SELECT {columns} FROM raw."Events"{condition} QUALIFY '
            'ROW_NUMBER() OVER (PARTITION BY "PIPELINE_ID", "RECORD_ID" '
            'ORDER BY "TOKEN" DESC, "EVENT_TIME" DESC) = 1',
        )
        make_target("flights").prepare()
        [view] = query(path, "SELECT sql FROM duckdb_views() WHERE view_name = 'Events_LATEST'")
        assert ("QUALIFY" in view["sql"]) is bool(condition)

    @pytest.mark.parametrize("name", ["_COMMITS", "_FENCE"])
    def test_a_side_table_of_another_shape_is_refused(self, path, make_target, name):
        path.parent.mkdir()
        query(path, "CREATE SCHEMA raw")
        query(path, f"CREATE TABLE raw.events{name} (a INTEGER)")
        with pytest.raises(FatalError, match=f"Events{name}.*PIPELINE_ID VARCHAR is missing"):
            make_target("flights").prepare()

    def test_loads_without_quarantined_rows_run_no_statement_for_them(
        self, path, make_target, load, monkeypatch
    ):
        """The first load of a window runs none, with or without the table; a later one looks for the table."""
        statements: list[str] = []
        execute = DuckDBSession.execute

        def recorded(session, statement, parameters=()):
            statements.append(statement)
            return execute(session, statement, parameters)

        def of_quarantine(window, token, **changes) -> list[str]:
            manifest = load.manifest(window, rows(window, 3, f"r{token}"), token=token, **changes)
            target = make_target("flights")
            target.prepare()
            statements.clear()
            target.load(manifest, load._stage)
            target.close()
            words = ("quarantine", "duckdb_tables()")
            return [one.split()[0] for one in statements if any(word in one.lower() for word in words)]

        monkeypatch.setattr(DuckDBSession, "execute", recorded)
        assert of_quarantine(hours(0, 2), 1) == []
        assert of_quarantine(hours(0, 2), 2) == ["SELECT"]
        assert of_quarantine(hours(2, 4), 3, limits=TargetLimits(max_body_bytes=1))[-1] == "INSERT"
        assert of_quarantine(hours(4, 6), 4) == []
        assert of_quarantine(hours(4, 6), 5) == ["SELECT", "DESCRIBE", "DELETE"]

    def test_quarantined_rows_of_several_statements(self, target, load):
        window = hours(0, 2)
        many = [Row(f"{n:06}" + "i" * 300, window.start, "rejected") for n in range(1_700)]
        manifest = load.manifest(window, many, token=1, limits=TargetLimits(max_body_bytes=1))
        assert load.load(manifest) == LoadResult(0, 0)
        assert [count.rows for count in target.quarantined()] == [1_700]
        assert [row.record_id for row in target.quarantined_rows(1, 2_000)] == [row.record_id for row in many]

    def test_columns_of_ones_own_are_welcome(self, path, make_target, target, load):
        query(path, "ALTER TABLE raw.events ADD COLUMN note VARCHAR")
        target.prepare()
        assert load(hours(0, 2), rows(hours(0, 2), 3), token=1).rows == 3

    @pytest.mark.parametrize(
        "change", ["DELETE FROM raw.events_fence", "INSERT INTO raw.events_fence FROM raw.events_fence"]
    )
    def test_a_broken_fence_is_said(self, path, target, load, change):
        query(path, change)
        with pytest.raises(FatalError, match="expected exactly one row, got"):
            load(hours(0, 2), rows(hours(0, 2), 3), token=1)
        assert target.count(hours(0, 2)) == (0, 0)

    def test_the_fence_table_of_an_older_version_is_readable_and_gets_its_column(
        self, path, make_target, load
    ):
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        query(path, 'ALTER TABLE raw.events_fence DROP COLUMN "PIPELINES"')
        target = make_target("flights")
        assert target.pipelines() == {}
        assert target.count(hours(0, 2)) == (5, 5)
        target.prepare()
        target.register({"n": 1}, lambda _: None)
        assert target.pipelines() == {"flights": {"n": 1}}
        assert load(hours(0, 2), rows(hours(0, 2), 6), token=2).rows == 6

    def test_a_registration_that_somebody_edited_is_said(self, path, target):
        query(path, """UPDATE raw.events_fence SET "PIPELINES" = '[1'""")
        with pytest.raises(DataError, match="JSON object"):
            target.pipelines()

    def test_the_file_is_free_after_each_operation(self, path, target, load):
        load(hours(0, 2), rows(hours(0, 2), 3), token=1)
        target.count(hours(0, 2))
        code = f"import duckdb; duckdb.connect({str(path)!r}).execute('SELECT * FROM raw.events').fetchall()"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_bytes_that_are_no_parquet_are_a_data_error(self, target, load, stage):
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
        stage.write(manifest.parts[0].path, b"PAR1 nonsense PAR1")
        with pytest.raises(DataError):
            load.load(manifest)
        assert target.count(hours(0, 2)) == (0, 0)


HOLD = """
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def held(path):
    """Opens the file in another process for some seconds."""
    processes = []

    def hold(seconds: float):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout.readline() == b"open\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.stdout.close()
        process.wait()


def test_a_busy_file_is_waited_for(path, held):
    target = target_at(path)
    target.prepare()
    held(1)
    assert target.count(hours(0, 2)) == (0, 0)


def test_a_file_that_stays_busy_is_transient(path, held, monkeypatch):
    monkeypatch.setattr(duckdb_target, "BUSY_SECONDS", 0.5)
    target = target_at(path)
    target.prepare()
    held(60)
    with pytest.raises(TransientError, match="open in another process"):
        target.count(hours(0, 2))


OPEN_ELSEWHERE = (
    "import sys, duckdb; duckdb.connect(sys.argv[1]).execute('CREATE OR REPLACE TABLE other AS SELECT 1')"
)


def test_another_process_may_open_the_file_between_operations(path, tmp_path):
    stage = ObjectStoreStage(
        ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "stage")), Identity("kit", "UTC")
    )
    target = target_at(path)

    def open_elsewhere() -> None:
        subprocess.run([sys.executable, "-c", OPEN_ELSEWHERE, str(path)], check=True)

    target.prepare()
    open_elsewhere()
    assert Loader(lambda _: target, stage)(hours(0, 2), rows(hours(0, 2), 9), token=1) == LoadResult(9, 9)
    open_elsewhere()
    assert target.count(hours(0, 2)) == (9, 9)
    open_elsewhere()
    assert [row.token for row in target.commits()] == [1]
    assert sorted(path.parent.iterdir()) == [path], "what was written is in the file, and in no log beside it"
    target.close()
    assert target.count(hours(0, 2)) == (9, 9), "it opens again"


@pytest.mark.parametrize("statement", ["DROP TABLE raw.events_commits", "DROP SCHEMA raw CASCADE"])
def test_tables_that_were_dropped_meanwhile_are_made_again_by_the_next_prepare(path, statement):
    target = target_at(path)
    target.prepare()
    assert target.count(hours(0, 2)) == (0, 0)
    query(path, statement)
    assert target.commits() == []
    target.prepare()
    assert query(path, "SELECT count(*) AS n FROM raw.events_commits") == [{"n": 0}]


@pytest.mark.parametrize("again", [True, False], ids=["another file", "no file"])
def test_a_file_that_was_replaced_is_looked_at_again(path, again):
    target = target_at(path)
    target.prepare()
    path.unlink()
    if again:
        query(path, "SELECT 1")
    assert target.commits() == []
    target.prepare()
    assert query(path, "SELECT count(*) AS n FROM raw.events") == [{"n": 0}]


@pytest.mark.parametrize("name", ["memory", "temp", "main", "_pipelines", 'it\'s "so"'])
def test_a_file_may_have_any_name(tmp_path, name):
    target = target_at(tmp_path / f"{name}.duckdb", table="raw.events")
    target.prepare()
    assert target.commits() == []
    assert target.count(hours(0, 2)) == (0, 0)


def test_a_file_of_something_else_is_fatal(path):
    path.parent.mkdir()
    path.write_text("hello" * 1000)
    with pytest.raises(FatalError, match="not a valid DuckDB database"):
        target_at(path).prepare()


def test_a_folder_in_place_of_the_file_is_fatal(path):
    path.mkdir(parents=True)
    with pytest.raises(FatalError, match=r"directory.*check target\.path"):
        target_at(path).prepare()


def test_load_before_prepare_is_said(path, tmp_path):
    stage = ObjectStoreStage(
        ObjectStoreStage.Options(type="object_store", path=str(tmp_path)), Identity("k", "UTC")
    )
    load = Loader(lambda pipeline_id: target_at(path, pipeline_id), stage)
    with pytest.raises(FatalError, match=r"call prepare\(\) before load"):
        load(hours(0, 2), [Row("a", MIDNIGHT)], token=1)


@pytest.mark.parametrize("table", ["events", "main.events", "warehouse.main.events", "select.order", "_x$1"])
def test_names_of_one_to_three_parts(tmp_path, table):
    target = target_at(tmp_path / "warehouse.duckdb", table=table)
    target.prepare()
    assert target.commits() == []
    assert target.count(hours(0, 1)) == (0, 0)


@pytest.mark.parametrize(
    "table", ["", "a.b.c.d", "a..b", 'a"b', "a b", "a;b", "1a", "ü", "a.", "x" * 241, "events--", "a'b"]
)
def test_a_name_with_anything_else_is_refused(table):
    with pytest.raises(ValidationError, match="must be a name of one to three parts"):
        target_at("/tmp/x.duckdb", table=table)


@pytest.mark.parametrize("table", ["x.events", "X.events", "temp.events", "system.events"])
def test_a_schema_of_a_databases_name_is_refused(table):
    """DuckDB takes neither for granted: the name would be that of both."""
    with pytest.raises(
        ValidationError, match=r"must have another schema than (x|temp|system), which is the name"
    ):
        target_at("/tmp/x.y.duckdb", table=table)


def test_a_file_called_main_has_a_schema_main(tmp_path):
    target = target_at(tmp_path / "main.duckdb", table="main.events")
    target.prepare()
    assert target.commits() == []


@pytest.mark.parametrize("where", ["x.duckdb", "", ":memory:", "md:cloud", "~/x", "/data/"])
def test_a_path_that_is_no_absolute_file_is_refused(where):
    with pytest.raises(ValidationError, match="must be the absolute path of a file"):
        target_at(where)


def test_the_module_imports_no_vendor_library():
    code = (
        "import sys, airflow_pipeline_provider.connectors.duckdb.target\n"
        "bad = {m.partition('.')[0] for m in sys.modules} & {'airflow', 'duckdb', '_duckdb', 'pyarrow'}\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- one opening for several operations


def test_operations_of_a_session_open_the_file_once(path, monkeypatch) -> None:
    target = target_at(path)
    target.prepare()
    opened = []
    open_file = DuckDBFile.open
    monkeypatch.setattr(DuckDBFile, "open", lambda file: opened.append(1) or open_file(file))
    with target.session():
        assert target.newest_token() == 0
        assert target.commits(hours(0, 1)) == []
        with target.session():
            assert target.count(hours(0, 1)).rows == 0
    assert len(opened) == 1
    assert query(path, "SELECT 1 AS x") == [{"x": 1}], "it is closed afterwards"


def test_a_session_without_a_file_creates_none(path) -> None:
    target = target_at(path)
    with target.session():
        assert target.newest_token() == 0
    assert not path.exists()


def test_after_an_error_a_session_opens_the_file_again(path) -> None:
    target = target_at(path)
    target.prepare()
    with target.session():
        assert target.newest_token() == 0
        with pytest.raises(FatalError), target.open_session("test") as session:
            session.execute("SELECT * FROM missing_table")
        assert target.newest_token() == 0
    assert query(path, "SELECT 1 AS x") == [{"x": 1}]
