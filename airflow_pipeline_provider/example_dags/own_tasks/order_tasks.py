"""Functions that `example_checked_orders.yaml` names; each runs in a task of its own, and may run twice."""

from __future__ import annotations

import logging

from airflow_pipeline_provider import OwnTaskWindow

logger = logging.getLogger(__name__)


def few_are_rejected(window: OwnTaskWindow) -> None:
    """Hold the commit if the target cannot accept more than one document of a hundred."""
    rejected, staged = window.quarantined_rows or 0, window.staged_rows or 0
    if rejected * 100 > staged + rejected:
        raise ValueError(f"{window.window_id}: documents rejected: {rejected}, accepted: {staged}")


def build_day(window: OwnTaskWindow) -> str:
    """Build what follows from a whole day, such as by dbt; a day is built again when a window of it was replaced."""
    logger.info("build %s from %s: rows %s", window.day, window.table, window.target_rows)
    return window.day.isoformat()
