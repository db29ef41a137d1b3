"""Pipeline files into Airflow DAGs: `load_pipelines(globals(), folder)`, `load_maintenance(globals(), folder)`."""

from __future__ import annotations

from typing import Any


def load_pipelines(namespace: dict[str, Any], folder: str) -> None:
    """See `factory.dag.load_pipelines`; imported on call, so that importing this package stays cheap."""
    from airflow_pipeline_provider.factory.dag import load_pipelines as load

    load(namespace, folder)


def load_maintenance(namespace: dict[str, Any], folder: str, **options: Any) -> None:
    """See `factory.maintenance.load_maintenance`: schedule, days, on_shrink, dag_id."""
    from airflow_pipeline_provider.factory.maintenance import load_maintenance as load

    load(namespace, folder, **options)


__all__ = ["load_maintenance", "load_pipelines"]
