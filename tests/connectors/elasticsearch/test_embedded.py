"""Source elasticsearch against an in-memory server that speaks OpenSearch 3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from osmem_server import OsmemServer

from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all
from tests.connectors.elasticsearch.places import (
    ElasticsearchBehaviour,
    ElasticsearchConformance,
    Server,
    make,
)


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    server = OsmemServer.start(japanese=False)
    yield server.url
    server.close()
    assert server.process.stdout is not None
    server.process.stdout.close()


class Embedded(ElasticsearchConformance):
    space = ""  # this server drops white space
    # it numbers documents and not writes, so an update is not above any checkpoint; the real server has the test
    test_an_update_in_place_is_never_unchanged = None


class TestOneShard(Embedded):
    @pytest.fixture
    def url(self, embedded: str) -> str:
        return embedded


class TestNanosOnThreeShards(Embedded):
    precision = timedelta(microseconds=1)
    time = {"type": "date_nanos"}  # noqa: RUF012
    shards = 3

    @pytest.fixture
    def url(self, embedded: str) -> str:
        return embedded


class TestBehaviour(ElasticsearchBehaviour):
    @pytest.fixture
    def url(self, embedded: str) -> str:
        return embedded

    def test_bytes_that_are_not_utf8_are_refused_by_name(self, server: Server) -> None:
        """Real servers refuse to index them; this one takes them where it does not look."""
        index = server.index(properties={"obj": {"type": "object", "enabled": False}})
        server.must("PUT", f"/{index}/_doc/bad?refresh=true", b'{"ts":1383454800000,"obj":{"a":"\xff"}}')
        self.refused(
            lambda source: read_all(source, WINDOW), make(index), "DataError", f"{index}/bad", "UTF-8"
        )
