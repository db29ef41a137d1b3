"""Properties of a stage: a file is whole or not there, and every process sees it at once."""

from __future__ import annotations

import base64
import hashlib
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import Stage
from airflow_pipeline_provider.connectors.scratch import StageScratch
from airflow_pipeline_provider.envelope.manifest import Upload
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.testing.properties.judging import (
    NotApplicableError,
    NotMetError,
    Property,
    expect,
)

MULTIPART = 20 * 2**20  # more than one piece of a multipart upload
_PIECE = bytes(range(256)) * 4096


@dataclass(frozen=True)
class StageLab:
    """A stage whose folder belongs to this run; `open_stage` returns another object on it, as another process has."""

    open_stage: Callable[[], Stage]
    folder: str = "certify"
    scratch: StageScratch | None = None


def reads_what_was_written(lab: StageLab) -> str:
    """Write files of several sizes and read them back, by another object."""
    with closing(lab.open_stage()) as stage, closing(lab.open_stage()) as other:
        for size in (0, 1, 100_000):
            data = (_PIECE * (size // len(_PIECE) + 1))[:size]
            path = f"{lab.folder}/round-trip-{size}.bin"
            stage.write(path, data)
            if other.read(path) != data:
                raise NotMetError(f"{size:,} bytes were written, and other bytes read back")
            expect("size", other.size(path), size)
    return "0, 1 and 100,000 bytes read back by another client"


def streams_large_files(lab: StageLab) -> str:
    """Stream a file of several pieces: it is not visible before its end, then whole by its SHA-256."""
    path = f"{lab.folder}/multipart/file.bin"
    with closing(lab.open_stage()) as stage, closing(lab.open_stage()) as other:
        with stage.open_write(path) as file:
            for _ in range(MULTIPART // len(_PIECE)):
                file.write(_PIECE)
            if other.size(path) is not None or other.list(f"{lab.folder}/multipart"):
                raise NotMetError("the file was visible before it was whole")
        expect("size", other.size(path), MULTIPART)
        digest = hashlib.sha256()
        with other.open_read(path) as file:
            while block := file.read(2**20):
                digest.update(block)
        wanted = hashlib.sha256(_PIECE * (MULTIPART // len(_PIECE))).hexdigest()
        expect("SHA-256 of what was read", digest.hexdigest(), wanted)
        with other.open_read(path) as file:
            file.seek(MULTIPART - 10)
            expect("the last ten bytes, by a range", file.read(), _PIECE[-10:])
    return f"{MULTIPART:,} bytes in several pieces; SHA-256 and a range agree"


def leaves_no_broken_file(lab: StageLab) -> str:
    """Break off while files of several sizes are written: nothing may appear."""
    for size in (0, 1000, MULTIPART):
        breaks_off(lab, size, OSError("on demand"))
    return "broken off after 0, 1,000 and 20,971,520 bytes: no file appears"


def breaks_off(lab: StageLab, size: int, error: BaseException) -> None:
    """Raise the error after so many bytes; it must come through, and no file appear."""
    path = f"{lab.folder}/broken/file-{size}.bin"
    with closing(lab.open_stage()) as stage, closing(lab.open_stage()) as other:
        try:
            with stage.open_write(path) as file:
                file.write(b"x" * size)
                raise error
        except BaseException as caught:
            if caught is not error:
                raise
        expect(f"size of a file that was broken off after {size:,} bytes", other.size(path), None)
        expect("files that are listed", other.list(f"{lab.folder}/broken"), [])


def lists_at_once(lab: StageLab) -> str:
    """List right after each write and delete, by another object."""
    folder = f"{lab.folder}/listed/day/w1"
    with closing(lab.open_stage()) as stage, closing(lab.open_stage()) as other:
        names: list[str] = []
        for name in ("a2/p", "a1/p", "m"):
            stage.write(f"{folder}/{name}", name.encode())
            names.append(f"{folder}/{name}")
            expect("files right after a write", [file.path for file in other.list(folder)], sorted(names))
        stage.write(f"{folder}0/neighbour", b"x")
        expect("files without the neighbour's", [file.path for file in other.list(folder)], sorted(names))
        stage.write(f"{folder}/m", b"longer than before")
        expect("bytes after a file was replaced", other.read(f"{folder}/m"), b"longer than before")
        for name in list(names):
            stage.delete([name])
            names.remove(name)
            expect("files right after a delete", [file.path for file in other.list(folder)], sorted(names))
        expect("size of a deleted file", other.size(f"{folder}/m"), None)
    return "every write, replacement and delete is visible to another client at once"


def deletes_these_only(lab: StageLab) -> str:
    """Delete some files, twice, and one that never was."""
    folder = f"{lab.folder}/deleted"
    with closing(lab.open_stage()) as stage:
        for name in ("a", "b", "e/c"):
            stage.write(f"{folder}/{name}", b"x")
        for _ in range(2):
            stage.delete([f"{folder}/a", f"{folder}/e/c", f"{folder}/never/was"])
            expect("files that are left", [file.path for file in stage.list(folder)], [f"{folder}/b"])
        try:
            stage.read(f"{folder}/a")
        except DataError:
            return "the others stay; a deleted file is reported as missing"
    raise NotMetError("a deleted file can still be read")


def creates_once(lab: StageLab) -> str:
    """Let eight writers create one file that must not exist."""
    scratch, path = lab.scratch, f"{lab.folder}/created/file"
    if scratch is None:
        raise NotApplicableError("the stage declares no conditional create; loads use unique names")
    gate = threading.Barrier(8)

    def create(number: int) -> bool | None:
        gate.wait(60)
        return scratch.create(path, f"writer {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))
    if None in created:
        raise NotApplicableError("the store has no conditional create; loads use unique names")
    winners = [number for number, done in enumerate(created) if done]
    if len(winners) != 1:
        raise NotMetError(
            f"{len(winners)} of 8 writers created the same file (If-None-Match is not honoured)"
        )
    with closing(lab.open_stage()) as stage:
        expect("content", stage.read(path), f"writer {winners[0]}".encode())
        if scratch.create(path, b"late") or stage.read(path) == b"late":
            raise NotMetError("a later writer replaced the file")
    return "one of 8 writers created the file, the others were refused"


def proves_only_what_it_holds(lab: StageLab) -> str:
    """Ask the store for proofs of what it holds, and of what it does not."""
    path = f"{lab.folder}/proven/file"
    with closing(lab.open_stage()) as stage, closing(lab.open_stage()) as other:
        proven = []
        for size in (1000, MULTIPART):
            data = _PIECE * (size // len(_PIECE)) or _PIECE[:size]
            upload = _uploaded(stage, path, data)
            if upload is None or not other.proves(path, upload, size):
                continue
            proven.append(f"{size:,}")
            wrong = [
                replace(upload, crc32=_crc_of(data[::-1])),
                replace(upload, etag=f"{upload.etag}x"),
                replace(upload, version="another"),
            ]
            if any(other.proves(path, one, size) for one in wrong) or other.proves(path, upload, size + 1):
                raise NotMetError("the store proves a file that it does not hold")
            _uploaded(stage, path, data[::-1])
            if other.proves(path, upload, size):
                raise NotMetError("the store proves a file that was replaced")
            stage.delete([path])
            if other.proves(path, upload, size):
                raise NotMetError("the store proves a file that was deleted")
    if not proven:
        raise NotApplicableError(
            "the store proves no content, so part files are read back before they are loaded"
        )
    return f"files of {' and '.join(proven)} bytes are proven by checksums; replaced and deleted ones are not"


def _uploaded(stage: Stage, path: str, data: bytes) -> Upload | None:
    with stage.open_write(path) as file:
        for at in range(0, len(data), len(_PIECE)):
            file.write(data[at : at + len(_PIECE)])
    return getattr(file, "upload", None)


def _crc_of(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


PROPERTIES: tuple[Property[StageLab], ...] = (
    Property("write and read", "a file is read as it was written", reads_what_was_written),
    Property(
        "large files", "a file of several pieces appears whole, and only at its end", streams_large_files
    ),
    Property("broken uploads", "a writer that fails leaves no file", leaves_no_broken_file),
    Property("listing", "other processes see each write and delete at once", lists_at_once),
    Property("delete", "only the named files go, and a missing one is reported", deletes_these_only),
    Property(
        "proofs",
        "a checksum proves a file that the store compared with it, and no other",
        proves_only_what_it_holds,
    ),
    Property("conditional create", "of several writers of one name, one wins", creates_once),
)
