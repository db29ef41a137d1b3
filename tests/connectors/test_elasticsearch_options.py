"""Options and connections of source elasticsearch, and where Airflow connections are found."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.connectors.sources.elasticsearch import ElasticsearchSource
from airflow_pipeline_provider.connectors.sources.elasticsearch_client import index_path
from airflow_pipeline_provider.connectors.sources.elasticsearch_connection import node_configs
from airflow_pipeline_provider.exceptions import FatalError
from tests.connectors.elasticsearch_answers import whole
from tests.connectors.elasticsearch_places import CONN_ID, make


def options(**given: Any) -> Any:
    return ElasticsearchSource.Options.model_validate({"type": "elasticsearch", "index": "flights", **given})


# --- options


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("flights", ("flights",)),
        ("flights-*", ("flights-*",)),
        ("*", ("*",)),
        (["flights", "weather"], ("flights", "weather")),
        (["flights-*", "-flights-2012"], ("flights-*", "-flights-2012")),
        ("cluster:flights-*", ("cluster:flights-*",)),
        (["*:flights-*", "-old:*"], ("*:flights-*", "-old:*")),
        (".ds-flights-2013", (".ds-flights-2013",)),
        ("flüge", ("flüge",)),
        ("it's", ("it's",)),
        ("<flights-{now/d}>", ("<flights-{now/d}>",)),
        ("<flights-{now/d{yyyy.MM.dd|+12:00}}>", ("<flights-{now/d{yyyy.MM.dd|+12:00}}>",)),
        (["flights-*", "-<flights-{now/d}>"], ("flights-*", "-<flights-{now/d}>")),
        ("far:<flights-{now/d}>", ("far:<flights-{now/d}>",)),
        ("flights::failures", ("flights::failures",)),
        ("<flights-{now/d}>::data", ("<flights-{now/d}>::data",)),
    ],
)
def test_indices(given: Any, seen: tuple[str, ...]) -> None:
    assert options(index=given).index == seen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "index names"),
        ("  ", "index names"),
        ([], "a list of them"),
        (None, "a list of them"),
        (7, "a list of them"),
        ([None], "index names"),
        ("-flights", "must not start"),
        (["-flights"], "must not start"),
        (["flights", "-_all"], "must not start"),
        ("_all", "must not start"),
        ("..", "must not start"),
        ("a b", "must not contain ' '"),
        ("a,b", "write several names as a list"),
        ('a"b', "must not contain"),
        ("a/_delete_by_query", "must not contain '/'"),
        ("a?b", "must not contain"),
        ("a#b", "must not contain"),
        ("<flights-{now/d}", "must be date math such as <logs-{now/d}>"),
        ("<a>/_delete_by_query", "must be date math"),
        ("<a b>", "must be date math"),
        ("a\\b", "must not contain"),
    ],
)
def test_no_index(given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match="index") as caught:
        options(index=given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"page_size": 0},
        {"page_size": 10_001},
        {"page_size": "many"},
        {"page_size": True},
        {"keep_alive": "0s"},
        {"keep_alive": 5},
        {"request_timeout": "soon"},
        {"time_field": ""},
        {"time_field": "  "},
        {"time_field": "a*"},
        {"time_field": "a,b"},
        {"time_field": "a\nb"},
        {"query": "match_all"},
        {"compress": "yes"},
        {"conn_id": ""},
        {"pagesize": 5},
    ],
    ids=str,
)
def test_bad_values(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given))):
        options(**given)


def test_defaults_and_durations() -> None:
    chosen = options(keep_alive="1m30s")
    assert (chosen.keep_alive, chosen.request_timeout, chosen.page_size) == (90, 60, 5000)
    assert (chosen.conn_id, chosen.time_field, chosen.slices) == (
        "elasticsearch_default",
        "@timestamp",
        "auto",
    )


def test_every_field_is_described() -> None:
    fields = ElasticsearchSource.Options.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert {"type": "string"} in fields["index"]["anyOf"]


def test_it_is_found_by_name_and_imports_no_vendor_library() -> None:
    assert connector_class("source", "elasticsearch") is ElasticsearchSource
    code = (
        "import sys; import airflow_pipeline_provider.connectors.sources.elasticsearch; "
        "print([m for m in ('elastic_transport', 'pyarrow', 'msgspec', 'tenacity', 'airflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("indices", "path"),
    [
        (["a", "b-*"], "a,b-*"),
        (["flüge"], "fl%C3%BCge"),
        (["c:a"], "c:a"),
        (["a%b"], "a%25b"),
        (["a&b=c"], "a%26b%3Dc"),
    ],
)
def test_the_path_of_indices(indices: list[str], path: str) -> None:
    assert index_path(indices) == path


# --- connections


def nodes(**given: Any) -> list[str]:
    from airflow.sdk import Connection

    connection = Connection(conn_id="c", conn_type="elasticsearch", **given)
    made = node_configs("c", connection, timeout=60, compress=False, threads=1)
    return [f"{node.scheme}://{node.host}:{node.port}{node.path_prefix}" for node in made]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"host": "es"}, ["http://es:9200"]),
        ({"host": "es", "port": 9201, "schema": "https"}, ["https://es:9201"]),
        ({"host": "a, b:1 ,c", "port": 9201}, ["http://a:9201", "http://b:1", "http://c:9201"]),
        ({"host": "https://a,http://b:1"}, ["https://a:9200", "http://b:1"]),
        ({"host": "https://proxy:443/es/"}, ["https://proxy:443/es"]),
        ({"host": "[::1]:9201"}, ["http://::1:9201"]),
        ({"host": "es", "extra": '{"use_ssl": true}'}, ["https://es:9200"]),
    ],
    ids=["host", "port and schema", "list", "URLs", "path", "IPv6", "use_ssl"],
)
def test_hosts(given: dict[str, Any], seen: list[str]) -> None:
    assert nodes(**given) == seen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no host"),
        ({"host": " , "}, "no host"),
        ({"host": "es", "schema": "elastic"}, "expected http or https as its schema, got 'elastic'"),
        ({"host": "es:99999"}, "port"),
        ({"host": "es", "login": "kit", "extra": '{"api_key": "k"}'}, "a login and an api_key"),
        ({"host": "es", "schema": "https", "extra": '{"verify_certs": "maybe"}'}, "true or false"),
        ({"host": "es", "schema": "https", "extra": '{"ca_certs": "/no/such.pem"}'}, "/no/such.pem"),
    ],
    ids=["none", "commas", "schema", "port", "two logins", "flag", "no file"],
)
def test_connections_that_make_no_sense(given: dict[str, Any], words: str) -> None:
    with pytest.raises(FatalError, match="connection 'c'") as caught:
        nodes(**given)
    assert words in str(caught.value)


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
    from airflow_pipeline_provider.testing.source_kit import WINDOW

    given = {key: https.ca if value == "CA" else value for key, value in extra.items()}
    connection = {
        "conn_type": "elasticsearch",
        "host": "127.0.0.1",
        "port": https.port,
        "schema": "https",
        "extra": given,
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    source = make("i")
    if trusted:
        assert source.count(WINDOW) == 7
    else:
        with pytest.raises(FatalError, match="ca_certs"):
            source.count(WINDOW)
    source.close()


# --- where Airflow keeps them


def test_a_connection_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SOME_PLACE", "elasticsearch://kit:p%40ss@es:9201/https?verify_certs=false"
    )
    connection = get_connection("some_place")
    assert (connection.host, connection.port, connection.schema) == ("es", 9201, "https")
    assert (connection.login, connection.password) == ("kit", "p@ss")
    assert connection.extra_dejson == {"verify_certs": "false"}


def test_a_connection_from_the_metadata_database(airflow_db: Path) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="in_the_database", conn_type="elasticsearch", host="es", port=9201))
    assert get_connection("in_the_database").port == 9201


@pytest.mark.parametrize("text", ['{"conn_type": "elasticsearch", "password": "hunter2"', "{hunter2}"])
def test_a_variable_that_is_no_connection_is_named(
    airflow_db: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CUT_OFF", text)
    with pytest.raises(
        FatalError, match="AIRFLOW_CONN_CUT_OFF is set, but cannot be read as a connection"
    ) as caught:
        get_connection("cut_off")
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_is_nowhere(airflow_db: Path) -> None:
    with pytest.raises(FatalError, match="connection 'no_such_place' is not defined") as caught:
        get_connection("no_such_place")
    assert "AIRFLOW_CONN_NO_SUCH_PLACE" in str(caught.value)
