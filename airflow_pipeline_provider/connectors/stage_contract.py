"""The contract of stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from airflow_pipeline_provider.connectors.connector import Connector
from airflow_pipeline_provider.connectors.probes import Probes, stage_clock, stage_probes
from airflow_pipeline_provider.connectors.values import StageFile

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Upload


class Stage(Connector):
    """A store of files, by paths relative to its base (`a/b/c`, no slash at either end)."""

    def probes(self) -> Probes:
        return stage_probes(self)

    @property
    @abstractmethod
    def base(self) -> str:
        """Return the base as a URL without credentials, connection id or slash at its end: `s3://lake/flights`."""

    def url(self, path: str) -> str:
        """Return the URL of a file, for targets that read it natively: `s3://lake/flights/<path>`."""
        return f"{self.base}/{path}"

    @abstractmethod
    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Stream a new file, which appears whole when the block ends, and not at all when it raises.

        Multipart uploads are aborted then.  Callers choose a unique path.  If the store keeps checksums, the file has
        an attribute `upload` after the block (`envelope.manifest.Upload`), which `proves` takes.
        """

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self.open_write(path) as file:
            file.write(data)

    @abstractmethod
    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a seekable binary file; a missing one is a DataError with the full URL."""

    def read(self, path: str) -> bytes:
        """Return the content of a small file."""
        with self.open_read(path) as file:
            return file.read()

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, None when it does not exist."""

    def proves(self, path: str, upload: Upload, size: int) -> bool:  # noqa: ARG002
        """Return True if the store proves that the file holds the `size` bytes of this upload, without reading it.

        False for any other answer, also for none: the caller then reads the file.
        """
        return False

    @abstractmethod
    def list(self, folder: str) -> list[StageFile]:
        """Return every file below the folder, at any depth, sorted by path; none if the folder does not exist."""

    @abstractmethod
    def delete(self, paths: Sequence[str]) -> None:
        """Delete these files; missing ones are ignored."""

    def now(self) -> datetime:
        """Return the time by the store's clock, which also sets `StageFile.modified`."""
        return stage_clock(self)

    def remove_unfinished(
        self,
        before: datetime,  # noqa: ARG002
        ours: Callable[[str], bool],  # noqa: ARG002
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        """Remove pieces of uploads that crashed writers left behind, and return a line for each.

        Only uploads that began before the instant (by the store's clock) and whose path, relative to the base, is
        `ours` are removed, since a bucket has other users; with `dry_run` none are.
        """
        return ()
