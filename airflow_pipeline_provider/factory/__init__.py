"""Build Airflow DAGs from the pipeline files of a folder."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "build_dag",
    "build_maintenance",
    "load_maintenance",
    "load_pipelines",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.factory.dag import (
        build_dag,
        load_pipelines,
    )
    from airflow_pipeline_provider.factory.maintenance import (
        build_maintenance,
        load_maintenance,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "factory.dag": ["build_dag", "load_pipelines"],
            "factory.maintenance": ["build_maintenance", "load_maintenance"],
        },
    )
