"""The SQL text of target snowflake, and what its errors mean: no server needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError
from snowflake.connector import errors

from airflow_pipeline_provider.connectors.base import CommitRow, Identity
from airflow_pipeline_provider.connectors.load_protocol import WriteConflictError, is_loaded
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.snowflake.errors import error_for, mapped
from airflow_pipeline_provider.connectors.snowflake.session import SnowflakeSession
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.testing.sample_rows import hours

LAKE = ObjectName(("ANALYTICS", "RAW", "LAKE"))
STAGED = ObjectName(("STAGED_1",))


def options(**changes):
    return SnowflakeTarget.Options(**({"type": "snowflake", "table": "ANALYTICS.RAW.FLIGHTS"} | changes))


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        ("flights", '"FLIGHTS"'),
        ("raw.Flights", '"RAW"."FLIGHTS"'),
        ("ANALYTICS.RAW.FLIGHTS_$1", '"ANALYTICS"."RAW"."FLIGHTS_$1"'),
        ('"flights-2013"', '"flights-2013"'),
        ('analytics."raw data".Flights', '"ANALYTICS"."raw data"."FLIGHTS"'),
        ('"FLIGHTS"', '"FLIGHTS"'),
        ('"2013"."-"."a b"', '"2013"."-"."a b"'),
    ],
)
def test_names_are_upper_case_and_quoted(written, quoted):
    assert str(sql.DIALECT.parse_name(written)) == quoted


# unbalanced, doubled, and with what could leave a quoted name or hide in it
QUOTES = [
    '"a',
    'a"',
    '"a"b',
    '"a""b"',
    '""',
    '"',
    '"a"."b',
    '" a"',
    '"a "',
    '"a.b"',
    '"a\\"',
    '"%s"',
    '"ü"',
    '"a\tb"',
]


@pytest.mark.parametrize("key", ["table", "external_stage"])
@pytest.mark.parametrize(
    "name", ["", "a.b.c.d", 'a"b', "a b", "a;DROP TABLE b", "a'b", "1a", "ü", "@a", "a--", "a\n", *QUOTES]
)
def test_other_names_are_refused(key, name):
    with pytest.raises(ValidationError, match="must be a name of one to three parts"):
        options(**{key: name})


@pytest.mark.parametrize("path", ["../up", "a//b", "a/./b"])
def test_a_path_below_the_stage_stays_below(path):
    with pytest.raises(ValidationError, match="must be a path below the external stage"):
        options(external_stage_path=path)


def test_side_objects_stand_beside_the_table():
    tables = TargetTables(sql.DIALECT.parse_name("a.b.flights"), sql.DIALECT)
    assert [str(n) for n in (tables.commits, tables.fence, tables.latest)] == [
        '"A"."B"."FLIGHTS_COMMITS"',
        '"A"."B"."FLIGHTS_FENCE"',
        '"A"."B"."FLIGHTS_LATEST"',
    ]


def test_a_view_that_is_replaced_keeps_its_grants():
    tables = TargetTables(sql.DIALECT.parse_name("a.b.flights"), sql.DIALECT)
    created, replaced = tables.create_view(), tables.create_view(replace=True)
    assert created.startswith('CREATE VIEW IF NOT EXISTS "A"."B"."FLIGHTS_LATEST" AS SELECT own."RECORD_ID"')
    assert replaced.startswith('CREATE OR REPLACE VIEW "A"."B"."FLIGHTS_LATEST" COPY GRANTS AS SELECT own.')


def test_copy_names_exactly_the_files():
    files = [f"flights/d'ay/part-{n}.parquet" for n in range(2001)]
    statements = list(sql.copy_files(STAGED, LAKE, files, sql.CopyOptions()))
    assert [s.count("/part-") for s in statements] == [1000, 1000, 1]
    assert statements[2] == (
        'COPY INTO "STAGED_1" ("RECORD_ID", "EVENT_TIME", "SOURCE_NAME", "BODY") FROM (SELECT $1:RECORD_ID::VARCHAR, '
        "$1:EVENT_TIME::TIMESTAMP_TZ, $1:SOURCE_NAME::VARCHAR, PARSE_JSON($1:BODY::VARCHAR(134217728)) "
        'FROM @"ANALYTICS"."RAW"."LAKE") FILES = (\'flights/d\\\'ay/part-2000.parquet\') '
        "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE USE_VECTORIZED_SCANNER = TRUE) "
        "ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
    )


@pytest.mark.parametrize(
    ("given", "present", "absent"),
    [
        ({}, ["::VARCHAR(134217728))", "USE_VECTORIZED_SCANNER = TRUE)"], []),
        ({"max_document_size": "17MiB"}, ["::VARCHAR(134217728))"], []),
        ({"max_document_size": "16MiB"}, ["PARSE_JSON($1:BODY::VARCHAR)"], ["134217728"]),
        ({"use_vectorized_scanner": False}, ["USE_LOGICAL_TYPE = TRUE)"], ["VECTORIZED"]),
    ],
)
def test_the_copy_follows_the_options(given, present, absent):
    chosen = options(**given)
    limits = SnowflakeTarget(chosen, Identity("flights", "UTC")).limits
    assert limits.max_body_bytes == chosen.max_document_size
    copy = sql.copy_all(
        STAGED, LAKE, sql.CopyOptions(chosen.max_document_size, chosen.use_vectorized_scanner)
    )
    assert all(text in copy for text in present)
    assert not any(text in copy for text in absent)


@pytest.mark.parametrize("size", ["129MiB", "1GB", 0, "lots"])
def test_a_document_size_beyond_a_variant_is_refused(size):
    with pytest.raises(ValidationError, match="max_document_size"):
        options(max_document_size=size)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", "'a'"),
        ("it's", "'it\\'s'"),
        ("\\", "'\\\\'"),
        ("'; DROP TABLE x; --", "'\\'; DROP TABLE x; --'"),
    ],
)
def test_literals_cannot_be_left(text, quoted):
    assert sql.literal(text) == quoted


def test_the_session_has_a_fixed_timezone_and_a_tag():
    statement = sql.set_session({"pipeline": "o'neil", "phase": "load"}, 900)
    assert "TIMEZONE = 'UTC'" in statement
    assert "LOCK_TIMEOUT = 600 STATEMENT_TIMEOUT_IN_SECONDS = 900" in statement
    assert 'QUERY_TAG = \'{"pipeline": "o\\\'neil", "phase": "load"}\'' in statement


@pytest.mark.parametrize(
    ("stage_url", "base", "path"),
    [
        ("s3://lake/", "s3://lake/flights", "flights/"),
        ("s3://lake/raw/", "s3://lake/raw/flights", "flights/"),
        ("s3://lake/raw", "s3://lake/raw", ""),
        ("s3gov://lake/raw/", "s3a://lake/raw/x", "x/"),
        ("s3compat://lake/raw/", "s3://lake/raw/x", "x/"),
        ("gcs://lake/raw/", "gs://lake/raw/x/y", "x/y/"),
        ("azure://acme.blob.core.windows.net/lake/raw/", "abfs://lake/raw/x", "x/"),
    ],
)
def test_where_the_stage_lies_below_the_external_stage(stage_url, base, path):
    assert sql.path_in_stage(LAKE, stage_url, base) == path


@pytest.mark.parametrize(
    ("stage_url", "base"),
    [
        ("s3://lake/raw/", "s3://lake/rawer"),
        ("s3://lake/raw/", "s3://lake"),
        ("s3://lake/", "s3://other/flights"),
        ("s3://lake/", "gs://lake/flights"),
        ("s3://lake/", "file:///lake/flights"),
    ],
)
def test_a_stage_elsewhere_is_refused(stage_url, base):
    with pytest.raises(ConfigError, match=r"ANALYTICS.RAW.LAKE reads .* is not below it") as caught:
        sql.path_in_stage(LAKE, stage_url, base)
    assert base in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ProgrammingError(msg="no warehouse", errno=606, sqlstate="57P03"), FatalError),
        (errors.ProgrammingError(msg="does not exist", errno=2003, sqlstate="42S02"), FatalError),
        (errors.ProgrammingError(msg="Insufficient privileges", errno=3001, sqlstate="42501"), FatalError),
        (errors.ProgrammingError(msg="syntax error", errno=1003, sqlstate="42000"), FatalError),
        (
            errors.DatabaseError(msg="Incorrect username or password", errno=390100, sqlstate="08001"),
            FatalError,
        ),
        (errors.DatabaseError(msg="250001 (08001): JWT token is invalid.", errno=390144), FatalError),
        (errors.ProgrammingError(msg="Authentication token has expired.", errno=390114), TransientError),
        (errors.ProgrammingError(msg="stage area", errno=91003, sqlstate="22000"), FatalError),
        (errors.ProgrammingError(msg="Remote file was not found", errno=91016, sqlstate="22000"), DataError),
        (errors.ProgrammingError(msg="Error parsing JSON", errno=100069, sqlstate="22P02"), DataError),
        (
            errors.ProgrammingError(msg="Max LOB size (16777216) exceeded", errno=100082, sqlstate="54000"),
            DataError,
        ),
        (errors.IntegrityError(msg="NULL result in a non-nullable column", errno=100072), DataError),
        (errors.ProgrammingError(msg="number of waiters", errno=625, sqlstate="57014"), WriteConflictError),
        (errors.ProgrammingError(msg="deadlock", errno=684, sqlstate="40001"), WriteConflictError),
        (errors.ProgrammingError(msg="rolled back", errno=100000, sqlstate="25P02"), WriteConflictError),
        (
            errors.ProgrammingError(msg="TransactionContext Error: Conflict on update!", errno=100000),
            WriteConflictError,
        ),
        (errors.OperationalError(msg="Failed to connect", errno=250001), TransientError),
        (errors.InterfaceError(msg="reset", errno=250002), TransientError),
        (errors.InternalServerError(msg="500"), TransientError),
        (ConnectionResetError("reset by peer"), TransientError),
    ],
    ids=lambda value: getattr(value, "msg", None) or getattr(value, "__name__", str(value)),
)
def test_errors_by_what_to_do_about_them(error, kind):
    with pytest.raises(kind) as caught, mapped("load"):
        raise error
    assert type(caught.value) is kind
    assert "Snowflake, while load: " in str(caught.value)


def test_other_errors_are_left_alone():
    with pytest.raises(KeyError), mapped("load"):
        raise KeyError("a bug")
    assert error_for(errors.Error(msg="unknown"), "load").message.startswith("Snowflake, while load")


def commit(interval, token, sha="x"):
    return CommitRow(interval, token, sha, 1)


MANIFEST = Manifest("flights", hours(0, 2), "a1", 5, parts=())


@pytest.mark.parametrize(
    ("rows", "loaded"),
    [
        ([], False),
        ([commit(hours(0, 2), 4)], False),
        ([commit(hours(0, 2), 5, MANIFEST.sha256)], True),
        ([commit(hours(0, 2), 5, MANIFEST.sha256), commit(hours(0, 1), 4)], True),
        ([commit(hours(0, 2), 6)], None),
        ([commit(hours(1, 3), 6), commit(hours(0, 2), 5, MANIFEST.sha256)], None),
        ([commit(hours(0, 2), 5)], None),
        ([commit(hours(0, 1), 5, MANIFEST.sha256)], None),
    ],
    ids=[
        "nothing",
        "older",
        "this",
        "this over older",
        "newer",
        "this, then newer",
        "other sha",
        "other interval",
    ],
)
def test_the_newest_overlapping_token_decides(rows, loaded):
    if loaded is None:
        with pytest.raises(SupersededError):
            is_loaded(rows, MANIFEST)
    else:
        assert is_loaded(rows, MANIFEST) is loaded


def test_the_limit_is_what_a_variant_holds():
    assert SnowflakeTarget(options(), Identity("flights", "UTC")).limits.max_body_bytes == 134_217_728


class Recorded:
    """A connection whose cursors answer each statement with its query id, or fail with it."""

    sfqid = "01b2-0000"
    description = (("status",),)

    def __init__(self, error=None):
        self.error = error

    def autocommit(self, on):
        pass

    def cursor(self):
        return self

    __enter__ = cursor

    def __exit__(self, *ends):
        pass

    def execute(self, statement, parameters):
        if self.error:
            raise self.error

    def fetchall(self):
        return [("ok",)]


def test_each_statement_is_logged_with_its_query_id_and_without_values(caplog):
    caplog.set_level("INFO")
    session = SnowflakeSession(Recorded(), 5)
    session.phase = "load"
    session.execute('DELETE FROM "A"."B"."T" WHERE "PIPELINE_ID" = %s', ["flights"])
    [message] = caplog.messages
    assert "event=snowflake.query phase=load query_id=01b2-0000" in message
    assert "DELETE FROM" in message
    assert "flights" not in message


def test_an_error_shows_the_query_id(caplog):
    caplog.set_level("INFO")
    error = errors.ProgrammingError(
        msg="SQL compilation error", errno=1003, sqlstate="42000", sfqid="01b2-0001"
    )
    with pytest.raises(FatalError, match="01b2-0001"):
        SnowflakeSession(Recorded(error), 5).execute("SELECT 1")
    assert "query_id=01b2-0000" in caplog.text


def test_the_module_imports_no_vendor_library():
    code = (
        "import sys, airflow_pipeline_provider.connectors.snowflake.target\n"
        "bad = set(sys.modules) & {'airflow', 'snowflake.connector', 'pyarrow'}\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
