"""Pipeline files into Airflow DAGs: `load_pipelines(globals(), folder)`."""

from __future__ import annotations

from typing import Any


def load_pipelines(namespace: dict[str, Any], folder: str) -> None:
    """See `factory.dag.load_pipelines`; imported on call, so that importing this package stays cheap."""
    from airflow_pipeline_provider.factory.dag import load_pipelines as load

    load(namespace, folder)


__all__ = ["load_pipelines"]
