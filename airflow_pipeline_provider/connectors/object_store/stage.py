"""Stage `object_store`: a local folder, or any storage that Airflow's ObjectStoragePath reaches (s3, gs, abfs).

A local folder needs neither Airflow nor a connection.  Other paths name theirs: `s3://aws_default@bucket/x`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from airflow_pipeline_provider.config.options import StageOptions
from airflow_pipeline_provider.config.policy import folder_problem, url_problem
from airflow_pipeline_provider.connectors.base import Stage, StageFile
from airflow_pipeline_provider.connectors.object_store.local_files import INCOMPLETE, LocalFiles
from airflow_pipeline_provider.connectors.object_store.s3 import S3Options
from airflow_pipeline_provider.connectors.probes import Answer, Probes, writable_folder
from airflow_pipeline_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.object_store.remote_files import RemoteFiles
    from airflow_pipeline_provider.connectors.object_store.scratch import ObjectStoreScratch
    from airflow_pipeline_provider.envelope.manifest import Upload

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<conn_id>[^@/]*)@)?(?P<bucket>[^/@]*)(?P<prefix>/.*)?"
)
_EXPECTED = "an absolute path, or a URL such as s3://aws_default@bucket/folder"


class Location(NamedTuple):
    """The place of a stage; `folder` has no slash at its end, and begins with one if it is local."""

    scheme: str
    conn_id: str | None
    bucket: str
    folder: str

    @property
    def url(self) -> str:
        """Return the URL without the connection id."""
        if self.scheme == "file":
            return f"file://{self.folder}"
        return "/".join(filter(None, [f"{self.scheme}://{self.bucket}", self.folder]))


def parse_location(path: str) -> Location:
    """Parse the option `path`; raise ValueError with what was expected."""
    if path.startswith("/"):
        path = f"file://{path}"
    match = _URL.fullmatch(path)
    if not match:
        raise ValueError(f"must be {_EXPECTED}, got {path!r}")
    scheme, conn_id, bucket = match["scheme"], match["conn_id"], match["bucket"]
    segments = [segment for segment in (match["prefix"] or "").split("/") if segment]
    if any(_bad(segment) for segment in (*segments, bucket)) or re.search(r"[\x00-\x20\x7f\\?#]", bucket):
        raise ValueError(f"must have no '..', backslash, '?', '#' or control character in it, got {path!r}")
    if scheme in ("file", "local"):
        if bucket or conn_id is not None:
            raise ValueError(f"must be file:// and an absolute path (file:///data/stage), got {path!r}")
        if not segments:
            raise ValueError(f"must be a folder of its own, not the root of the file system, got {path!r}")
        return Location("file", None, "", "/" + "/".join(segments))
    if not bucket or conn_id == "":
        raise ValueError(f"must be {_EXPECTED}, got {path!r}")
    if conn_id is not None and not re.fullmatch(r"[\w.-]+", conn_id, re.ASCII):
        raise ValueError(
            "must have an Airflow connection id before the @ (letters, digits, '_', '.', '-'), "
            "never a key or a password"
        )
    return Location(scheme, conn_id, bucket, "/".join(segments))


def _bad(segment: str) -> bool:
    return segment in (".", "..") or bool(re.search(r"[\x00-\x1f\x7f\\?#]", segment))


class ObjectStoreOptions(StageOptions):
    """Options of `stage: {type: object_store, path: "s3://aws_default@data-stage/flights"}`."""

    type: Literal["object_store"] = "object_store"
    path: str = Field(
        description="Folder of the files: s3://conn_id@bucket/folder, gs://, abfs://, or a local path."
    )

    shared: bool = Field(
        default=False,
        strict=True,
        description="Give files of a local folder the permissions of the umask; false: only this user may read them.",
    )
    s3: S3Options | None = Field(default=None, description="Options of S3: encryption and checksums.")

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        location = parse_location(value)
        local = location.scheme == "file"
        problem = (
            folder_problem("stage_roots", location.folder)
            if local
            else url_problem("stage_roots", location.url)
        )
        if problem:
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _check_s3(self) -> ObjectStoreOptions:
        if self.s3 is not None and not self.path.startswith("s3"):
            raise ValueError(f"s3 is for a path that begins with s3://, got {self.path!r}")
        return self


class ObjectStoreStage(Stage):
    """A local folder, or a bucket of an object store."""

    Options: ClassVar[type[ObjectStoreOptions]] = ObjectStoreOptions

    @cached_property
    def _location(self) -> Location:
        return parse_location(self.options.path)

    @cached_property
    def _files(self) -> LocalFiles | RemoteFiles:
        if self._location.scheme == "file":
            return LocalFiles(self._location.folder, shared=self.options.shared)
        from airflow_pipeline_provider.connectors.object_store.remote_files import RemoteFiles

        return RemoteFiles(
            self._location.scheme,
            self._location.conn_id,
            self._location.bucket,
            self._location.folder,
            self.options.s3,
        )

    @property
    def base(self) -> str:
        return self._location.url

    def scratch(self) -> ObjectStoreScratch:
        from airflow_pipeline_provider.connectors.object_store.scratch import ObjectStoreScratch

        return ObjectStoreScratch(self)

    def probes(self) -> Probes:
        """Yield the checks; a local folder that no run has used is not written to, since folders would remain."""
        folder = Path(self._location.folder)
        if self._location.scheme == "file" and not (folder / INCOMPLETE).is_dir():
            return iter([("folder", lambda: writable_folder(folder))])
        files = self._files
        if isinstance(files, LocalFiles):
            return super().probes()
        return chain(super().probes(), [("proof of part files", lambda: _proof(files))])

    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._files.open_write(_checked(path))

    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._files.open_read(_checked(path))

    def size(self, path: str) -> int | None:
        return self._files.size(_checked(path))

    def proves(self, path: str, upload: Upload, size: int) -> bool:
        return self._files.proves(_checked(path), upload, size)

    def list(self, folder: str) -> list[StageFile]:
        return self._files.list(_checked(folder) if folder else "")

    def delete(self, paths: Sequence[str]) -> None:
        self._files.delete([_checked(path) for path in paths])

    def now(self) -> datetime:
        return self._files.now() or super().now()

    def remove_unfinished(
        self, before: datetime, ours: Callable[[str], bool], *, dry_run: bool = False
    ) -> Sequence[str]:
        return self._files.remove_unfinished(before, ours, dry_run=dry_run)


def _proof(files: RemoteFiles) -> Answer:
    why = files.why_read_back()
    return Answer("ok", "by the store's checksums" if why is None else f"they are read back: {why}")


def _checked(path: str) -> str:
    """Return the path if it cannot lead out of the base."""
    if not isinstance(path, str) or not path or any(not s or _bad(s) for s in path.split("/")):
        raise ConfigError(
            f"path: expected one relative to the stage's base, such as 2013-11-03/part.parquet, got {path!r}"
        )
    return path
