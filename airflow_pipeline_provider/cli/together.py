"""The states of many pipelines that lie in the same tables, read at once."""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.days import FIRST_DAY
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.views.standing import Readable, shown_days, whole_of

logger = logging.getLogger(__name__)


@contextmanager
def collected_rarely() -> Iterator[None]:
    """What is read of many pipelines stays to the end: Python's garbage collector, which looks through it and through
    all that Airflow imported again and again, takes a quarter of the time and finds nothing."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def read_together(
    configs: Iterable[PipelineConfig], reference_time: datetime, days: int
) -> dict[str, Readable]:
    """State by pipeline id, of those that share a database with another pipeline.

    What cannot be read together is left out, to be read one by one: then each pipeline's error is its own.
    """
    shared: dict[str, list[PipelineConfig]] = defaultdict(list)
    for config in configs:
        if config.state.type == "sql":
            shared[config.state.model_dump_json(exclude={"lease"})].append(config)
    read: dict[str, Readable] = {}
    for group in shared.values():
        if len(group) > 1:
            read.update(_read_group(group, reference_time, days))
    return read


def _read_group(group: list[PipelineConfig], reference_time: datetime, days: int) -> dict[str, Readable]:
    from airflow_pipeline_provider.state.sql import SqlState
    from airflow_pipeline_provider.state.sql_bulk import read_states

    # as far back as any of them may look; where the first day is not known yet, `days` bounds it
    bounds = []
    for rules in {one.rules for one in group}:
        whole = whole_of(rules, shown_days(rules, reference_time, days, FIRST_DAY))
        bounds += [whole] if whole is not None else []
    if not bounds:
        return {}
    within = Interval(min(whole.start for whole in bounds), max(whole.end for whole in bounds))
    first = group[0]
    try:
        state = SqlState(first.state, Identity(first.pipeline_id, first.timezone))  # type: ignore[arg-type]
        with closing(state):
            return dict(read_states(state, [one.pipeline_id for one in group], within))
    except PipelineError as error:
        logger.debug("the states of %d pipelines are read one by one: %s", len(group), error)
        return {}
