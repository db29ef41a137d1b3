"""Test connectors and state stores: subclass a conformance kit and override its fixtures."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "Expected",
    "KitRow",
    "Loaded",
    "SnapshotConformance",
    "SourceConformance",
    "SqlTargetConformance",
    "StageConformance",
    "StateConformance",
    "TargetConformance",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.testing.source_kit import (
        Expected,
        KitRow,
        Loaded,
        SnapshotConformance,
        SourceConformance,
    )
    from airflow_pipeline_provider.testing.sql_target_kit import SqlTargetConformance
    from airflow_pipeline_provider.testing.stage_kit import StageConformance
    from airflow_pipeline_provider.testing.state_kit import StateConformance
    from airflow_pipeline_provider.testing.target_kit import TargetConformance
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "testing.source_kit": [
                "Expected",
                "KitRow",
                "Loaded",
                "SnapshotConformance",
                "SourceConformance",
            ],
            "testing.sql_target_kit": ["SqlTargetConformance"],
            "testing.stage_kit": ["StageConformance"],
            "testing.state_kit": ["StateConformance"],
            "testing.target_kit": ["TargetConformance"],
        },
    )
