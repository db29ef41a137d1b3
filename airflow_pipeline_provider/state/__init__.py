"""Store each pipeline's ledger, leases and fencing tokens."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = [
    "Lease",
    "Snapshot",
    "State",
]

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.base import (
        Lease,
        Snapshot,
        State,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "state.base": ["Lease", "Snapshot", "State"],
        },
    )
