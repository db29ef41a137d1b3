"""Stage object_store on a real S3 server: the conformance kit, multipart uploads, and what the server refuses.

Environment: S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, S3_BUCKET.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing.stage_kit import StageConformance
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_state import MemoryState
from tests.phases.conftest import Pipeline

pytestmark = pytest.mark.integration

PIECES = 40  # of 1 MiB: more than one piece of a multipart upload


def setting(name: str) -> str:
    if name not in os.environ:
        pytest.fail(f"no S3 server: {name} not set")
    return os.environ[name]


def connection(monkeypatch, conn_id: str, **changes: str) -> None:
    given = {
        "endpoint_url": setting("S3_ENDPOINT_URL"),
        "login": setting("AWS_ACCESS_KEY_ID"),
        "password": setting("AWS_SECRET_ACCESS_KEY"),
        **changes,
    }
    extra = {"endpoint_url": given.pop("endpoint_url"), "region_name": "us-east-1"}
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "aws", **given, "extra": extra})
    )


def stage_at(path: str) -> ObjectStoreStage:
    return ObjectStoreStage(ObjectStoreStage.Options(type="object_store", path=path), Identity("kit", "UTC"))


@pytest.fixture
def client():
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=setting("S3_ENDPOINT_URL"),
        aws_access_key_id=setting("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=setting("AWS_SECRET_ACCESS_KEY"),
        region_name="us-east-1",
    )
    yield client
    client.close()


@pytest.fixture
def folder():
    return f"kit/{uuid4().hex}"


class TestS3(StageConformance):
    @pytest.fixture
    def stage(self, monkeypatch, folder):
        connection(monkeypatch, "kit_s3")
        stage = stage_at(f"s3://kit_s3@{setting('S3_BUCKET')}/{folder}")
        yield stage
        stage.delete([file.path for file in stage.list("")])

    @pytest.mark.parametrize("pieces", [1, PIECES], ids=["little", "several uploads"])
    def test_no_upload_is_left_when_the_block_raises(self, stage, client, folder, pieces):
        seen = []
        with pytest.raises(RuntimeError):
            write_and_raise(stage, pieces, lambda: seen.append(uploads(client, folder)))
        assert len(seen[0]) == (1 if pieces > 16 else 0)  # there was one while the block ran
        assert uploads(client, folder) == []
        assert stage.list("") == []

    def test_a_finished_multipart_upload_leaves_none_open(self, stage, client, folder):
        with stage.open_write("a/b") as file:
            for _ in range(PIECES):
                file.write(b"x" * 2**20)
        assert uploads(client, folder) == []
        assert stage.size("a/b") == PIECES * 2**20

    def test_a_terminated_writer_publishes_nothing_and_aborts(self, stage, client, folder):
        """SIGTERM, as Airflow sends it to a task: turned into an exception that the block sees."""
        code = (
            "import signal, sys, time\n"
            "def stop(*_): raise SystemExit(3)\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            "from airflow_pipeline_provider.connectors.base import Identity\n"
            "from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage as S\n"
            "s = S(S.Options(type='object_store', path=sys.argv[1]), Identity('p', 'UTC'))\n"
            "with s.open_write('a/b') as f:\n"
            f"    for _ in range({PIECES}): f.write(b'x' * 2**20)\n"
            "    print('written', flush=True)\n"
            "    time.sleep(60)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, stage.options.path], stdout=subprocess.PIPE, text=True
        )
        assert any(line.strip() == "written" for line in process.stdout)
        assert len(uploads(client, folder)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 3
        process.stdout.close()
        assert uploads(client, folder) == []
        assert stage.size("a/b") is None

    def test_what_a_killed_writer_left_is_aborted_once_it_is_old(self, stage, client, folder, monkeypatch):
        # MinIO lists the uploads of one key only
        monkeypatch.setattr(stage._files, "_prefix", f"{folder}/a/b")

        def ours(path: str) -> bool:
            return path == ""  # what is left of the key after the prefix

        code = (
            "import sys, time\n"
            "from airflow_pipeline_provider.connectors.base import Identity\n"
            "from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage as S\n"
            "s = S(S.Options(type='object_store', path=sys.argv[1]), Identity('p', 'UTC'))\n"
            "with s.open_write('a/b') as f:\n"
            f"    for _ in range({PIECES}): f.write(b'x' * 2**20)\n"
            "    print('written', flush=True)\n"
            "    time.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, stage.options.path], stdout=subprocess.PIPE, text=True
        ) as process:
            assert any(line.strip() == "written" for line in process.stdout)
            process.kill()
        assert uploads(client, folder) == [f"{folder}/a/b"]
        now = datetime.now(timezone.utc)
        hour = timedelta(hours=1)
        assert list(stage.remove_unfinished(now - hour, ours)) == []
        expected = [f"upload of s3://{setting('S3_BUCKET')}/{folder}/a/b"]
        assert list(stage.remove_unfinished(now + hour, ours, dry_run=True)) == expected
        assert uploads(client, folder) == [f"{folder}/a/b"]
        assert list(stage.remove_unfinished(now + hour, ours)) == expected
        assert uploads(client, folder) == []


def test_part_files_older_than_keep_are_removed(monkeypatch, client, folder, tmp_path):
    connection(monkeypatch, "kit_s3")
    register("source", "memory", MemorySource)
    register("state", "memory", MemoryState, replace=True)
    MemorySource.clear()
    pipeline = Pipeline(tmp_path)
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T08:00:00Z", timedelta(minutes=10))
    path = f"s3://kit_s3@{setting('S3_BUCKET')}/{folder}"
    runtime = pipeline.runtime(stage={"path": path, "keep": "30d"})
    pipeline.move(runtime)
    pipeline.now += timedelta(hours=1)
    pipeline.move(runtime)
    pipeline.now += timedelta(days=29, hours=23, minutes=30)
    assert [len(one.files) for one in cleanup(runtime, dry_run=True).expired] == [1]
    [expired] = cleanup(runtime).expired
    assert [entry.interval for entry in pipeline.entries() if entry.kind is Kind.FILES_REMOVED] == [
        expired.interval
    ]
    left = [
        name["Key"] for name in client.list_objects_v2(Bucket=setting("S3_BUCKET"), Prefix=folder)["Contents"]
    ]
    assert sum("/part-" in name for name in left) == 1
    assert sum("/manifest-" in name for name in left) == 2
    assert cleanup(runtime).expired == ()
    pipeline.move(runtime, kind=RunKind.WINDOW, interval=expired.interval)
    pipeline.assert_target_is(*(e.interval for e in pipeline.entries() if e.kind is Kind.COMMITTED))
    runtime.stage.delete([file.path for file in runtime.stage.list("")])


def write_and_raise(stage, pieces, look) -> None:
    with stage.open_write("a/b") as file:
        for _ in range(pieces):
            file.write(b"x" * 2**20)
        look()
        raise RuntimeError("broken off")


def uploads(client, folder: str) -> list[str]:
    # MinIO lists the uploads of one key only
    answer = client.list_multipart_uploads(Bucket=setting("S3_BUCKET"), Prefix=f"{folder}/a/b")
    return [upload["Key"] for upload in answer.get("Uploads", [])]


CALLS = {
    "write": lambda stage: stage.write("a", b"1"),
    "read": lambda stage: stage.read("a"),
    "size": lambda stage: stage.size("a"),
    "list": lambda stage: stage.list("a"),
    "delete": lambda stage: stage.delete(["a"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_bucket_is_fatal(monkeypatch, call):
    connection(monkeypatch, "kit_s3")
    with pytest.raises(
        FatalError, match=r"bucket 'no-such-bucket' of stage s3://no-such-bucket/x does not exist"
    ):
        CALLS[call](stage_at("s3://kit_s3@no-such-bucket/x"))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "wrong", [{"password": "not-the-secret"}, {"login": "nobody"}], ids=["secret", "key"]
)
def test_denied_access_is_fatal_and_holds_no_secret(monkeypatch, call, wrong):
    connection(monkeypatch, "kit_wrong", **wrong)
    with pytest.raises(FatalError, match="access was denied with connection 'kit_wrong'") as caught:
        CALLS[call](stage_at(f"s3://kit_wrong@{setting('S3_BUCKET')}/x"))
    assert "not-the-secret" not in str(caught.value)
    assert setting("AWS_SECRET_ACCESS_KEY") not in str(caught.value)


@pytest.mark.parametrize("call", ["write", "read", "size"])
def test_a_server_that_does_not_answer_is_transient(monkeypatch, call):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    connection(monkeypatch, "kit_down", endpoint_url=f"http://127.0.0.1:{port}")
    begin = time.monotonic()
    with pytest.raises(TransientError, match=f"cannot .* s3://{setting('S3_BUCKET')}/x/a"):
        CALLS[call](stage_at(f"s3://kit_down@{setting('S3_BUCKET')}/x"))
    assert time.monotonic() - begin < 120
