"""Compute days, windows, plans and the ledger: pure functions that read no clock and do no I/O."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "Interval",
    "Window",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.core.intervals import Interval
    from airflow_pipeline_provider.core.windows import Window
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "core.intervals": ["Interval"],
            "core.windows": ["Window"],
        },
    )
