"""Upload an object to S3 with a checksum of the whole object, which the store compares with what it received.

s3fs gives a checksum with each piece, but none for the object that the store makes of the pieces.
"""

from __future__ import annotations

import base64
import errno
import zlib
from contextlib import suppress
from typing import Any

from airflow_pipeline_provider.connectors.object_store import s3
from airflow_pipeline_provider.envelope.manifest import Upload

PIECE_BYTES = 16 * 2**20  # what an upload holds in memory
WHOLE_OBJECT = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
_UNKNOWN = (errno.EINVAL, errno.ENOSYS)  # answers of stores that do not know checksums of whole objects


class S3Upload:
    """A file that is uploaded in pieces while it is written, or at once if it is small.

    With `checksums`, the CRC-32 of the object is computed from the bytes that `write` gets. `close` sets `upload` if
    the store accepted the object together with this value.
    """

    def __init__(self, call: s3.Call, bucket: str, key: str, *, checksums: bool) -> None:
        self.upload: Upload | None = None
        self.closed = False
        self._call, self._place = call, {"Bucket": bucket, "Key": key}
        self._checksums = checksums
        self._waiting: list[bytes] = []
        self._waiting_bytes = self._written = self._crc = 0
        self._upload_id: str | None = None
        self._pieces: list[dict[str, Any]] = []

    def tell(self) -> int:
        return self._written

    def write(self, data: bytes) -> int:
        """Keep the bytes, and send a piece once there are enough of them."""
        self._crc = zlib.crc32(data, self._crc)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._written += len(data)
        if self._waiting_bytes >= PIECE_BYTES:
            self._send_piece()
        return len(data)

    def close(self) -> None:
        """Publish the object."""
        if self._upload_id is None:
            answer = self._send("put_object", self._taken(), self._place)
        else:
            if self._waiting:
                self._send_piece()
            answer = self._complete()
        self.closed = True
        if self._checksums and answer.get("ETag"):
            crc, version = crc_text(self._crc), answer.get("VersionId")
            self.upload = Upload(crc, answer["ETag"], version, len(self._pieces))

    def discard(self) -> None:
        """Abort the upload."""
        self.closed = True
        self._waiting = []
        if self._upload_id is not None:
            s3.abort(self._call, self._place["Bucket"], {**self._place, "UploadId": self._upload_id})

    def _send_piece(self) -> None:
        if self._upload_id is None:
            self._upload_id = self._begin()
        number = len(self._pieces) + 1
        place = {**self._place, "UploadId": self._upload_id, "PartNumber": number}
        data = self._taken()
        answer = self._send("upload_part", data, place)
        piece = {"PartNumber": number, "ETag": answer["ETag"]}
        if self._checksums:
            piece["ChecksumCRC32"] = crc_text(zlib.crc32(data))
        self._pieces.append(piece)

    def _begin(self) -> str:
        """Begin an upload with a checksum of the whole object; without one if the store does not know it."""
        if self._checksums:
            try:
                begun = self._call("create_multipart_upload", **self._place, **WHOLE_OBJECT)
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    raise
            else:
                if begun.get("ChecksumType") == WHOLE_OBJECT["ChecksumType"]:
                    return str(begun["UploadId"])
                with suppress(OSError):
                    s3.abort(self._call, self._place["Bucket"], {**self._place, **begun})
            self._checksums = False
        return str(self._call("create_multipart_upload", **self._place)["UploadId"])

    def _complete(self) -> Any:
        whole: dict[str, Any] = {}
        if self._checksums:
            whole = {
                "ChecksumCRC32": crc_text(self._crc),
                "ChecksumType": WHOLE_OBJECT["ChecksumType"],
                "MpuObjectSize": self._written,
            }
        return self._call(
            "complete_multipart_upload",
            **self._place,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._pieces},
            **whole,
        )

    def _send(self, method: str, data: bytes, place: dict[str, Any]) -> Any:
        checksum = {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc_text(zlib.crc32(data))}
        return self._call(method, **place, Body=data, **(checksum if self._checksums else {}))

    def _taken(self) -> bytes:
        data = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return data


def crc_text(crc: int) -> str:
    """Return a CRC-32 as S3 writes it: base64 of four bytes."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
