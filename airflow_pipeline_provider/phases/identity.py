"""Refuse to load a changed source or target, or a table into which another pipeline loads the same source.

What a pipeline reads and writes (`core.datasets`) is recorded in its state and registered in the target's fence table
with its first load.  `generate` compares before anything is written, `load` again before the target changes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Connector, Identity
from airflow_pipeline_provider.connectors.datasets import with_file
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import shell_line
from airflow_pipeline_provider.core.datasets import Days, changes, days_overlap, other_spelling, overlap
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, TransientError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.about import About, find_rename
from airflow_pipeline_provider.state.facts import facts_of

logger = logging.getLogger(__name__)


class Datasets(NamedTuple):
    """What a pipeline reads and writes now, and its first and last day."""

    source: dict[str, object]
    target: dict[str, object]
    days: Days

    @property
    def entry(self) -> dict[str, object]:
        """Return what the target keeps of the pipeline."""
        return {"source": self.source, "days": list(self.days)}

    @property
    def target_key(self) -> str:
        """Return a key that is equal for pipelines of one target table, however its file is written."""
        path = {} if self.target.get("file") is None else {"path": None}
        return json.dumps({**self.target, **path}, sort_keys=True)


def declared(config: PipelineConfig) -> Datasets:
    """Return what the pipeline file alone names; no connection is looked up."""
    identity = Identity(config.pipeline_id, config.timezone)
    source, target = (
        connector_class(kind, getattr(config, kind).type)(getattr(config, kind), identity)
        for kind in ("source", "target")
    )
    place = {} if hasattr(target.options, "conn_id") else _place(target)
    return Datasets(_plain(source.dataset()), _plain({**target.dataset(), **place}), _days(config))


def datasets_of(runtime: Runtime) -> Datasets:
    """Return what the pipeline reads and writes, with the servers that its connections lead to."""
    source, target = (_plain({**one.dataset(), **_place(one)}) for one in (runtime.source, runtime.target))
    return Datasets(source, target, _days(runtime.config))


def differences(about: About, now: Datasets) -> list[str]:
    """Return how source and target differ from those of the loads so far."""
    found = []
    if about.source is not None:
        found += changes("source", with_file(about.source, now.source), now.source)
    if about.target is not None:
        found += changes("target", with_file(about.target, now.target), now.target)
    return found


def check_identity(runtime: Runtime, about: About) -> None:
    """Raise ConfigError when the pipeline was renamed, or its source or target changed, or is another pipeline's.

    `about` is what its state records.
    """
    now = datasets_of(runtime)
    refuse_changed(runtime.config.pipeline_id, about, now)
    if about.source is None:
        try:
            pipelines = runtime.target.pipelines()
        except (TransientError, FatalError) as error:  # load asks again, before it writes
            logger.debug("the target's pipelines are not known yet: %s", error)
            return
        pipelines.pop(runtime.config.pipeline_id, None)
        twin_check(runtime.config.pipeline_id, now)(pipelines)


def record_identity(runtime: Runtime) -> None:
    """Check the identity before a load, with the target prepared, and record what is not recorded yet."""
    about = runtime.state.about()
    now = datasets_of(runtime)
    refuse_changed(runtime.config.pipeline_id, about, now)
    facts = facts_of(runtime.config).dump()
    changed = (about.source, about.target, about.days) != now
    if changed:
        runtime.target.register(now.entry, twin_check(runtime.config.pipeline_id, now))
    if changed or about.facts != facts:
        runtime.state.change_about(lambda seen: replace(recorded(seen, now), facts=facts))


def recorded(about: About, now: Datasets) -> About:
    """Return `about` with these datasets."""
    return replace(about, source=now.source, target=now.target, days=now.days)


def twin_check(pipeline_id: str, now: Datasets) -> Callable[[dict[str, dict[str, object]]], None]:
    """Return a check of the other pipelines in the target table: ConfigError for one that reads the same source."""

    def check(pipelines: dict[str, dict[str, Any]]) -> None:
        mine = command_line.name_of(pipeline_id)
        for name, entry in sorted(pipelines.items()):
            if is_twin(now, entry):
                spelling = other_spelling(now.source, entry["source"])
                raise ConfigError(
                    f"pipeline {name!r} loads the same source into this table already"
                    f"{f' ({spelling})' if spelling else ''}, so {pipeline_id!r} would load "
                    "its rows a second time; nothing was changed. If it was renamed, run `"
                    f"{shell_line(command_line.rename_state(name, mine))}`; otherwise choose another "
                    f"target.table, or, if the rows of {name!r} may stay in the table, "
                    f"`{shell_line(command_line.adopt(mine, 'both are wanted in one table'))}`"
                )

    return check


def is_twin(now: Datasets, entry: dict[str, Any]) -> bool:
    """Return whether another pipeline's entry in the target table is of the same source and days."""
    first, last = entry.get("days", (None, None))
    return overlap(now.source, with_file(entry.get("source", {}), now.source)) and days_overlap(
        now.days, (first, last)
    )


def refuse_changed(name: str, about: About, now: Datasets) -> None:
    """Raise ConfigError for a pipeline that was renamed, or whose source or target are not those of its loads."""
    refuse_renamed(name, about)
    mine = command_line.name_of(name)
    if found := differences(about, now):
        raise ConfigError(
            f"{change_sentence(found)}; nothing was changed. Put it back; or "
            f"`{shell_line(command_line.adopt(mine))}`; or "
            f"`{shell_line(command_line.reprocess_all(mine))}` to move every committed window again"
        )


def refuse_renamed(name: str, about: About) -> None:
    """Raise ConfigError for a pipeline that was renamed, or whose rename is not finished."""
    if (found := find_rename(name, about)) is not None:
        raise ConfigError(f"{found.sentence}; nothing was changed. {found.remedy}")


def change_sentence(found: list[str]) -> str:
    """Return the differences as the beginning of a sentence."""
    return f"the committed windows were loaded from and into other places than the file names now: {', '.join(found)}"


def _place(connector: Connector) -> dict[str, object]:
    try:
        return connector.place()
    except (
        FatalError,
        ConfigError,
    ) as error:  # the connector itself reports what is wrong with its connection
        logger.debug("the place of %s is not known: %s", connector.options.type, error)
        return {}


def _days(config: PipelineConfig) -> Days:
    first, last = config.start_day, config.end_day
    return first.isoformat() if first else None, last.isoformat() if last else None


def _plain(dataset: dict[str, object]) -> dict[str, object]:
    """Return the value as it is read back from JSON."""
    value: dict[str, object] = json.loads(json.dumps(dataset, sort_keys=True, default=str))
    return value
