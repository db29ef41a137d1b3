"""Write rows to part files: sizes, bounds, checks, and what is published after an error."""

from __future__ import annotations

import io
import re
import tracemalloc
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.part_writer import ROW_GROUP_BYTES
from airflow_pipeline_provider.envelope.parts import count_rows, iter_part, verify_part, write_parts
from airflow_pipeline_provider.envelope.rejections import rejections
from airflow_pipeline_provider.envelope.schema import ENVELOPE, QUARANTINE
from airflow_pipeline_provider.exceptions import DataError

START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
WINDOW = Interval(START, START + timedelta(hours=2))
MICRO = timedelta(microseconds=1)


class Folder:
    """Published files by path, like a stage."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    @contextmanager
    def open_write(self, path):
        assert path not in self.files
        buffer = io.BytesIO()
        yield buffer
        self.files[path] = buffer.getvalue()


@pytest.fixture
def folder() -> Folder:
    return Folder()


def batch(*rows: tuple) -> pa.RecordBatch:
    """Return rows of (id, event time, body)."""
    columns = [[r[0] for r in rows], [r[1] for r in rows], ["flights"] * len(rows), [r[2] for r in rows]]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)],
        schema=ENVELOPE,
    )


def numbered(count: int, start: int = 0, body: int = 100) -> pa.RecordBatch:
    """Return bodies that do not compress well."""
    import random

    chance = random.Random(start)
    return batch(
        *(
            (f"flights/{i}", START + i * MICRO, f'{{"x":"{chance.randbytes(body // 2).hex()}"}}')
            for i in range(start, start + count)
        )
    )


def write(folder: Folder, batches, **changes):
    arguments = {
        "open_write": folder.open_write,
        "folder": "2013-11-03/w/a1",
        "index": 3,
        "interval": WINDOW,
        "part_bytes": 10**6,
    }
    written = write_parts(iter(batches), **(arguments | changes))
    assert written.quarantined == []
    return written.parts


def read(folder: Folder, path: str) -> list[dict]:
    return [row for b in iter_part(io.BytesIO(folder.files[path])) for row in b.to_pylist()]


def test_rows_are_read_in_order_and_byte_for_byte(folder):
    rows = [
        ("a", START, '{"n": 1.0, "big": 123456789012345678901234567890}'),
        ("ü'\"\\", START + MICRO, '{ "text":"\\u00fc 🛩 \\n" }'),
        ("c", WINDOW.end - MICRO, "{}"),
    ]
    [part] = write(folder, [batch(*rows[:2]), batch(), batch(rows[2])])
    assert [(r["RECORD_ID"], r["EVENT_TIME"], r["BODY"]) for r in read(folder, part.path)] == rows
    assert (part.rows, part.bytes) == (3, len(folder.files[part.path]))
    assert (part.min_event_time, part.max_event_time) == (START, WINDOW.end - MICRO)


def test_the_read_batches_have_the_envelope_schema(folder):
    [part] = write(folder, [numbered(3)])
    [only] = iter_part(io.BytesIO(folder.files[part.path]))
    assert only.schema == ENVELOPE


@pytest.mark.parametrize(
    "batches", [[], [batch()], [batch(), batch()]], ids=["no batch", "an empty one", "two"]
)
def test_no_rows_make_no_file(folder, batches):
    assert write(folder, batches) == []
    assert folder.files == {}


def test_a_new_part_starts_at_the_compressed_size(folder):
    parts = write(folder, [numbered(500, i * 500, body=1000) for i in range(20)], part_bytes=1_000_000)
    assert len(parts) > 3
    assert all(1_000_000 <= part.bytes < 1_800_000 for part in parts[:-1])
    assert sum(part.rows for part in parts) == 10_000
    ids = [row["RECORD_ID"] for part in parts for row in read(folder, part.path)]
    assert ids == [f"flights/{i}" for i in range(10_000)]
    assert [part.path.split("/")[-1].split("-")[:3] for part in parts] == [
        ["part", "3", str(n)] for n in range(len(parts))
    ]


def test_part_size_is_measured_after_compression(folder):
    rows = [batch(*((f"{n}-{i}", START, "x" * 1000) for i in range(1000))) for n in range(5)]
    assert len(write(folder, rows, part_bytes=1_000_000)) == 1  # 5 MB of rows, a few kB in the file


def test_two_calls_never_write_the_same_name(folder):
    first, second = write(folder, [numbered(1)]), write(folder, [numbered(1)])
    assert first[0].path != second[0].path


@pytest.mark.parametrize(
    ("time", "message"),
    [
        pytest.param(WINDOW.end, "2013-11-03T06:00:00Z", id="the end itself"),
        pytest.param(START - MICRO, "2013-11-03T03:59:59.999999Z", id="a microsecond before"),
        pytest.param(START - timedelta(days=400), "2012-09-29T04:00:00Z", id="long before"),
    ],
)
def test_a_row_outside_the_interval_is_reported(folder, time, message):
    with pytest.raises(DataError, match=r"record 'b'") as caught:
        write(folder, [batch(("a", START, "{}"), ("b", time, "{}"))])
    assert message in str(caught.value)
    assert str(WINDOW) in str(caught.value)
    assert folder.files == {}


def test_a_body_over_the_limit_is_reported_with_both_sizes(folder):
    assert write(folder, [batch(("a", START, "x" * 100))], limits=TargetLimits(max_body_bytes=100))
    with pytest.raises(
        DataError, match=r"record 'b': its body has 102 bytes, the target accepts at most 100"
    ):
        write(
            folder,
            [batch(("a", START, "{}"), ("b", START, "ü" * 51))],
            limits=TargetLimits(max_body_bytes=100),
        )


def test_rejected_rows_are_written_to_quarantine_files(folder):
    rows = [(f"r{i}", START + i * MICRO, "x" * (102 if i % 4 == 1 else 100)) for i in range(10)]
    parts, kept = write_parts(
        iter([batch(*rows[:5]), batch(rows[1]), batch(*rows[6:9])]),
        open_write=folder.open_write,
        folder="w/a1",
        index=2,
        interval=WINDOW,
        part_bytes=10**6,
        limits=TargetLimits(max_body_bytes=100),
        on_reject="quarantine",
    )
    assert [row["RECORD_ID"] for part in parts for row in read(folder, part.path)] == [
        *("r0", "r2", "r3", "r4", "r6", "r7", "r8")
    ]
    [part] = kept
    assert part.path.startswith("w/a1/quarantine-2-0-")
    assert (part.rows, part.min_event_time, part.max_event_time) == (2, START + MICRO, START + MICRO)
    verify_part(part, io.BytesIO(folder.files[part.path]), len(folder.files[part.path]))
    table = pq.read_table(io.BytesIO(folder.files[part.path]))
    assert table.schema == QUARANTINE
    reason = "its body has 102 bytes, the target accepts at most 100"
    assert table.to_pylist()[0] == {
        "RECORD_ID": "r1",
        "EVENT_TIME": START + MICRO,
        "SOURCE_NAME": "flights",
        "BODY": "x" * 102,
        "REASON": reason,
    }


def test_quarantine_files_have_the_part_size(folder):
    parts, kept = write_parts(
        iter([numbered(500, i * 500, body=1000) for i in range(6)]),
        open_write=folder.open_write,
        folder="w/a1",
        index=0,
        interval=WINDOW,
        part_bytes=500_000,
        limits=TargetLimits(max_body_bytes=10),
        on_reject="quarantine",
    )
    assert parts == []
    assert len(kept) > 2
    assert sum(part.rows for part in kept) == 3000
    assert sorted(folder.files) == sorted(part.path for part in kept)


def test_a_source_error_publishes_no_quarantine_file(folder):
    def batches():
        yield batch(("a", START, "{}"), ("b", START, "x" * 11))
        raise KeyError("source broke")

    with pytest.raises(KeyError):
        write(folder, batches(), limits=TargetLimits(max_body_bytes=10), on_reject="quarantine")
    assert folder.files == {}


@pytest.mark.parametrize(
    "row",
    [pytest.param(("b", WINDOW.end, "{}"), id="time outside"), pytest.param(("b", None, "{}"), id="no time")],
)
def test_a_fault_of_the_source_is_not_quarantined(folder, row):
    columns = [["a", row[0]], [START, row[1]], ["s", "s"], ["{}", row[2]]]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)]
    with pytest.raises(DataError, match=r"record 'b': .* so the row is not quarantined"):
        write(folder, [pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)], on_reject="quarantine")


JSON = TargetLimits(needs_json=True)
NO_NUL = TargetLimits(takes_nul=False)
DEEP = "[" * 1_000_000 + "]" * 1_000_000  # Python 3.14 reads 100,000 levels


@pytest.mark.parametrize(
    ("limits", "row", "reason"),
    [
        pytest.param(
            JSON, ("b", "s", '{"a": [1, 1e999, "\\u0000"],\n"a": null}\n'), None, id="any valid JSON"
        ),
        pytest.param(JSON, ("b", "s", ""), "not JSON .*truncated", id="empty"),
        pytest.param(JSON, ("b", "s", '{"a": NaN}'), "not JSON .*invalid character", id="NaN"),
        pytest.param(JSON, ("b", "s", '{"a": 1} {"a": 2}'), "not JSON .*trailing", id="two documents"),
        pytest.param(JSON, ("b", "s", '"a\nb"'), "not JSON .*invalid character", id="raw newline in a text"),
        pytest.param(JSON, ("b", "s", '{"a": "\\ud800 and on"}'), "not JSON", id="a lone surrogate"),
        pytest.param(JSON, ("b", "s", DEEP), "not JSON .*nested too deeply", id="too deep"),
        pytest.param(
            TargetLimits(max_depth=900), ("b", "s", f"{'[' * 900}{']' * 900}"), None, id="as deep as allowed"
        ),
        pytest.param(
            TargetLimits(max_depth=900),
            ("b", "s", f'{{"a":"[{{","b":{"[" * 900}1{"]" * 900}}}'),
            "deeper than 900 levels",
            id="one level too deep",
        ),
        pytest.param(TargetLimits(max_depth=900), ("b", "s", DEEP), "deeper than 900 levels", id="very deep"),
        pytest.param(
            TargetLimits(max_depth=9),
            ("b", "s", f'{{"a":"{"[" * 99}","b":[{"[]," * 99}1]}}'),
            None,
            id="wide",
        ),
        pytest.param(NO_NUL, ("b", "s", '"\\u0000"'), None, id="NUL as an escape"),
        pytest.param(NO_NUL, ("b", "s", "a\0b"), "its BODY contains a NUL", id="NUL in the body"),
        pytest.param(NO_NUL, ("b\0", "s", "{}"), "its RECORD_ID contains a NUL", id="NUL in the id"),
        pytest.param(NO_NUL, ("b", "\0", "{}"), "its SOURCE_NAME contains a NUL", id="NUL in the name"),
        pytest.param(
            TargetLimits(max_body_bytes=2, needs_json=True, takes_nul=False),
            ("b", "s", "{\0}"),
            "its body has 3 bytes.*; its BODY contains a NUL.*; its body is not JSON",
            id="every reason is reported",
        ),
        pytest.param(TargetLimits(), ("b\0", "\0", "not JSON \0"), None, id="no limits"),
    ],
)
def test_limits_reject_rows_with_a_reason(limits, row, reason):
    ids, names, bodies = zip(("a", "s", "{}"), row, ("c", "s", "{}"), strict=True)
    columns = [list(ids), [START] * 3, list(names), list(bodies)]
    rows = pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)],
        schema=ENVELOPE,
    )
    for part, number in ((rows, 1), (rows.slice(1), 0)):
        found = rejections(part, limits)
        if reason is None:
            assert found == {}
        else:
            assert list(found) == [number]
            assert re.search(reason, found[number], re.DOTALL)
    assert rejections(rows.slice(2), limits) == {}


def test_another_schema_is_refused(folder):
    other = pa.RecordBatch.from_pydict({"RECORD_ID": ["a"], "EVENT_TIME": ["2013"]})
    with pytest.raises(DataError, match="expected the columns RECORD_ID string not null"):
        write(folder, [other])


def test_a_missing_value_is_reported(folder):
    arrays = [
        pa.array(v, f.type)
        for v, f in zip([["a", "b"], [START, None], ["s", "s"], ["{}", "{}"]], ENVELOPE, strict=True)
    ]
    with pytest.raises(DataError, match="record 'b': EVENT_TIME is missing"):
        write(folder, [pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)])


@pytest.mark.parametrize("error", [KeyError("source broke"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_source_error_does_not_publish_the_open_part(folder, error):
    def batches():
        yield numbered(2000, body=1000)
        yield numbered(10, 2000)
        raise error

    with pytest.raises(type(error)):
        write(folder, batches(), part_bytes=500_000)
    published = [row for path in folder.files for row in read(folder, path)]
    assert 0 < len(published) < 2010  # complete parts are readable; the last one is not published


def test_a_stage_error_is_raised_unchanged(folder):
    @contextmanager
    def open_write(path):
        class Full(io.BytesIO):
            def write(self, data):
                raise OSError(28, "No space left on device")

        yield Full()

    with pytest.raises(OSError, match="No space left"):
        write(folder, [numbered(10)], open_write=open_write)


def test_a_stage_error_at_the_first_or_last_byte_reaches_the_stage(folder):
    """An error inside the block of `open_write` tells a stage to publish nothing."""
    heard = []

    class Breaks(io.BytesIO):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.left = after

        def write(self, data):
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return super().write(data)

    for after in range(40):

        @contextmanager
        def open_write(path, after=after):
            try:
                yield Breaks(after)
            except OSError as error:
                heard.append((after, error.errno))
                raise

        try:
            write(folder, [numbered(10)], open_write=open_write)
        except OSError:
            assert heard[-1] == (after, 28)
        else:
            break
    assert [number for number, _ in heard] == list(range(after))
    assert after > 3


def test_memory_does_not_grow_with_the_number_of_rows(folder):
    @contextmanager
    def open_write(path):
        class Hole(io.RawIOBase):
            def writable(self):
                return True

            def write(self, data):
                return len(data)

        yield Hole()

    one = numbered(1000, body=4000)
    before = pa.total_allocated_bytes()
    peak = 0

    def batches():
        nonlocal peak
        for _ in range(60):  # 240 MB
            peak = max(peak, pa.total_allocated_bytes() - before)
            yield pa.RecordBatch.from_arrays([pa.concat_arrays([c]) for c in one.columns], schema=ENVELOPE)

    tracemalloc.start()
    write(folder, batches(), open_write=open_write, part_bytes=10**9)
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * ROW_GROUP_BYTES
    assert python_peak < 4 * ROW_GROUP_BYTES


def test_large_documents_that_compress_well_are_read_back_in_bounded_batches(folder):
    """A file of some kilobytes contains 250 documents of 1 MB, so its size does not limit a batch."""
    documents = (batch((f"r{n}", START, f'{{"n":{n},"t":"{"x" * 1_000_000}"}}')) for n in range(250))
    [part] = write(folder, documents)
    assert part.bytes < 1_000_000
    before = pa.total_allocated_bytes()
    ids, peak = [], 0
    for one in iter_part(io.BytesIO(folder.files[part.path])):
        assert one.nbytes < 1.1 * ROW_GROUP_BYTES
        peak = max(peak, pa.total_allocated_bytes() - before)
        ids += one.column("RECORD_ID").to_pylist()
    assert ids == [f"r{n}" for n in range(250)]
    assert peak < 6 * ROW_GROUP_BYTES


def test_a_huge_row_among_small_ones_is_written(folder):
    rows = [(f"{i}", START, "{}") for i in range(100)]
    rows[50] = ("huge", START, '"' + "x" * (20 * 2**20) + '"')
    [part] = write(folder, [batch(*rows)], part_bytes=2**30)
    assert [r["BODY"] for r in read(folder, part.path)] == [r[2] for r in rows]
    metadata = pq.read_metadata(io.BytesIO(folder.files[part.path]))
    assert metadata.num_row_groups == 3


@pytest.mark.parametrize(
    ("changes", "codec"),
    [({}, "ZSTD"), ({"compression": "zstd"}, "ZSTD"), ({"compression": "lz4"}, "LZ4")],
    ids=["default", "zstd", "lz4"],
)
def test_the_footer_has_times_and_no_bodies(folder, changes, codec):
    [part] = write(folder, [numbered(50)], **changes)
    metadata = pq.read_metadata(io.BytesIO(folder.files[part.path]))
    columns = [metadata.row_group(0).column(i) for i in range(4)]
    assert [c.is_stats_set for c in columns] == [False, True, False, False]
    assert {c.compression for c in columns} == {codec}


def test_lz4_parts_have_the_codec_that_other_readers_name_lz4_raw(folder, tmp_path):
    """pyarrow writes and reads LZ4_RAW under the name LZ4; DuckDB names the two codecs apart."""
    [part] = write(folder, [numbered(50)], compression="lz4")
    path = tmp_path / "part.parquet"
    path.write_bytes(folder.files[part.path])
    codecs = duckdb.sql(f"SELECT DISTINCT compression FROM parquet_metadata('{path}')").fetchall()
    assert codecs == [("LZ4_RAW",)]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_verify_refuses_each_flipped_bit(folder, compression):
    [part] = write(folder, [numbered(30, body=40)], compression=compression)
    data = folder.files[part.path]
    verify_part(part, io.BytesIO(data), len(data))
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(DataError, match="content: expected the sha256"):
            verify_part(part, io.BytesIO(flipped), len(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"rows": 4}, "rows: expected 4, got 3", id="rows"),
        pytest.param({"bytes": 1}, "size: expected 1 byte, got", id="size"),
        pytest.param(
            {"min_event_time": START + MICRO},
            "smallest EVENT_TIME: expected 2013-11-03T04:00:00.000001Z, got 2013-11-03T04:00:00Z",
            id="min",
        ),
        pytest.param(
            {"max_event_time": WINDOW.end}, "largest EVENT_TIME: expected 2013-11-03T06:00:00Z, got", id="max"
        ),
    ],
)
def test_verify_reports_each_difference(folder, change, message):
    [part] = write(folder, [numbered(3)])
    data = folder.files[part.path]
    verify_part(part, io.BytesIO(data), len(data))
    with pytest.raises(DataError, match="part-3-0-") as caught:
        verify_part(replace(part, **change), io.BytesIO(data), len(data))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "keep", [0, 10, -1, -200], ids=["empty", "10 bytes", "last byte gone", "footer gone"]
)
def test_verify_refuses_a_cut_file(folder, keep):
    [part] = write(folder, [numbered(100)])
    data = folder.files[part.path][:keep]
    with pytest.raises(DataError, match=r"size: expected [0-9,]+ bytes, got [0-9,]+\)"):
        verify_part(part, io.BytesIO(data), len(data))
    with pytest.raises(DataError, match="footer: expected a Parquet file"):
        verify_part(replace(part, bytes=len(data), sha256=None), io.BytesIO(data), len(data))


def test_verify_refuses_a_missing_file(folder):
    [part] = write(folder, [numbered(1)])
    with pytest.raises(DataError, match="the file is missing"):
        verify_part(part, io.BytesIO(), None)


def test_verify_refuses_a_file_of_other_columns(folder):
    [part] = write(folder, [numbered(1)])
    other = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(DataError, match="a file without the column RECORD_ID"):
        verify_part(replace(part, sha256=None), io.BytesIO(other.getvalue()), part.bytes)


def test_reading_another_file_is_a_data_error():
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(iter_part(io.BytesIO(b"PAR1 nonsense PAR1")))


def test_rows_of_parts_are_counted_by_interval(folder):
    minute = timedelta(minutes=1)
    rows = [(f"r{i}", START + i * minute, "{}") for i in range(120)]
    parts = write(folder, [batch(*rows[:60]), batch(*rows[60:])], part_bytes=1)
    assert len(parts) > 2
    opened = []

    @contextmanager
    def open_read(path):
        opened.append(path)
        yield io.BytesIO(folder.files[path])

    def counted(*minutes):
        opened.clear()
        intervals = [Interval(START + low * minute, START + high * minute) for low, high in minutes]
        return count_rows(parts, intervals, open_read)

    assert counted((0, 120)) == [120]
    assert opened == [], "every part lies inside"
    assert counted((-90, 0), (120, 200)) == [0, 0]
    assert opened == [], "every part lies outside"
    assert counted((0, 7), (7, 8), (30, 61), (118, 300)) == [7, 1, 31, 2]
    assert counted() == []


def test_rows_of_one_file_are_counted_by_interval_and_to_the_microsecond(folder):
    rows = [("a", START, "{}"), ("b", START + MICRO, "{}"), ("c", START + 5 * MICRO, "{}")]
    parts = write(folder, [batch(*reversed(rows))])

    @contextmanager
    def open_read(path):
        yield io.BytesIO(folder.files[path])

    bounds = [Interval(START + low * MICRO, START + high * MICRO) for low, high in ((0, 1), (1, 5), (5, 6))]
    assert count_rows(parts, bounds, open_read) == [1, 1, 1]


def test_counting_in_another_file_is_a_data_error(folder):
    [part] = write(folder, [numbered(3)])

    @contextmanager
    def open_read(path):
        yield io.BytesIO(b"PAR1 nonsense PAR1")

    with pytest.raises(DataError, match="not a readable Parquet file"):
        count_rows([part], [Interval(START, START + MICRO)], open_read)
