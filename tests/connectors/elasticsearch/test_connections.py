"""Airflow connections of source elasticsearch: each form that one is written in, TLS, proxies, what is refused."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.elasticsearch.connection import PROXY, node_configs, url_of
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text
from airflow_pipeline_provider.testing.source_kit import WINDOW
from tests.connectors.elasticsearch.answers import whole
from tests.connectors.elasticsearch.places import CONN_ID, make

VARIABLE = f"AIRFLOW_CONN_{CONN_ID.upper()}"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def nodes(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any] | str) -> list[Any]:
    """The nodes of a connection as its owner writes it: fields as JSON, or a URI."""
    text = given if isinstance(given, str) else json.dumps({"conn_type": "elasticsearch", **given})
    monkeypatch.setenv(VARIABLE, text)
    return node_configs(CONN_ID, get_connection(CONN_ID), timeout=60, compress=False, threads=1)


def seen(made: list[Any]) -> str:
    return " ".join(url_of(node.scheme, node.host, node.port, node.path_prefix) for node in made)


KEY = base64.b64encode(b"id:secret-key").decode()
CLOUD = "prod:" + base64.b64encode(b"eu-west-1.aws.example$abc123$kib").decode()
CLOUD_PORT = "prod:" + base64.b64encode(b"example:9243$abc123$kib").decode()
ELASTIC = basic("elastic", "p@ss")
IN_CLEAR = {"allow_http_credentials": True}
LOGIN = {"login": "elastic", "password": "p@ss"}

FORMS: list[tuple[str, dict[str, Any] | str, str, str | None]] = [
    # --- fields
    ("host", {"host": "es"}, "http://es:9200", None),
    ("port and schema", {"host": "es", "port": 9201, "schema": "https"}, "https://es:9201", None),
    ("schema without a port", {"host": "es", "schema": "https"}, "https://es:9200", None),
    ("use_ssl", {"host": "es", "extra": {"use_ssl": True}}, "https://es:9200", None),
    ("host with its port", {"host": "es:9201"}, "http://es:9201", None),
    ("login", {"host": "es", "schema": "https", **LOGIN}, "https://es:9200", ELASTIC),
    ("several hosts", {"host": "a, b:1 ,c", "port": 9201}, "http://a:9201 http://b:1 http://c:9201", None),
    ("loopback", {"host": "127.0.0.1", **LOGIN}, "http://127.0.0.1:9200", ELASTIC),
    ("localhost", {"host": "localhost", **LOGIN}, "http://localhost:9200", ELASTIC),
    ("::1", {"host": "::1", **LOGIN}, "http://[::1]:9200", ELASTIC),
    ("[::1]", {"host": "[::1]", **LOGIN}, "http://[::1]:9200", ELASTIC),
    ("[::1] with a port", {"host": "[::1]:9201"}, "http://[::1]:9201", None),
    ("an address of IPv6", {"host": "fd00::7", "schema": "https", "port": 9}, "https://[fd00::7]:9", None),
    # --- URLs in the field host
    ("URL", {"host": "https://es"}, "https://es:443", None),
    ("URL and port", {"host": "https://es", "port": 9200}, "https://es:9200", None),
    ("URLs", {"host": "https://a,http://b:1"}, "https://a:443 http://b:1", None),
    ("URL with a path", {"host": "https://proxy:443/es/"}, "https://proxy:443/es", None),
    ("URL with its own login", {"host": "https://elastic:p%40ss@es"}, "https://es:443", ELASTIC),
    ("URL and login", {"host": "https://es", **LOGIN}, "https://es:443", ELASTIC),
    # --- URIs
    ("https://", "https://elastic:p%40ss@es.example", "https://es.example:443", ELASTIC),
    ("https:// and port", "https://elastic:p%40ss@es.example:9200", "https://es.example:9200", ELASTIC),
    ("https:// and path", "https://elastic:p%40ss@es.example/a/b", "https://es.example:443/a/b", ELASTIC),
    ("https:// on loopback", "https://elastic:p%40ss@127.0.0.1:9200", "https://127.0.0.1:9200", ELASTIC),
    ("https:// with IPv6", "https://elastic:p%40ss@[::1]", "https://[::1]:443", ELASTIC),
    ("https:// with hosts", "https://elastic:p%40ss@a,b", "https://a:443 https://b:443", ELASTIC),
    ("http://", "http://es", "http://es:9200", None),
    ("http:// on loopback", "http://elastic:p%40ss@[::1]:9200", "http://[::1]:9200", ELASTIC),
    ("http:// as Airflow spells https", "http://elastic:p%40ss@es:9200/https", "https://es:9200", ELASTIC),
    ("elasticsearch://", "elasticsearch://es", "http://es:9200", None),
    ("… and schema", "elasticsearch://elastic:p%40ss@es:9201/https", "https://es:9201", ELASTIC),
    ("… and options", "elasticsearch://es/https?verify_certs=false", "https://es:9200", None),
    ("… with IPv6", "elasticsearch://elastic:p%40ss@[::1]:9201/http", "http://[::1]:9201", ELASTIC),
    ("… and a URL", "elasticsearch://https://elastic:p%40ss@es/pre/fix", "https://es:443/pre/fix", ELASTIC),
    (
        "… and an encoded URL",
        "elasticsearch://elastic:p%40ss@https%3A%2F%2Fes%3A9243%2Fprefix",
        "https://es:9243/prefix",
        ELASTIC,
    ),
    ("… and encoded hosts", "elasticsearch://a%3A1%2Cb%3A2/https", "https://a:1 https://b:2", None),
    ("elasticsearch+https://", "elasticsearch+https://elastic:p%40ss@es", "https://es:443", ELASTIC),
    # --- Elastic Cloud
    (
        "cloud_id",
        {**LOGIN, "extra": {"cloud_id": CLOUD}},
        "https://abc123.eu-west-1.aws.example:443",
        ELASTIC,
    ),
    ("cloud_id with a port", {"extra": {"cloud_id": CLOUD_PORT}}, "https://abc123.example:9243", None),
    (
        "cloud_id in a URI",
        f"elasticsearch://?cloud_id={CLOUD.replace('=', '%3D')}&api_key=id:secret-key",
        "https://abc123.eu-west-1.aws.example:443",
        f"ApiKey {KEY}",
    ),
    # --- keys
    *(
        (
            f"api_key {form}",
            {"host": "https://es", "extra": {"api_key": value}},
            "https://es:443",
            f"ApiKey {KEY}",
        )
        for form, value in {
            "encoded": KEY,
            "id:key": "id:secret-key",
            "ApiKey encoded": f"ApiKey {KEY}",
            "ApiKey id:key": "apikey id:secret-key",
            "[id, key]": ["id", "secret-key"],
            "[id, key] as text": '["id", "secret-key"]',
            "with a line's end": f"{KEY}\n",
        }.items()
    ),
    ("api_key in a URI", "https://es/?api_key=ApiKey+id%3Asecret-key", "https://es:443", f"ApiKey {KEY}"),
    ("bearer", {"host": "https://es", "extra": {"bearer_auth": "t0k"}}, "https://es:443", "Bearer t0k"),
    (
        "Bearer bearer",
        {"host": "https://es", "extra": {"bearer_auth": "Bearer t0k"}},
        "https://es:443",
        "Bearer t0k",
    ),
    # --- unencrypted because the connection says so
    ("allowed", {"host": "es", **LOGIN, "extra": IN_CLEAR}, "http://es:9200", ELASTIC),
    ("allowed in a URI", "http://elastic:p%40ss@es?allow_http_credentials=true", "http://es:9200", ELASTIC),
]


@pytest.mark.parametrize(
    ("given", "urls", "header"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS]
)
def test_every_form_of_a_connection(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any] | str, urls: str, header: str | None
) -> None:
    made = nodes(monkeypatch, given)
    assert seen(made) == urls
    assert {node.headers.get("authorization") for node in made} == {header}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no host"),
        ({"host": " , "}, "no host"),
        ({"host": "es", "schema": "elastic"}, "expected http or https as its schema, got 'elastic'"),
        ("elasticsearch://es/prefix", "a path belongs to the host"),
        ({"host": "ftp://es"}, "expected http or https as its protocol, got 'ftp'"),
        ({"host": "https://es", "schema": "http"}, "asks for http and for https"),
        ({"host": "http://es", "schema": "https"}, "asks for http and for https"),
        ("https://es/http", "asks for http and for https"),
        ({"host": "es", "schema": "http", "extra": {"use_ssl": True}}, "asks for http and for https"),
        ({"host": "es:99999"}, "port"),
        ({"host": "https://"}, "host cannot be read"),
        ({"host": "[::1"}, "host cannot be read"),
        ({"host": "https://es?verify_certs=false"}, "every other setting in the extra"),
        ({"host": "es", "login": "kit", "extra": {"api_key": "k"}}, "a login and an api_key"),
        ({"host": "es", "extra": {"api_key": "k", "bearer_auth": "t"}}, "an api_key and a bearer_auth"),
        ({"host": "es", "extra": {"api_key": {"id": "a"}}}, "as the encoded text, as id:key or as [id, key]"),
        ({"host": "es", "extra": {"api_key": '["a'}}, "as the encoded text, as id:key or as [id, key]"),
        ({"host": "es", "extra": {"api_key": "a\nb"}}, "no header may have"),
        ({"host": "es", "extra": {"cloud_id": CLOUD}}, "a host and a cloud_id"),
        ({"extra": {"cloud_id": "prod"}}, "cloud_id cannot be read"),
        ({"extra": {"cloud_id": "prod:!!!"}}, "cloud_id cannot be read"),
        ({"host": "es", "schema": "https", "extra": {"verify_certs": "maybe"}}, "true or false"),
        ({"host": "es", "schema": "https", "extra": {"ca_certs": "/no/such.pem"}}, "/no/such.pem"),
        ({"host": "https://es", "extra": {"ca_certs": "-----BEGIN CERTIFICATE-----\nx"}}, "no certificate"),
        ({"host": "es", "extra": {"proxy": "socks5://p"}}, "expected a proxy such as http://proxy:3128"),
    ],
    ids=lambda value: json.dumps(value)[:60] if not isinstance(value, str) else value[:40],
)
def test_connections_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any] | str, words: str
) -> None:
    with pytest.raises(FatalError, match=f"connection '{CONN_ID}'") as caught:
        nodes(monkeypatch, given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "http://elastic:hunter2@es.example",
        "elasticsearch://elastic:hunter2@es.example:9200",
        "elasticsearch://elastic:hunter2@es.example:9200/http",
        "elasticsearch://es.example?api_key=id:hunter2",
        "http://elastic:hunter2@127.0.0.1.example",
        "http://elastic:hunter2@[fd00::7]",
        {"host": "es.example", "login": "elastic", "password": "hunter2"},
        {"host": "127.0.0.1,es.example", "login": "elastic", "password": "hunter2"},
        {"host": "http://elastic:hunter2@es.example"},
        {"host": "es.example", "extra": {"api_key": "hunter2"}},
        {"host": "es.example", "extra": {"bearer_auth": "hunter2"}},
        {"host": "10.0.0.7", "login": "elastic", "password": "hunter2"},
        {
            "host": "es",
            "login": "elastic",
            "password": "hunter2",
            "extra": {"allow_http_credentials": "false"},
        },
        {"host": "::1", "login": "elastic", "password": "hunter2", "extra": {"proxy": "http://proxy:3128"}},
    ],
    ids=str,
)
def test_no_credential_leaves_the_machine_unencrypted(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any] | str
) -> None:
    with pytest.raises(
        ConfigError, match=r"would be sent unencrypted to http://.*allow_http_credentials"
    ) as caught:
        nodes(monkeypatch, given)
    assert "hunter2" not in str(caught.value)


def test_https_in_a_uri_sends_nothing_to_a_server_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        received: list[bytes] = []

        def listen() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    received.append(client.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()
        port = server.getsockname()[1]
        monkeypatch.setenv(VARIABLE, f"https://elastic:hunter2hunter2@127.0.0.1:{port}")
        monkeypatch.setattr("airflow_pipeline_provider.connectors.elasticsearch.client.ATTEMPTS", 1)
        source = make("i")
        with pytest.raises(PipelineError):
            source.count(WINDOW)
        source.close()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert received
    assert all(data[:1] == b"\x16" for data in received), "a TLS handshake, and nothing else"


@pytest.mark.parametrize("value", ["id:secret-key", ["id", "secret-key"], KEY, f"ApiKey {KEY}"], ids=str)
def test_no_form_of_an_api_key_is_shown(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    nodes(monkeypatch, {"host": "https://es", "extra": {"api_key": value}})
    hidden = [KEY] if KEY in str(value) else [KEY, "secret-key"]
    assert redact_text(" ".join(hidden)) == " ".join("***" for _ in hidden)


# --- proxies

PROXY_URL = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "host", "extra", "proxy"),
    [
        ({}, "https://es", {}, None),
        ({"HTTPS_PROXY": PROXY_URL}, "https://es", {}, PROXY_URL),
        ({"https_proxy": PROXY_URL}, "https://es", {}, PROXY_URL),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://es", {}, PROXY_URL),
        ({"ALL_PROXY": PROXY_URL}, "https://es", {}, PROXY_URL),
        ({"HTTP_PROXY": PROXY_URL}, "https://es", {}, None),
        ({"HTTP_PROXY": PROXY_URL}, "http://es", {}, PROXY_URL),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": "es"}, "https://es", {}, None),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": ".corp,other"}, "https://es.corp", {}, None),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": "es:9200"}, "https://es:9200", {}, None),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": "es:9201"}, "https://es:9200", {}, PROXY_URL),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": "*"}, "https://es", {}, None),
        ({"HTTPS_PROXY": PROXY_URL, "NO_PROXY": "other"}, "https://es", {}, PROXY_URL),
        ({"HTTPS_PROXY": PROXY_URL}, "https://127.0.0.1", {}, None),
        ({"HTTPS_PROXY": PROXY_URL}, "https://localhost", {}, None),
        ({"HTTPS_PROXY": PROXY_URL}, "https://es", {"proxy": False}, None),
        ({"HTTPS_PROXY": PROXY_URL}, "https://es", {"proxy": "false"}, None),
        ({"HTTPS_PROXY": PROXY_URL}, "https://es", {"proxy": "http://other:1"}, "http://other:1"),
        ({"NO_PROXY": "*"}, "https://es", {"proxy": "http://other:1"}, "http://other:1"),
    ],
    ids=str,
)
def test_which_proxy(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    host: str,
    extra: dict[str, Any],
    proxy: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (node,) = nodes(monkeypatch, {"host": host, "extra": extra})
    assert node._extras.get(PROXY) == proxy


class Proxy(ThreadingHTTPServer):
    """Answers for the servers it is asked for; keeps each request line and its `proxy-authorization`."""

    daemon_threads = True

    def __init__(self, tunnel_to: int) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.tunnel_to = tunnel_to
        super().__init__(("127.0.0.1", 0), ProxyHandler)


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.asked.append((f"CONNECT {self.path}", self.headers["proxy-authorization"]))
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.server.tunnel_to)) as inner:
            back = threading.Thread(target=self._pump, args=(inner, self.connection))
            back.start()
            self._pump(self.connection, inner)
            back.join()
        self.close_connection = True

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def do_GET(self) -> None:
        self.server.asked.append((f"{self.command} {self.path}", self.headers["proxy-authorization"]))
        OneCount.do_GET(self)  # type: ignore[arg-type]

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def proxy(https: Certificate) -> Iterator[Proxy]:
    server = Proxy(https.port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("scheme", "first"), [("http", "POST http://es.example:9200/"), ("https", "CONNECT es.example:")]
)
def test_requests_go_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, https: Certificate, proxy: Proxy, scheme: str, first: str
) -> None:
    extra = {"proxy": f"http://me:p%40ss@127.0.0.1:{proxy.server_port}", "verify_certs": False}
    connection = {"conn_type": "elasticsearch", "host": "es.example", "schema": scheme, "extra": extra}
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    source = make("i")
    assert source.count(WINDOW) == 7
    source.close()
    assert any(line.startswith(first) for line, _ in proxy.asked)
    assert {header for _, header in proxy.asked} == {basic("me", "p@ss")}


def test_a_proxy_that_does_not_answer_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setattr("airflow_pipeline_provider.connectors.elasticsearch.client.ATTEMPTS", 1)
    extra = {"proxy": f"http://127.0.0.1:{port}"}
    monkeypatch.setenv(
        VARIABLE, json.dumps({"conn_type": "elasticsearch", "host": "https://es", "extra": extra})
    )
    source = make("i")
    with pytest.raises(TransientError, match="https://es:443 cannot be reached"):
        source.count(WINDOW)
    source.close()


# --- TLS


class Certificate(NamedTuple):
    """A server for https on loopback; `ca` is the file that vouches for it."""

    port: int
    ca: str


class OneCount(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        caps = {"ts": {"date": {"searchable": True, "aggregatable": True}}}
        body = {"indices": ["i"], "fields": caps, **whole(7)}
        data = json.dumps(body).encode()
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


def self_signed(folder: Path) -> tuple[Path, Path]:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kit")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificate]:
    certificate, key = self_signed(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneCount)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Certificate(server.server_port, str(certificate))
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("extra", "trusted"),
    [
        ({"ca_certs": "CA"}, True),
        ({"ca": "CA"}, True),
        ({"ca_certs": "CA as text"}, True),
        ({"ca_certs": "CA as text on one line"}, True),
        ({"verify_certs": "false"}, True),
        ({"verify_certs": False}, True),
        ({}, False),
        ({"verify_certs": "true"}, False),
    ],
    ids=str,
)
def test_tls(
    https: Certificate, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], trusted: bool
) -> None:
    text = Path(https.ca).read_text()
    authority = {"CA": https.ca, "CA as text": text, "CA as text on one line": text.replace("\n", "\\n")}
    given = {key: authority.get(str(value), value) for key, value in extra.items()}
    connection = {
        "conn_type": "elasticsearch",
        "host": "127.0.0.1",
        "port": https.port,
        "schema": "https",
        "extra": given,
    }
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    source = make("i")
    if trusted:
        assert source.count(WINDOW) == 7
    else:
        with pytest.raises(FatalError, match="ca_certs"):
            source.count(WINDOW)
    source.close()


@pytest.mark.parametrize(
    ("host", "extra", "told"),
    [
        ("https://es", {"verify_certs": False}, ["https://es:443"]),
        ("https://a,http://b,https://c", {"verify_certs": "false"}, ["https://a:443", "https://c:443"]),
        ("https://es", {"verify_certs": False, "ssl_assert_fingerprint": "ab"}, []),
        ("https://es", {}, []),
        ("http://es", {"verify_certs": False}, []),
    ],
    ids=str,
)
def test_what_the_doctor_is_told_of_certificates(
    monkeypatch: pytest.MonkeyPatch, host: str, extra: dict[str, Any], told: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "elasticsearch", "host": host, "extra": extra}))
    source = make("i")
    sentences = source.unsafe_settings()
    assert len(sentences) == len(told)
    for sentence, url in zip(sentences, told, strict=True):
        assert url in sentence
        assert "verify_certs" in sentence
