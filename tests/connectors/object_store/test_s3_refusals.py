"""Stage object_store and what S3 stores refuse: expired tokens, missing encryption, checksums, plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, TransientError
from airflow_pipeline_provider.phases.attempt_files import attempt_of
from tests.connectors.object_store.s3_places import Asked, Store, serve, stage_at

VARIABLE = "AIRFLOW_CONN_REFUSED_KIT"
PATH = "s3://refused_kit@refused/some/folder"
LARGE = 20 * 2**20  # more than one piece of a multipart upload


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with serve() as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv(VARIABLE, server.connection())
    server.rule = lambda asked: None
    client = server.client()
    client.create_bucket(Bucket="refused")
    server.asked.clear()
    yield server
    server.rule = lambda asked: None
    for upload in client.list_multipart_uploads(Bucket="refused").get("Uploads", []):
        client.abort_multipart_upload(Bucket="refused", Key=upload["Key"], UploadId=upload["UploadId"])
    for found in client.list_objects_v2(Bucket="refused").get("Contents", []):
        client.delete_object(Bucket="refused", Key=found["Key"])
    client.delete_bucket(Bucket="refused")
    client.close()


# --- tokens that expire


def accepts_only(token: str) -> Callable[[Asked], tuple[int, str, str] | None]:
    def rule(asked: Asked) -> tuple[int, str, str] | None:
        if asked.headers.get("x-amz-security-token") == token:
            return None
        return 400, "ExpiredToken", "The provided token has expired."

    return rule


QUESTIONS: dict[str, Callable[[ObjectStoreStage], Any]] = {
    "read": lambda stage: stage.read("a"),
    "size": lambda stage: stage.size("a"),
    "list": lambda stage: [file.path for file in stage.list("")],
    "delete": lambda stage: stage.delete(["a"]),
    "now": lambda stage: isinstance(stage.now(), datetime),
}
ANSWERS = {"read": b"1", "size": 1, "list": ["a"], "delete": None, "now": True}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_reads_the_renewed_connection_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    monkeypatch.setenv(VARIABLE, store.connection(aws_session_token="of the morning"))
    stage = stage_at(PATH)
    stage.write("a", b"1")
    store.rule = accepts_only("of the evening")
    monkeypatch.setenv(VARIABLE, store.connection(aws_session_token="of the evening"))
    assert QUESTIONS[question](stage) == ANSWERS[question]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_token_that_stays_expired_is_transient(
    store: Store, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    monkeypatch.setenv(VARIABLE, store.connection(aws_session_token="of the morning"))
    stage = stage_at(PATH)
    stage.write("a", b"1")
    store.rule = accepts_only("of the evening")
    with pytest.raises(TransientError, match="the session token of connection 'refused_kit' has expired"):
        QUESTIONS[question](stage)


@pytest.mark.parametrize("size", [10, LARGE], ids=["at once", "in pieces"])
def test_a_write_that_a_token_did_not_outlive_is_transient_and_the_next_one_works(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setenv(VARIABLE, store.connection(aws_session_token="of the morning"))
    stage = stage_at(PATH)
    stage.list("")
    store.rule = accepts_only("of the evening")
    monkeypatch.setenv(VARIABLE, store.connection(aws_session_token="of the evening"))
    with pytest.raises(TransientError, match="has expired"):
        stage.write("a", b"x" * size)
    stage.write("a", b"x" * size)
    assert stage.size("a") == size


# --- encryption and checksums


def wants_kms(asked: Asked) -> tuple[int, str, str] | None:
    begins = asked.method == "PUT" and "partNumber" not in asked.query
    begins = begins or (asked.method == "POST" and asked.query.startswith("uploads"))
    wanted = ("aws:kms", "alias/stage")
    seen = tuple(asked.headers.get(f"x-amz-server-side-encryption{name}") for name in ("", "-aws-kms-key-id"))
    return (403, "AccessDenied", "explicit deny") if begins and seen != wanted else None


@pytest.mark.parametrize("size", [10, LARGE], ids=["at once", "in pieces"])
def test_every_write_asks_for_the_encryption_that_a_bucket_demands(store: Store, size: int) -> None:
    store.rule = wants_kms
    with pytest.raises(FatalError, match="access was denied"):
        stage_at(PATH).write("a", b"x" * size)
    stage = stage_at(PATH, s3={"sse": "aws:kms", "kms_key_id": "alias/stage"})
    stage.write("a", b"x" * size)
    assert stage.size("a") == size


def no_checksums(asked: Asked) -> tuple[int, str, str] | None:
    names = {"x-amz-sdk-checksum-algorithm", "x-amz-trailer"}
    known = [name for name in asked.headers if name.startswith("x-amz-checksum-")]
    if known or names & asked.headers.keys() or "aws-chunked" in asked.headers.get("content-encoding", ""):
        return 501, "NotImplemented", "A header you provided implies functionality that is not implemented"
    return None


@pytest.mark.parametrize("size", [10, LARGE], ids=["at once", "in pieces"])
def test_a_store_without_checksum_headers(store: Store, size: int) -> None:
    store.rule = no_checksums
    with pytest.raises(FatalError, match=r"stage\.s3\.checksums: when_required"):
        stage_at(PATH).write("a", b"x" * size)
    stage = stage_at(PATH, s3={"checksums": "when_required"})
    stage.write("a", b"x" * size)
    assert stage.read("a") == b"x" * size


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/data", {"sse": "AES256"}),
        ("gs://bucket/x", {"sse": "AES256"}),
        ("s3://bucket/x", {"sse": "none"}),
        ("s3://bucket/x", {"checksums": "never"}),
        ("s3://bucket/x", {"kms_key_id": "alias/x"}),
        ("s3://bucket/x", {"kms_key_id": "alias/x", "sse": "AES256"}),
        ("s3://bucket/x", {"acl": "private"}),
    ],
    ids=str,
)
def test_options_that_make_no_sense(path: str, options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        stage_at(path, s3=options)


# --- plain HTTP


@pytest.mark.parametrize(
    ("endpoint", "extra", "refused"),
    [
        ("http://minio.example:9000", {}, True),
        ("http://minio.example:9000", {"allow_http_credentials": "false"}, True),
        ("http://minio.example:9000", {"allow_http_credentials": True}, False),
        ("https://minio.example:9000", {}, False),
        ("http://localhost:9000", {}, False),
        ("http://[::1]:9000", {}, False),
    ],
    ids=str,
)
def test_the_credentials_of_a_store_need_https(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, extra: dict[str, Any], refused: bool
) -> None:
    import json

    fields = {"conn_type": "aws", "login": "kit-key", "password": "kit-secret"}
    extra = {**extra, "endpoint_url": endpoint, "region_name": "us-east-1"}
    monkeypatch.setenv(VARIABLE, json.dumps({**fields, "extra": extra}))
    stage = stage_at(PATH)
    if refused:
        with pytest.raises(ConfigError, match=r"unencrypted to http://minio\.example:9000"):
            stage.list("")
    else:
        assert stage._files._fs is not None  # type: ignore[union-attr]


def test_the_environment_s_credentials_need_https_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "kit-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "kit-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio.example:9000")
    with pytest.raises(ConfigError, match="name a connection"):
        stage_at("s3://refused/x").list("")


# --- uploads of others, and the clock


def test_only_uploads_with_our_names_are_aborted(store: Store) -> None:
    client = store.client()
    window = "2013-11-03/flights.20131103T040000Z-20131103T060000Z/0123456789ab"
    ours = f"some/folder/{window}/part-0-0-0.parquet"
    others = [
        "backups/db.tar",
        window + "/part-0-0-0.parquet",
        "some/folder/export.csv",
        f"some/folder/{window.replace('flights', 'weather')}/part-0-0-0.parquet",
        f"some/folder/{window[:-1]}/part-0-0-0.parquet",
        f"some/folder/deeper/{window}/part-0-0-0.parquet",
        f"some/folder2/{window}/part-0-0-0.parquet",
    ]
    for key in (ours, *others):
        client.create_multipart_upload(Bucket="refused", Key=key)
    stage = stage_at(PATH)
    later = datetime.now(timezone.utc) + timedelta(days=1)
    expected = [f"upload of s3://refused/{ours}"]

    def named(path: str) -> bool:
        return attempt_of("flights", path) is not None

    assert list(stage.remove_unfinished(later, named, dry_run=True)) == expected
    assert list(stage.remove_unfinished(later, named)) == expected
    left = client.list_multipart_uploads(Bucket="refused")["Uploads"]
    assert sorted(upload["Key"] for upload in left) == sorted(others)
    client.close()


def test_the_clock_is_asked_without_writing(store: Store) -> None:
    stage = stage_at(PATH)
    before = datetime.now(timezone.utc)
    assert abs(stage.now() - before) < timedelta(minutes=5)
    assert {asked.method for asked in store.asked} == {"GET"}
