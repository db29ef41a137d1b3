"""Waiting for a server ends: by a socket that is cut, or by not waiting any more."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from elastic_transport import NodeConfig

from airflow_pipeline_provider.connectors import deadlines
from airflow_pipeline_provider.connectors.deadlines import Watch, within
from airflow_pipeline_provider.connectors.elasticsearch.node import BoundedNode, TooSlowError
from airflow_pipeline_provider.connectors.postgres.network import NETWORK, with_time_limits
from airflow_pipeline_provider.exceptions import TransientError


def test_a_watch_cuts_who_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch = Watch(ours, 0.05)
        watch.start()
        assert ours.recv(1) == b""
        assert watch.fired


def test_a_watch_that_was_stopped_cuts_nobody() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch = Watch(ours, 0.05)
        watch.start()
        watch.stop()
        time.sleep(0.1)
        theirs.sendall(b"x")
        assert (ours.recv(1), watch.fired) == (b"x", False)


def test_an_earlier_deadline_is_kept_while_a_later_one_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "IDLE_SECONDS", 60)
    monkeypatch.setattr(deadlines, "_watchdog", deadlines._Watchdog())
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    patient = Watch(None, 60)
    patient.start()
    time.sleep(0.2)  # it waits
    with ours, theirs:
        watch = Watch(ours, 0.05)
        watch.start()
        assert ours.recv(1) == b""
    patient.stop()
    assert (watch.fired, patient.fired) == (True, False)


def test_many_deadlines_share_a_thread_that_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(deadlines, "_watchdog", deadlines._Watchdog())
    before = set(threading.enumerate())
    watches = [Watch(None, 60) for _ in range(20)]
    for watch in watches:
        watch.start()
    (thread,) = set(threading.enumerate()) - before
    time.sleep(0.2)
    assert thread.is_alive()
    for watch in watches:
        watch.stop()
    thread.join(10)
    assert not thread.is_alive()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        late = Watch(ours, 0.05)
        late.start()  # by another thread
        assert (ours.recv(1), late.fired) == (b"", True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_keeps_its_own_deadlines() -> None:
    patient = Watch(None, 60)
    patient.start()
    child = os.fork()
    if child == 0:  # as Airflow forks tasks; the thread of the parent is not there
        ours, theirs = socket.socketpair()
        watch = Watch(ours, 0.05)
        watch.start()
        os._exit(0 if theirs.recv(1) == b"" and watch.fired else 1)
    patient.stop()
    begun = time.monotonic()
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() - begun < 20:
        time.sleep(0.02)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_a_call_in_time_gives_its_result() -> None:
    assert within(10, "asking", lambda: 42) == 42


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), TimeoutError("its own")], ids=["any", "its own time-out"]
)
def test_a_call_that_fails_in_time_raises_its_own_error(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        within(10, "asking", fail)


def test_a_call_that_takes_longer_is_not_waited_for() -> None:
    go = threading.Event()
    with pytest.raises(TransientError, match="asking: expected an answer within"):
        within(0.05, "asking", go.wait)
    go.set()


@pytest.fixture
def trickle() -> Iterator[int]:
    """The port of a server whose answers come byte by byte and never end."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
            while not done.wait(0.02):
                try:
                    client.sendall(answer)
                except OSError:
                    return
                answer = b"x"

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    done.set()
    thread.join()
    listener.close()


def test_an_answer_of_elasticsearch_that_trickles_is_cut(trickle: int) -> None:
    node = BoundedNode(NodeConfig("http", "127.0.0.1", trickle, request_timeout=0.2))
    begun = time.monotonic()
    with pytest.raises(TooSlowError):
        node.perform_request("GET", "/")
    assert time.monotonic() - begun < 5
    node.close()


class Connection:
    def __init__(self, extra: dict[str, Any]) -> None:
        self.extra_dejson, self.extra = extra, ""
        self.host, self.password = "127.0.0.1", "secret"


def test_postgres_time_outs_stand_where_the_connection_has_none() -> None:
    import json

    extra = json.loads(with_time_limits(Connection({"connect_timeout": 3, "sslmode": "require"})).extra)
    assert extra == {**NETWORK, "connect_timeout": 3, "sslmode": "require"}
