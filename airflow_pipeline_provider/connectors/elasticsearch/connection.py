"""Turn an Airflow connection into nodes of `elastic_transport`: addresses, TLS and proxies.

Two ways to write one:

- Fields (JSON, the form, `elasticsearch://login:password@host:port/https?…`): host (several separated by commas; each
  `host`, `host:port` or a URL), port, schema (http or https).  The default is http, and port 9200.
- A URL (`https://login:password@host/prefix`, alone or in the field host): its protocol and path count, and https
  without a port is 443.

In the extra: `cloud_id` instead of a host; `api_key`, `bearer_auth`; `ca_certs` (also `ca`, `ca_cert`: a file or the
PEM text), `verify_certs`, `client_cert`, `client_key`, `ssl_assert_fingerprint`, `ssl_assert_hostname`, `use_ssl`,
`http_compress`, `proxy`, `allow_http_credentials`.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from airflow_pipeline_provider.connectors.elasticsearch.credentials import authorization
from airflow_pipeline_provider.connectors.encryption import flag, is_loopback, require_encryption
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from elastic_transport import NodeConfig

DEFAULT_PORT, HTTPS_PORT = 9200, 443
PROXY = "_pipeline_proxy"  # where a node's configuration keeps the URL of its proxy
_PROTOCOLS = ("http", "https")


class Address(NamedTuple):
    """Where one node listens; `login` and `password` are those of its own URL."""

    scheme: str
    host: str
    port: int
    path: str = ""
    login: str | None = None
    password: str | None = None

    @property
    def url(self) -> str:
        """Return the URL without login and password."""
        return url_of(self.scheme, self.host, self.port, self.path)


def url_of(scheme: str, host: str, port: int, path: str) -> str:
    """Return the URL of a node, with an IPv6 address in brackets."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def node_configs(
    conn_id: str, connection: Any, *, timeout: int, compress: bool, threads: int
) -> list[NodeConfig]:
    """Return one node for each host; `timeout` in seconds.

    Raise FatalError, naming the connection, if it makes no sense, and ConfigError if it would send a credential
    unencrypted to another machine.
    """
    transport = require("elastic_transport", "elasticsearch", "source 'elasticsearch'")
    extra = connection.extra_dejson
    nodes = []
    for address in addresses(conn_id, connection):
        login, password = address.login or connection.login, address.password or connection.password
        header = authorization(conn_id, extra, login, password)
        proxy = _proxy(conn_id, extra, address)
        if header and address.scheme == "http":
            for host in (address.host, urlsplit(proxy).hostname if proxy else None):
                require_encryption(conn_id, extra, host or address.host, address.url)
        nodes.append(
            transport.NodeConfig(
                scheme=address.scheme,
                host=address.host,
                port=address.port,
                path_prefix=address.path,
                headers={"authorization": header} if header else {},
                connections_per_node=max(10, threads),
                request_timeout=timeout,
                http_compress=compress or flag(conn_id, extra, "http_compress", False),
                _extras={PROXY: proxy} if proxy else {},
                **(_tls(conn_id, extra) if address.scheme == "https" else {}),
            )
        )
    return nodes


def unverified(conn_id: str, connection: Any) -> list[str]:
    """Return the URLs of the nodes that any machine may pose as, since their certificate is not verified."""
    extra = connection.extra_dejson
    if flag(conn_id, extra, "verify_certs", True) or extra.get("ssl_assert_fingerprint"):
        return []
    return [address.url for address in addresses(conn_id, connection) if address.scheme == "https"]


# --- addresses


def addresses(conn_id: str, connection: Any) -> list[Address]:
    """Return the address of each host, in the order in which the connection names them."""
    hosts = [host.strip() for host in (connection.host or "").split(",") if host.strip()]
    cloud_id = connection.extra_dejson.get("cloud_id")
    if cloud_id and hosts:
        raise FatalError(f"connection {conn_id!r} has a host and a cloud_id: remove one of them")
    if cloud_id:
        return [_cloud(conn_id, cloud_id)]
    if not hosts:
        raise FatalError(f"connection {conn_id!r} has no host: give one, or several separated by commas")
    return [_address(conn_id, connection, host) for host in hosts]


def _cloud(conn_id: str, cloud_id: object) -> Address:
    from elastic_transport.client_utils import parse_cloud_id

    try:
        found = parse_cloud_id(str(cloud_id)).es_address
    except ValueError:
        found = None
    if found is None:
        raise FatalError(
            f"connection {conn_id!r}: its cloud_id cannot be read; copy it again from the Elastic Cloud console"
        )
    return Address("https", *found)


def _address(conn_id: str, connection: Any, host: str) -> Address:
    url = _split(conn_id, host)
    # `https://…` as a whole arrives as the connection's type, and what follows its host as the schema
    kind = str(connection.conn_type or "").rpartition("+")[2].lower()
    schema, path = (connection.schema or "").strip(), url.path
    is_url = bool(url.scheme) or kind in _PROTOCOLS
    if schema and schema.lower() not in _PROTOCOLS:
        if not is_url:
            raise FatalError(
                f"connection {conn_id!r}: expected http or https as its schema, got {schema!r} (the schema of an "
                "Elasticsearch connection is the protocol; a path belongs to the host: https://host/path)"
            )
        schema, path = "", f"{url.path}/{schema}"
    scheme = _scheme(conn_id, connection.extra_dejson, url.scheme, schema.lower(), kind)
    return Address(
        scheme,
        url.hostname or "",
        _port(conn_id, url)
        or connection.port
        or (HTTPS_PORT if is_url and scheme == "https" else DEFAULT_PORT),
        "".join(f"/{part}" for part in path.split("/") if part),
        unquote(url.username) if url.username else None,
        unquote(url.password) if url.password else None,
    )


def _split(conn_id: str, host: str) -> SplitResult:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        bracketed = host
    else:
        bracketed = f"[{host}]"
    try:
        url = urlsplit(bracketed if "://" in host else f"//{bracketed}")
    except ValueError:
        url = urlsplit("")
    if not url.hostname or url.query or url.fragment:
        raise FatalError(
            f"connection {conn_id!r}: its host cannot be read; expected host, host:port or https://host:port/path, "
            "with an IPv6 address in brackets and every other setting in the extra"
        )
    return url


def _scheme(conn_id: str, extra: dict[str, object], url: str, schema: str, kind: str) -> str:
    """Return the protocol that the connection names; the type "http" alone is Airflow's word for any URL."""
    named = {url, schema, "https" if kind == "https" else ""} - {""}
    if "use_ssl" in extra:
        named.add("https" if flag(conn_id, extra, "use_ssl", False) else "http")
    if unknown := sorted(named - set(_PROTOCOLS)):
        raise FatalError(
            f"connection {conn_id!r}: expected http or https as its protocol, got {unknown[0]!r}"
        )
    if len(named) > 1:
        raise FatalError(
            f"connection {conn_id!r} asks for http and for https (in its type, host, schema or use_ssl): "
            "write one of them"
        )
    return named.pop() if named else "http"


def _port(conn_id: str, url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        raise FatalError(
            f"connection {conn_id!r}: the port in its host is not a number up to 65535"
        ) from None


# --- proxies


def _proxy(conn_id: str, extra: dict[str, object], address: Address) -> str | None:
    """Return the proxy's URL: the extra `proxy` (false: none), else HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

    This machine itself is never reached through the environment's proxy.
    """
    given = extra.get("proxy")
    if given is None:
        proxies: dict[str, str] = getproxies_environment()
        named = f"{address.host}:{address.port}"
        if is_loopback(address.host) or any(map(proxy_bypass_environment, (address.host, named))):
            return None
        given = proxies.get(address.scheme) or proxies.get("all")
    if not given or str(given).lower() in ("false", "none"):
        return None
    url = str(given) if "://" in str(given) else f"http://{given}"
    if urlsplit(url).scheme not in _PROTOCOLS or not urlsplit(url).hostname:
        raise FatalError(
            f"connection {conn_id!r}: expected a proxy such as http://proxy:3128 (from the extra proxy, or from "
            "HTTP_PROXY and HTTPS_PROXY)"
        )
    return url


# --- TLS


def _tls(conn_id: str, extra: dict[str, Any]) -> dict[str, object]:
    verify = flag(conn_id, extra, "verify_certs", True)
    settings: dict[str, object] = {"verify_certs": verify, "ssl_show_warn": False}
    for key in ("ssl_assert_fingerprint", "ssl_assert_hostname"):
        if extra.get(key):
            settings[key] = extra[key]
    authority = extra.get("ca_certs") or extra.get("ca_cert") or extra.get("ca")
    text = _pem(authority)
    files = {
        "ca_certs": None if text else authority,
        "client_cert": extra.get("client_cert"),
        "client_key": extra.get("client_key"),
    }
    for key, path in files.items():
        if path and not Path(path).exists():
            raise FatalError(f"connection {conn_id!r}: {key} names {path}, and there is no such file here")
        if path:
            settings[key] = path
    if text and verify:
        return _with_authority(conn_id, text, settings)
    return settings


def _pem(value: object) -> str | None:
    r"""Return the certificates as text if that is what the value is; a literal `\n` counts as a line's end."""
    text = str(value or "").replace("\\n", "\n").strip()
    return text if text.startswith("-----BEGIN") else None


def _with_authority(conn_id: str, text: str, settings: dict[str, Any]) -> dict[str, object]:
    """Return the settings with one TLS context that trusts the given certificates."""
    if "ssl_assert_hostname" in settings:
        raise FatalError(
            f"connection {conn_id!r}: with ssl_assert_hostname, ca_certs must be a file; write the PEM text into one"
        )
    try:
        context = ssl.create_default_context(cadata=text)
    except ssl.SSLError as error:
        raise FatalError(
            f"connection {conn_id!r}: the text in ca_certs holds no certificate that can be read ({error.reason}); "
            "expected PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        ) from None
    certificate, key = settings.pop("client_cert", None), settings.pop("client_key", None)
    if certificate:
        context.load_cert_chain(certificate, key)
    return {**settings, "ssl_context": context}
