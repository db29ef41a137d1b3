"""Write rows to part files, and list part files in receipts and manifests."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "ENVELOPE",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.schema import ENVELOPE
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "envelope.schema": ["ENVELOPE"],
        },
    )
