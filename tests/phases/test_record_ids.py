"""The form of record ids: new pipelines take what the source needs, others keep what their commits have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.connectors.base import RecordIdForm, Slice
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError
from airflow_pipeline_provider.phases.values import RunKind
from tests.doubles.memory_source import MemorySource, Row

from .conftest import Pipeline, Window

NEEDED = RecordIdForm("id_routing", why="the mapping requires it")


def forms(pipeline: Pipeline, kind: ledger.Kind = ledger.Kind.COMMITTED) -> list[Any]:
    return [entry.detail.get("record_id") for entry in pipeline.entries() if entry.kind is kind]


@pytest.fixture
def asked(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The form in which each slice was read."""
    seen = []
    original = MemorySource.open

    def open_and_note(self: MemorySource, slice_: Slice, readers: int = 1) -> Any:
        seen.append(slice_.record_id)
        return original(self, slice_, readers)

    monkeypatch.setattr(MemorySource, "open", open_and_note)
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=30))
    return seen


def needs(monkeypatch: pytest.MonkeyPatch, form: RecordIdForm | None) -> None:
    monkeypatch.setattr(MemorySource, "record_id_form", lambda self: form)


def test_a_new_pipeline_takes_what_the_source_needs(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(monkeypatch, NEEDED)
    runtime = pipeline.runtime()
    pipeline.move(runtime)
    pipeline.move(runtime)
    assert asked == forms(pipeline) == forms(pipeline, ledger.Kind.ATTEMPT) == ["id_routing"] * 2


def test_a_pipeline_with_commits_keeps_its_form_until_told(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits of an earlier version, or of a mapping that had no routing, say nothing of a form."""
    runtime = pipeline.runtime()
    pipeline.move(runtime)
    needs(monkeypatch, NEEDED)
    pipeline.move(runtime)
    needs(monkeypatch, RecordIdForm("id_routing", is_set=True))
    pipeline.move(runtime)
    needs(monkeypatch, RecordIdForm(None))  # such as of a login that may not read the mapping any more
    pipeline.move(runtime)
    needs(monkeypatch, RecordIdForm(None, is_set=True))
    pipeline.move(runtime)
    assert asked == forms(pipeline) == [None, None, "id_routing", "id_routing", None]


def test_waived_time_is_no_commit(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch, window: Window
) -> None:
    needs(monkeypatch, NEEDED)
    waived = window("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z")
    state = pipeline.runtime().state
    state.append(ledger.Entry(ledger.Kind.WAIVED, waived, pipeline.now))
    pipeline.move(pipeline.runtime())
    later = window("2013-11-03T08:00:00Z", "2013-11-03T10:00:00Z")
    state.append(ledger.Entry(ledger.Kind.WAIVED, later, pipeline.now))
    pipeline.move(pipeline.runtime())
    assert asked == ["id_routing", "id_routing"]


def test_a_rebuilt_state_does_not_guess(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pipeline.runtime()
    pipeline.move(runtime)
    for entry in pipeline.entries():
        entry.detail["rebuilt"] = True
    needs(monkeypatch, NEEDED)
    with pytest.raises(
        FatalError, match=r"the mapping requires it, .* set `source\.record_id` to id_routing"
    ):
        pipeline.move(runtime)
    needs(monkeypatch, RecordIdForm("id_routing", is_set=True))
    pipeline.move(runtime)
    assert asked == [None, "id_routing"]


def test_a_source_that_cannot_be_asked_is_not_read(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another form, the rows would be other records."""

    def refuse(self: MemorySource) -> RecordIdForm:
        raise TransientError("the mapping cannot be read now")

    monkeypatch.setattr(MemorySource, "record_id_form", refuse)
    with pytest.raises(TransientError, match="mapping cannot be read"):
        pipeline.move(pipeline.runtime(validate={"on_unavailable": "proceed"}))
    assert asked == []


def test_an_audit_that_extracts_again_keeps_the_form(
    pipeline: Pipeline, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(monkeypatch, NEEDED)
    late = iter(["late"])

    def arrive() -> None:
        for name in late:
            pipeline.rows.put(name, "2013-11-03T04:30:00Z")

    pipeline.rows.on_page = arrive
    pipeline.move(pipeline.runtime())
    assert asked == ["id_routing", "id_routing"]
    assert forms(pipeline) == ["id_routing"]


def test_a_slice_of_an_earlier_version_is_read() -> None:
    """XComs of a run that began before the upgrade."""
    interval = ["2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z"]
    old = {"i": 0, "of": 1, "interval": interval, "readers": 2}
    assert msgspec.convert(old, Slice) == Slice(0, 1, msgspec.convert(interval, Interval), 2)
    assert msgspec.to_builtins(msgspec.convert(old, Slice)) == old
    new = {**old, "record_id": "id_routing"}
    assert msgspec.to_builtins(msgspec.convert(new, Slice)) == new


@pytest.mark.parametrize("why", [None, "because of the routing"])
def test_rows_that_share_a_record_id_are_named(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, window: Window, why: str | None
) -> None:
    explained = []
    monkeypatch.setattr(
        MemorySource, "explain_repeated", lambda self, ids: explained.append(list(ids)) or why
    )
    for n in range(40):
        pipeline.rows.put(f"row {n}", "2013-11-03T04:30:00Z")
    for n in (7, 3):
        row = pipeline.rows.rows[f"row {n}"]
        pipeline.rows.rows[f"twin {n}"] = Row(row.record_id, row.event_time, '{"twin":true}')
    runtime = pipeline.runtime(source={"slices": 2, "page_size": 5})
    with pytest.raises(DataError, match=why or "row 3, row 7") as caught:
        pipeline.move(
            runtime, kind=RunKind.WINDOW, interval=window("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z")
        )
    assert explained == [["row 3", "row 7"]]
    assert (why is None) == ("distinct ids" in str(caught.value))
