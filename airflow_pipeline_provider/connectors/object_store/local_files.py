"""Store files in a local folder, without Airflow or fsspec, safely against crashes.

A file is written under `<base>/.incomplete/`, synced, and renamed, so a file with a name is complete.  What a crashed
process leaves in `.incomplete` is removed a day later.

Unless the stage is `shared`, files and folders belong to this user alone, and a base that another user could replace
is refused (`private_files`).  Nothing is deleted through a symbolic link.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import uuid4

from airflow_pipeline_provider.connectors.base import StageFile
from airflow_pipeline_provider.connectors.object_store import private_files
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.fault_points import reach

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Upload

log = logging.getLogger(__name__)

INCOMPLETE = ".incomplete"
_WAITING = re.compile(r"[0-9a-f]{32}")
_STALE_SECONDS = 86_400
_FATAL = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.ELOOP,  # a symbolic link in the place of a folder
}


class _NewFile(io.FileIO):
    """A file whose failed writes (a full disk) are errors of the stage; errors of the block around it are not."""

    def __init__(self, path: Path, final: Path, mode: int) -> None:
        super().__init__(path, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, mode))
        self._final = final

    def write(self, data: Any) -> int:
        with _mapped("write", self._final):
            return super().write(data)


class LocalFiles:
    """Files below `root`; the stage has checked their paths."""

    def __init__(self, root: str, *, shared: bool = False) -> None:
        self._root, self._shared = Path(root), shared
        self._file_mode, self._folder_mode = (0o666, 0o777) if shared else (0o600, 0o700)

    def _make_folder(self, folder: Path) -> None:
        """Create the folder and its parents; write nothing into a base that another user could replace."""
        private_files.make_folders(self._root, self._folder_mode)
        if not self._shared:
            private_files.check_owner(self._root)
        private_files.make_folders(folder, self._folder_mode)

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        final = self._root / path
        waiting = self._root / INCOMPLETE / uuid4().hex
        with _mapped("write", final):
            self._make_folder(waiting.parent)
            raw = _NewFile(waiting, final, self._file_mode)
        try:
            with io.BufferedWriter(raw) as file:
                yield cast(BinaryIO, file)
                file.flush()
                with _mapped("write", final):
                    os.fsync(raw.fileno())
            reach("file.before_publish")
            with _mapped("write", final):
                self._publish(waiting, final)
            reach("file.published")
        finally:
            waiting.unlink(missing_ok=True)

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        full = self._root / path
        with _mapped("read", full):
            file = full.open("rb")
        with file:
            yield file

    def size(self, path: str) -> int | None:
        full = self._root / path
        with _mapped("look at", full):
            try:
                return full.stat().st_size if full.is_file() else None
            except FileNotFoundError:
                return None

    def proves(self, path: str, upload: Upload, size: int) -> bool:  # noqa: ARG002
        """Return False: a file system keeps no checksum, and reading back what was just written is cheap."""
        return False

    def list(self, folder: str) -> list[StageFile]:
        top = self._root / folder if folder else self._root
        found: list[StageFile] = []

        def failed(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        with _mapped("list", top):
            for parent, folders, names in os.walk(top, onerror=failed):
                if Path(parent) == self._root and INCOMPLETE in folders:
                    folders.remove(INCOMPLETE)
                for name in names:
                    with suppress(FileNotFoundError):  # deleted in the meantime
                        found.append(self._listed(Path(parent, name)))
        return sorted(found)

    def _listed(self, full: Path) -> StageFile:
        status = full.stat()
        modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        return StageFile(full.relative_to(self._root).as_posix(), status.st_size, modified)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            full = self._root / path
            with _mapped("delete", full):
                try:
                    with private_files.opened(self._root, path.split("/")[:-1]) as folder:
                        os.unlink(full.name, dir_fd=folder)
                except FileNotFoundError:
                    continue  # keep its folder: a writer may just have made it for a file that it is about to name
                except NotADirectoryError:  # a file or a symbolic link is in the place of a folder
                    continue
                _prune(full.parent, self._root)
        self._sweep()

    def _sweep(self) -> None:
        """Remove files with this package's names that processes left when they crashed a day ago or earlier."""
        oldest = time.time() - _STALE_SECONDS
        try:
            with private_files.opened(self._root, [INCOMPLETE]) as folder:
                for name in filter(_WAITING.fullmatch, os.listdir(folder)):  # noqa: PTH208  (of a descriptor)
                    with suppress(FileNotFoundError):  # another process sweeps too
                        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < oldest:
                            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:  # the failure before this deletion is the one to report
            log.warning("%s cannot be tidied up: %s", self._root / INCOMPLETE, error.strerror or error)

    def _publish(self, waiting: Path, final: Path) -> None:
        for left in reversed(range(100)):
            try:
                private_files.make_folders(final.parent, self._folder_mode)
                waiting.replace(final)
                break
            except FileNotFoundError:  # a process that deleted the last file there removed the folder
                if not left:
                    raise
                time.sleep(random.uniform(0, 0.01))  # noqa: S311  (else both may go on in step)
        folder = os.open(final.parent, os.O_RDONLY)  # the name must outlive a power cut as well
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def now(self) -> datetime:
        """Return the file system's time, read from a new file that is already unlinked."""
        waiting = self._root / INCOMPLETE / uuid4().hex
        with _mapped("write", waiting):
            self._make_folder(waiting.parent)
            with waiting.open("xb") as file:
                waiting.unlink()
                modified = os.fstat(file.fileno()).st_mtime
        return datetime.fromtimestamp(modified, timezone.utc)

    def remove_unfinished(
        self,
        before: datetime,  # noqa: ARG002
        ours: Callable[[str], bool],  # noqa: ARG002
        *,
        dry_run: bool,  # noqa: ARG002
    ) -> Sequence[str]:
        """Return no lines: `delete` removes unfinished files by itself, a day later."""
        return ()


def _prune(folder: Path, root: Path) -> None:
    """Remove folders that have become empty, up to the base."""
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # not empty
            return
        folder = folder.parent


@contextmanager
def _mapped(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error(action, path, error) from error


def _error(action: str, path: Path, error: OSError) -> PipelineError:
    if isinstance(error, private_files.UnsafeFolderError):
        return FatalError(f"cannot {action} file://{path}: {error}")
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and action == "read":
        return DataError(f"file://{path} does not exist; extract the window again")
    if error.errno in _FATAL:
        return FatalError(
            f"cannot {action} file://{path}: {reason}; check the stage's path and its permissions"
        )
    return TransientError(
        f"cannot {action} file://{path}: {reason}; if it stays so, check the stage's path and its disk"
    )
