"""Contracts of sources, stages and targets; the conformance kits in `testing` check them.

Rules for every connector:

- The class attribute `Options` is a pydantic model of its YAML section (`extra="forbid"`, a `type` literal).
- The constructor only assigns: `__init__(self, options, identity)`; connections open on first use, `close()` ends
  them.  Importing the module imports no vendor library (pyarrow included): DAG files are parsed often.
- Vendor errors are mapped to `exceptions` in one place; each message states what happened, where, and what to do, and
  never holds a secret.
- One instance serves one task; `Source.open` may return iterators that are read by different threads.
"""

from __future__ import annotations

from airflow_pipeline_provider.connectors.connector import Connector
from airflow_pipeline_provider.connectors.source_contract import Source
from airflow_pipeline_provider.connectors.stage_contract import Stage
from airflow_pipeline_provider.connectors.target_contract import Target
from airflow_pipeline_provider.connectors.values import (
    Body,
    BodyReport,
    CommitRow,
    FieldType,
    Identity,
    LoadResult,
    RecordIdForm,
    Slice,
    StageFile,
    TargetCounts,
)
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, Seen, WindowChanges
from airflow_pipeline_provider.envelope.limits import TargetLimits

__all__ = [
    "Body",
    "BodyReport",
    "ChangeMarker",
    "CommitRow",
    "Connector",
    "FieldType",
    "Identity",
    "LoadResult",
    "MarkedWindow",
    "RecordIdForm",
    "Seen",
    "Slice",
    "Source",
    "Stage",
    "StageFile",
    "Target",
    "TargetCounts",
    "TargetLimits",
    "WindowChanges",
]
