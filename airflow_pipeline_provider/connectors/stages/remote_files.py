"""The remote half of `object_store`: objects in a bucket, through the fsspec file system that Airflow makes."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, BinaryIO, TypeVar, cast

from airflow_pipeline_provider.connectors.base import StageFile
from airflow_pipeline_provider.connectors.deadlines import within
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.observability.redaction import redact_text

log = logging.getLogger(__name__)

_WRITE_BLOCK = 16 * 2**20  # one piece of a multipart upload: what a file being written holds in memory
_READ_BLOCK = 8 * 2**20
ANSWER_SECONDS = 600.0  # for a block or a question, with the client's own tries
T = TypeVar("T")
_FATAL_ERRNO = {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENAMETOOLONG}
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "created")


class RemoteFiles:
    """Paths are relative to `<bucket>/<folder>` and were checked by the stage.

    An object appears whole when its upload is completed, by the nature of the stores.
    """

    def __init__(self, scheme: str, conn_id: str | None, bucket: str, folder: str) -> None:
        self._scheme, self._conn_id, self._bucket = scheme, conn_id, bucket
        self._root = f"{bucket}/{folder}".rstrip("/")

    @cached_property
    def _fs(self) -> Any:
        from airflow.sdk import ObjectStoragePath

        if self._conn_id is not None:
            _make_visible(self._conn_id)
        try:
            fs = ObjectStoragePath(f"{self._scheme}://{self._bucket}", conn_id=self._conn_id).fs
        except ImportError as error:
            s3 = self._scheme.startswith("s3")
            what = "pip install 'airflow-pipeline-provider[amazon]'" if s3 else "install its Airflow provider"
            raise FatalError(
                f"stage {self._scheme}:// needs a library that cannot be imported ({error}): {what}"
            ) from error
        except ValueError as error:
            raise FatalError(
                f"stage {self._scheme}://: no installed Airflow provider reads it ({error})"
            ) from error
        return fs

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        url = self._url(path)
        with self._mapped("write", path):
            inner = self._call(
                "write", path, self._fs.open, f"{self._root}/{path}", "wb", block_size=_WRITE_BLOCK
            )
        try:
            yield cast(BinaryIO, _File(self, inner, "write", path))
            reach("file.before_publish")
            with self._mapped("write", path):
                self._call("write", path, inner.close)
            reach("file.published")
        except BaseException:
            _discard(inner, url)
            raise

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with self._mapped("read", path):
            self._fs.invalidate_cache()
            inner = self._call(
                "read", path, self._fs.open, f"{self._root}/{path}", "rb", block_size=_READ_BLOCK
            )
        with inner:
            yield cast(BinaryIO, _File(self, inner, "read", path))

    def size(self, path: str) -> int | None:
        with self._mapped("look at", path):
            self._fs.invalidate_cache()  # other processes write here too
            try:
                found = self._call("look at", path, self._fs.info, f"{self._root}/{path}")
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
        return int(found["size"]) if found.get("type") == "file" else None

    def list(self, folder: str) -> list[StageFile]:
        top = f"{self._root}/{folder}".rstrip("/") + "/"
        with self._mapped("list", folder):
            self._fs.invalidate_cache()
            try:
                found = self._call("list", folder, self._fs.find, top, detail=True)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return []
            if not found:
                self._check_bucket(None)
        return sorted(
            StageFile(name[len(self._root) + 1 :], int(info["size"]), _modified(info))
            for name, info in found.items()
            if name.startswith(top) and not name.endswith("/")
        )

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            with self._mapped("delete", path):
                try:
                    self._call("delete", path, self._fs.rm_file, f"{self._root}/{path}")
                except FileNotFoundError as error:
                    self._check_bucket(error)

    def remove_unfinished(self, before: datetime, *, dry_run: bool) -> Sequence[str]:
        """Uploads in pieces that nobody completed: S3 keeps and bills them until they are aborted; the others
        drop theirs by themselves (GCS and Azure after a week; MinIO, which lists none by prefix, after a day)."""
        if not self._scheme.startswith("s3"):
            return ()
        found = []
        with self._mapped("look for unfinished uploads in", ""):
            for upload in self._uploads():
                if upload["Initiated"] < before:
                    if not dry_run:
                        self._abort(upload)
                    found.append(f"upload of {self._scheme}://{self._bucket}/{upload['Key']}")
        return found

    @property
    def _uploads_prefix(self) -> str:
        folder = self._root[len(self._bucket) + 1 :]
        return f"{folder}/" if folder else ""

    def _uploads(self) -> Iterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        while True:
            page = self._s3("list_multipart_uploads", Prefix=self._uploads_prefix, **marker)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort(self, upload: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):  # completed or aborted in the meantime
            self._s3("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])

    def _s3(self, method: str, **named: Any) -> Any:
        return self._call("ask about", "", self._fs.call_s3, method, Bucket=self._bucket, **named)

    def _call(self, action: str, path: str, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """One block, or one question.  The clients try again after a silence; what trickles ends here."""
        doing = f"cannot {action} {self._url(path)}"
        return within(ANSWER_SECONDS, doing, lambda: function(*args, **named))

    def _url(self, path: str) -> str:
        return f"{self._scheme}://{self._root}/{path}".rstrip("/")

    def _check_bucket(self, error: BaseException | None) -> None:
        """An object that is not there is one thing, a bucket that is not there another."""
        if not self._scheme.startswith("s3"):
            return
        try:
            self._s3("head_bucket")
        except FileNotFoundError:
            raise FatalError(
                f"bucket {self._bucket!r} of stage {self._url('')} does not exist; create it, "
                "or correct stage.path"
            ) from error
        except PermissionError:  # a policy may allow objects and not the bucket
            return

    @contextmanager
    def _mapped(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except PipelineError:
            raise
        except FileNotFoundError as error:
            self._check_bucket(error)
            if action == "read":
                raise DataError(f"{self._url(path)} does not exist; extract the window again") from error
            raise FatalError(
                f"cannot {action} {self._url(path)}: there is no such bucket or container; create it, "
                "or correct stage.path"
            ) from error
        except Exception as error:
            raise _error(action, self._url(path), error, self._conn_id) from error


def _make_visible(conn_id: str) -> None:
    """Airflow's file systems look the connection up by themselves; where they do not find it, they go on without.

    So a missing one is refused here, and one that only the metadata database has is put where a plain process (the
    command line) looks: into its own environment.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from airflow_pipeline_provider.connectors.airflow_connections import get_connection

    connection = get_connection(conn_id)
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = connection.as_json()


class _File(io.RawIOBase):
    """An object being read or written: maps the store's errors, and leaves those of the block around it alone."""

    def __init__(self, files: RemoteFiles, inner: Any, action: str, path: str) -> None:
        self._files, self._inner, self._action, self._path = files, inner, action, path

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        return self._files._call(self._action, self._path, function, *args)

    def readable(self) -> bool:
        return self._action == "read"

    def writable(self) -> bool:
        return self._action == "write"

    def seekable(self) -> bool:
        return self._action == "read"

    def tell(self) -> int:
        return int(self._inner.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._inner.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        with self._files._mapped(self._action, self._path):
            return bytes(self._call(self._inner.read, -1 if size is None else size))

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(memoryview(buffer).nbytes)
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        with self._files._mapped(self._action, self._path):
            self._call(self._inner.write, bytes(data))
        return memoryview(data).nbytes


def _discard(inner: Any, url: str) -> None:
    """Abort the upload: neither the object nor a piece of it may stay."""
    try:
        if hasattr(inner, "discard"):
            within(ANSWER_SECONDS, f"cannot abort {url}", inner.discard)
    except Exception as error:  # noqa: BLE001  (the error that led here is the one to raise)
        log.warning("%s: the unfinished upload could not be aborted (%s); its pieces may stay", url, error)
    finally:
        with suppress(AttributeError):
            inner.closed = True  # or fsspec would complete the upload when the object is collected


def _modified(info: dict[str, Any]) -> datetime:
    value = next((info[key] for key in _MODIFIED if info.get(key)), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    elif isinstance(value, int | float):
        value = datetime.fromtimestamp(value, timezone.utc)
    if not isinstance(value, datetime):
        return datetime.fromtimestamp(0, timezone.utc)
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def _error(action: str, url: str, error: Exception, conn_id: str | None) -> PipelineError:
    """What the store's exception means; vendors are told by name, so that none need be installed."""
    text = redact_text(f"{type(error).__name__}: {error}")
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    who = f"connection {conn_id!r}" if conn_id else "the environment's credentials"
    denied = isinstance(error, PermissionError) or status in (401, 403)
    if denied or "Credentials" in type(error).__name__ or "Authentication" in type(error).__name__:
        return FatalError(
            f"cannot {action} {url}: access was denied with {who} ({text}); grant it, or correct them"
        )
    if type(error).__name__ == "FileExpired":
        return DataError(f"{url} changed while it was read; find out who else writes to the stage")
    if isinstance(error, OSError) and error.errno in _FATAL_ERRNO:
        return FatalError(f"cannot {action} {url}: the store refused ({text}); check stage.path and {who}")
    if isinstance(error, TypeError | AttributeError | NameError):  # a bug, not the store
        raise error
    return TransientError(f"cannot {action} {url} ({text}); if it stays so, check the endpoint of {who}")
