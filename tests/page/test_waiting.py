"""Wait for state stores that give no answer: together, and without keeping other requests waiting."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.web import pipelines, states, stores
from airflow_pipeline_provider.web.catalog import Listing
from airflow_pipeline_provider.web.stores import Owned, StateUnreachable


def owned(name: str) -> Owned:
    state = {"type": "sql", "conn_id": f"down_{name}"}
    return Owned(PipelineFacts(name, "UTC", "1h", "0s", 0, {}, {}, {}, state))


@pytest.mark.parametrize(
    "ask",
    [
        lambda names: list(states.read_many({name: owned(name) for name in names}, None, {})),
        lambda names: list(states.read_entries({name: (owned(name), []) for name in names})) or names,
    ],
    ids=["states", "entries"],
)
def test_dead_stores_are_waited_for_together(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names, met = ["a", "b", "c"], []
    barrier = threading.Barrier(len(names))

    def dead(*_: Any) -> Any:
        barrier.wait(20)  # raises unless all are asked at the same time
        met.append(1)
        raise TransientError("no answer")

    stores.forget_stores()
    monkeypatch.setattr(stores, "open_state", dead)
    assert ask(names) == names
    assert len(met) == len(names)
    stores.forget_stores()


def test_a_dead_store_keeps_its_conn_id_in_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(*_: Any) -> Any:
        raise TransientError("no answer")

    stores.forget_stores()
    monkeypatch.setattr(stores, "open_state", dead)
    found = states.read_many({name: owned(name) for name in ("a", "b")}, None, {})
    assert [one.conn_id for one in found.values() if isinstance(one, StateUnreachable)] == [
        "down_a",
        "down_b",
    ]
    stores.forget_stores()


def test_one_request_asks_for_pipelines_without_a_dag_and_others_do_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(*_: Any) -> dict[str, Owned]:
        asked.set()
        assert go.wait(20)
        return {"gone": owned("gone")}

    monkeypatch.setattr(pipelines, "_read_gone", slow)
    found = pipelines._Gone()
    answers: list[list[str]] = []
    first = threading.Thread(target=lambda: answers.append(list(found.get(Listing(), {}))))
    first.start()
    assert asked.wait(20)
    assert found.get(Listing(), {}) == {}  # at once
    go.set()
    first.join(20)
    assert answers == [["gone"]]
    assert list(found.get(Listing(), {})) == ["gone"]
