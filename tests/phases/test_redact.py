"""`source.redact`: values never reach stage, ledger, target, logs or errors; the rules of a load are recorded."""

from __future__ import annotations

import hmac
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.connectors.content_free import content_free
from airflow_pipeline_provider.connectors.redacted_source import redacted
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    PipelineError,
    SnapshotLostError,
    TransientError,
)
from airflow_pipeline_provider.phases.diff import diff
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from tests.canaries import canary, leaks

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
AGAIN: dict[str, Any] = {"kind": RunKind.WINDOW, "interval": FIRST}
SECRET = "a key that is long enough, for tests"
BIRDS = [canary(name) for name in ("lake", "hill", "reed", "moor", "isle")]
MAIL, NAME, CARD, PLAN, ID = (bird.plain for bird in BIRDS)
RULES: list[dict[str, Any]] = [
    {"path": "user.email", "how": "hash"},
    {"path": "items.name", "how": "drop"},
    {"path": "**.card", "how": "mask", "keep": 4},
    {"path": "plan*", "how": "mask"},
    {"path": "_id", "how": "hash"},
]
REDACT: dict[str, Any] = {"redact": RULES, "redact_conn_id": "redact_key"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    set_key(monkeypatch, SECRET)


def set_key(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    connection = {"conn_type": "generic", **({} if secret is None else {"password": secret})}
    monkeypatch.setenv("AIRFLOW_CONN_REDACT_KEY", json.dumps(connection))


def document(number: int = 0) -> str:
    return (
        f'{{"n":{number}, "big": 12345678901234567890.10, "user.email": "{MAIL}", '
        f'"items": [{{"name": "{NAME}", "x":1}},{{"name":"{NAME}"}}], "pay": {{"to": [{{"card": "{CARD}1234"}}]}}, '
        f'"plan_{number}": {{"secret": ["{PLAN}"]}}}}'
    )


def seed(pipeline: Pipeline, rows: int = 20) -> None:
    for number in range(rows):
        pipeline.rows.put(f"{ID}/{number}", f"2013-11-03T04:{number:02}:00Z", document(number))


def everything(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> str:
    """All that the pipeline wrote: files of the stage, rows decompressed; state, target, log lines, tracebacks."""
    found = [path.as_posix() for path in pipeline.folder.rglob("*")]
    for path in (pipeline.folder / "stage").rglob("*"):
        if path.suffix == ".parquet":
            found += [
                path.read_bytes().decode("latin-1"),
                str(pq.read_table(io.BytesIO(path.read_bytes())).to_pydict()),
            ]
        elif path.is_file():
            found.append(path.read_text())
    found.append(repr(pipeline.store.pipelines))
    if (pipeline.folder / "lake.duckdb").exists():
        with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
            for (table,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall():
                found.append(str(connection.execute(f'SELECT * FROM "{table}"').fetchall()))
    formatter = logging.Formatter("%(message)s")
    found += [formatter.format(record) for record in caplog.records]
    return "\n".join(found)


def entries(pipeline: Pipeline, kind: Kind) -> list[Entry]:
    return [entry for entry in pipeline.runtime().state.entries(FIRST) if entry.kind is kind]


def bodies(pipeline: Pipeline) -> list[tuple[str, str]]:
    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        return connection.execute(
            "SELECT RECORD_ID, BODY::VARCHAR FROM main.flights ORDER BY EVENT_TIME"
        ).fetchall()


def test_no_byte_of_a_redacted_value_is_anywhere(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seed(pipeline)
    before = leaks(BIRDS, "".join(row.record_id + row.body for row in pipeline.rows.rows.values()))
    assert len(before) == len(BIRDS)  # the canaries are in the source
    outcome = run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
    assert outcome.audited is not None
    assert (outcome.audited.source_rows, outcome.audited.target_rows, outcome.audited.distinct_ids) == (
        20,
        20,
        20,
    )
    assert leaks(BIRDS, everything(pipeline, caplog)) == []
    (record_id, body), *_ = bodies(pipeline)
    assert re.fullmatch(r"hmac:[0-9a-f]{8}:[0-9a-f]{64}", record_id)
    found = json.loads(body, parse_float=str)
    expected = hmac.digest(SECRET.encode(), MAIL.encode(), "sha256").hex()
    assert found["user.email"].split(":")[2] == expected
    assert found["big"] == "12345678901234567890.10"
    assert (found["items"], found["pay"], found["plan_0"]) == (
        [{"x": 1}, {}],
        {"to": [{"card": "***1234"}]},
        "***",
    )


def test_source_and_target_agree_with_hashed_ids_when_counted_again(pipeline: Pipeline) -> None:
    seed(pipeline)
    run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
    report = recheck(pipeline.runtime(source=REDACT), 7)
    assert [(one.verdict.value, one.source, one.target) for one in report.findings] == [("equal", 20, 20)]


@pytest.mark.parametrize("content", [False, True])
def test_diff_compares_the_rows_as_they_were_loaded(pipeline: Pipeline, content: bool) -> None:
    seed(pipeline)
    runtime = pipeline.runtime(source=REDACT)
    run_window(runtime, pipeline.request(**AGAIN))
    report = diff(pipeline.runtime(source=REDACT), FIRST, content=content)
    assert [(one.verdict.value, one.tally.source) for one in report.windows] == [("equal", 20)]


@pytest.mark.parametrize(
    ("then", "now", "compared"),
    [
        pytest.param(REDACT, {"redact": RULES[:1], "redact_conn_id": "redact_key"}, (0, 0), id="other rules"),
        pytest.param(REDACT, {}, (0, 0), id="no rules now"),
        pytest.param({}, REDACT, (0, 0), id="no rules then"),
        pytest.param(REDACT, REDACT, (1, 1), id="the same rules"),
    ],
)
def test_diff_compares_no_window_that_was_loaded_under_other_rules(
    pipeline: Pipeline, then: dict[str, Any], now: dict[str, Any], compared: tuple[int, int]
) -> None:
    seed(pipeline)
    run_window(pipeline.runtime(source=then), pipeline.request(**AGAIN))
    reports = [diff(pipeline.runtime(source=now), FIRST, content=content) for content in (False, True)]
    assert tuple(len(report.windows) for report in reports) == compared
    for report in reports:
        assert report.is_whole == (then is now)
        assert {left.reason.value for left in report.left_out} == (set() if then is now else {"rewritten"})


def quoting(kind: type[Exception]) -> Any:
    def fail() -> None:
        try:
            raise ValueError(f"the driver quotes {MAIL}")
        except ValueError as error:
            raise kind(f"row {ID} has {MAIL}") from error

    return fail


@pytest.mark.parametrize(
    "kind", [DataError, TransientError, FatalError, SnapshotLostError, ConfigError, KeyError]
)
def test_an_error_of_the_source_that_quotes_a_row_shows_nothing_of_it(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    caplog.set_level(logging.DEBUG)
    seed(pipeline)
    pipeline.rows.on_page = quoting(kind)
    expected = kind if issubclass(kind, PipelineError) else RuntimeError
    with pytest.raises(expected, match="not shown, since it may quote values") as caught:
        run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
    logging.getLogger("airflow.task").error("task failed", exc_info=caught.value)
    assert leaks(BIRDS, everything(pipeline, caplog) + repr(caught.value)) == []


@pytest.mark.parametrize(
    "body", ['{"user.email": "%s"', '["%s"', '{"user.email": "%s"} x', "%s", "[" * 100_000 + '"%s"']
)
@pytest.mark.parametrize("on_reject", ["fail", "quarantine"])
def test_a_document_that_cannot_be_searched_is_rejected_without_its_content(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, body: str, on_reject: str
) -> None:
    caplog.set_level(logging.DEBUG)
    seed(pipeline, 3)
    pipeline.rows.put(f"{ID}/bad", "2013-11-03T05:00:00Z", body % MAIL)
    runtime = pipeline.runtime(source=REDACT, audit={"on_reject": on_reject})
    if on_reject == "fail":
        with pytest.raises(DataError, match=r"source\.redact could not be applied"):
            run_window(runtime, pipeline.request(**AGAIN))
    else:
        outcome = run_window(runtime, pipeline.request(**AGAIN))
        assert outcome.audited is not None
        assert (outcome.audited.source_rows, outcome.audited.quarantined_rows) == (4, 1)
    assert leaks(BIRDS, everything(pipeline, caplog)) == []


def test_a_row_that_the_target_rejects_is_named_by_its_hash(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    seed(pipeline)
    runtime = pipeline.runtime(source=REDACT, audit={"on_reject": "fail"})
    runtime.target.limits = TargetLimits(max_body_bytes=10)
    with pytest.raises(DataError, match="record 'hmac:") as caught:
        run_window(runtime, pipeline.request(**AGAIN))
    assert leaks(BIRDS, everything(pipeline, caplog) + str(caught.value)) == []


def test_ids_that_repeat_are_named_by_their_hash(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    seed(pipeline, 3)
    runtime = pipeline.runtime(source=REDACT)
    twice = next(iter(pipeline.rows.rows.values()))
    pipeline.rows.rows["another"] = twice
    with pytest.raises(DataError, match="hmac:") as caught:
        run_window(runtime, pipeline.request(**AGAIN))
    assert leaks(BIRDS, everything(pipeline, caplog) + str(caught.value)) == []


# --- the key


def test_the_hash_is_stable_and_another_key_is_another_set_of_rules(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(pipeline, 1)
    seen = []
    for secret in (SECRET, SECRET, SECRET + "2"):
        set_key(monkeypatch, secret)
        run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
        seen.append((bodies(pipeline), entries(pipeline, Kind.COMMITTED)[-1].detail["rewritten"]))
    assert seen[0] == seen[1]
    assert len(bodies(pipeline)) == 1
    assert all(one != other for one, other in zip(seen[1], seen[2], strict=True))
    assert seen[2][1]["key"] in bodies(pipeline)[0][0]
    assert SECRET not in repr(seen)


@pytest.mark.parametrize(
    ("secret", "found"), [(None, "no password"), ("short", "a password of 5 characters")]
)
def test_without_a_usable_key_nothing_is_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, secret: str | None, found: str
) -> None:
    seed(pipeline)
    set_key(monkeypatch, secret)
    with pytest.raises(FatalError, match=f"'redact_key' has {found}.*openssl rand"):
        run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
    assert pipeline.rows.opened == 0
    assert not list((pipeline.folder / "stage").rglob("*.parquet"))


def test_without_the_connection_nothing_is_read(pipeline: Pipeline) -> None:
    seed(pipeline)
    with pytest.raises(FatalError, match="no_such_key"):
        run_window(
            pipeline.runtime(source={**REDACT, "redact_conn_id": "no_such_key"}), pipeline.request(**AGAIN)
        )
    assert pipeline.rows.opened == 0


# --- the record of the rules


def manifests(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in (pipeline.folder / "stage").rglob("manifest-*.json")]


def test_receipt_manifest_and_ledger_say_what_the_documents_are(pipeline: Pipeline) -> None:
    seed(pipeline)
    run_window(pipeline.runtime(source=REDACT), pipeline.request(**AGAIN))
    (manifest,) = manifests(pipeline)
    recorded = manifest["rewritten"]
    assert recorded["body"] == "redacted"
    receipts = [json.loads(path.read_bytes()) for path in (pipeline.folder / "stage").rglob("receipt-*.json")]
    assert [receipt["rewritten"] for receipt in receipts] == [recorded]
    for kind in (Kind.REPLACING, Kind.COMMITTED):
        assert [entry.detail["rewritten"] for entry in entries(pipeline, kind)] == [recorded]


def test_without_rules_nothing_is_done_or_written(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(pipeline)
    runtime = pipeline.runtime()
    assert redacted(runtime.source) is runtime.source
    monkeypatch.setattr("airflow_pipeline_provider.envelope.redactor.Redactor.batch", None)
    run_window(runtime, pipeline.request(**AGAIN))
    (manifest,) = manifests(pipeline)
    assert "rewritten" not in manifest
    assert all("rewritten" not in entry.detail for entry in runtime.state.entries(FIRST))
    assert bodies(pipeline)[0] == (f"{ID}/0", document(0))


def test_a_manifest_of_an_earlier_version_has_the_documents_of_the_source() -> None:
    old = (
        b'{"attempt":"abc","interval":["2013-11-03T04:00:00Z","2013-11-03T06:00:00Z"],"parts":[],'
        b'"pipeline_id":"flights","token":1,"version":1}'
    )
    manifest = Manifest.from_bytes(old)
    assert manifest.rewritten is None
    assert manifest.to_bytes() == old


def staged_files(pipeline: Pipeline, runtime: Runtime, run: str) -> tuple[Any, str, list[str]]:
    claim = generate(runtime, pipeline.request(run=run, **AGAIN)).claim
    assert claim is not None
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    receipts = [extract(runtime, claim, validated.attempt, slice_) for slice_ in validated.slices]
    return claim, validated.attempt, receipts


def test_files_of_other_rules_are_refused(pipeline: Pipeline) -> None:
    seed(pipeline)
    before, after = pipeline.runtime(), pipeline.runtime(source=REDACT)
    claim, attempt, receipts = staged_files(pipeline, before, "flights/a")
    with pytest.raises(
        DataError, match=r"slice 0 was extracted with other rules.*redacted \(rules .*got original"
    ):
        stage(after, claim, attempt, receipts)
    staged = stage(before, claim, attempt, receipts)
    with pytest.raises(DataError, match="the window was extracted with other rules"):
        load(after, claim, staged)
    assert entries(pipeline, Kind.REPLACING) == []


def test_a_load_with_other_rules_replaces_the_window(pipeline: Pipeline) -> None:
    seed(pipeline)
    seen = []
    for source in ({}, {"redact": [{"path": "user", "how": "drop"}]}, REDACT, {}):
        run_window(pipeline.runtime(source=source), pipeline.request(**AGAIN))
        assert len(bodies(pipeline)) == 20
        seen.append(entries(pipeline, Kind.COMMITTED)[-1].detail.get("rewritten", {}).get("body", "original"))
    assert seen == ["original", "redacted", "redacted", "original"]
    assert bodies(pipeline)[0] == (f"{ID}/0", document(0))


@pytest.mark.parametrize(("rules", "verdict"), [({}, "already_loaded"), (REDACT, "run")])
def test_what_an_ended_run_loaded_is_loaded_again_only_under_other_rules(
    pipeline: Pipeline, rules: dict[str, Any], verdict: str
) -> None:
    seed(pipeline)
    runtime = pipeline.runtime()
    claim, attempt, receipts = staged_files(pipeline, runtime, "flights/a")
    load(runtime, claim, stage(runtime, claim, attempt, receipts))
    later = pipeline.runtime(source=rules)
    assert (
        validate(later, msgspec.structs.replace(claim, kind=RunKind.LIVE, replace=False)).verdict == verdict
    )


def test_rules_that_nothing_applies_are_an_error(pipeline: Pipeline) -> None:
    source = pipeline.runtime(source=REDACT).source._source  # type: ignore[attr-defined]
    with pytest.raises(FatalError, match=r"source\.redact is not applied"):
        source.rewritten()


def test_an_error_without_content_keeps_its_class_and_the_sentence_that_is_safe() -> None:
    error = DataError(f"row {MAIL}", detail={"row": MAIL})
    error.without_content = "a row of index flights"
    hidden = content_free(error)
    assert (type(hidden), str(hidden), hidden.detail) == (DataError, "a row of index flights", {})  # type: ignore[attr-defined]
    assert hidden.__cause__ is hidden.__context__ is None


def test_the_folder_of_the_test_is_searched(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    """Without rules, the search finds all canaries: it looks where they would be."""
    seed(pipeline)
    run_window(pipeline.runtime(), pipeline.request(**AGAIN))
    assert len(leaks(BIRDS, everything(pipeline, caplog))) == len(BIRDS)
    assert Path(pipeline.folder / "stage").exists()
