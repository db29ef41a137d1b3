"""Connect to sources, stages and targets: the contracts, and one implementation for each vendor."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "Answer",
    "Body",
    "BodyReport",
    "CommitRow",
    "FieldType",
    "Identity",
    "LoadProtocol",
    "LoadResult",
    "ObjectName",
    "RecordIdForm",
    "Slice",
    "Source",
    "SqlSession",
    "SqlTarget",
    "Stage",
    "StageFile",
    "Target",
    "TargetCounts",
    "TargetDialect",
    "TargetLimits",
    "TargetTables",
    "WriteConflictError",
    "get_connection",
    "register",
    "require",
    "retry_conflicts",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.airflow_connections import get_connection
    from airflow_pipeline_provider.connectors.base import (
        Body,
        BodyReport,
        CommitRow,
        FieldType,
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
    from airflow_pipeline_provider.connectors.load_protocol import (
        LoadProtocol,
        WriteConflictError,
        retry_conflicts,
    )
    from airflow_pipeline_provider.connectors.probes import Answer
    from airflow_pipeline_provider.connectors.registry import (
        register,
        require,
    )
    from airflow_pipeline_provider.connectors.sql_dialect import ObjectName, TargetDialect
    from airflow_pipeline_provider.connectors.sql_hooks import SqlSession
    from airflow_pipeline_provider.connectors.sql_tables import TargetTables
    from airflow_pipeline_provider.connectors.sql_target import SqlTarget
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "connectors.airflow_connections": ["get_connection"],
            "connectors.base": [
                "Body",
                "BodyReport",
                "CommitRow",
                "FieldType",
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
            "connectors.load_protocol": ["LoadProtocol", "WriteConflictError", "retry_conflicts"],
            "connectors.probes": ["Answer"],
            "connectors.sql_dialect": ["ObjectName", "TargetDialect"],
            "connectors.sql_tables": ["TargetTables"],
            "connectors.sql_hooks": ["SqlSession"],
            "connectors.sql_target": ["SqlTarget"],
        },
    )
