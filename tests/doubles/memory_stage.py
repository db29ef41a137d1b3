"""Provide the stage `memory`: files in this process, for tests that move thousands of windows.

    store = MemoryFiles(clock=lambda: now)
    stage = MemoryStage(identity=Identity("flights", "UTC"), files=store)   # stages with one store share their files

YAML: `stage: {type: memory}`; each stage built from YAML has its own files.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, BinaryIO, ClassVar, Literal

from airflow_pipeline_provider.config.options import StageOptions
from airflow_pipeline_provider.connectors.base import Identity, Stage, StageFile
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.fault_points import reach

_BAD = re.compile(r"[\x00-\x1f\x7f\\?#]")


def _wall_clock() -> datetime:
    return datetime.now(timezone.utc)


class MemoryOptions(StageOptions):
    """The section `stage` of type memory."""

    type: Literal["memory"] = "memory"


@dataclass
class MemoryFiles:
    """The files of one or more `MemoryStage`: path -> (content, time of writing); `clock` returns aware datetimes."""

    clock: Callable[[], datetime] = _wall_clock
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class MemoryStage(Stage):
    """A stage over files in this process."""

    Options: ClassVar[type[MemoryOptions]] = MemoryOptions

    def __init__(
        self, options: Any = None, identity: Identity | None = None, *, files: MemoryFiles | None = None
    ) -> None:
        super().__init__(options or MemoryOptions(), identity or Identity("pipeline", "UTC"))
        self.store = files or MemoryFiles()

    @property
    def base(self) -> str:
        return "memory://stage"

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        name = _checked(path)
        with io.BytesIO() as file:
            yield file
            data = file.getvalue()
        reach("file.before_publish")
        with self.store.lock:
            self.store.files[name] = (data, self.store.clock())
        reach("file.published")

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with self.store.lock:
            found = self.store.files.get(_checked(path))
        if found is None:
            raise DataError(f"{self.url(path)} does not exist; extract the window again")
        with io.BytesIO(found[0]) as file:
            yield file

    def size(self, path: str) -> int | None:
        with self.store.lock:
            found = self.store.files.get(_checked(path))
        return None if found is None else len(found[0])

    def list(self, folder: str) -> list[StageFile]:
        above = f"{_checked(folder)}/" if folder else ""
        with self.store.lock:
            return sorted(
                StageFile(path, len(data), written)
                for path, (data, written) in self.store.files.items()
                if path.startswith(above)
            )

    def delete(self, paths: Sequence[str]) -> None:
        names = [_checked(path) for path in paths]
        with self.store.lock:
            for name in names:
                self.store.files.pop(name, None)


def _checked(path: str) -> str:
    if not path or any(part in ("", ".", "..") or _BAD.search(part) for part in path.split("/")):
        raise ConfigError(
            f"path: expected one relative to the stage's base, such as 2013-11-03/part.parquet, got {path!r}"
        )
    return path
