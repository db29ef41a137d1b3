"""Find pipeline files below `--folder` or Airflow's DAGs folder, without importing Airflow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from airflow_pipeline_provider.config.airflow_settings import airflow_home, airflow_setting, expand_path
from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    add_problem,
    find_file,
    load_folder,
    load_pipeline,
    pipeline_files,
    split_name,
    used_id_problem,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.suggestions import did_you_mean

_ID_KEY = re.compile(rb"""(?:^|[{,])[ \t]*["']?pipeline_id["']?[ \t]*:""", re.M)
_LONGEST_HEAD = 1_000_000  # bytes of a YAML file that are searched for its id
_MOST_IDS = 20


@dataclass(frozen=True)
class PipelineFile:
    """A pipeline and its file."""

    file: Path
    config: PipelineConfig


@dataclass(frozen=True)
class Catalog:
    """The pipelines below `root` by id, and the errors of broken files there."""

    root: Path
    pipelines: dict[str, PipelineFile] = field(default_factory=dict)
    errors: dict[Path, ConfigFileError] = field(default_factory=dict)


class UnreadPipeline(Struct, frozen=True):
    """Pipeline that could not be read; `pipeline_id` is null where its file is the problem."""

    file: str
    pipeline_id: str | None
    message: str


@dataclass
class Unread:
    """The pipelines that could not be read while others were, and their errors."""

    pipelines: list[UnreadPipeline] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def add(self, file: Path, pipeline_id: str | None, error: Exception) -> None:
        """Add a pipeline that could not be read."""
        self.pipelines.append(UnreadPipeline(str(file), pipeline_id, str(error)))
        self.errors.append(error)


def dags_folder() -> Path:
    """Return Airflow's DAGs folder as Airflow finds it: environment, `airflow.cfg`, `$AIRFLOW_HOME/dags`."""
    try:
        configured = airflow_setting("core", "dags_folder")
    except ConfigError as error:
        raise ConfigError(f"{error.message}, or name the pipelines' folder with --folder DIR") from error
    return expand_path(configured) if configured else airflow_home() / "dags"


def root_folder(folder: str | None) -> Path:
    """Return the folder to search; raise ConfigError if it does not exist or is a file."""
    root = _existing_path(folder) if folder is not None else dags_folder()
    if root.is_dir():
        return root
    if folder is not None:
        raise ConfigError(
            f"--folder: expected a folder of pipeline files, got {folder!r}, which is not a folder"
        )
    raise ConfigError(
        f"Airflow's DAGs folder {root} does not exist: set AIRFLOW_HOME or AIRFLOW__CORE__DAGS_FOLDER, or name the "
        "pipelines' folder with --folder DIR"
    )


def _existing_path(text: str) -> Path:
    """Return the path as it was given if it exists, otherwise with variables and `~` replaced."""
    path = Path(text)
    return path if path.exists() else expand_path(text)


def pipeline_folders(root: Path, *, given: bool) -> list[Path]:
    """Return the folders at and below `root` that hold pipeline files.

    A folder counts if one of its YAML files has a `pipeline_id`; then, as for `load_pipelines`, each YAML file in
    it is a pipeline. A `given` root counts with any YAML file in it.
    """
    folders = []
    for folder in _folders_below(root):
        try:
            files = pipeline_files(folder)
        except ConfigError:  # no permission to read the folder
            continue
        if files and ((given and folder == root) or any(_has_id(file) for file in files)):
            folders.append(folder)
    return folders


def _folders_below(root: Path) -> Iterator[Path]:
    """Yield `root` and the folders below it in order of name, each once.

    DAGs folders are often links, and links can form loops.
    """
    seen: set[str] = set()
    for folder, names, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(
            n for n in names if not n.startswith(".") and n not in ("__pycache__", "node_modules")
        )
        yield Path(folder)


def _has_id(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return _ID_KEY.search(opened.read(_LONGEST_HEAD)) is not None
    except OSError:
        return False


def load_all(folder: str | None) -> Catalog:
    """Load every pipeline; a broken file, or an id that another folder has already used, is an entry of `errors`.

    Raises ConfigError if there is no pipeline file.
    """
    catalog = Catalog(root_folder(folder))
    for place in pipeline_folders(catalog.root, given=folder is not None):
        loaded = load_folder(place, options_model=options_model)
        catalog.errors.update(loaded.errors)
        for pipeline_id, (file, config) in loaded.pipelines.items():
            first = catalog.pipelines.setdefault(pipeline_id, PipelineFile(file, config))
            if first.file != file:
                add_problem(catalog.errors, file, used_id_problem(file, config, str(first.file)))
    if not catalog.pipelines and not catalog.errors:
        raise ConfigError(
            f"no pipeline file in or below {catalog.root}: name the pipelines' folder with --folder DIR"
        )
    return catalog


def load_asked(pipeline: str | None, folder: str | None) -> tuple[list[PipelineFile], Unread]:
    """Load the pipeline, or all of them by id; broken files are in the second value."""
    unread = Unread()
    if pipeline is not None:
        return [load_one(pipeline, folder)], unread
    catalog = load_all(folder)
    for file, error in catalog.errors.items():
        unread.add(file, None, error)
    return [one for _, one in sorted(catalog.pipelines.items())], unread


def load_one(pipeline: str, folder: str | None) -> PipelineFile:
    """Load the pipeline with this id, or in this file (`FILE::ID` for one of several).

    Raises ConfigError if it is unknown, with the closest ids, or if its file is broken.
    """
    if _is_path(pipeline):
        name, pipeline_id = split_name(pipeline)
        path = _existing_path(name)
        if not path.is_file():
            raise ConfigError(
                f"PIPELINE: file {name!r} does not exist: name a YAML file, or the id of a pipeline"
            )
        config = load_pipeline(path, options_model=options_model, pipeline_id=pipeline_id)
        return PipelineFile(path, config)
    root = root_folder(folder)
    folders = pipeline_folders(root, given=folder is not None)
    files = [file for place in folders if (file := find_file(place, pipeline)) is not None]
    if not files:
        raise ConfigError(_unknown(pipeline, root, folders))
    if len(files) > 1:
        places = " and ".join(str(file) for file in files)
        raise ConfigError(
            f"PIPELINE: {pipeline!r} is the id of several files, {places}: name one of the files instead"
        )
    config = load_pipeline(files[0], options_model=options_model, pipeline_id=pipeline)
    return PipelineFile(files[0], config)


def _is_path(pipeline: str) -> bool:
    return split_name(pipeline)[0].endswith((".yaml", ".yml")) or os.sep in pipeline


def _unknown(pipeline: str, root: Path, folders: list[Path]) -> str:
    ids: list[str] = []
    for folder in folders:
        loaded = load_folder(folder, options_model=options_model)
        ids += [*loaded.pipelines, *(file.stem for file in loaded.errors)]
    ids = sorted(set(ids) - {"defaults"})
    hint = did_you_mean(pipeline, ids, count=3)
    if hint is None and ids:
        more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
        hint = f"known: {', '.join(ids[:_MOST_IDS])}{more}"
    elif hint is None:
        hint = "no pipeline file found: name the pipelines' folder with --folder DIR"
    return f"PIPELINE: no pipeline {pipeline!r} in or below {root}; {hint}"
