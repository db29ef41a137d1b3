"""The scratch folder of an object store or a local folder."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.object_store.remote_files import RemoteFiles
from airflow_pipeline_provider.connectors.scratch import StageScratch

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage


class ObjectStoreScratch(StageScratch):
    """The whole folder of a stage, whose last part is this run's own."""

    def __init__(self, stage: ObjectStoreStage) -> None:
        self._stage = stage
        self.name = stage.base.rpartition("/")[2]
        self._folder = Path(stage.base.removeprefix("file://")) if stage.base.startswith("file://") else None
        self._above = [
            folder for folder in (self._folder.parents if self._folder else ()) if not folder.exists()
        ]

    def describe(self) -> str:
        return (
            f"writes files below {self._stage.base}, and deletes them at the end (about 50 MB, 200 requests)"
        )

    def foreign(self) -> list[str]:
        return [f"file {file.path}" for file in self._stage.list("")]

    def remaining(self) -> list[str]:
        if self._folder is not None:
            return [f"folder {self._folder}"] if self._folder.exists() else []
        soon = datetime.now(timezone.utc) + timedelta(days=1)
        unfinished = self._stage.remove_unfinished(soon, lambda _: True, dry_run=True)
        return [*(f"file {file.path}" for file in self._stage.list("")), *unfinished]

    def remove(self) -> None:
        self._stage.delete([file.path for file in self._stage.list("")])
        soon = datetime.now(timezone.utc) + timedelta(days=1)
        self._stage.remove_unfinished(soon, lambda _: True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            for folder in self._above:
                with suppress(OSError):  # gone already, or another process has files in it
                    folder.rmdir()

    def cost(self) -> str:
        return "not metered" if self._folder is None else "none (a local folder)"

    def create(self, path: str, data: bytes) -> bool | None:
        if self._folder is not None:
            return _create_locally(self._folder / path, data)
        files = self._stage._files
        return files.create(path, data) if isinstance(files, RemoteFiles) else None


def _create_locally(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return True
