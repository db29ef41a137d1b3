"""S3 in this process that compares checksums with what it receives, and can be told to do each step wrongly."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from tests.connectors.object_store.s3_places import Asked, Store, serving

Change = Callable[[Asked, bytes], bytes]
Headers = dict[str, str]


def unchanged(_: Asked, data: bytes) -> bytes:
    return data


def flipped(data: bytes) -> bytes:
    """The bytes with one bit changed in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def crc_of(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class ChecksumStore(Store):
    """What moto leaves out of S3: it refuses wrong checksums, and answers those of whole objects.

    `compares` names what it compares: "object", "piece", "whole". What it does not compare it keeps, and answers the
    checksum that it was given. `arrives` changes bytes on their way to the store, before it compares them, `keeps`
    changes them after that. `answers` changes the headers of the answer to a HEAD.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.rule = lambda asked: None
        self.compares = {"object", "piece", "whole"}
        self.arrives: Change = unchanged
        self.keeps: Change = unchanged
        self.answers: Callable[[Asked, Headers], None] = lambda asked, headers: None
        self.given: dict[str, str] = {}
        self.pieces: dict[str, dict[int, bytes]] = {}
        self.asked.clear()

    def questions(self, method: str, with_query: str = "") -> list[Asked]:
        return [one for one in self.asked if one.method == method and with_query in one.query]

    def serve(self, asked: Asked, environ: dict[str, Any], start_response: Any) -> Any:
        query = parse_qs(asked.query, keep_blank_values=True)
        upload = query.get("uploadId", [""])[0]
        given = asked.headers.get("x-amz-checksum-crc32")
        if asked.method == "PUT":
            data = self.arrives(asked, environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            kind = "piece" if upload else "object"
            if given is not None and kind in self.compares and given != crc_of(data):
                return refuse(start_response)
            if upload:
                self.pieces.setdefault(upload, {})[int(query["partNumber"][0])] = data
            else:
                self._remember(asked.path, given)
            data = self.keeps(asked, data)
            environ.update({"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})
        elif asked.method == "POST" and upload:
            pieces = self.pieces.get(upload, {})
            whole = crc_of(b"".join(pieces[n] for n in sorted(pieces)))
            if given is not None and "whole" in self.compares and given != whole:
                return refuse(start_response)
            self._remember(asked.path, given)
        elif asked.method == "HEAD" and asked.headers.get("x-amz-checksum-mode") == "ENABLED":
            return self._app(environ, self._heading(asked, start_response))
        return self._app(environ, start_response)

    def _remember(self, path: str, given: str | None) -> None:
        if given is None:
            self.given.pop(path, None)
        else:
            self.given[path] = given

    def _heading(self, asked: Asked, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            found = {name.lower(): value for name, value in headers}
            for name in [name for name in found if name.startswith("x-amz-checksum-")]:
                del found[name]
            if status.startswith("200") and asked.path in self.given:
                found["x-amz-checksum-crc32"] = self.given[asked.path]
                found["x-amz-checksum-type"] = "FULL_OBJECT"
            self.answers(asked, found)
            return start_response(status, list(found.items()), *rest)

        return start


def refuse(start_response: Any) -> list[bytes]:
    body = b"<?xml version='1.0'?><Error><Code>BadDigest</Code><Message>The CRC32 did not match.</Message></Error>"
    start_response("400 refused", [("content-type", "application/xml"), ("content-length", str(len(body)))])
    return [body]


@contextmanager
def serve_checksums() -> Iterator[ChecksumStore]:
    with serving(ChecksumStore()) as store:
        yield store
