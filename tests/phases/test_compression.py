"""`stage.compression` changes between the slices, attempts and windows of a pipeline: each part is read as it is."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.columns_sample import sample_documents
from airflow_pipeline_provider.phases.diff import DiffVerdict, diff
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.quarantine import restore
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing.faults import Crash, failing_at

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
BOTH = Interval(FIRST.start, parse_utc("2013-11-03T08:00:00Z"))
AGAIN: dict[str, Any] = {"kind": RunKind.WINDOW, "interval": FIRST}
TWO_WAYS = pytest.mark.parametrize(("before", "after"), [("zstd", "lz4"), ("lz4", "zstd")])
CODECS = {"zstd": "ZSTD", "lz4": "LZ4"}
LONGEST = 40  # bytes of a document that the target takes
BIG = ("r00015", "r00130")  # one in each window


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    """120 rows in each of two windows, one of them too large for the target."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T08:00:00Z", timedelta(minutes=1))
    for record_id in BIG:
        pipeline.rows.put(record_id, pipeline.rows.rows[record_id].event_time, f'"{"x" * 60}"')
    return pipeline


def runtime(pipeline: Pipeline, compression: str, **changes: Any) -> Runtime:
    made = pipeline.runtime(stage={"compression": compression}, audit={"on_reject": "quarantine"}, **changes)
    made.target.limits = TargetLimits(max_body_bytes=LONGEST)
    return made


def codecs(pipeline: Pipeline, kind: str = "part-") -> set[str]:
    """Return the codecs of the files whose names begin with `kind`."""
    found = set()
    for path in pipeline.stage_files():
        if path.rpartition("/")[2].startswith(kind):
            metadata = pq.read_metadata(io.BytesIO((pipeline.folder / "stage" / path).read_bytes()))
            found |= {metadata.row_group(0).column(n).compression for n in range(metadata.num_columns)}
    return found


def assert_loaded(pipeline: Pipeline, interval: Interval) -> None:
    """The target has each row of the interval once, except the ones that it rejects."""
    rows = {row.record_id: (row.event_time, row.body) for row in pipeline.rows.within(interval)}
    assert pipeline.target_rows() == {key: row for key, row in rows.items() if key not in BIG}


@TWO_WAYS
@pytest.mark.parametrize("distribute", ["threads", "tasks"])
def test_an_attempt_continues_after_the_option_changed(
    seeded: Pipeline, before: str, after: str, distribute: str
) -> None:
    source = {"slices": 3, "distribute": distribute, "page_size": 7}
    claim = generate(runtime(seeded, before, source=source), seeded.request("flights/a")).claim
    assert claim is not None
    validated = validate(runtime(seeded, before, source=source), claim)
    assert validated.attempt is not None
    first, *rest = validated.slices
    receipts = [extract(runtime(seeded, before, source=source), claim, validated.attempt, first)]
    if not rest:  # its only slice is extracted again, as by a retry of the task
        rest = [first]
        receipts = []
    receipts += [extract(runtime(seeded, after, source=source), claim, validated.attempt, s) for s in rest]
    assert codecs(seeded) == {CODECS[before], CODECS[after]}
    changed = runtime(seeded, after, source=source)
    staged = stage(changed, claim, validated.attempt, receipts)
    load(changed, claim, staged)
    assert audit(changed, claim, staged).target_rows == 119
    assert {entry.attempt for entry in seeded.entries() if entry.attempt} == {validated.attempt}
    assert_loaded(seeded, FIRST)


@TWO_WAYS
@pytest.mark.parametrize("point", ["extract.receipt_written", "load.fence_taken", "load.committed"])
def test_a_crashed_run_ends_under_the_other_option(
    seeded: Pipeline, before: str, after: str, point: str
) -> None:
    with failing_at(point), pytest.raises(Crash):
        run_window(runtime(seeded, before), seeded.request("flights/a"))
    seeded.now += timedelta(minutes=3)
    outcome = run_window(runtime(seeded, after), seeded.request("flights/a"))
    assert outcome.audited is not None
    assert ledger.committed(seeded.entries()) == [FIRST]
    assert_loaded(seeded, FIRST)


@TWO_WAYS
def test_a_staged_manifest_is_loaded_once_under_either_option(
    seeded: Pipeline, before: str, after: str
) -> None:
    old, new = runtime(seeded, before), runtime(seeded, after)
    claim = generate(old, seeded.request("flights/a")).claim
    assert claim is not None
    validated = validate(old, claim)
    assert validated.attempt is not None
    receipts = [extract(old, claim, validated.attempt, s) for s in validated.slices]
    staged = stage(old, claim, validated.attempt, receipts)
    assert not load(old, claim, staged).already
    assert load(new, claim, staged).already
    assert_loaded(seeded, FIRST)


@TWO_WAYS
def test_a_committed_window_is_replaced_under_the_other_option(
    seeded: Pipeline, before: str, after: str
) -> None:
    assert seeded.move(runtime(seeded, before)).audited is not None
    seeded.rows.put("late", parse_utc("2013-11-03T05:30:00Z"), "{}")
    assert seeded.move(runtime(seeded, after), **AGAIN).audited is not None
    assert_loaded(seeded, FIRST)
    assert codecs(seeded) == {CODECS[after]}, "files of the older attempt are removed"


@TWO_WAYS
def test_windows_of_both_options_are_read_by_every_check(seeded: Pipeline, before: str, after: str) -> None:
    for compression in (before, after):
        assert seeded.move(runtime(seeded, compression)).audited is not None
    assert codecs(seeded) == codecs(seeded, "quarantine-") == {"ZSTD", "LZ4"}
    assert_loaded(seeded, BOTH)
    for compression in (before, after):
        changed = runtime(seeded, compression)
        report = diff(changed, BOTH, content=True)
        assert [(one.verdict, one.tally.quarantined) for one in report.windows] == [
            (DiffVerdict.EQUAL, 1)
        ] * 2
        assert [found.verdict for found in recheck(changed, 7).findings] == [Check.EQUAL] * 2
        half = Interval(FIRST.start, FIRST.start + timedelta(hours=1))
        assert diff(changed, half, content=True).windows[0].tally.quarantined == 1, "by the times of a part"
        assert sample_documents(changed, 7).documents == 238


@TWO_WAYS
def test_state_and_quarantine_table_are_rebuilt_from_parts_of_both(
    seeded: Pipeline, before: str, after: str
) -> None:
    for compression in (before, after):
        seeded.move(runtime(seeded, compression))
    seeded.store.pipelines.clear()
    assert len(rebuild(runtime(seeded, after)).written) == 2
    assert ledger.committed(seeded.entries()) == [BOTH]
    with duckdb.connect(str(seeded.folder / "lake.duckdb")) as connection:
        connection.execute("DELETE FROM main.flights_QUARANTINE")
    assert [rows for _, rows in restore(runtime(seeded, after)).written] == [1, 1]
    with duckdb.connect(str(seeded.folder / "lake.duckdb")) as connection:
        found = connection.execute("SELECT RECORD_ID FROM main.flights_QUARANTINE ORDER BY 1").fetchall()
    assert [record_id for (record_id,) in found] == list(BIG)
