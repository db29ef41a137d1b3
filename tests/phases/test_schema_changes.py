"""What changes of the documents do to a window, by `contract`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace as with_fields
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.envelope.manifest import Manifest, Receipt
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import Outcome
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, Staged
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from tests.doubles.memory_variables import DictVariables
from tests.phases.conftest import Pipeline

WINDOWS = [
    Interval(start, start + timedelta(hours=2))
    for start in (parse_utc("2013-11-03T04:00:00Z") + timedelta(hours=2 * n) for n in range(4))
]
FAIL = {"contract": {"new_field": "fail", "type_change": "fail"}}


def put(pipeline: Pipeline, window: Interval, *bodies: str) -> None:
    for n, body in enumerate(bodies):
        pipeline.rows.put(f"{window}-{n}", window.start + timedelta(seconds=n), body)


def of_kind(pipeline: Pipeline, kind: Kind) -> list[Entry]:
    return [entry for entry in pipeline.entries() if entry.kind is kind]


def fields_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [entry.detail["fields"] for entry in of_kind(pipeline, Kind.COMMITTED)]


def move(pipeline: Pipeline, runtime: Runtime, window: Interval, run: str | None = None) -> Outcome:
    return pipeline.move(runtime, run=run, kind=RunKind.WINDOW, interval=window)


def move_each(pipeline: Pipeline, runtime: Runtime, *bodies: str) -> list[dict[str, Any]]:
    for window, body in zip(WINDOWS, bodies, strict=False):
        put(pipeline, window, body)
        assert move(pipeline, runtime, window).audited is not None
    return fields_of(pipeline)


def test_a_pipeline_without_a_contract_gathers_nothing(pipeline: Pipeline) -> None:
    put(pipeline, WINDOWS[0], '{"a":1}')
    assert pipeline.move(pipeline.runtime()).audited is not None
    assert all("fields" not in entry.detail for entry in pipeline.entries())
    for name in pipeline.stage_files():
        if name.endswith(".json"):
            assert b"fields" not in (pipeline.folder / "stage" / name).read_bytes()


def test_each_commit_records_the_changes_since_the_windows_before(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third, fourth = move_each(
        pipeline,
        pipeline.runtime(contract={}),
        '{"a":1,"b":true}',
        '{"a":"x","c":[]}',
        '{"a":1,"b":false}',
        '{"c":[],"d":1}',
    )
    assert first["set"]["kinds"] == {"a": ["integer"], "b": ["boolean"]}
    assert (second["new"], second["changed"]) == (["c"], [["a", ["integer"], ["string"]]])
    assert second["set"]["kinds"] == {"a": ["integer", "string"], "b": ["boolean"], "c": ["array"]}
    assert third == {"hash": second["hash"]}, "known since the windows before, and written there"
    assert (fourth["new"], "changed" in fourth) == (["d"], False)
    said = [record.message for record in caplog.records if "documents of the window" in record.message]
    assert said == [
        "documents of the window: 1 new field: c",
        "documents of the window: a holds string, expected integer",
        "documents of the window: 1 new field: d",
    ]


def open_sql(pipeline: Pipeline, identity: Identity) -> State:
    return SqlState.from_url(f"sqlite:///{pipeline.folder}/state.db", identity)


def open_variable(_pipeline: Pipeline, identity: Identity) -> State:
    options = VariableStateOptions.model_validate({"type": "variable"})
    return VariableState(options, identity, variables=DictVariables(), pause_seconds=0.0)


@pytest.mark.parametrize("open_state", [open_sql, open_variable])
def test_each_kind_of_state_answers_alike(
    pipeline: Pipeline, open_state: Callable[[Pipeline, Identity], State]
) -> None:
    """Written as JSON and read again by the next window."""
    runtime = pipeline.runtime(contract={})
    state = open_state(pipeline, runtime.state.identity)
    runtime = with_fields(runtime, state=state)
    bodies = ('{"a":1}', '{"a":"x","b":1}', '{"a":1}')
    for window, body in zip(WINDOWS, bodies, strict=False):
        put(pipeline, window, body)
        assert move(pipeline, runtime, window).audited is not None
    _, second, third = (e.detail["fields"] for e in state.entries() if e.kind is Kind.COMMITTED)
    state.close()
    assert (second["new"], second["changed"]) == (["b"], [["a", ["integer"], ["string"]]])
    assert third == {"hash": second["hash"]}


def test_the_fields_travel_in_receipt_and_manifest(pipeline: Pipeline) -> None:
    put(pipeline, WINDOWS[0], '{"a":1}', '{"a":null}')
    move(pipeline, pipeline.runtime(contract={}, source={"slices": 2}), WINDOWS[0])
    read = {"receipt-": Receipt.from_bytes, "manifest-": Manifest.from_bytes}
    for prefix, parse in read.items():
        (name,) = [name for name in pipeline.stage_files() if f"/{prefix}" in name]
        value: Any = parse((pipeline.folder / "stage" / name).read_bytes())
        assert (value.fields.kinds, value.fields.documents) == ({"a": ("integer", "null")}, 2)


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ('{"a":1,"b":1}', r"1 new field: b \(contract.new_field: fail\)"),
        ('{"a":"x"}', r"a holds string, expected integer \(contract.type_change: fail\)"),
        (
            '{"a":[1],"b":1}',
            r"1 new field: b; a holds array, expected integer \(contract.new_field, contract.type_change",
        ),
    ],
)
def test_fail_refuses_the_commit_and_names_what_to_do(pipeline: Pipeline, second: str, sentence: str) -> None:
    runtime = pipeline.runtime(**FAIL)
    move_each(pipeline, runtime, '{"a":1}')
    put(pipeline, WINDOWS[1], second)
    with pytest.raises(DataError, match=sentence) as raised:
        move(pipeline, runtime, WINDOWS[1])
    assert "airflow-pipelines reprocess flights --from 2013-11-03T06:00:00Z" in raised.value.message
    assert "--here --accept-changes" in raised.value.message
    (failed,) = of_kind(pipeline, Kind.FAILED)
    assert failed.detail["error"] == "DataError"
    assert failed.detail["fields"].keys() & {"new", "changed"}
    assert "set" not in failed.detail["fields"]
    assert len(of_kind(pipeline, Kind.COMMITTED)) == 1
    with pytest.raises(DataError, match=sentence):  # also by a run that finds the rows loaded
        move(pipeline, runtime, WINDOWS[1])
    assert move(pipeline, pipeline.runtime(contract={}), WINDOWS[1]).audited is not None
    put(pipeline, WINDOWS[2], second)
    assert move(pipeline, runtime, WINDOWS[2]).audited is not None, "what was accepted is known"


@pytest.mark.parametrize("level", ["ignore", "warn"])
def test_a_level_below_fail_commits(pipeline: Pipeline, level: str) -> None:
    runtime = pipeline.runtime(contract={"new_field": level, "type_change": level})
    found = move_each(pipeline, runtime, '{"a":1}', '{"a":"x","b":1}')
    assert ("new" in found[1], "changed" in found[1]) == (level == "warn", level == "warn")


def test_a_commit_that_another_window_replaces_is_still_what_was_known(pipeline: Pipeline) -> None:
    """A window that is loaded again is compared with the windows before it, not with its own commit."""
    runtime = pipeline.runtime(contract={})
    move_each(pipeline, runtime, '{"a":1}', '{"a":1,"b":1}')
    assert move(pipeline, runtime, WINDOWS[1]).audited is not None
    assert [found.get("new") for found in fields_of(pipeline)] == [None, ["b"], ["b"]]
    assert move(pipeline, runtime, WINDOWS[0]).audited is not None
    assert "new" not in fields_of(pipeline)[-1], "nothing is known before the first window"


def test_an_audit_that_crashed_after_its_commit_keeps_it(pipeline: Pipeline) -> None:
    move_each(pipeline, pipeline.runtime(**FAIL), '{"a":1}')
    put(pipeline, WINDOWS[1], '{"b":1}')
    claim, staged = loaded(pipeline, pipeline.runtime(contract={}))
    with failing_at("audit.committed"), pytest.raises(Crash):
        audit(pipeline.runtime(contract={}), claim, staged)
    assert audit(pipeline.runtime(**FAIL), claim, staged).token == staged.token
    assert len(of_kind(pipeline, Kind.COMMITTED)) == 2


def loaded(pipeline: Pipeline, runtime: Runtime) -> tuple[Claim, Staged]:
    """The next window, up to its audit."""
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    validated = validate(runtime, claim)
    attempt = validated.attempt or ""
    receipts = [extract(runtime, claim, attempt, slice_) for slice_ in validated.slices]
    staged = stage(runtime, claim, attempt, receipts)
    load(runtime, claim, staged)
    return claim, staged


@pytest.mark.parametrize("extracted_with", [{}, FAIL])
def test_rows_that_another_run_loaded_are_judged_by_their_manifest(
    pipeline: Pipeline, extracted_with: dict[str, Any]
) -> None:
    """One that was extracted before the contract was written holds no fields, so the window is committed without."""
    move_each(pipeline, pipeline.runtime(**FAIL), '{"a":1}')
    put(pipeline, WINDOWS[1], '{"b":1}')
    claim, staged = loaded(pipeline, pipeline.runtime(**extracted_with))
    found = replace(staged, path=None)
    if extracted_with:
        with pytest.raises(DataError, match="1 new field: b"):
            audit(pipeline.runtime(**FAIL), claim, found)
        return
    assert audit(pipeline.runtime(**FAIL), claim, found).schema_changes == ()
    assert "fields" not in of_kind(pipeline, Kind.COMMITTED)[-1].detail


def test_rows_whose_manifest_is_gone_are_committed_without_their_fields(pipeline: Pipeline) -> None:
    put(pipeline, WINDOWS[0], '{"b":1}')
    runtime = pipeline.runtime(**FAIL)
    claim, staged = loaded(pipeline, runtime)
    runtime.stage.delete([staged.path or ""])
    assert audit(runtime, claim, replace(staged, path=None)).token == staged.token
    assert "fields" not in of_kind(pipeline, Kind.COMMITTED)[-1].detail


COLUMNS = [
    {"name": "CARRIER", "path": "carrier", "type": "text", "required": True},
    {"name": "DEP_TIME", "path": "dep.time", "type": "timestamp", "required": True},
    {"name": "DELAY", "path": "delay", "type": "integer"},
]
COMPLETE = '{"carrier":"UA","dep.time":"2013-11-03","delay":1}'


@pytest.mark.parametrize(
    ("level", "body", "expected"),
    [
        (
            "missing_field",
            '{"carrier":null,"dep":{"time":"2013-11-03"},"delay":1}',
            "required field without a value in any document: carrier",
        ),
        (
            "uncastable",
            '{"carrier":"UA","dep":{"time":"2013-11-03"},"delay":"late"}',
            r"values that do not cast: DELAY 1 of 1 value \(100.00%\) \(contract.uncastable: fail\)",
        ),
        (
            "type_change",
            '{"carrier":"UA","dep":{"time":"2013-11-03"},"delay":"7"}',
            "delay holds string, expected integer",
        ),
        (
            "new_field",
            '{"carrier":"UA","dep":{"time":"2013-11-03","zone":"UTC"},"delay":1}',
            "1 new field: dep.zone",
        ),
    ],
)
def test_changes_of_columns(pipeline: Pipeline, level: str, body: str, expected: str) -> None:
    runtime = pipeline.runtime(columns=COLUMNS, contract={level: "fail"})
    move_each(pipeline, runtime, COMPLETE)
    assert fields_of(pipeline)[0].keys() == {"hash", "set"}, "nothing to report of complete documents"
    put(pipeline, WINDOWS[1], body)
    with pytest.raises(DataError, match=expected):
        move(pipeline, runtime, WINDOWS[1])
    assert move(pipeline, pipeline.runtime(columns=COLUMNS), WINDOWS[1]).audited is not None
    ignoring = pipeline.runtime(columns=COLUMNS, contract={level: "ignore"})
    before = len(fields_of(pipeline))
    assert move(pipeline, ignoring, WINDOWS[1]).audited is not None
    key = {"missing_field": "missing", "type_change": "changed", "new_field": "new"}.get(level, level)
    assert [key in found for found in fields_of(pipeline)[before - 1 :]] == [True, False]


@pytest.mark.parametrize("level", ["warn", "fail"])
def test_only_a_contract_that_fails_needs_the_count_of_values(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    runtime = pipeline.runtime(columns=COLUMNS, contract={"uncastable": level})
    put(pipeline, WINDOWS[0], COMPLETE)
    claim, staged = loaded(pipeline, runtime)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runtime.target, "count_uncastable", out_of_memory)
        if level == "fail":
            with pytest.raises(FatalError, match="memory"):
                audit(runtime, claim, staged)
            return
        audited = audit(runtime, claim, staged)
    sentence = "values that do not cast: not counted (no memory)"
    assert audited.schema_changes == (sentence,)
    assert [fields["not_counted"] for fields in fields_of(pipeline)] == ["no memory"]
    assert f"documents of the window: {sentence}" in caplog.messages


def out_of_memory(*_: object) -> None:
    raise FatalError("no memory")


def test_columns_without_a_contract_warn(pipeline: Pipeline) -> None:
    (found,) = move_each(pipeline, pipeline.runtime(columns=COLUMNS), '{"delay":"late"}')
    assert (found["missing"], found["uncastable"]) == (["carrier", "dep.time"], {"DELAY": [1, 1]})


class Counters:
    def __init__(self) -> None:
        self.counted: dict[str, int] = {}

    def count(self, name: str, by: int, tags: Mapping[str, str]) -> None:
        assert tags == {"pipeline": "flights"}
        self.counted[name] = self.counted.get(name, 0) + by

    def gauge(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...

    def timing(self, name: str, seconds: float, tags: Mapping[str, str]) -> None: ...


def test_changes_are_counted(pipeline: Pipeline) -> None:
    counters = Counters()
    with metrics.sending_to(counters):
        move_each(pipeline, pipeline.runtime(contract={}), '{"a":1}', '{"a":"x","b":1,"c":1}')
    assert counters.counted["pipeline.schema_changes"] == 3


def test_a_window_finds_the_fields_of_one_a_month_before(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(contract={}, start_day="2013-10-01", end_day=None)
    early = Interval(parse_utc("2013-10-05T04:00:00Z"), parse_utc("2013-10-05T06:00:00Z"))
    put(pipeline, early, '{"a":1}')
    put(pipeline, WINDOWS[0], '{"b":1}')
    for window in (early, WINDOWS[0]):
        assert move(pipeline, runtime, window).audited is not None
    assert fields_of(pipeline)[-1]["new"] == ["b"]


def test_fields_stay_known_for_as_long_as_windows_follow_each_other(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(contract={"new_field": "fail"}, start_day="2013-09-01", end_day=None)
    days = ("2013-09-01", "2013-09-26", "2013-10-21", "2013-10-22")
    starts = [parse_utc(f"{day}T06:00:00Z") for day in days]
    for start, body in zip(starts, ('{"a":1,"b":1}', '{"a":1}', '{"a":1}', '{"a":1,"b":1}'), strict=True):
        window = Interval(start, start + timedelta(hours=2))
        put(pipeline, window, body)
        assert move(pipeline, runtime, window).audited is not None


def test_nothing_is_new_after_windows_without_documents(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**FAIL)
    put(pipeline, WINDOWS[1], '{"a":1}')
    for window in WINDOWS[:2]:
        assert move(pipeline, runtime, window).audited is not None


def test_a_column_in_an_object_that_no_column_read_makes_nothing_new(pipeline: Pipeline) -> None:
    put(pipeline, WINDOWS[0], '{"dep":{"time":"2013-11-03","gate":"A"},"at":[{"x":1}]}')
    put(pipeline, WINDOWS[1], '{"dep":{"time":"2013-11-03","gate":"A"},"at":[{"x":1}]}')
    put(pipeline, WINDOWS[2], '{"dep":{"desk":1}}')
    columns = [{"name": "TIME", "path": "dep.time", "type": "date"}]
    columns += [{"name": "AT", "path": "at", "type": "rows", "columns": [{**columns[0], "path": "y"}]}]
    assert move(pipeline, pipeline.runtime(**FAIL), WINDOWS[0]).audited is not None
    runtime = pipeline.runtime(**FAIL, columns=columns)
    assert move(pipeline, runtime, WINDOWS[1]).audited is not None
    with pytest.raises(DataError, match=r"1 new field: dep\.desk"):
        move(pipeline, runtime, WINDOWS[2])
