"""The content of an object is proven by the store's checksum, or it is not: then the caller reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_pipeline_provider.connectors.object_store import s3_proof, s3_upload
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.envelope.manifest import Upload
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.testing.properties import stage as properties
from airflow_pipeline_provider.testing.properties.judging import NotApplicableError
from tests.connectors.object_store.checksum_store import (
    Asked,
    ChecksumStore,
    Headers,
    crc_of,
    flipped,
    serve_checksums,
)
from tests.connectors.object_store.s3_places import stage_at

PATH = "s3://proof_kit@proof/some/folder"
KEY = "some/folder/part"
PIECE = 1000
LITTLE, LARGE = bytes(range(200)), bytes(range(250)) * 10
SIZES = pytest.mark.parametrize("data", [LITTLE, LARGE], ids=["at once", "in pieces"])


@pytest.fixture(scope="module")
def server() -> Iterator[ChecksumStore]:
    with serve_checksums() as store:
        yield store


@pytest.fixture
def store(server: ChecksumStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChecksumStore]:
    tries = {"config_kwargs": {"retries": {"total_max_attempts": 2}}}
    monkeypatch.setenv("AIRFLOW_CONN_PROOF_KIT", server.connection(**tries))
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(s3_upload, "PIECE_BYTES", PIECE)
    server.reset()
    client = server.client()
    client.create_bucket(Bucket="proof")
    server.asked.clear()
    yield server
    server.reset()
    assert "Uploads" not in client.list_multipart_uploads(Bucket="proof")
    listed = client.list_object_versions(Bucket="proof")
    for found in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        client.delete_object(Bucket="proof", Key=found["Key"], VersionId=found["VersionId"])
    client.delete_bucket(Bucket="proof")
    client.close()


def written(stage: ObjectStoreStage, data: bytes, path: str = "part") -> Upload | None:
    with stage.open_write(path) as file:
        for at in range(0, len(data), 300):
            file.write(data[at : at + 300])
    return file.upload  # type: ignore[attr-defined]


def is_proven(data: bytes, upload: Upload | None, **options: object) -> bool:
    """By another process, as `stage` is."""
    return upload is not None and stage_at(PATH, s3=options).proves("part", upload, len(data))


@SIZES
def test_the_store_proves_what_it_compared_without_a_read(store: ChecksumStore, data: bytes) -> None:
    upload = written(stage_at(PATH), data)
    assert upload is not None
    assert upload.crc32 == crc_of(data)
    assert upload.pieces == (3 if data is LARGE else 0)
    assert is_proven(data, upload)
    assert store.questions("GET") == []
    assert [file.path for file in stage_at(PATH).list("")] == ["part"]  # the probe left nothing


def test_a_store_is_asked_only_once_whether_it_compares(store: ChecksumStore) -> None:
    stage = stage_at(PATH)
    uploads = {path: written(stage, LARGE, path) for path in "abc"}
    store.asked.clear()
    for path, upload in uploads.items():
        assert upload is not None
        assert stage.proves(path, upload, len(LARGE))
    assert len(store.asked) == len("abc") + 5  # a HEAD each; five requests of the probe


@SIZES
def test_a_probe_that_was_refused_leaves_no_delete_marker(store: ChecksumStore, data: bytes) -> None:
    """In a bucket with versions, deleting what does not exist adds one, with each process that proves parts."""
    store.client().put_bucket_versioning(Bucket="proof", VersioningConfiguration={"Status": "Enabled"})
    assert is_proven(data, written(stage_at(PATH), data))
    assert all("uploadId=" in asked.query for asked in store.questions("DELETE"))


@SIZES
def test_versions_of_a_bucket_are_compared(store: ChecksumStore, data: bytes) -> None:
    store.client().put_bucket_versioning(Bucket="proof", VersioningConfiguration={"Status": "Enabled"})
    upload = written(stage_at(PATH), data)
    assert upload is not None
    assert upload.version
    assert is_proven(data, upload)
    assert written(stage_at(PATH), data) != upload
    assert not is_proven(data, upload)  # the same bytes, and another version


# --- stores that do not compare, or not everything


@pytest.mark.parametrize(
    ("data", "compares"),
    [
        (LITTLE, {"piece", "whole"}),
        (LARGE, {"object", "whole"}),
        (LARGE, {"object", "piece"}),
    ],
    ids=["no object", "no piece", "no whole"],
)
def test_a_store_that_repeats_a_checksum_is_not_believed(
    store: ChecksumStore, data: bytes, compares: set[str]
) -> None:
    store.compares = compares
    store.keeps = lambda asked, sent: flipped(sent)
    upload = written(stage_at(PATH), data)
    assert upload is not None
    assert not is_proven(data, upload)
    assert [file.path for file in stage_at(PATH).list("")] == ["part"]


def test_a_refusal_for_another_reason_is_not_a_comparison(store: ChecksumStore) -> None:
    upload = written(stage_at(PATH), LITTLE)
    for code in ("AccessDenied", "InvalidArgument", "NotImplemented", "InternalError"):
        store.rule = lambda asked, code=code: (400, code, "no") if "checksum-probe" in asked.path else None
        assert not is_proven(LITTLE, upload), code


@SIZES
def test_a_file_system_that_always_reads_back_asks_nothing(store: ChecksumStore, data: bytes) -> None:
    upload = written(stage_at(PATH), data)
    store.asked.clear()
    assert not is_proven(data, upload, read_back="always")
    assert store.asked == []


@SIZES
def test_without_checksums_nothing_is_proven(store: ChecksumStore, data: bytes) -> None:
    upload = written(stage_at(PATH, s3={"checksums": "when_required"}), data)
    assert upload is None
    assert stage_at(PATH).read("part") == data


# --- answers


def without(*names: str) -> Callable[[Asked, Headers], None]:
    def change(_: Asked, headers: Headers) -> None:
        for name in names:
            headers.pop(name, None)

    return change


def with_(name: str, value: Callable[[str], str]) -> Callable[[Asked, Headers], None]:
    def change(_: Asked, headers: Headers) -> None:
        headers[name] = value(headers.get(name, ""))

    return change


NO_PROOFS = {
    "no checksum": without("x-amz-checksum-crc32"),
    "no type": without("x-amz-checksum-type"),
    "no ETag": without("etag"),
    "composite": with_("x-amz-checksum-type", lambda _: "COMPOSITE"),
    "unknown type": with_("x-amz-checksum-type", lambda _: "SOME_OF_IT"),
    "of pieces": with_("x-amz-checksum-crc32", lambda crc: f"{crc}-3"),
    "another checksum": with_("x-amz-checksum-crc32", lambda _: crc_of(b"other")),
    "shorter": with_("content-length", lambda size: str(int(size) - 1)),
    "another ETag": with_("etag", lambda _: '"an older object"'),
    "a version": with_("x-amz-version-id", lambda _: "3"),
}


@pytest.mark.parametrize("change", NO_PROOFS.values(), ids=NO_PROOFS.keys())
@SIZES
def test_an_answer_that_differs_proves_nothing(
    store: ChecksumStore, data: bytes, change: Callable[[Asked, Headers], None]
) -> None:
    upload = written(stage_at(PATH), data)
    assert is_proven(data, upload)
    store.answers = change
    assert not is_proven(data, upload)


def test_another_algorithm_proves_nothing(store: ChecksumStore) -> None:
    upload = written(stage_at(PATH), LITTLE)

    def other(_: Asked, headers: Headers) -> None:
        headers["x-amz-checksum-crc64nvme"] = headers.pop("x-amz-checksum-crc32")

    store.answers = other
    assert not is_proven(LITTLE, upload)


def is_checksum_head(asked: Asked) -> bool:
    return asked.method == "HEAD" and "x-amz-checksum-mode" in asked.headers


@pytest.mark.parametrize("status", [(403, "AccessDenied"), (404, "NoSuchKey"), (501, "NotImplemented")])
def test_a_head_that_is_refused_proves_nothing(store: ChecksumStore, status: tuple[int, str]) -> None:
    upload = written(stage_at(PATH), LITTLE)
    store.rule = lambda asked: (*status, "no") if is_checksum_head(asked) else None
    assert not is_proven(LITTLE, upload)
    assert stage_at(PATH).read("part") == LITTLE


def test_an_endpoint_that_is_gone_during_the_probe_is_a_temporary_error(
    store: ChecksumStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = written(stage_at(PATH), LITTLE)

    def gone(*_: object) -> bool:
        raise EndpointConnectionError(endpoint_url=store.url)

    monkeypatch.setattr(s3_proof, "refuses_wrong_object", gone)
    with pytest.raises(TransientError, match="cannot look at s3://proof/some/folder/part"):
        is_proven(LITTLE, upload)


# --- what happens to an object


OTHERS = {
    "other bytes": lambda client: client.put_object(Bucket="proof", Key=KEY, Body=flipped(LITTLE)),
    "other bytes with a checksum": lambda client: client.put_object(
        Bucket="proof", Key=KEY, Body=flipped(LITTLE), ChecksumCRC32=crc_of(flipped(LITTLE))
    ),
    "other bytes with the old checksum": lambda client: client.put_object(
        Bucket="proof", Key=KEY, Body=flipped(LITTLE), ChecksumCRC32=crc_of(LITTLE)
    ),
    "truncated": lambda client: client.put_object(Bucket="proof", Key=KEY, Body=LITTLE[:-1]),
    "deleted": lambda client: client.delete_object(Bucket="proof", Key=KEY),
    "another object": lambda client: client.copy_object(
        Bucket="proof", Key=KEY, CopySource={"Bucket": "proof", "Key": "some/folder/other"}
    ),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS.keys())
def test_an_object_that_was_replaced_is_not_proven(
    store: ChecksumStore, change: Callable[[object], object]
) -> None:
    upload = written(stage_at(PATH), LITTLE)
    written(stage_at(PATH), LITTLE[::-1], "other")
    store.compares = (
        {"piece", "whole"} if change is OTHERS["other bytes with the old checksum"] else store.compares
    )
    change(store.client())
    store.compares = {"object", "piece", "whole"}
    assert not is_proven(LITTLE, upload)


# --- uploads


@SIZES
def test_bytes_that_flip_on_their_way_are_sent_again(store: ChecksumStore, data: bytes) -> None:
    failures = iter([True])  # the client tries again
    store.arrives = lambda asked, sent: flipped(sent) if next(failures, False) else sent
    upload = written(stage_at(PATH), data)
    assert is_proven(data, upload)
    assert stage_at(PATH).read("part") == data


@SIZES
def test_bytes_that_always_flip_on_their_way_are_a_temporary_error(store: ChecksumStore, data: bytes) -> None:
    store.arrives = lambda asked, sent: flipped(sent)
    with pytest.raises(TransientError, match="other bytes arrived than were sent"):
        written(stage_at(PATH), data)
    store.reset()
    assert stage_at(PATH).list("") == []


def test_pieces_in_the_wrong_order_are_a_temporary_error(store: ChecksumStore) -> None:
    def swapped(asked: Asked, sent: bytes) -> bytes:
        store.pieces = {
            one: dict(zip(sorted(found), reversed(found.values()), strict=True))
            for one, found in store.pieces.items()
        }
        return sent

    store.keeps = swapped
    with pytest.raises(TransientError, match="other bytes arrived than were sent"):
        written(stage_at(PATH), LARGE)


@pytest.mark.parametrize("answer", ["refused", "not implemented", "ignored"])
def test_a_store_that_knows_only_checksums_of_pieces_gets_the_upload_without(
    store: ChecksumStore, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer == "ignored":
        monkeypatch.setattr(
            "moto.s3.models.FakeMultipart.__init__",
            _without_type(__import__("moto.s3.models", fromlist=["x"]).FakeMultipart.__init__),
        )
    else:
        status = (400, "InvalidArgument") if answer == "refused" else (501, "NotImplemented")
        store.rule = lambda asked: (*status, "no") if "x-amz-checksum-type" in asked.headers else None
    assert written(stage_at(PATH), LARGE) is None
    assert stage_at(PATH).read("part") == LARGE
    assert [one.headers.get("x-amz-checksum-type") for one in store.questions("POST", "uploadId")] == [None]


def _without_type(original: Callable[..., None]) -> Callable[..., None]:
    def changed(self: object, key: str, metadata: dict[str, str], **named: object) -> None:
        original(self, key, {k: v for k, v in metadata.items() if k != "x-amz-checksum-type"}, **named)

    return changed


# --- check --connect and certify


@pytest.mark.parametrize(
    ("options", "compares", "expected"),
    [
        ({}, {"object", "piece", "whole"}, "by the store's checksums"),
        ({}, {"object", "piece"}, "they are read back: the store accepts wrong checksums"),
        ({}, {"piece", "whole"}, "they are read back: the store accepts wrong checksums"),
        ({"read_back": "always"}, set(), "they are read back: stage.s3.read_back is always"),
        ({"checksums": "when_required"}, set(), "they are read back: checksums are when_required"),
    ],
)
def test_check_connect_names_the_proof(
    store: ChecksumStore, options: dict[str, str], compares: set[str], expected: str
) -> None:
    store.compares = compares
    stage = stage_at(PATH, s3=options)
    answer = dict(stage.probes())["proof of part files"]()
    assert answer.status == "ok"
    assert answer.detail.startswith(expected)
    assert stage.list("") == []


def test_certify_finds_the_proofs_of_a_store(store: ChecksumStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties, "MULTIPART", 2**20)
    monkeypatch.setattr(s3_upload, "PIECE_BYTES", 2**19)
    seen = properties.proves_only_what_it_holds(properties.StageLab(lambda: stage_at(PATH)))
    assert seen.startswith("files of 1,000 and 1,048,576 bytes are proven")


def test_certify_does_not_believe_a_store_that_repeats_checksums(store: ChecksumStore) -> None:
    store.compares = set()
    with pytest.raises(NotApplicableError, match="are read back before they are loaded"):
        properties.proves_only_what_it_holds(properties.StageLab(lambda: stage_at(PATH)))
