"""Keep part files, receipts and manifests in S3, another object store or a folder."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["ObjectStoreStage"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"connectors.object_store.stage": ["ObjectStoreStage"]})
