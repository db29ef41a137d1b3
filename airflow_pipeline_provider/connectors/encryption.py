"""Decide which connections may carry a credential without TLS.

A password, an API key or a token leaves this machine only over TLS.  A connection that allows plain HTTP sets in
its extra: `{"allow_http_credentials": true}`.
"""

from __future__ import annotations

import ipaddress

from airflow_pipeline_provider.exceptions import ConfigError, FatalError

ALLOW = "allow_http_credentials"


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine by its name or address; names are not resolved."""
    name = host.strip().strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def flag(conn_id: str, extra: dict[str, object], key: str, default: bool) -> bool:
    """Return an extra as a boolean; "false" is False, since a connection given as a URI has only strings.

    Raise FatalError for any other value.
    """
    value = extra.get(key, default)
    text = str(value).strip().lower()
    if text in ("true", "1", "yes"):
        return True
    if text in ("false", "0", "no", "none", ""):
        return False
    raise FatalError(f"connection {conn_id!r}: expected true or false for the extra {key}, got {value!r}")


def require_encryption(conn_id: str, extra: dict[str, object], host: str, url: str) -> None:
    """Raise ConfigError if a credential would leave this machine over plain HTTP; `url` shows no credential."""
    if is_loopback(host) or flag(conn_id, extra, ALLOW, False):
        return
    raise ConfigError(
        f"connection {conn_id!r}: its credentials would be sent unencrypted to {url}: use https, or set "
        f'{{"{ALLOW}": true}} in the connection\'s extra if the network is trusted'
    )
