"""Move time windows of data exactly once: a YAML file per pipeline becomes an Airflow DAG.

Everything for DAG files can be imported from here. Each name is loaded on first use, since Airflow's provider
discovery imports this package before its own configuration is ready.
"""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__version__ = "0.1.0"

__all__ = [
    "AuditOperator",
    "DayCompleteSensor",
    "DayCompleteTrigger",
    "DrainOperator",
    "ExtractOperator",
    "GenerateWindowOperator",
    "LoadOperator",
    "MoveWindowOperator",
    "OwnTaskOperator",
    "OwnTaskWindow",
    "PipelineError",
    "StageOperator",
    "ValidateWindowOperator",
    "WholeDayMapper",
    "build_complete_pipeline_record",
    "build_window_record",
    "calculate_day_from_timestamp",
    "calculate_time_window",
    "convert_to_pendulum",
    "generate_pipeline_time_window_record",
    "load_maintenance",
    "load_pipelines",
    "parse_time_to_seconds",
    "seconds_to_time_string",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.core.record_generation import (
        build_complete_pipeline_record,
        build_window_record,
        calculate_time_window,
        generate_pipeline_time_window_record,
    )
    from airflow_pipeline_provider.core.time_utils import (
        calculate_day_from_timestamp,
        convert_to_pendulum,
        parse_time_to_seconds,
        seconds_to_time_string,
    )
    from airflow_pipeline_provider.exceptions import PipelineError
    from airflow_pipeline_provider.factory.dag import load_pipelines
    from airflow_pipeline_provider.factory.maintenance import load_maintenance
    from airflow_pipeline_provider.factory.partition_mapper import WholeDayMapper
    from airflow_pipeline_provider.operators import (
        AuditOperator,
        DrainOperator,
        ExtractOperator,
        GenerateWindowOperator,
        LoadOperator,
        MoveWindowOperator,
        OwnTaskOperator,
        StageOperator,
        ValidateWindowOperator,
    )
    from airflow_pipeline_provider.phases.own_tasks import OwnTaskWindow
    from airflow_pipeline_provider.sensors import DayCompleteSensor
    from airflow_pipeline_provider.triggers import DayCompleteTrigger
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "core.record_generation": [
                "build_complete_pipeline_record",
                "build_window_record",
                "calculate_time_window",
                "generate_pipeline_time_window_record",
            ],
            "core.time_utils": [
                "calculate_day_from_timestamp",
                "convert_to_pendulum",
                "parse_time_to_seconds",
                "seconds_to_time_string",
            ],
            "exceptions": ["PipelineError"],
            "factory.dag": ["load_pipelines"],
            "factory.maintenance": ["load_maintenance"],
            "factory.partition_mapper": ["WholeDayMapper"],
            "operators": [
                "AuditOperator",
                "DrainOperator",
                "ExtractOperator",
                "GenerateWindowOperator",
                "LoadOperator",
                "MoveWindowOperator",
                "OwnTaskOperator",
                "StageOperator",
                "ValidateWindowOperator",
            ],
            "phases.own_tasks": ["OwnTaskWindow"],
            "sensors": ["DayCompleteSensor"],
            "triggers": ["DayCompleteTrigger"],
        },
    )
