"""Time limits and TLS of connections to PostgreSQL, for source, target and state.

A silent network is noticed in three ways: the kernel probes the connection (keepalives, both sides), the server
cancels statements that take too long, and a `deadlines.Watch` cuts a connection whose answer does not come, as
behind a proxy that stays up.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from airflow_pipeline_provider.connectors.encryption import is_loopback

GRACE_SECONDS = 10.0  # the server's own limit ends first: its error has more detail
# of libpq; the connection's extra may override them
NETWORK = {
    "connect_timeout": 30,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds without an acknowledgement of what was sent
}
# a worker that vanished must not hold its locks for two hours
_PROBES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}


def with_time_limits(connection: Any) -> Any:
    """Return a copy of the Airflow connection with libpq's time-outs, and TLS, where its extra has none.

    libpq's own default tries TLS and continues without it.  With a password and a host that is not this machine, TLS
    is required unless the connection sets another value (`sslmode` in its extra, or PGSSLMODE).
    """
    connection = copy.deepcopy(connection)
    extra = connection.extra_dejson
    tls = {"sslmode": "require"} if _sends_credentials(connection, extra) else {}
    connection.extra = json.dumps({**NETWORK, **tls, **extra}, default=str)
    return connection


def _sends_credentials(connection: Any, extra: dict[str, Any]) -> bool:
    if not connection.password and not extra.get("iam"):
        return False
    return not os.environ.get("PGSSLMODE") and not all(map(_is_here, (connection.host or "").split(",")))


def _is_here(host: str) -> bool:
    return not host.strip() or host.strip().startswith(("/", "@")) or is_loopback(host)  # or a socket


def read_settings(statement_seconds: int) -> dict[str, str]:
    """Return the settings of a session that may be idle between its statements."""
    return {"statement_timeout": f"{statement_seconds}s", **_PROBES}


def write_settings(statement_seconds: int) -> dict[str, str]:
    """Return the settings of a session that holds locks."""
    return {
        "lock_timeout": f"{max(1, statement_seconds * 2 // 3)}s",
        "idle_in_transaction_session_timeout": f"{statement_seconds}s",
        **read_settings(statement_seconds),
    }
