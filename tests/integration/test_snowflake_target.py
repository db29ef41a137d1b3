"""Target snowflake against a server that speaks Snowflake's protocol: the kit by PUT and by external stage.

Environment: SNOWFLAKE_*, REQUESTS_CA_BUNDLE, AIRFLOW_CONN_SNOWFLAKE_DEFAULT; S3_ENDPOINT_URL, AWS_*, S3_BUCKET.
"""

from __future__ import annotations

import json
import os
from uuid import uuid4

import pytest

from airflow_pipeline_provider.connectors.base import Identity, LoadResult
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.snowflake import target as snowflake_target
from airflow_pipeline_provider.connectors.snowflake.session import SnowflakeSession
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, Loader, Row, hours, rows
from airflow_pipeline_provider.testing.sql_target_kit import SqlTargetConformance

pytestmark = [
    pytest.mark.integration,
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


@pytest.fixture(scope="module")
def connect():
    import snowflake.connector

    missing = [
        name
        for name in ("SNOWFLAKE_HOST", "AIRFLOW_CONN_SNOWFLAKE_DEFAULT", "REQUESTS_CA_BUNDLE")
        if name not in os.environ
    ]
    if missing:
        pytest.fail(f"no Snowflake server: {', '.join(missing)} not set")

    def connect():
        return snowflake.connector.connect(
            host=os.environ["SNOWFLAKE_HOST"],
            port=int(os.environ["SNOWFLAKE_PORT"]),
            account=os.environ["SNOWFLAKE_ACCOUNT"],
            user=os.environ["SNOWFLAKE_USER"],
            password=os.environ["SNOWFLAKE_PASSWORD"],
            database=os.environ["SNOWFLAKE_DATABASE"],
            schema=os.environ["SNOWFLAKE_SCHEMA"],
            insecure_mode=True,
        )

    return connect


@pytest.fixture(scope="module")
def connection(connect):
    with connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def schema(connection):
    """DATABASE.SCHEMA of this run."""
    name = f"{os.environ['SNOWFLAKE_DATABASE']}.KIT_{uuid4().hex[:8].upper()}"
    connection.cursor().execute(f"CREATE SCHEMA {name}")
    yield name
    connection.cursor().execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def table(schema):
    return f"{schema}.EVENTS_{uuid4().hex[:8]}"


@pytest.fixture
def query(connection):
    def query(sql: str) -> list[dict]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return query


def target_of(table, pipeline_id="flights", **more) -> SnowflakeTarget:
    options = SnowflakeTarget.Options(type="snowflake", table=table, **more)
    return SnowflakeTarget(options, Identity(pipeline_id, "UTC"))


class SnowflakeConformance(SqlTargetConformance):
    body_exact = False

    @pytest.fixture
    def make_target(self, table):
        return lambda pipeline_id: target_of(table, pipeline_id)

    @pytest.fixture
    def fetch(self, query, table):
        return lambda suffix: query(f"SELECT * FROM {table}{suffix}")

    @pytest.fixture
    def make_other_shape(self, query, table):
        return lambda: query(f"CREATE TABLE {table} (RECORD_ID VARCHAR, BODY INTEGER)")


class TestPut(SnowflakeConformance):
    """Parts are uploaded to a temporary stage."""

    def test_parts_of_a_remote_stage_are_fetched_first(self, target, load, stage):
        class Far(ObjectStoreStage):
            base = "s3://far/away"

        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 2500), token=1, part_bytes=5_000)
        assert len(manifest.parts) > 1
        assert target.load(manifest, Far(stage.options, stage.identity)) == LoadResult(2500, 2500)

    def test_a_body_that_is_no_json_is_a_data_error(self, target, load):
        with pytest.raises(DataError, match=r"(?i)json"):
            load(hours(0, 2), [Row("a", MIDNIGHT, "{bad")], token=1)
        assert target.count(hours(0, 2)) == (0, 0)

    def test_the_variant_can_be_queried(self, load, query, table):
        load(hours(0, 2), [Row("a", MIDNIGHT, '{"carrier": "UA", "delay": {"minutes": 12}}')], token=1)
        found = query(f"SELECT BODY:carrier::VARCHAR AS C, BODY:delay.minutes::INT AS M FROM {table}")
        assert found == [{"C": "UA", "M": 12}]

    def test_the_parts_wait_in_a_table_of_the_session(self, load, query, schema):
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        names = [row["name"] for row in query(f"SHOW TABLES IN SCHEMA {schema}")]
        assert not [name for name in names if name.startswith("STAGED_")]

    def test_a_document_of_more_than_16_mib_is_loaded(self, load, query, table):
        body = '{"a": "' + "x" * (17 * 2**20) + '"}'
        load(hours(0, 2), [Row("a", MIDNIGHT, body)], token=1)
        assert query(f"SELECT LENGTH(BODY:a::VARCHAR) AS N FROM {table}") == [{"N": 17 * 2**20}]

    def test_quoted_names_keep_their_case(self, query, schema, stage):
        name = f'{schema}."{uuid4().hex[:8]}-flights raw"'
        target = target_of(name)
        target.prepare()
        target.prepare()
        for token in (1, 2):
            assert Loader(lambda _: target, stage)(hours(0, 2), rows(hours(0, 2), 5), token=token).rows == 5
        assert (target.count(hours(0, 2)), target.newest_token()) == ((5, 5), 2)
        latest = name.removesuffix('"') + '_LATEST"'
        assert query(f"SELECT COUNT(*) AS N FROM {latest}") == [{"N": 5}]

    def test_a_schema_that_is_missing_is_fatal(self):
        with pytest.raises(FatalError, match="NOWHERE"):
            target_of(f"{os.environ['SNOWFLAKE_DATABASE']}.NOWHERE.T").prepare()

    def test_load_before_prepare_is_fatal(self, make_target, stage):
        with pytest.raises(FatalError, match="EVENTS_"):
            Loader(make_target, stage)(hours(0, 2), rows(hours(0, 2), 1), token=1)

    def test_the_fence_table_of_an_older_version_gets_its_column(self, make_target, load, query, table):
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        query(f'ALTER TABLE {table}_FENCE DROP COLUMN "PIPELINES"')
        target = make_target("flights")
        assert target.pipelines() == {}
        target.prepare()
        target.register({"n": 1}, lambda _: None)
        assert target.pipelines() == {"flights": {"n": 1}}
        assert load(hours(0, 2), rows(hours(0, 2), 6), token=2).rows == 6

    def test_a_broken_fence_is_said(self, target, load, query, table):
        query(f"DELETE FROM {table}_FENCE")
        with pytest.raises(FatalError, match="expected exactly one row, got 0"):
            load(hours(0, 2), rows(hours(0, 2), 3), token=1)
        assert target.count(hours(0, 2)) == (0, 0)


@pytest.fixture(scope="module")
def lake(connection, schema):
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    credentials = f"AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}'"
    url = f"s3://{os.environ['S3_BUCKET']}/kit/"
    connection.cursor().execute(f"CREATE STAGE {schema}.LAKE URL = '{url}' CREDENTIALS = ({credentials})")
    return f"{schema}.LAKE"


class TestExternalStage(SnowflakeConformance):
    """Parts are read from S3 by the server."""

    @pytest.fixture
    def stage(self, monkeypatch):
        for name in ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET"):
            if name not in os.environ:
                pytest.fail(f"no S3 server: {name} not set")
        extra = {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"}
        login = {"login": os.environ["AWS_ACCESS_KEY_ID"], "password": os.environ["AWS_SECRET_ACCESS_KEY"]}
        monkeypatch.setenv("AIRFLOW_CONN_KIT_S3", json.dumps({"conn_type": "aws", **login, "extra": extra}))
        path = f"s3://kit_s3@{os.environ['S3_BUCKET']}/kit/{uuid4().hex}"
        stage = ObjectStoreStage(
            ObjectStoreStage.Options(type="object_store", path=path), Identity("kit", "UTC")
        )
        yield stage
        stage.delete([file.path for file in stage.list("")])

    @pytest.fixture
    def make_target(self, table, lake):
        return lambda pipeline_id: target_of(table, pipeline_id, external_stage=lake)

    def test_more_files_than_one_copy_takes(self, target, load, monkeypatch):
        monkeypatch.setattr(snowflake_target.sql, "FILES_A_COPY", 2)
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 5000), token=1, part_bytes=5_000)
        assert len(manifest.parts) >= 5
        assert load.load(manifest) == LoadResult(5000, 5000)

    def test_a_stage_that_is_not_below_is_refused(self, target, load, tmp_path):
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
        local = ObjectStoreStage(
            ObjectStoreStage.Options(type="object_store", path=str(tmp_path)), Identity("kit", "UTC")
        )
        with pytest.raises(ConfigError, match="is not below it"):
            target.load(manifest, local)

    def test_an_external_stage_that_is_missing_is_fatal(self, table, schema, load):
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
        with pytest.raises(FatalError, match="NO_LAKE does not exist"):
            target_of(table, external_stage=f"{schema}.NO_LAKE").load(manifest, load._stage)

    def test_the_stage_is_checked_for_the_doctor(self, table, schema, lake, stage, tmp_path):
        stage.write("2013-11-03/a", b"1")
        target = target_of(table, external_stage=lake)
        target.check_stage(stage, "2013-11-03/a")
        target.check_stage(stage, None)
        with pytest.raises(
            FatalError, match=r"shows no file .*2013-11-03/b, and s3://.*/2013-11-03/b is there"
        ):
            target.check_stage(stage, "2013-11-03/b")
        with pytest.raises(FatalError, match="NO_LAKE does not exist"):
            target_of(table, external_stage=f"{schema}.NO_LAKE").check_stage(stage, None)
        options = ObjectStoreStage.Options(type="object_store", path=str(tmp_path))
        with pytest.raises(ConfigError, match="is not below"):
            target.check_stage(ObjectStoreStage(options, Identity("kit", "UTC")), None)
        target_of(table).check_stage(stage, "no/such/file")  # parts are uploaded then

    def test_the_path_below_the_stage_may_be_said(self, table, lake, load, stage):
        path = stage.base.partition("/kit/")[2]
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
        target = target_of(table, external_stage=lake, external_stage_path=f"/{path}/")
        assert target.load(manifest, stage) == LoadResult(3, 3)


@pytest.fixture
def loaded(table, tmp_path):
    """(target, loader) with a stage of its own, prepared."""
    target = target_of(table)
    target.prepare()
    stage = ObjectStoreStage(
        ObjectStoreStage.Options(type="object_store", path=str(tmp_path)), Identity("k", "UTC")
    )
    return target, Loader(lambda pipeline_id: target_of(table, pipeline_id), stage), stage


@pytest.mark.parametrize("done", [True, False], ids=["the commit was done", "it was not"])
def test_a_lost_reply_to_commit_is_settled_by_the_commit_row(loaded, monkeypatch, done):
    target, load, stage = loaded
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 5), token=1)
    stock = SnowflakeSession.execute

    def execute(self, statement, parameters=()):
        if statement == "COMMIT":
            stock(self, "COMMIT" if done else "ROLLBACK")
            raise TransientError("the connection was cut")
        return stock(self, statement, parameters)

    monkeypatch.setattr(SnowflakeSession, "execute", execute)
    if done:
        assert target.load(manifest, stage) == LoadResult(5, 5)
    else:
        with pytest.raises(TransientError, match="no commit row of it, so nothing was changed"):
            target.load(manifest, stage)
    monkeypatch.undo()
    assert target.load(manifest, stage) == LoadResult(5, 5, already=done)
    assert target.count(hours(0, 2)) == (5, 5)


def test_a_session_killed_inside_the_transaction_leaves_nothing(loaded, monkeypatch):
    target, load, stage = loaded
    load(hours(0, 2), rows(hours(0, 2), 5), token=1)
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 9), token=2)

    def kill(self, session, manifest):
        raise KeyboardInterrupt

    monkeypatch.setattr(SnowflakeTarget, "commit_load", kill)
    with pytest.raises(KeyboardInterrupt):
        target.load(manifest, stage)
    monkeypatch.undo()
    assert target.count(hours(0, 2)) == (5, 5)
    assert target.newest_token() == 1
    assert target.load(manifest, stage) == LoadResult(9, 9)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        pytest.param({"password": "wrong"}, FatalError, "connecting with 'other'", id="password"),
        pytest.param({"port": 1}, TransientError, "connecting with 'other'", id="nobody listens"),
    ],
)
def test_connection_errors_say_the_connection_and_no_secret(monkeypatch, table, change, error, said):
    connection = json.loads(os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])
    if "port" in change:
        connection["extra"]["port"] = change["port"]
        connection["extra"]["login_timeout"] = 3
    connection |= {key: value for key, value in change.items() if key != "port"}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    with pytest.raises(error, match=said) as caught:
        target_of(table, conn_id="other").commits()
    assert "wrong" not in str(caught.value)
    assert os.environ["SNOWFLAKE_PASSWORD"] not in str(caught.value)


def test_a_missing_connection_is_fatal(table):
    with pytest.raises(FatalError, match="no_such_connection"):
        target_of(table, conn_id="no_such_connection").commits()
