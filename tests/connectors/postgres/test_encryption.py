"""A password for PostgreSQL leaves this machine over TLS only, unless the connection says otherwise."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.databases import hook_of, opener
from airflow_pipeline_provider.exceptions import FatalError

VARIABLE = "AIRFLOW_CONN_DB_KIT"
LOGIN = {"login": "kit", "password": "hunter2"}


@pytest.mark.parametrize(
    ("given", "environment", "mode"),
    [
        ({"host": "db.example", **LOGIN}, None, "require"),
        ({"host": "10.0.0.7", **LOGIN}, None, "require"),
        ({"host": "127.0.0.1,db.example", **LOGIN}, None, "require"),
        ({"host": "db.example", "login": "kit", "extra": {"iam": True}}, None, "require"),
        ({"host": "db.example", **LOGIN, "extra": {"sslmode": "verify-full"}}, None, "verify-full"),
        ({"host": "db.example", **LOGIN, "extra": {"sslmode": "disable"}}, None, "disable"),
        ({"host": "db.example", **LOGIN, "extra": {"sslmode": "prefer"}}, None, "prefer"),
        ({"host": "db.example", **LOGIN}, "prefer", None),
        ({"host": "db.example", "login": "kit"}, None, None),
        ({"host": "127.0.0.1", **LOGIN}, None, None),
        ({"host": "localhost", **LOGIN}, None, None),
        ({"host": "::1", **LOGIN, "extra": {"sslmode": "disable"}}, None, "disable"),
        ({"host": "/var/run/postgresql", **LOGIN}, None, None),
        ({**LOGIN}, None, None),
    ],
    ids=str,
)
def test_sslmode(
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    environment: str | None,
    mode: str | None,
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    if environment:
        monkeypatch.setenv("PGSSLMODE", environment)
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "postgres", **given}))
    connection = get_connection("db_kit")
    assert hook_of(connection).connection.extra_dejson.get("sslmode") == mode


@pytest.fixture
def without_tls() -> Iterator[tuple[int, Callable[[], list[bytes]]]]:
    """A server that answers libpq's question for TLS with no, and keeps what it receives afterwards."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(10)
                    client.recv(8)
                    client.sendall(b"N")
                    received.append(client.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()

        def stop() -> list[bytes]:
            with suppress(OSError):  # stopped before
                server.shutdown(socket.SHUT_RDWR)
            thread.join()
            return received

        yield server.getsockname()[1], stop
        stop()


def test_a_server_without_tls_gets_nothing_and_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, without_tls: tuple[int, Callable[[], list[bytes]]]
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    port, stop = without_tls
    given = {"host": "db.example", "port": port, "extra": {"hostaddr": "127.0.0.1"}, **LOGIN}
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "postgres", **given}))
    _, _, connect = opener("db_kit", sqlite_mode="ro")
    with pytest.raises(FatalError) as caught, database_errors("connection 'db_kit'"):
        connect()
    assert '{"sslmode": "disable"}' in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert set(stop()) == {b""}
