"""The ledger's vocabulary and everything that is computed from its entries.

The ledger is append-only.  Coverage, continuation, blocked windows and a day's status are functions of its
entries; nothing of that is ever stored beside it.

A window's life: ``attempt -> replacing(token) -> committed(token)``, with ``failed`` anywhere after the attempt
and ``waived`` by a person at any time.  A committed window may be replaced: ``replacing`` with a newer token, then
``committed`` with that token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_pipeline_provider.core.intervals import Interval


class Kind(str, Enum):
    """What an entry says about its interval."""

    ATTEMPT = "attempt"  # a slice plan was frozen
    REPLACING = "replacing"  # the target is about to change under this token
    COMMITTED = "committed"  # audited: source = manifest = target = distinct ids
    FAILED = "failed"  # detail: {"error": class name, "message": ..., "phase": ...}
    WAIVED = "waived"  # given up on by a person; detail: {"reason": ...}


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    `token` is set on replacing and committed, `rows` and `manifest` (sha-256 of the manifest) on committed;
    `at` is the store's clock when it was written, `run` is "dag_id/run_id", `attempt` the attempt's id.
    """

    kind: Kind
    interval: Interval
    at: datetime
    token: int | None = None
    attempt: str | None = None
    run: str | None = None
    rows: int | None = None
    manifest: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
