"""Decide whether S3 proves the content of an object by the checksum that it keeps.

A store may keep what it was given without comparing it with what it received, so it is asked once: it must refuse an
object, a piece and an upload whose checksums are wrong.
"""

from __future__ import annotations

import re
import uuid
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from airflow_pipeline_provider.connectors.object_store import s3
from airflow_pipeline_provider.connectors.object_store.s3_upload import WHOLE_OBJECT, crc_text
from airflow_pipeline_provider.envelope.manifest import Upload

_PROBE = re.compile(r"/checksum-probe-[0-9a-f]{32}\b")
_BODY = b"a checksum probe, which the store must refuse"
_WRONG = {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc_text(zlib.crc32(_BODY) ^ 1)}
_RIGHT = {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc_text(zlib.crc32(_BODY))}


def ask_probes_once(fs: Any) -> None:
    """Keep the client from sending probes again, as it does after a refused checksum (five times in some seconds)."""
    fs.s3.meta.events.register_first("needs-retry.s3", _decide_retry)


def _decide_retry(attempts: int, request_dict: Mapping[str, Any], **_: Any) -> bool | None:
    """Return False for the first try of a probe, which ends it; None leaves the decision to the client."""
    return False if attempts == 1 and _PROBE.search(request_dict["url_path"]) else None


def is_same(found: Mapping[str, Any], upload: Upload, size: int) -> bool:
    """Return True if the response to a HEAD is about this upload, and has the checksum of the whole object.

    A checksum of the checksums of its pieces (COMPOSITE), one of another algorithm, or none is no proof.
    """
    return (
        found.get("ChecksumType") == WHOLE_OBJECT["ChecksumType"]
        and found.get("ChecksumCRC32") == upload.crc32
        and found.get("ContentLength") == size
        and found.get("ETag") == upload.etag
        and _version(found.get("VersionId")) == _version(upload.version)
    )


def _version(answer: str | None) -> str | None:
    """Return None for the version "null" of a bucket without versions, which some responses leave out."""
    return None if answer == "null" else answer


def refuses_wrong_object(call: s3.Call, bucket: str, prefix: str) -> bool:
    """Return True if the store refuses an object with a wrong checksum; nothing is left behind."""
    place = _place(bucket, prefix)
    refused = _is_refused(lambda: call("put_object", **place, Body=_BODY, **_WRONG))
    if not refused:
        _remove(call, place)
    return refused


def refuses_wrong_pieces(call: s3.Call, bucket: str, prefix: str) -> bool:
    """Return True if the store refuses a piece with a wrong checksum, and a whole upload with one."""
    place = _place(bucket, prefix)
    try:
        upload_id = call("create_multipart_upload", **place, **WHOLE_OBJECT)["UploadId"]
    except OSError:
        return False
    piece = {**place, "UploadId": upload_id, "PartNumber": 1, "Body": _BODY}
    try:
        if not _is_refused(lambda: call("upload_part", **piece, **_WRONG)):
            return False
        etag = call("upload_part", **piece, **_RIGHT)["ETag"]
        parts = [{"PartNumber": 1, "ETag": etag, "ChecksumCRC32": _RIGHT["ChecksumCRC32"]}]
        whole = {"ChecksumType": WHOLE_OBJECT["ChecksumType"], "ChecksumCRC32": _WRONG["ChecksumCRC32"]}
        refused = _is_refused(
            lambda: call(
                "complete_multipart_upload",
                **place,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                **whole,
            )
        )
        if not refused:
            _remove(call, place)
        return refused
    except OSError:
        return False
    finally:
        with suppress(OSError):
            s3.abort(call, bucket, {**place, "UploadId": upload_id})


def _place(bucket: str, prefix: str) -> dict[str, str]:
    return {"Bucket": bucket, "Key": f"{prefix}checksum-probe-{uuid.uuid4().hex}"}


def _is_refused(question: Callable[[], Any]) -> bool:
    """Return True only if the store reports that the bytes do not match their checksum."""
    try:
        question()
    except OSError as error:
        return s3.is_corrupted(error)
    return False


def _remove(call: s3.Call, place: dict[str, str]) -> None:
    """Delete an object that was accepted: without one, a bucket with versions would keep a marker of the deletion."""
    with suppress(OSError):
        call("delete_object", **place)
