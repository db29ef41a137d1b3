"""Tests cannot reach another machine, so no result depends on one."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "8.8.8.8", "2001:db8::1", "::ffff:192.0.2.1"])
def test_connecting_to_another_address_is_refused(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as s, pytest.raises(PermissionError, match="this machine only"):
        s.connect((host, 9))


def test_another_name_is_not_looked_up() -> None:
    with pytest.raises(PermissionError, match=r"elastic\.example"):
        socket.getaddrinfo("elastic.example", 443)


def test_client_libraries_are_guarded_too() -> None:
    with pytest.raises((PermissionError, urllib.error.URLError), match="this machine only"):
        urllib.request.urlopen("http://192.0.2.1:9/", timeout=1)

    async def dial() -> None:
        await asyncio.open_connection("192.0.2.1", 9)

    with pytest.raises(PermissionError, match="this machine only"):
        asyncio.run(dial())


def test_connecting_to_this_machine_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port), timeout=5).close()
