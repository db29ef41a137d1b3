"""Stage object_store on a local folder, and on S3 through moto's server in this process."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.local_files import INCOMPLETE
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.testing.stage_kit import StageConformance


def make(path: str, **options: object) -> ObjectStoreStage:
    given = ObjectStoreStage.Options(type="object_store", path=path, **options)
    return ObjectStoreStage(given, Identity("flights", "UTC"))


def break_off(stage: ObjectStoreStage, path: str, size: int, times: int) -> None:
    with stage.open_write(path) as file:
        for _ in range(times):
            file.write(b"x" * size)
        raise RuntimeError("broken off")


class TestLocalFolder(StageConformance):
    @pytest.fixture
    def stage(self, tmp_path):
        return make(f"file://{tmp_path}/not made yet/stage")

    def test_a_plain_path_is_the_same_stage(self, stage, tmp_path):
        stage.write("a", b"1")
        assert make(f"{tmp_path}/not made yet/stage/").read("a") == b"1"
        assert make(f"{tmp_path}/not made yet/stage/").base == stage.base

    def test_nothing_is_left_beside_the_files(self, stage, tmp_path):
        stage.write("day/w/a", b"1")
        with pytest.raises(RuntimeError):
            break_off(stage, "day/w/b", 1, 1)
        stage.delete(["day/w/a"])
        left = [p for p in (tmp_path / "not made yet/stage").rglob("*") if p.name != INCOMPLETE]
        assert left == []

    def test_what_a_killed_process_left_is_removed_a_day_later(self, stage, tmp_path):
        stage.write("a", b"1")
        folder = tmp_path / "not made yet/stage" / INCOMPLETE
        old, new = "0" * 32, "1" * 32
        for name in (old, new, "not-ours"):
            (folder / name).write_bytes(b"x")
        for name in (old, "not-ours"):
            os.utime(folder / name, (time.time() - 90_000,) * 2)
        stage.delete(["a"])
        assert sorted(p.name for p in folder.iterdir()) == [new, "not-ours"]

    def test_files_and_folders_are_this_user_s_alone(self, stage, tmp_path):
        stage.write("day/w/a", b"1")
        made = list((tmp_path / "not made yet").rglob("*"))
        assert {stat.S_IMODE(p.stat().st_mode) for p in made if p.is_dir()} == {0o700}
        assert {stat.S_IMODE(p.stat().st_mode) for p in made if p.is_file()} == {0o600}

    def test_a_shared_stage_follows_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            make(f"{tmp_path}/shared", shared=True).write("day/a", b"1")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "shared/day").stat().st_mode) == 0o750
        assert stat.S_IMODE((tmp_path / "shared/day/a").stat().st_mode) == 0o640

    @pytest.mark.parametrize("place", [INCOMPLETE, "day", "day/w"])
    def test_nothing_is_deleted_through_a_symbolic_link(self, stage, tmp_path, place):
        victim = tmp_path / "victim"
        (victim / "w").mkdir(parents=True)
        names = ["a", "w/a", "0" * 32]
        for name in names:
            (victim / name).write_text("x")
            os.utime(victim / name, (time.time() - 90_000,) * 2)
        link = tmp_path / "not made yet/stage" / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(victim)
        stage.delete(["day/w/a", "day/a"])
        assert all((victim / name).exists() for name in names)

    @pytest.mark.parametrize(
        ("mode", "owner", "refused"),
        [(0o755, 0, False), (0o777, 0, True), (0o1777, 0, False), (0o755, 65534, True), (0o700, 65534, True)],
    )
    @pytest.mark.parametrize("below", ["", "inner"])
    def test_a_base_that_another_user_could_exchange_is_refused(self, tmp_path, mode, owner, refused, below):
        if os.geteuid():
            owner = (
                os.geteuid() if owner == 0 else 0
            )  # only root can give files away: root's folders are trusted
            refused = refused and owner == os.geteuid()
        place = tmp_path / "place"
        (place / below).mkdir(parents=True)
        if not os.geteuid():
            os.chown(place, owner, owner)
        place.chmod(mode)
        stage = make(f"{place}/{below}")
        if refused:
            with pytest.raises(FatalError, match=r"stage\.shared"):
                stage.write("a", b"1")
            make(f"{place}/{below}", shared=True).write("a", b"1")
        else:
            stage.write("a", b"1")

    def test_a_writer_and_a_cleaner_of_one_folder_do_not_disturb_each_other(self, stage):
        stop = threading.Event()

        def clean():
            while not stop.is_set():
                stage.write("day/w/x", b"1")
                stage.delete(["day/w/x"])

        cleaner = threading.Thread(target=clean)
        cleaner.start()
        try:
            for n in range(200):
                stage.write(f"day/w/{n}", b"1")
                stage.delete([f"day/w/{n}"])
        finally:
            stop.set()
            cleaner.join()

    def test_deleting_a_file_that_is_gone_leaves_a_folder_that_a_writer_may_have_made(self, stage, tmp_path):
        stage.write("day/w/1", b"1")
        (folder,) = tmp_path.rglob("w")
        (folder / "1").unlink()
        stage.delete(["day/w/1"])
        assert folder.is_dir()
        stage.write("day/w/2", b"1")
        stage.delete(["day/w/2"])
        assert not folder.parent.exists()

    def test_a_file_in_place_of_a_folder_is_said(self, stage):
        stage.write("a", b"1")
        with pytest.raises(FatalError, match="cannot write file://"):
            stage.write("a/b", b"1")

    def test_a_file_in_place_of_the_base_is_said_and_tidying_up_does_not_hide_it(self, tmp_path):
        (tmp_path / "base").write_text("x")
        stage = make(str(tmp_path / "base"))
        with pytest.raises(FatalError, match=r"cannot write file://.*check the stage's path"):
            stage.write("a", b"1")
        stage.delete(["a"])  # what a failed extract does; there is nothing to delete

    def test_it_needs_neither_airflow_nor_a_vendor_library(self, tmp_path):
        code = (
            "import sys\n"
            "from airflow_pipeline_provider.connectors.base import Identity\n"
            "from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage as S\n"
            f"s = S(S.Options(type='object_store', path={str(tmp_path)!r}), Identity('p', 'UTC'))\n"
            "s.write('a/b', b'1'); assert s.read('a/b') == b'1'; s.list(''); s.delete(['a/b'])\n"
            "bad = {m.partition('.')[0] for m in sys.modules} & {'airflow', 'fsspec', 'pyarrow', 'botocore'}\n"
            "assert not bad, bad\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("s3://aws_default@lake/flights", "s3://lake/flights"),
        ("s3://lake", "s3://lake"),
        ("s3://lake//a//b/", "s3://lake/a/b"),
        ("gs://gcp@bucket/a", "gs://bucket/a"),
        ("abfs://wasb-1@container/x", "abfs://container/x"),
        ("file:///data/stage/", "file:///data/stage"),
        ("/data/stage", "file:///data/stage"),
        ("/data/with space/ü", "file:///data/with space/ü"),
    ],
)
def test_base_shows_no_connection(path, base):
    assert make(path).base == base


@pytest.mark.parametrize(
    "path",
    [
        "data/stage",
        "~/stage",
        "",
        "/",
        "file://",
        "file:///",
        "file://host/data",
        "file://conn@/data",
        "/data/../etc",
        "s3://",
        "s3:///prefix",
        "s3://@bucket/a",
        "s3://bucket/../other",
        "s3://key:secret@bucket/a",
        "s3://bucket/a?versionId=1",
        "s3://bucket/a#b",
        "C:\\data",
    ],
)
def test_a_path_that_is_no_place_is_refused(path):
    with pytest.raises(ValidationError, match="must "):
        make(path)


def test_a_password_in_the_path_is_not_repeated():
    with pytest.raises(ValidationError) as caught:
        make("s3://AKIA:hunter2@bucket/a")
    assert "hunter2" not in caught.value.errors()[0]["msg"]


def test_sizes_are_read():
    options = ObjectStoreStage.Options(type="object_store", path="/data", part_size="64MB", keep_attempts=2)
    assert (options.part_size, options.keep_attempts) == (64_000_000, 2)


@pytest.fixture(scope="module")
def s3_server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_client(s3_server, monkeypatch):
    import boto3

    keys = {"aws_access_key_id": "kit", "aws_secret_access_key": "kit-secret", "region_name": "us-east-1"}
    extra = {"endpoint_url": s3_server, "region_name": "us-east-1"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_LAKE_KIT",
        json.dumps({"conn_type": "aws", "login": "kit", "password": "kit-secret", "extra": extra}),
    )
    client = boto3.client("s3", endpoint_url=s3_server, **keys)
    client.create_bucket(Bucket="lake")
    yield client
    for version in client.list_objects_v2(Bucket="lake").get("Contents", []):
        client.delete_object(Bucket="lake", Key=version["Key"])
    client.delete_bucket(Bucket="lake")
    client.close()


class TestS3InThisProcess(StageConformance):
    @pytest.fixture
    def stage(self, s3_client):
        return make("s3://lake_kit@lake/some/folder")

    @pytest.mark.parametrize("size", [100, 40 * 2**20], ids=["little", "more than one upload"])
    def test_no_upload_is_left_when_the_block_raises(self, stage, s3_client, size):
        with pytest.raises(RuntimeError):
            break_off(stage, "a/b", size // 10, 10)
        assert "Uploads" not in s3_client.list_multipart_uploads(Bucket="lake")
        assert "Contents" not in s3_client.list_objects_v2(Bucket="lake")

    def test_a_missing_bucket_is_fatal(self, stage):
        other = make("s3://lake_kit@nowhere/x")
        for call in (
            lambda: other.write("a", b"1"),
            lambda: other.read("a"),
            lambda: other.size("a"),
            lambda: other.list("a"),
        ):
            with pytest.raises(FatalError, match="'nowhere' of stage s3://nowhere/x does not exist"):
                call()

    def test_a_missing_object_is_not_a_missing_bucket(self, stage):
        with pytest.raises(DataError, match="s3://lake/some/folder/a does not exist"):
            stage.read("a")


def test_a_connection_in_the_metadata_database_is_used_and_not_put_into_the_environment(
    s3_client, airflow_db, monkeypatch
):
    from airflow.models import Connection
    from airflow.sdk import io
    from airflow.utils.session import create_session

    fields = json.loads(os.environ["AIRFLOW_CONN_LAKE_KIT"])
    monkeypatch.delenv("AIRFLOW_CONN_LAKE_KIT")
    with create_session() as session:
        session.add(Connection(conn_id="lake_db", **{**fields, "extra": json.dumps(fields["extra"])}))
    before, during, get_fs = dict(os.environ), {}, io.get_fs

    def watched(*args):
        during.update(os.environ)
        return get_fs(*args)

    monkeypatch.setattr(io, "get_fs", watched)
    stage = make("s3://lake_db@lake/some")
    stage.write("a", b"1")
    assert s3_client.get_object(Bucket="lake", Key="some/a")["Body"].read() == b"1"
    assert during
    assert fields["password"] not in during.values()
    assert "AIRFLOW_CONN_LAKE_DB" not in during
    assert dict(os.environ) == before


def test_a_missing_connection_is_fatal_and_named():
    with pytest.raises(FatalError, match="no_such_connection"):
        make("s3://no_such_connection@lake/x").write("a", b"1")
