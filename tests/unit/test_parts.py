"""Rows to part files: sizes, bounds, checks, and what is published when something goes wrong."""

from __future__ import annotations

import io
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.part_writer import ROW_GROUP_BYTES
from airflow_pipeline_provider.envelope.parts import iter_part, verify_part, write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import DataError

START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
WINDOW = Interval(START, START + timedelta(hours=2))
MICRO = timedelta(microseconds=1)


class Folder:
    """Published files by path, as a stage keeps them."""

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
    """Rows of (id, event time, body)."""
    columns = [[r[0] for r in rows], [r[1] for r in rows], ["flights"] * len(rows), [r[2] for r in rows]]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)],
        schema=ENVELOPE,
    )


def numbered(count: int, start: int = 0, body: int = 100) -> pa.RecordBatch:
    """Bodies that do not compress well."""
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


def test_rows_come_back_in_order_and_byte_for_byte(folder):
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


def test_a_new_part_begins_at_the_compressed_size(folder):
    parts = write(folder, [numbered(500, i * 500, body=1000) for i in range(20)], part_bytes=1_000_000)
    assert len(parts) > 3
    assert all(1_000_000 <= part.bytes < 1_800_000 for part in parts[:-1])
    assert sum(part.rows for part in parts) == 10_000
    ids = [row["RECORD_ID"] for part in parts for row in read(folder, part.path)]
    assert ids == [f"flights/{i}" for i in range(10_000)]
    assert [part.path.split("/")[-1].split("-")[:3] for part in parts] == [
        ["part", "3", str(n)] for n in range(len(parts))
    ]


def test_compressible_rows_roll_by_what_they_take_in_the_file(folder):
    rows = [batch(*((f"{n}-{i}", START, "x" * 1000) for i in range(1000))) for n in range(5)]
    assert len(write(folder, rows, part_bytes=1_000_000)) == 1  # 5 MB of rows, a few kB in the file


def test_two_calls_never_write_the_same_name(folder):
    first, second = write(folder, [numbered(1)]), write(folder, [numbered(1)])
    assert first[0].path != second[0].path


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        pytest.param(WINDOW.end, "2013-11-03T06:00:00Z", id="the end itself"),
        pytest.param(START - MICRO, "2013-11-03T03:59:59.999999Z", id="a microsecond before"),
        pytest.param(START - timedelta(days=400), "2012-09-29T04:00:00Z", id="long before"),
    ],
)
def test_a_row_outside_of_the_interval_is_named(folder, time, shown):
    with pytest.raises(DataError, match=r"record 'b'") as caught:
        write(folder, [batch(("a", START, "{}"), ("b", time, "{}"))])
    assert shown in str(caught.value)
    assert str(WINDOW) in str(caught.value)
    assert folder.files == {}


def test_a_body_over_the_limit_is_named_with_both_sizes(folder):
    assert write(folder, [batch(("a", START, "x" * 100))], limits=TargetLimits(max_body_bytes=100))
    with pytest.raises(DataError, match=r"record 'b': its body has 102 bytes, the target takes at most 100"):
        write(
            folder,
            [batch(("a", START, "{}"), ("b", START, "ü" * 51))],
            limits=TargetLimits(max_body_bytes=100),
        )


def test_another_schema_is_refused(folder):
    other = pa.RecordBatch.from_pydict({"RECORD_ID": ["a"], "EVENT_TIME": ["2013"]})
    with pytest.raises(DataError, match="expected the columns RECORD_ID string not null"):
        write(folder, [other])


def test_a_missing_value_is_named(folder):
    arrays = [
        pa.array(v, f.type)
        for v, f in zip([["a", "b"], [START, None], ["s", "s"], ["{}", "{}"]], ENVELOPE, strict=True)
    ]
    with pytest.raises(DataError, match="record 'b': EVENT_TIME is missing"):
        write(folder, [pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)])


@pytest.mark.parametrize("error", [KeyError("source broke"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_when_the_source_breaks_the_open_part_is_not_published(folder, error):
    def batches():
        yield numbered(2000, body=1000)
        yield numbered(10, 2000)
        raise error

    with pytest.raises(type(error)):
        write(folder, batches(), part_bytes=500_000)
    published = [row for path in folder.files for row in read(folder, path)]
    assert 0 < len(published) < 2010  # finished parts are whole and readable; the last one is not there


def test_when_the_store_breaks_its_error_comes_through(folder):
    @contextmanager
    def open_write(path):
        class Full(io.BytesIO):
            def write(self, data):
                raise OSError(28, "No space left on device")

        yield Full()

    with pytest.raises(OSError, match="No space left"):
        write(folder, [numbered(10)], open_write=open_write)


def test_memory_is_flat_in_the_number_of_rows(folder):
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


def test_a_huge_row_among_small_ones_gets_through(folder):
    rows = [(f"{i}", START, "{}") for i in range(100)]
    rows[50] = ("huge", START, '"' + "x" * (20 * 2**20) + '"')
    [part] = write(folder, [batch(*rows)], part_bytes=2**30)
    assert [r["BODY"] for r in read(folder, part.path)] == [r[2] for r in rows]
    metadata = pq.read_metadata(io.BytesIO(folder.files[part.path]))
    assert metadata.num_row_groups == 3


def test_the_footer_has_times_and_no_bodies(folder):
    [part] = write(folder, [numbered(50)])
    metadata = pq.read_metadata(io.BytesIO(folder.files[part.path]))
    columns = [metadata.row_group(0).column(i) for i in range(4)]
    assert [c.is_stats_set for c in columns] == [False, True, False, False]
    assert {c.compression for c in columns} == {"ZSTD"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"rows": 4}, "rows: expected 4, got 3", id="rows"),
        pytest.param({"bytes": 1}, "size: expected 1 bytes, got", id="size"),
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
def test_verify_names_what_differs(folder, change, said):
    [part] = write(folder, [numbered(3)])
    data = folder.files[part.path]
    verify_part(part, io.BytesIO(data), len(data))
    with pytest.raises(DataError, match="part-3-0-") as caught:
        verify_part(replace(part, **change), io.BytesIO(data), len(data))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "keep", [0, 10, -1, -200], ids=["empty", "10 bytes", "last byte gone", "footer gone"]
)
def test_verify_refuses_a_cut_file(folder, keep):
    [part] = write(folder, [numbered(100)])
    data = folder.files[part.path][:keep]
    with pytest.raises(DataError, match=r"size: expected .* footer: expected a Parquet file"):
        verify_part(part, io.BytesIO(data), len(data))


def test_verify_refuses_a_missing_file(folder):
    [part] = write(folder, [numbered(1)])
    with pytest.raises(DataError, match="the file is gone"):
        verify_part(part, io.BytesIO(), None)


def test_verify_refuses_a_file_of_other_columns(folder):
    [part] = write(folder, [numbered(1)])
    other = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(DataError, match="a file without the column RECORD_ID"):
        verify_part(part, io.BytesIO(other.getvalue()), part.bytes)


def test_reading_something_else_is_a_data_error():
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(iter_part(io.BytesIO(b"PAR1 nonsense PAR1")))
