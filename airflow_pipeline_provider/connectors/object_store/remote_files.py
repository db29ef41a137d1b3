"""Store objects in a bucket, through the fsspec file system that Airflow opens."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any, BinaryIO, TypeVar, cast

from airflow_pipeline_provider.connectors.airflow_connections import get_connection, metadata_for_hooks
from airflow_pipeline_provider.connectors.base import StageFile
from airflow_pipeline_provider.connectors.deadlines import within
from airflow_pipeline_provider.connectors.object_store import s3, s3_proof
from airflow_pipeline_provider.connectors.object_store.remote_errors import store_error
from airflow_pipeline_provider.connectors.object_store.s3_upload import PIECE_BYTES, S3Upload
from airflow_pipeline_provider.envelope.manifest import Upload
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.garbage_collection import relaxed_gc

log = logging.getLogger(__name__)

_READ_BLOCK = 8 * 2**20
ANSWER_SECONDS = 600.0  # for a block or a question, with the client's own tries
T = TypeVar("T")
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "created")


class RemoteFiles:
    """Objects below `<bucket>/<folder>`; the stage has checked their paths.

    An object appears whole when its upload is completed, which all stores guarantee.
    """

    def __init__(
        self, scheme: str, conn_id: str | None, bucket: str, folder: str, options: s3.S3Options | None = None
    ) -> None:
        self._scheme, self._conn_id, self._bucket, self._options = scheme, conn_id, bucket, options
        self._root = f"{bucket}/{folder}".rstrip("/")
        self._prefix = f"{folder}/" if folder else ""
        self._opened: Any = None
        self._refuses: dict[bool, bool] = {}
        self._lock = threading.Lock()

    @property
    def _is_s3(self) -> bool:
        return self._scheme.startswith("s3")

    @property
    def _fs(self) -> Any:
        """Return the file system, opened on first use, and again after `_forget`."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open_fs()
            return self._opened

    def _open_fs(self) -> Any:
        from airflow.sdk.io import get_fs

        settings = {} if self._conn_id is None else get_connection(self._conn_id).extra_dejson
        client = self._options.client if self._options is not None else {}
        try:
            with metadata_for_hooks(), relaxed_gc():
                fs = get_fs(self._scheme, self._conn_id, client)
        except ImportError as error:
            raise FatalError(
                f"stage {self._scheme}:// needs a library that cannot be imported ({error}): {_install(self._scheme)}"
            ) from error
        except ValueError as error:
            raise FatalError(
                f"stage {self._scheme}://: no installed Airflow provider reads it ({error}): {_install(self._scheme)}"
            ) from error
        if self._is_s3:
            s3.configure(fs, self._options, self._conn_id, settings)
            s3_proof.ask_probes_once(fs)
        return fs

    def _forget(self, fs: Any) -> None:
        """Read the connection again before the next request, since its token has expired."""
        with self._lock:
            if self._opened is fs:
                self._opened = None

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        """Upload a new object."""
        url = self._url(path)
        with self._mapped("write", path):
            inner = self._ask("write", path, lambda fs: self._new_file(fs, path))
        try:
            yield cast(BinaryIO, _RemoteFile(self, inner, "write", path))
            reach("file.before_publish")
            with self._mapped("write", path):
                self._use("write", path, inner.close)
            reach("file.published")
        except BaseException:
            _discard(inner, url)
            raise

    def _new_file(self, fs: Any, path: str) -> Any:
        if not self._is_s3:
            return fs.open(f"{self._root}/{path}", "wb", block_size=PIECE_BYTES)
        return S3Upload(fs.call_s3, self._bucket, f"{self._prefix}{path}", checksums=s3.gives_checksums(fs))

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        """Open an object."""
        with self._mapped("read", path):
            inner = self._ask(
                "read", path, lambda fs: fs.open(f"{self._root}/{path}", "rb", block_size=_READ_BLOCK)
            )
        with inner:
            yield cast(BinaryIO, _RemoteFile(self, inner, "read", path))

    def size(self, path: str) -> int | None:
        with self._mapped("look at", path):
            try:
                found = self._ask("look at", path, lambda fs: fs.info(f"{self._root}/{path}"))
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
        return int(found["size"]) if found.get("type") == "file" else None

    def proves(self, path: str, upload: Upload, size: int) -> bool:
        """Return True if S3 proves that the object holds the bytes of this upload."""
        if not self._is_s3 or self._reads_all:
            return False
        key = f"{self._prefix}{path}"
        with self._mapped("look at", path):
            try:
                found = self._s3("head_object", Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except OSError:  # missing or denied: the caller reads the object, and meets the reason
                return False
            return s3_proof.is_same(found, upload, size) and self._refuses_wrong(in_pieces=upload.pieces > 0)

    def why_read_back(self) -> str | None:
        """Return why part files are read back before they are loaded; None if the store proves their content."""
        if not self._is_s3:
            return "only S3 proves their content"
        if self._reads_all:
            return "stage.s3.read_back is always"
        with self._mapped("write", ""):
            if not s3.gives_checksums(self._fs):
                return "checksums are when_required, by stage.s3 or the connection"
            refuses = self._refuses_wrong(in_pieces=False) and self._refuses_wrong(in_pieces=True)
        return None if refuses else "the store accepts wrong checksums, or knows none of whole objects"

    @property
    def _reads_all(self) -> bool:
        return self._options is not None and self._options.read_back == "always"

    def _refuses_wrong(self, *, in_pieces: bool) -> bool:
        """Return True if the store refuses wrong checksums of this kind of upload; it is asked once."""
        if in_pieces not in self._refuses:
            probe = s3_proof.refuses_wrong_pieces if in_pieces else s3_proof.refuses_wrong_object
            self._refuses[in_pieces] = probe(self._s3, self._bucket, self._prefix)
            if not self._refuses[in_pieces]:
                log.info("%s does not refuse wrong checksums, so part files are read back", self._url(""))
        return self._refuses[in_pieces]

    def list(self, folder: str) -> list[StageFile]:
        top = f"{self._root}/{folder}".rstrip("/") + "/"
        with self._mapped("list", folder):
            try:
                found = self._ask("list", folder, lambda fs: fs.find(top, detail=True))
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
            self._delete(path)

    def _delete(self, path: str) -> None:
        with self._mapped("delete", path):
            try:
                self._ask("delete", path, lambda fs: fs.rm_file(f"{self._root}/{path}"))
            except FileNotFoundError as error:
                self._check_bucket(error)

    def now(self) -> datetime | None:
        """Return the store's time without writing anything, or None if only a written file shows it."""
        if not self._is_s3:
            return None
        with self._mapped("look at", ""):
            return s3.clock(self._s3, self._bucket, self._prefix)

    def create(self, path: str, data: bytes) -> bool | None:
        """Create an object unless one has the path (S3); return whether it did, None for other stores."""
        if not self._is_s3:
            return None
        with self._mapped("write", path):
            try:
                self._s3(
                    "put_object", Bucket=self._bucket, Key=f"{self._prefix}{path}", Body=data, IfNoneMatch="*"
                )
            except OSError as error:
                if s3.is_taken(error):
                    return False
                raise
        return True

    def remove_unfinished(
        self, before: datetime, ours: Callable[[str], bool], *, dry_run: bool
    ) -> Sequence[str]:
        """Abort uploads that were never completed: S3 keeps and bills them until then.

        Other stores drop theirs by themselves (GCS and Azure after a week; MinIO, which lists none by prefix, after
        a day).
        """
        if not self._is_s3:
            return ()
        found = []
        with self._mapped("look for unfinished uploads in", ""):
            for upload in s3.uploads(self._s3, self._bucket, self._prefix):
                if upload["Initiated"] < before and ours(upload["Key"][len(self._prefix) :]):
                    if not dry_run:
                        s3.abort(self._s3, self._bucket, upload)
                    found.append(f"upload of {self._scheme}://{self._bucket}/{upload['Key']}")
        return found

    def _s3(self, method: str, **named: Any) -> Any:
        return self._ask("ask about", "", lambda fs: fs.call_s3(method, **named))

    def _ask(self, action: str, path: str, question: Callable[[Any], T]) -> T:
        """Ask the store; if the token has expired, read the connection and ask again."""
        fs = self._fs
        fs.invalidate_cache()  # other processes write here too
        try:
            return self._use(action, path, question, fs)
        except Exception as error:
            if not s3.token_expired(error):
                raise
        return self._use(action, path, question, self._fs)

    def _use(self, action: str, path: str, function: Callable[..., T], *args: Any) -> T:
        """Run one request, or one block of a file.  Clients retry after a silence; a slow response ends here."""
        fs = self._opened
        try:
            return within(ANSWER_SECONDS, f"cannot {action} {self._url(path)}", lambda: function(*args))
        except Exception as error:  # noqa: BLE001  (raised below, with the reason that S3 gives to another request)
            reason = s3.reason(error, fs, self._bucket, self._prefix) if self._is_s3 else error
        if s3.token_expired(reason):
            self._forget(fs)
        raise reason

    def _url(self, path: str) -> str:
        return f"{self._scheme}://{self._root}/{path}".rstrip("/")

    def _check_bucket(self, error: BaseException | None) -> None:
        """Raise FatalError if the bucket is missing, not only the object."""
        if not self._is_s3:
            return
        try:
            self._s3("head_bucket", Bucket=self._bucket)
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
            raise store_error(action, self._url(path), error, self._conn_id) from error


def _install(scheme: str) -> str:
    if scheme.startswith("s3"):
        return "pip install 'airflow-pipeline-provider[amazon]'"
    return "install the provider of its cloud, such as apache-airflow-providers-google for gs"


class _RemoteFile(io.RawIOBase):
    """An object that is read or written; errors of the store are mapped, those of the block around it are not."""

    def __init__(self, files: RemoteFiles, inner: Any, action: str, path: str) -> None:
        self._files, self._inner, self._action, self._path = files, inner, action, path

    @property
    def upload(self) -> Upload | None:
        """Return what the store accepted, once the object is published."""
        return getattr(self._inner, "upload", None)

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        return self._files._use(self._action, self._path, function, *args)

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
    """Abort the upload, so that neither the object nor a piece of it remains."""
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
