"""Connect to sources, stages and targets: the contracts, and one implementation for each vendor."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "Body",
    "BodyReport",
    "CommitRow",
    "Identity",
    "LoadResult",
    "RecordIdForm",
    "Slice",
    "Source",
    "Stage",
    "StageFile",
    "Target",
    "TargetCounts",
    "TargetLimits",
    "get_connection",
    "register",
    "require",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.airflow_connections import get_connection
    from airflow_pipeline_provider.connectors.base import (
        Body,
        BodyReport,
        CommitRow,
        Identity,
        LoadResult,
        RecordIdForm,
        Slice,
        Source,
        Stage,
        StageFile,
        Target,
        TargetCounts,
        TargetLimits,
    )
    from airflow_pipeline_provider.connectors.registry import (
        register,
        require,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "connectors.airflow_connections": ["get_connection"],
            "connectors.base": [
                "Body",
                "BodyReport",
                "CommitRow",
                "Identity",
                "LoadResult",
                "RecordIdForm",
                "Slice",
                "Source",
                "Stage",
                "StageFile",
                "Target",
                "TargetCounts",
                "TargetLimits",
            ],
            "connectors.registry": ["register", "require"],
        },
    )
