"""An Airflow connection of type `elasticsearch` as nodes of `elastic_transport`.

The connection form: host (several separated by commas; each `host`, `host:port` or a URL), port, schema (http or
https), login and password; in the extra `api_key`, `bearer_auth`, `ca_certs` (also `ca`, `ca_cert`), `verify_certs`,
`client_cert`, `client_key`, `ssl_assert_fingerprint`, `ssl_assert_hostname`, `http_compress`, `use_ssl`.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from elastic_transport import NodeConfig

DEFAULT_PORT = 9200


def node_configs(
    conn_id: str, connection: Any, *, timeout: int, compress: bool, threads: int
) -> list[NodeConfig]:
    """One node a host; `timeout` in seconds; a connection that makes no sense is a FatalError naming its id."""
    transport = require("elastic_transport", "elasticsearch", "source 'elasticsearch'")
    extra = connection.extra_dejson
    hosts = [host.strip() for host in (connection.host or "").split(",") if host.strip()]
    if not hosts:
        raise FatalError(f"connection {conn_id!r} has no host: give one, or several separated by commas")
    scheme = connection.schema or ("https" if _flag(conn_id, extra, "use_ssl", False) else "http")
    nodes = []
    for host in hosts:
        url = urlsplit(host if "://" in host else f"{scheme}://{host}")
        if url.scheme not in ("http", "https"):
            raise FatalError(
                f"connection {conn_id!r}: expected http or https as its schema, got {url.scheme!r} "
                "(the schema of an Elasticsearch connection is the protocol)"
            )
        login, password = url.username or connection.login, url.password or connection.password
        nodes.append(
            transport.NodeConfig(
                scheme=url.scheme,
                host=url.hostname or "",
                port=_port(conn_id, url) or connection.port or DEFAULT_PORT,
                path_prefix=url.path.rstrip("/"),
                headers=_headers(
                    conn_id,
                    extra,
                    unquote(login) if url.username else login,
                    unquote(password) if url.password else password,
                ),
                connections_per_node=max(10, threads),
                request_timeout=timeout,
                http_compress=compress or _flag(conn_id, extra, "http_compress", False),
                **(_tls(conn_id, extra) if url.scheme == "https" else {}),
            )
        )
    return nodes


def _port(conn_id: str, url: Any) -> int | None:
    try:
        port: int | None = url.port
    except ValueError:
        raise FatalError(
            f"connection {conn_id!r}: the port in its host is not a number up to 65535"
        ) from None
    return port


def _headers(conn_id: str, extra: dict[str, Any], login: str | None, password: str | None) -> dict[str, str]:
    api_key = extra.get("api_key")
    if api_key and login:
        raise FatalError(f"connection {conn_id!r} has a login and an api_key: expected one of them")
    if api_key:
        if isinstance(api_key, (list, tuple)):  # the client library's (id, key)
            api_key = base64.b64encode(":".join(map(str, api_key)).encode()).decode()
        return {"authorization": f"ApiKey {api_key}"}
    if login:
        return {"authorization": "Basic " + base64.b64encode(f"{login}:{password or ''}".encode()).decode()}
    if extra.get("bearer_auth"):
        return {"authorization": f"Bearer {extra['bearer_auth']}"}
    return {}


def _tls(conn_id: str, extra: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "verify_certs": _flag(conn_id, extra, "verify_certs", True),
        "ssl_show_warn": False,
    }
    files = {
        "ca_certs": extra.get("ca_certs") or extra.get("ca_cert") or extra.get("ca"),
        "client_cert": extra.get("client_cert"),
        "client_key": extra.get("client_key"),
    }
    for key, path in files.items():
        if path and not Path(path).exists():
            raise FatalError(f"connection {conn_id!r}: {key} names {path}, and there is no such file here")
        if path:
            settings[key] = path
    for key in ("ssl_assert_fingerprint", "ssl_assert_hostname"):
        if extra.get(key):
            settings[key] = extra[key]
    return settings


def _flag(conn_id: str, extra: dict[str, Any], key: str, default: bool) -> bool:
    """A connection given as a URI has only strings: "false" is false."""
    value = extra.get(key, default)
    text = str(value).lower()
    if text in ("true", "1", "yes"):
        return True
    if text in ("false", "0", "no", "none", ""):
        return False
    raise FatalError(f"connection {conn_id!r}: expected true or false for the extra {key}, got {value!r}")
