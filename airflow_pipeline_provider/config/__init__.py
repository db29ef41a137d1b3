"""Load pipeline files into a validated model, and define the options that connectors extend."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "ByteCount",
    "ConnId",
    "DurationSeconds",
    "PipelineConfig",
    "SourceOptions",
    "StageOptions",
    "StateOptions",
    "TargetOptions",
    "load_folder",
    "load_pipeline",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.config.loader import (
        load_folder,
        load_pipeline,
    )
    from airflow_pipeline_provider.config.model import PipelineConfig
    from airflow_pipeline_provider.config.options import (
        ByteCount,
        ConnId,
        DurationSeconds,
        SourceOptions,
        StageOptions,
        StateOptions,
        TargetOptions,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "config.loader": ["load_folder", "load_pipeline"],
            "config.model": ["PipelineConfig"],
            "config.options": [
                "ByteCount",
                "ConnId",
                "DurationSeconds",
                "SourceOptions",
                "StageOptions",
                "StateOptions",
                "TargetOptions",
            ],
        },
    )
