"""`audit.on_reject`: what the target cannot take stops the window, or is kept apart with the reason and counted."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.operators.airflow_stats import report_commit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.quarantine import restore
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing.faults import Crash, failing_at

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
AGAIN: dict[str, Any] = {"kind": RunKind.WINDOW, "interval": FIRST}
LONGEST = 40  # bytes that the target takes
BIG = ("r00015", "r00030", "r00070")


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    """120 rows in the first window, three of them too large for the target."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=1))
    for record_id in BIG:
        grow(pipeline, record_id)
    return pipeline


def grow(pipeline: Pipeline, record_id: str, body: str = '"' + "x" * 60 + '"') -> None:
    pipeline.rows.put(record_id, pipeline.rows.rows[record_id].event_time, body)


def runtime(pipeline: Pipeline, on_reject: str = "quarantine", **changes: Any) -> Runtime:
    audit = {"on_reject": on_reject, **changes.pop("audit", {})}
    made = pipeline.runtime(audit=audit, **changes)
    made.target.limits = TargetLimits(max_body_bytes=LONGEST)
    return made


def quarantined(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    """Record id -> (body, reason) of every quarantine file in the stage."""
    found = {}
    for path in pipeline.stage_files():
        if "/quarantine-" in path:
            table = pq.read_table(io.BytesIO((pipeline.folder / "stage" / path).read_bytes()))
            found.update({r["RECORD_ID"]: (r["BODY"], r["REASON"]) for r in table.to_pylist()})
    return found


def assert_moved_without(pipeline: Pipeline, big: tuple[str, ...] = BIG) -> None:
    expected = {
        row.record_id: (row.event_time, row.body)
        for row in pipeline.rows.within(FIRST)
        if row.record_id not in big
    }
    assert pipeline.target_rows() == expected
    assert set(quarantined(pipeline)) == set(big)
    assert ledger.committed(pipeline.entries()) == [FIRST]
    [commit] = [e for e in pipeline.entries() if e.kind is ledger.Kind.COMMITTED][-1:]
    assert (commit.rows, commit.detail["quarantined"]) == (120 - len(big), len(big))
    assert commit.detail["source"] == 120


def test_without_the_key_one_document_stops_the_window(seeded: Pipeline) -> None:
    with pytest.raises(
        DataError, match=r"extract: record 'r00015': its body has 62 bytes.* set audit\.on_reject"
    ):
        seeded.move(runtime(seeded, "fail"))
    assert ledger.committed(seeded.entries()) == []
    assert seeded.stage_files() == []


@pytest.mark.parametrize(
    "source",
    [{}, {"slices": 3, "page_size": 7}, {"slices": 3, "distribute": "tasks"}],
    ids=["one reader", "threads", "tasks"],
)
def test_the_others_are_loaded_and_these_are_kept_apart(
    seeded: Pipeline, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    outcome = seeded.move(runtime(seeded, source=source))
    assert_moved_without(seeded)
    assert quarantined(seeded)["r00030"] == (
        seeded.rows.rows["r00030"].body,
        "its body has 62 bytes, the target accepts at most 40",
    )
    assert outcome.audited is not None
    shown = msgspec.to_builtins(outcome.audited)
    assert (shown["source_rows"], shown["staged_rows"], shown["quarantined_rows"]) == (120, 117, 3)
    assert (shown["target_rows"], shown["distinct_ids"]) == (117, 117)
    assert "with the reasons, in" in caplog.text
    assert "/quarantine-" in caplog.text


def test_they_are_told_to_whoever_listens(seeded: Pipeline) -> None:
    told: list[tuple[str, int, Mapping[str, str]]] = []

    class Sink:
        def count(self, name: str, by: int, tags: Mapping[str, str]) -> None:
            told.append((name, by, tags))

        def gauge(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...

        def timing(self, name: str, seconds: float, tags: Mapping[str, str]) -> None: ...

    with metrics.sending_to(Sink()):
        chosen = runtime(seeded)
        outcome = seeded.move(chosen)
        assert outcome.audited is not None
        report_commit(chosen, outcome.audited.quarantined_rows)
    tags = {"pipeline": chosen.config.pipeline_id}
    assert ("pipeline.rows_quarantined", 3, tags) in told
    assert ("pipeline.rows", 117, tags) in told


def test_a_window_of_nothing_else_is_not_empty(seeded: Pipeline) -> None:
    made = runtime(seeded, audit={"on_empty": "fail"})
    made.target.limits = TargetLimits(max_body_bytes=1)
    outcome = seeded.move(made)
    assert outcome.audited is not None
    assert (outcome.audited.target_rows, outcome.audited.quarantined_rows) == (0, 120)


def test_kept_until_the_window_is_committed_again_without_them(seeded: Pipeline) -> None:
    seeded.move(runtime(seeded))
    seeded.move(runtime(seeded))  # another window: nothing of the first one goes
    assert set(quarantined(seeded)) == set(BIG)
    for record_id in BIG[1:]:
        grow(seeded, record_id, '"short now"')
    assert seeded.move(runtime(seeded), **AGAIN).audited is not None
    assert set(quarantined(seeded)) == {BIG[0]}
    assert seeded.target_rows()["r00030"][1] == '"short now"'


def test_loaded_rows_are_compared_with_loaded_rows(seeded: Pipeline) -> None:
    seeded.move(runtime(seeded))
    assert seeded.move(runtime(seeded), **AGAIN).audited is not None, "117 again is no shrink"
    grow(seeded, "r00001")
    with pytest.raises(DataError, match=r"holds 117 rows .* now gives 116 \(4 more quarantined\)"):
        seeded.move(runtime(seeded), **AGAIN)
    assert seeded.target_rows()["r00001"][1] == '{"n":1}'


# --- loaded by one run, audited by another


def crash_after_the_load(pipeline: Pipeline) -> None:
    with failing_at("load.committed"), pytest.raises(Crash):
        run_window(runtime(pipeline), pipeline.request("flights/crashes"))
    assert ledger.committed(pipeline.entries()) == []
    pipeline.now += timedelta(minutes=3)  # its lease has ended


def nothing(pipeline: Pipeline) -> None:
    """Everything is where it was."""


def lose_manifests(pipeline: Pipeline) -> None:
    for path in pipeline.stage_files():
        if "/manifest-" in path:
            (pipeline.folder / "stage" / path).unlink()


def lose_state(pipeline: Pipeline) -> None:
    pipeline.store.pipelines.clear()


@pytest.mark.parametrize(
    ("loss", "on_reject"),
    [
        pytest.param(nothing, "quarantine", id="by the ledger"),
        pytest.param(nothing, "fail", id="the key was changed meanwhile"),
        pytest.param(lose_manifests, "quarantine", id="by the ledger alone"),
        pytest.param(lose_state, "quarantine", id="by the manifest alone"),
    ],
)
def test_another_run_audits_what_was_loaded(
    seeded: Pipeline, loss: Callable[[Pipeline], None], on_reject: str
) -> None:
    crash_after_the_load(seeded)
    loss(seeded)
    attempt = next(p.split("/")[2] for p in seeded.stage_files() if "/quarantine-" in p)
    read = seeded.rows.opened
    claim = generate(runtime(seeded, on_reject), seeded.request("flights/b")).claim
    assert claim is not None
    assert validate(runtime(seeded, on_reject), claim).verdict == "already_loaded"
    outcome = run_window(runtime(seeded, on_reject), seeded.request("flights/b"))
    assert outcome.audited is not None
    assert outcome.audited.quarantined_rows == 3
    assert seeded.rows.opened == read, "nothing is read again"
    assert_moved_without(seeded)
    assert seeded.entries()[-1].attempt == attempt, "the ledger says where they are"


def change_manifests(pipeline: Pipeline) -> None:
    for path in pipeline.stage_files():
        if "/manifest-" in path:
            file = pipeline.folder / "stage" / path
            file.write_bytes(file.read_bytes().replace(b'"token":1', b'"token":7'))


@pytest.mark.parametrize("loss", [lose_manifests, change_manifests])
def test_with_state_and_manifest_lost_the_window_is_moved_again(
    seeded: Pipeline, loss: Callable[[Pipeline], None]
) -> None:
    crash_after_the_load(seeded)
    lose_state(seeded)
    loss(seeded)
    outcome = run_window(runtime(seeded), seeded.request("flights/b"))
    assert outcome.audited is not None
    assert outcome.audited.token == 2
    assert_moved_without(seeded)


def test_an_audit_that_extracts_again_counts_them_again(seeded: Pipeline) -> None:
    """The source grows by a document that is too large; cut off after its second load, the audit goes on there."""
    left = [1]

    def late() -> None:
        if left:
            left.pop()
            seeded.rows.put("late", "2013-11-03T05:00:00.5Z", '"' + "x" * 60 + '"')

    seeded.rows.on_page = late
    with failing_at("load.committed", 2), pytest.raises(Crash):
        run_window(runtime(seeded), seeded.request("flights/a"))
    read = seeded.rows.opened
    outcome = run_window(runtime(seeded), seeded.request("flights/a"))
    assert outcome.audited is not None
    assert (outcome.audited.source_rows, outcome.audited.quarantined_rows) == (121, 4)
    assert seeded.rows.opened == read


def test_a_changed_quarantine_file_is_noticed(seeded: Pipeline) -> None:
    claim = generate(runtime(seeded), seeded.request("flights/a")).claim
    assert claim is not None
    validated = validate(runtime(seeded), claim)
    assert validated.attempt is not None
    receipts = [extract(runtime(seeded), claim, validated.attempt, slice_) for slice_ in validated.slices]
    [path] = [p for p in seeded.stage_files() if "/quarantine-" in p]
    with (seeded.folder / "stage" / path).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"stage: part .*quarantine-0-0-.*size"):
        stage(runtime(seeded), claim, validated.attempt, receipts)


# --- the target's table


def in_table(pipeline: Pipeline) -> set[str]:
    """The record ids of the target's table of quarantined rows, which has each once."""
    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        found = [
            name for (name,) in connection.execute("SELECT RECORD_ID FROM main.flights_QUARANTINE").fetchall()
        ]
    assert len(set(found)) == len(found)
    return set(found)


INSIDE = ("load.fence_taken", "load.deleted", "load.copied", "load.quarantined", "load.commit_row_written")


@pytest.mark.parametrize(
    "point", [*INSIDE, "load.prepared", "load.recorded", "load.committed", "audit.committed"]
)
def test_after_a_crash_the_table_has_exactly_the_documents_that_are_not_loaded(
    seeded: Pipeline, point: str
) -> None:
    seeded.move(runtime(seeded))
    assert in_table(seeded) == set(BIG)
    grow(seeded, BIG[0], '"short now"')
    grow(seeded, "r00002")
    new = {"r00002", *BIG[1:]}
    everything = set(seeded.target_rows()) | set(BIG)
    with failing_at(point), pytest.raises(Crash):
        seeded.move(runtime(seeded), **AGAIN)
    assert in_table(seeded) == everything - set(seeded.target_rows())
    assert in_table(seeded) == (new if point in ("load.committed", "audit.committed") else set(BIG))
    seeded.now += timedelta(minutes=3)  # its lease has ended
    seeded.move(runtime(seeded), **AGAIN)
    assert in_table(seeded) == everything - set(seeded.target_rows()) == new


def test_a_window_without_rejected_documents_empties_its_part_of_the_table(seeded: Pipeline) -> None:
    seeded.move(runtime(seeded))
    seeded.move(runtime(seeded))  # another window
    for record_id in BIG:
        grow(seeded, record_id, '"short now"')
    seeded.move(runtime(seeded), **AGAIN)
    assert in_table(seeded) == set()


def test_a_load_that_creates_the_table_after_an_upgrade_keeps_what_was_there(seeded: Pipeline) -> None:
    """The first window was loaded by a version without the table: nothing of it changes."""
    seeded.move(runtime(seeded))
    with duckdb.connect(str(seeded.folder / "lake.duckdb")) as connection:
        connection.execute("DROP TABLE main.flights_QUARANTINE")
    before = seeded.target_rows()
    seeded.rows.put("late", "2013-11-03T06:30:00Z", '"' + "x" * 60 + '"')
    seeded.move(runtime(seeded))
    assert in_table(seeded) == {"late"}
    assert {name: row for name, row in seeded.target_rows().items() if name in before} == before
    assert set(quarantined(seeded)) == {*BIG, "late"}


def test_a_table_that_cannot_be_created_is_no_reason_to_stop(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise FatalError("permission denied for schema main")

    monkeypatch.setattr(DuckDBTarget, "create_quarantine", refuse)
    outcome = seeded.move(runtime(seeded))
    assert outcome.audited is not None
    assert outcome.audited.quarantined_rows == 3
    [warning] = [
        record.getMessage() for record in caplog.records if "cannot be created" in record.getMessage()
    ]
    assert "main.flights_QUARANTINE is missing and cannot be created (permission denied" in warning
    assert 'CREATE TABLE IF NOT EXISTS "main"."flights_QUARANTINE"' in warning
    assert "quarantine rebuild flights" in warning
    seeded.move(runtime(seeded), **AGAIN)
    with pytest.raises(FatalError, match=r"flights_QUARANTINE\" is missing: create it as a role that may"):
        restore(runtime(seeded))


# --- counted again later


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        pytest.param(lambda p: None, Check.EQUAL, id="as it was"),
        pytest.param(lambda p: p.rows.put("late", FIRST.start), Check.GREW, id="grown"),
        pytest.param(lambda p: p.rows.delete(BIG[0]), Check.SHRANK, id="a quarantined one is gone"),
    ],
)
def test_a_recheck_does_not_take_them_for_late(
    seeded: Pipeline, change: Callable[[Pipeline], None], verdict: Check
) -> None:
    seeded.move(runtime(seeded))
    change(seeded)
    [found] = recheck(runtime(seeded), 1, parse_utc("2013-11-04T12:00:00Z")).findings
    assert found.verdict is verdict


def test_a_recheck_of_what_is_left_of_a_commit_counts_those_in_there(seeded: Pipeline) -> None:
    """The second half is committed anew; r00070 belongs to it, the two others to what is left of the first commit."""
    seeded.move(runtime(seeded))
    half = Interval(parse_utc("2013-11-03T05:00:00Z"), FIRST.end)
    seeded.move(runtime(seeded), kind=RunKind.WINDOW, interval=half)
    found = recheck(runtime(seeded), 1, parse_utc("2013-11-04T12:00:00Z")).findings
    assert [(f.interval, f.source, f.target, f.verdict) for f in found] == [
        (Interval(FIRST.start, half.start), 60, 58, Check.EQUAL),
        (half, 60, 59, Check.EQUAL),
    ]
    lose_manifests(seeded)
    report = recheck(runtime(seeded), 1, parse_utc("2013-11-04T12:00:00Z"))
    assert [found.interval for found in report.findings] == [half]
    assert [left.interval for left in report.left_out] == [Interval(FIRST.start, half.start)]
    assert "quarantined rows are gone" in report.left_out[0].detail
