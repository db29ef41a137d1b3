"""The columns of the benchmarks: they read from four levels of the documents."""

from __future__ import annotations

from airflow_pipeline_provider.core.columns import Column, parse_path, parse_type

PATHS = ("level", "service.name", "http.response.status", "user.id")


def columns() -> list[Column]:
    """Return the columns; one of them is required."""
    return [
        Column(path.replace(".", "_"), parse_path(path), parse_type("text"), required=path == "level")
        for path in PATHS
    ]
