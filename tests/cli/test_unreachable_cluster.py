"""Commands on a pipeline whose source is in part on another cluster that does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.core.ledger import Kind
from tests.connectors.elasticsearch.answers import DOCUMENTS, Replay, serving, whole

from .conftest import AFTER, Place

REPROCESS = ("reprocess", "flights", "--from", "2013-11-03", "--to", "2013-11-03")
WHOLE = {
    "total": 2,
    "successful": 2,
    "details": {"(local)": {"status": "successful"}, "far": {"status": "successful"}},
}
DOWN = {"shard": -1, "index": None, "reason": {"type": "connect_transport_exception", "reason": "no route"}}
SKIPPED = {
    "total": 2,
    "successful": 1,
    "skipped": 1,
    "details": {"(local)": {"status": "successful"}, "far": {"status": "skipped", "failures": [DOWN]}},
}


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replay]:
    monkeypatch.setattr(elasticsearch_client, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(elasticsearch_client, "LONGEST_PAUSE_SECONDS", 0.01)
    with serving() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SEARCH", server.url)
        server.clusters = WHOLE
        yield server


def test_a_remote_cluster_that_is_down_is_never_late_or_deleted_data(place: Place, replay: Replay) -> None:
    source = {"type": "elasticsearch", "conn_id": "search", "index": ["i", "far:i"], "time_field": "ts"}
    place.write(timezone="UTC", granularity="1d", source=source)
    assert place("run", "flights", "--until-done", "--reference-time", AFTER).code == 0
    before = place.state().entries()
    assert [entry.rows for entry in before if entry.kind is Kind.COMMITTED] == [DOCUMENTS]

    replay.answers["POST /i,far:i/_search"] = 200, whole(DOCUMENTS - 30, _clusters=SKIPPED)
    for command in (("recheck", "flights", "--days", "1", "--reference-time", AFTER), REPROCESS):
        result = place(*command, "--here", "--retries", "0")
        assert (result.code, command) == (3, command)
        assert "cluster 'far' did not answer whole" in result.err
        assert "shrank" not in result.out + result.err
    after = place.state().entries()
    assert [entry.kind for entry in after[len(before) :] if entry.kind is not Kind.FAILED] == []
    assert place.moved() == DOCUMENTS

    del replay.answers["POST /i,far:i/_search"]
    assert place("recheck", "flights", "--days", "1", "--reference-time", AFTER, "--here").code == 0
