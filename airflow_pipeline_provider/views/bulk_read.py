"""Read the states of many pipelines in one SQL database with one query for all of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.days import FIRST_DAY
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import DataError, PipelineError
from airflow_pipeline_provider.views.pipeline_status import Readable, shown_days, whole_of

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.sql import SqlState

logger = logging.getLogger(__name__)


def read_states(
    configs: Iterable[PipelineConfig], reference_time: datetime, days: int
) -> dict[str, Readable]:
    """Return the state by pipeline id, for pipelines that share a database with another one.

    A database that does not answer is left out, and so is a pipeline with a record that cannot be read: these are
    then read one by one, so that each reports its own error.
    """
    read: dict[str, Readable] = {}
    for group in _groups(configs):
        if len(group) > 1:
            read.update(_read_group(group, reference_time, days))
    return read


def read_entries(
    wanted: Iterable[tuple[PipelineConfig, Sequence[Interval]]],
) -> dict[str, list[Entry]]:
    """Return the ledger entries of these disjoint intervals by pipeline id, with one query for many pipelines.

    Pipelines whose database does not answer, or whose entries cannot be read, are left out.
    """
    spans = {config.pipeline_id: (config, listed) for config, listed in wanted}
    read: dict[str, list[Entry]] = {}
    for group in _groups(config for config, _ in spans.values()):
        read.update(_read_spans(group, {one.pipeline_id: spans[one.pipeline_id][1] for one in group}))
    return read


def _groups(configs: Iterable[PipelineConfig]) -> Iterable[list[PipelineConfig]]:
    """Return the pipelines of each SQL database."""
    shared: dict[str, list[PipelineConfig]] = defaultdict(list)
    for config in configs:
        if config.state.type == "sql":
            shared[config.state.model_dump_json(exclude={"lease"})].append(config)
    return shared.values()


def _state_of(config: PipelineConfig) -> SqlState:
    from airflow_pipeline_provider.state.sql import SqlState

    return SqlState(config.state, Identity(config.pipeline_id, config.timezone))  # type: ignore[arg-type]


def _read_spans(
    group: Sequence[PipelineConfig], spans: Mapping[str, Sequence[Interval]]
) -> Mapping[str, list[Entry]]:
    from airflow_pipeline_provider.state.sql_bulk import read_spans

    try:
        with closing(_state_of(group[0])) as state:
            found = read_spans(state, spans)
    except PipelineError as error:
        logger.debug("ledgers of %d pipelines not read: %s", len(group), error)
        return {}
    return {name: one for name, one in found.items() if not isinstance(one, DataError)}


def _read_group(group: list[PipelineConfig], reference_time: datetime, days: int) -> dict[str, Readable]:
    from airflow_pipeline_provider.state.sql_bulk import read_states as read_sql_states

    # as far back as any of them needs; `days` limits it where the first day is not known yet
    bounds = []
    for rules in {one.rules for one in group}:
        whole = whole_of(rules, shown_days(rules, reference_time, days, FIRST_DAY))
        bounds += [whole] if whole is not None else []
    if not bounds:
        return {}
    within = Interval(min(whole.start for whole in bounds), max(whole.end for whole in bounds))
    try:
        with closing(_state_of(group[0])) as state:
            read = read_sql_states(state, [one.pipeline_id for one in group], within)
    except PipelineError as error:
        logger.debug("reading the states of %d pipelines one by one: %s", len(group), error)
        return {}
    return {name: found for name, found in read.items() if not isinstance(found, PipelineError)}
