"""Airflow's own stats client in the process of a test."""

from __future__ import annotations

from typing import Any


def start_stats() -> Any:
    """Initialize stats as Airflow does at the start of a task's process, which `dag.test` does not have."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    if hasattr(stats, "initialize"):
        client = get_stats_factory()()
        stats.initialize(factory=lambda: client, export_legacy_names=True)
    else:  # Airflow 3.2
        client = get_stats_factory(stats.Stats)()
        stats.Stats.initialize(factory=lambda: client)
    return client
