"""Fixtures of the connectors' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from tests.connectors.elasticsearch.answers import Replay, serving
from tests.connectors.elasticsearch.places import CONN_ID


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replay]:
    """A server that answers like Elasticsearch; pauses between tries are short."""
    monkeypatch.setattr(elasticsearch_client, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(elasticsearch_client, "LONGEST_PAUSE_SECONDS", 0.01)
    with serving() as server:
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{CONN_ID.upper()}",
            f"elasticsearch://kit:s3cr3t-word@127.0.0.1:{server.server_port}",
        )
        yield server
