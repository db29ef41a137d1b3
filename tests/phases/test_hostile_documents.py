"""Hostile documents moved by all phases: each comes through to the byte, or is refused by name in one line.

Rows in memory → files → DuckDB for every document, an Elasticsearch in memory for what is peculiar to it.  What the
other targets take is declared by their limits, which are asked here too; docs/reliability.md has the table in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from osmem_server import OsmemServer

from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.rejections import rejections
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import DataError
from tests.connectors.elasticsearch.places import CONN_ID, Server

from .conftest import Pipeline

AT = "2013-11-03T05:00:00Z"
FIFTEEN_MB = '{"text":"' + "é" * 7_500_000 + '"}'
ALL = frozenset({"duckdb", "postgres", "snowflake"})
NO_JSON = frozenset({"snowflake", "postgres"})
KEY_TWICE = frozenset({"snowflake"})
# body -> which targets refuse it
BODIES: dict[str, tuple[str, frozenset[str]]] = {
    "quotes and SQL": ('{"a":"\'; DROP TABLE flights; --","b":"\\"","c":"%s %(x)s $1 ?"}', frozenset()),
    "paths and templates": ('{"a":"../../etc/passwd","b":"{{ 7 * 7 }}","c":"${HOME}"}', frozenset()),
    "hostile keys": ('{"a\\"b":1,"../x":2,"%s":3," ":4,"":5,"{{ x }}":6}', frozenset()),
    "look-alikes": ('{"flіghts":"ｆlights","rtl":"\u202e","zero":"\u200b","e":"e\u0301"}', frozenset()),
    "duplicate keys": ('{"a":1,"a":2}', KEY_TWICE),
    "duplicate keys by escape": ('{"a":1,"\\u0061":2}', KEY_TWICE),
    "duplicate keys inside": ('{"list":[{"deep":{"k":1,"b":{"x":1},"k":2}}]}', KEY_TWICE),
    "the same key elsewhere": ('{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}],"c":"\\"a\\":"}', frozenset()),
    "newline between": ('{\n"a":1,\r\n\t"b":2}\n', frozenset()),
    "raw newline in a text": ('{"a":"x\ny"}', NO_JSON),
    "raw tab in a text": ('{"a":"x\ty"}', NO_JSON),
    "line separators": ('{"a":"x\u2028y\u2029z\u0085"}', frozenset()),
    "numbers beyond 2^53": ('{"a":9007199254740993,"b":-9223372036854775809,"c":1e3}', frozenset()),
    "38 digits": ('{"a":' + "9" * 38 + ',"b":0.1000000000000000055511151231257827}', frozenset()),
    "300 digits": ('{"a":' + "9" * 300 + "}", frozenset()),
    "beyond any float": ('{"a":1e400,"b":-0,"c":1.10}', frozenset()),
    "NaN": ('{"a":NaN,"b":Infinity}', NO_JSON),
    "half a pair, escaped": ('{"a":"\\ud800"}', NO_JSON),
    "half a pair, escaped, as a key": ('{"\\udc00":1}', NO_JSON),
    "NUL, escaped": ('{"a":"x\\u0000y"}', frozenset({"postgres"})),
    "NUL": ('{"a":"x\0y"}', frozenset({"snowflake", "postgres"})),
    "byte order mark": ('\ufeff{"a":1}', NO_JSON),
    "comment": ('{"a":1 /* one */}', NO_JSON),
    "nothing": ("", NO_JSON),
    "cut off": ('{"a":', NO_JSON),
    "900 levels": ('{"a":' + "[" * 900 + "]" * 900 + "}", frozenset()),
    "100,000 levels": ("[" * 100_000 + "]" * 100_000, NO_JSON),
    "15 MB": (FIFTEEN_MB, frozenset()),
}  # fmt: skip
LIMITS = {
    "duckdb": DuckDBTarget.limits,
    "postgres": PostgresTarget.limits,
    "snowflake": SnowflakeTarget.limits,
}


@pytest.mark.parametrize("body", BODIES)
def test_each_target_takes_a_body_or_says_why_not(body: str) -> None:
    text, refused_by = BODIES[body]
    row = {"RECORD_ID": "x", "EVENT_TIME": parse_utc(AT), "SOURCE_NAME": "flights", "BODY": text}
    batch = pa.RecordBatch.from_pylist([row], ENVELOPE)
    told = {target: rejections(batch, limits) for target, limits in LIMITS.items()}
    assert {target for target, reasons in told.items() if reasons} == refused_by
    for reasons in told.values():
        assert all(reason.isprintable() and len(reason) < 300 for reason in reasons.values())


@pytest.mark.parametrize(
    "body", [body for body, (_, refused_by) in BODIES.items() if "duckdb" not in refused_by]
)
def test_a_body_that_is_taken_comes_through_to_the_byte(pipeline: Pipeline, body: str) -> None:
    pipeline.rows.put("flights/x", AT, BODIES[body][0])
    assert pipeline.move(pipeline.runtime(granularity="1d")).audited
    assert pipeline.target_rows()["flights/x"][1] == BODIES[body][0]


@pytest.mark.parametrize("body", ["duplicate keys", "raw newline in a text", "100,000 levels", "nothing"])
def test_a_body_that_is_refused_is_named_and_nothing_is_loaded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(DuckDBTarget, "limits", SnowflakeTarget.limits)
    pipeline.rows.put("flights/x", AT, BODIES[body][0])
    pipeline.rows.put("flights/fine", AT)
    with pytest.raises(DataError) as caught:
        pipeline.move(pipeline.runtime(granularity="1d"))
    assert caught.value.message.startswith("record 'flights/x': its body ")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert not (pipeline.folder / "lake.duckdb").exists() or pipeline.target_rows() == {}


@pytest.mark.parametrize(
    "body", ["duplicate keys", "raw newline in a text", "half a pair, escaped", "NUL", "nothing"]
)
def test_what_is_refused_can_be_quarantined_to_the_byte(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(DuckDBTarget, "limits", SnowflakeTarget.limits)
    pipeline.rows.put("flights/x", AT, BODIES[body][0])
    pipeline.rows.put("flights/fine", AT)
    outcome = pipeline.move(pipeline.runtime(granularity="1d", audit={"on_reject": "quarantine"}))
    assert outcome.audited
    assert list(pipeline.target_rows()) == ["flights/fine"]
    (file,) = (name for name in pipeline.stage_files() if "/quarantine-" in name)
    [row] = pq.read_table(pipeline.folder / "stage" / file).to_pylist()
    assert (row["RECORD_ID"], row["BODY"]) == ("flights/x", BODIES[body][0])
    assert row["REASON"].isprintable()


def test_a_body_of_a_byte_more_than_the_target_takes_is_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DuckDBTarget, "limits", TargetLimits(max_body_bytes=len(FIFTEEN_MB.encode()) - 1))
    pipeline.rows.put("x", AT, FIFTEEN_MB)
    with pytest.raises(DataError, match="has 15,000,011 bytes, the target accepts at most 15,000,010"):
        pipeline.move(pipeline.runtime(granularity="1d"))


IDS = ["'", '"', "%s", "../../up", "a\nb", "; DROP TABLE flights --", "{{ 7 * 7 }}"]
IDS += ["flіghts", "\u202e", " ", "", "\\", "x" * 5000]  # fmt: skip


def test_hostile_ids_come_through(pipeline: Pipeline) -> None:
    for key in IDS:
        pipeline.rows.put(key, AT)
    assert pipeline.move(pipeline.runtime(granularity="1d")).audited
    assert set(pipeline.target_rows()) == set(IDS)


def test_dates_at_the_ends_of_the_calendar_belong_to_no_window_and_harm_none(pipeline: Pipeline) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, timezone.utc)
    for n, moment in enumerate((datetime(1, 1, 1, tzinfo=timezone.utc), last)):
        pipeline.rows.put(f"far{n}", moment)
    pipeline.rows.put("untimed", None)
    pipeline.rows.put("near", AT)
    outcomes = pipeline.move_all(pipeline.runtime(granularity="1d", validate={"max_staleness": "1d"}))
    assert sum(outcome.audited is not None for outcome in outcomes) == 1
    assert set(pipeline.target_rows()) == {"near"}


@pytest.mark.parametrize("table", ["select", "main.group", "main." + "a" * 200, "main._", "main.TABLE"])
def test_a_table_named_like_a_keyword_is_a_table(pipeline: Pipeline, table: str) -> None:
    import duckdb

    path = str(pipeline.folder / 'o\'neil "50%" {x}\n.duckdb')
    pipeline.rows.put("x", AT)
    runtime = pipeline.runtime(granularity="1d", target={"type": "duckdb", "path": path, "table": table})
    assert pipeline.move(runtime).audited
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    with duckdb.connect(path) as connection:
        assert connection.execute(f"SELECT RECORD_ID FROM {quoted}").fetchall() == [("x",)]


@pytest.mark.parametrize(
    "folder", ["o'neil", 'say "x"', "50% %41 %s", "{{ x }}", "[a]*", "flіghts ✈ \u202e", "a b", "--; DROP", "~"]
)  # fmt: skip
def test_a_stage_in_a_hostile_folder(pipeline: Pipeline, folder: str) -> None:
    pipeline.rows.put("x", AT)
    stage = {"path": str(pipeline.folder / "stage" / folder)}
    assert pipeline.move(pipeline.runtime(granularity="1d", stage=stage)).audited
    assert set(pipeline.target_rows()) == {"x"}
    assert [path.name for path in (pipeline.folder / "stage").iterdir()] == [folder]


# --- Elasticsearch in memory → files → DuckDB


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = OsmemServer.start(japanese=False)
    yield server.url
    server.close()
    assert server.process.stdout is not None
    server.process.stdout.close()


@pytest.fixture
def server(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", url)
    made = Server(url)
    yield made
    made.clean()


def searched(pipeline: Pipeline, index: str, time_field: str = "ts", **more: Any) -> Any:
    source = {"type": "elasticsearch", "conn_id": CONN_ID, "index": index, "time_field": time_field, **more}
    return pipeline.runtime(granularity="1d", source=source)


FIELDS = ["a'b", "a%b", "%s", "{{x}}", "ｆield", "a.b", "a:b", "a/b", "a&b=c"]  # fmt: skip
FIELDS += ["a+#b", "x" * 300]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field[:20])
def test_a_time_field_with_a_hostile_name(pipeline: Pipeline, server: Server, field: str) -> None:
    index = server.index(properties={field: {"type": "date"}})
    body = json.dumps({field: AT}, ensure_ascii=False, separators=(",", ":"))
    server.put(index, {"x": body})
    assert pipeline.move(searched(pipeline, index, field)).audited
    assert {row[1] for row in pipeline.target_rows().values()} == {body}


INDICES = ["%s", "%2e%2e", "flіghts", "{{x}}", "a;b", "a&b=c", "(a)", "a@b", "a+b"]  # fmt: skip
INDICES += ["!a", "[0]", "..a"]


@pytest.mark.parametrize("suffix", INDICES)
def test_an_index_with_a_hostile_name(pipeline: Pipeline, server: Server, suffix: str) -> None:
    from urllib.parse import quote

    name = server.name() + suffix
    server.index(quote(name, safe=""))
    server.must("PUT", f"/{quote(name, safe='')}/_doc/x?refresh=true", {"ts": AT})
    assert pipeline.move(searched(pipeline, name)).audited
    assert set(pipeline.target_rows()) == {f"{name}/x"}


def test_a_name_that_only_looks_like_the_index_is_another_index(pipeline: Pipeline, server: Server) -> None:
    from airflow_pipeline_provider.exceptions import FatalError

    index = server.index(server.name("flights"))
    with pytest.raises(FatalError, match="has no index 'flіghts"):
        pipeline.move(searched(pipeline, index.replace("flights", "flіghts")))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param('{"ts":"%s","a":"\\ud800"}', "surrogate pair", id="half a pair"),
        pytest.param('{"ts":["%s","2013-11-04T12:00:00Z"]}', "2 dates", id="two dates"),
    ],
)
def test_a_document_that_no_target_takes_is_named_and_blocks_its_window_alone(
    pipeline: Pipeline, server: Server, body: str, words: str
) -> None:
    index = server.index()
    server.put(index, {"bad": body % AT, "ok": f'{{"ts":"{AT}"}}', "later": '{"ts":"2013-11-04T12:00:00Z"}'})
    runtime = searched(pipeline, index)
    with pytest.raises(DataError, match=words) as caught:
        pipeline.move(runtime)
    assert f"{index}/bad" in caught.value.message
    assert caught.value.message.isprintable()
    assert not (pipeline.folder / "lake.duckdb").exists() or pipeline.target_rows() == {}


@pytest.mark.parametrize(
    ("instant", "inside"),
    [
        ("2013-11-03T03:59:59.999999999Z", False),
        ("2013-11-03T04:00:00.000000000Z", True),
        ("2013-11-04T04:59:59.999999999Z", True),
        ("2013-11-04T05:00:00.000000000Z", False),
        ("2262-04-11T23:47:16.854775807Z", False),
        ("1970-01-01T00:00:00.000000001Z", False),
    ],
)
def test_nanoseconds_at_the_bounds_of_a_day(
    pipeline: Pipeline, server: Server, instant: str, inside: bool
) -> None:
    index = server.index(time={"type": "date_nanos"})
    server.put(index, {"x": f'{{"ts":"{instant}"}}', "near": f'{{"ts":"{AT}"}}'})
    assert pipeline.move(searched(pipeline, index)).audited
    rows = pipeline.target_rows()
    assert (f"{index}/x" in rows) is inside
    if inside:
        floored = parse_utc(instant[:26] + "Z")
        assert rows[f"{index}/x"][0] - floored < timedelta(microseconds=1)


@pytest.mark.parametrize(
    "instant", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "-0044-03-15T00:00:00Z"]
)
def test_documents_at_the_ends_of_the_calendar_harm_no_window(
    pipeline: Pipeline, server: Server, instant: str
) -> None:
    index = server.index()
    status, _ = server.ask("PUT", f"/{index}/_doc/far?refresh=true", {"ts": instant})
    assert status == 201
    server.put(index, {"near": f'{{"ts":"{AT}"}}'})
    runtime = searched(pipeline, index)
    assert pipeline.move(runtime).audited
    assert set(pipeline.target_rows()) == {f"{index}/near"}
    runtime.source.newest_event_time()
