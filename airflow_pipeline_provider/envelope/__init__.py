"""Write rows to part files, and list part files in receipts and manifests."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.envelope.allocator import choose_arrow_pool
from airflow_pipeline_provider.lazy_exports import lazy_exports

choose_arrow_pool()  # before a module of this package imports Arrow, whichever is the first

__all__ = [
    "ENVELOPE",
    "Manifest",
    "iter_parts",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest
    from airflow_pipeline_provider.envelope.parts import iter_parts
    from airflow_pipeline_provider.envelope.schema import ENVELOPE
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "envelope.manifest": ["Manifest"],
            "envelope.parts": ["iter_parts"],
            "envelope.schema": ["ENVELOPE"],
        },
    )
