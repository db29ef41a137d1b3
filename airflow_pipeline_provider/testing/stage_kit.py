"""Test that a stage meets its contract: subclass `StageConformance` and override the fixture `stage`.

::

    class TestMyStage(StageConformance):
        @pytest.fixture
        def stage(self, tmp_path):
            return MyStage(MyStage.Options(...), Identity("kit", "UTC"))
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest

from airflow_pipeline_provider.config.options import Compression
from airflow_pipeline_provider.connectors.base import Stage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.parts import iter_part, verify_part, write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.testing.properties import stage as properties
from airflow_pipeline_provider.testing.properties.judging import NotApplicableError

_FOLDER = "2013-11-03/flights.20131103T040000Z-20131103T060000Z/a1"
_START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
_LARGE = 20 * 2**20  # more than one piece of a multipart upload


def lab_of(stage: Stage) -> properties.StageLab:
    """Return the place for the properties that `certify` tests too."""
    return properties.StageLab(lambda: type(stage)(stage.options, stage.identity), "lab")


class StageConformance:
    """Tests of the contract `connectors.base.Stage`; the stage must be empty at the start of each test."""

    @pytest.fixture
    def stage(self) -> Stage:
        raise NotImplementedError("override the fixture `stage`")

    # --- names

    def test_base_is_a_url_without_credentials(self, stage: Stage) -> None:
        scheme, separator, rest = stage.base.partition("://")
        assert scheme
        assert separator
        assert rest
        assert "@" not in rest
        assert not stage.base.endswith("/")
        assert stage.url("a/b.txt") == f"{stage.base}/a/b.txt"

    @pytest.mark.parametrize(
        "path", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "./a", "a\\..\\b", "a\x00b", "a\nb"]
    )
    def test_a_path_that_may_leave_the_base_is_refused(self, stage: Stage, path: str) -> None:
        with pytest.raises(ConfigError, match="path"):
            stage.write(path, b"x")
        with pytest.raises(ConfigError, match="path"):
            stage.read(path)
        with pytest.raises(ConfigError, match="path"):
            stage.delete([path])

    @pytest.mark.parametrize(
        "name", ["ü 🛩", "a b", "a'b", 'a"b', "a%20b", "a+b&c", "k=v", "[a]*", "{x}", ".hidden"]
    )
    def test_any_name_is_kept_as_it_is(self, stage: Stage, name: str) -> None:
        stage.write(f"names/{name}/{name}.json", b"{}")
        assert [file.path for file in stage.list("names")] == [f"names/{name}/{name}.json"]
        assert stage.read(f"names/{name}/{name}.json") == b"{}"

    # --- writing and reading

    @pytest.mark.parametrize(
        "data", [b"", b"\x00\xff\r\n", b"x" * 100_000], ids=["empty", "binary", "100 kB"]
    )
    def test_what_is_written_is_read(self, stage: Stage, data: bytes) -> None:
        stage.write("a/b/c.bin", data)
        assert stage.read("a/b/c.bin") == data
        assert stage.size("a/b/c.bin") == len(data)

    def test_a_second_write_replaces_the_whole_file(self, stage: Stage) -> None:
        stage.write("a/f", b"first and longer")
        stage.write("a/f", b"second")
        assert stage.read("a/f") == b"second"
        assert stage.size("a/f") == 6

    def test_a_large_stream_appears_whole_and_only_at_the_end(self, stage: Stage) -> None:
        piece = bytes(range(256)) * 4096
        with stage.open_write("large/file.bin") as file:
            for _ in range(_LARGE // len(piece)):
                file.write(piece)
            assert stage.size("large/file.bin") is None
            assert stage.list("large") == []
        assert stage.size("large/file.bin") == _LARGE
        with stage.open_read("large/file.bin") as file:
            for at in (0, 2**20 - 3, _LARGE - 10, 12_345_678):
                file.seek(at)
                assert file.read(10) == (piece * 2)[at % 2**20 : at % 2**20 + 10][: _LARGE - at]
            file.seek(-5, io.SEEK_END)
            assert file.read() == piece[-5:]

    @pytest.mark.parametrize("size", [0, 1000, _LARGE], ids=["nothing", "little", "more than one upload"])
    @pytest.mark.parametrize("error", [OSError("of the block"), KeyError("k"), KeyboardInterrupt()], ids=repr)
    def test_when_the_block_raises_nothing_appears(
        self, stage: Stage, size: int, error: BaseException
    ) -> None:
        properties.breaks_off(lab_of(stage), size, error)

    def test_a_missing_file_is_named_by_its_url(self, stage: Stage) -> None:
        stage.write("here/a", b"a")
        with pytest.raises(DataError) as caught:
            stage.read("here/b")
        assert stage.url("here/b") in str(caught.value)
        assert stage.size("here/b") is None
        assert stage.size("nowhere/at/all") is None

    def test_a_folder_is_not_a_file(self, stage: Stage) -> None:
        stage.write("folder/file", b"a")
        assert stage.size("folder") is None

    # --- listing and deleting

    def test_list_finds_every_depth_and_no_neighbour(self, stage: Stage) -> None:
        for path in ["day/w1/a2/p", "day/w1/a1/p", "day/w1/m", "day/w10/p", "day2/x"]:
            stage.write(path, path.encode())
        before = datetime.now(timezone.utc) - timedelta(hours=1)
        files = stage.list("day/w1")
        assert [file.path for file in files] == ["day/w1/a1/p", "day/w1/a2/p", "day/w1/m"]
        assert [file.size for file in files] == [len(file.path) for file in files]
        assert all(before < file.modified < before + timedelta(hours=2) for file in files)
        assert len(stage.list("")) == 5
        assert stage.list("nowhere") == []

    def test_changes_by_another_stage_object_are_visible_immediately(self, stage: Stage) -> None:
        properties.lists_at_once(lab_of(stage))

    def test_delete_removes_these_only_and_may_be_repeated(self, stage: Stage) -> None:
        for path in ["d/a", "d/b", "d/e/c"]:
            stage.write(path, b"x")
        for _ in range(2):
            stage.delete(["d/a", "d/e/c", "never/was"])
            assert [file.path for file in stage.list("")] == ["d/b"]
        stage.delete([])
        stage.write("d/e/c", b"again")
        assert stage.read("d/e/c") == b"again"

    def test_its_clock_is_that_of_the_files_and_reading_it_leaves_no_file(self, stage: Stage) -> None:
        stage.write("d/a", b"x")
        (file,) = stage.list("")
        assert abs(stage.now() - file.modified) < timedelta(minutes=5)
        assert stage.list("") == [file]

    def test_many_threads_write_concurrently(self, stage: Stage) -> None:
        gate = threading.Barrier(4)

        def work(number: int) -> None:
            gate.wait()
            for n in range(3):
                stage.write(f"threads/{number}/{n}", f"{number} {n}".encode() * 1000)
                stage.delete([f"threads/{number}/{n - 1}"] if n else [])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert [file.path for file in stage.list("threads")] == [f"threads/{n}/2" for n in range(4)]

    # --- proofs

    def test_only_what_the_store_holds_is_proven(self, stage: Stage) -> None:
        with suppress(NotApplicableError):  # then nothing is proven
            properties.proves_only_what_it_holds(lab_of(stage))

    # --- parts

    @pytest.mark.parametrize("compression", ["zstd", "lz4"])
    def test_parts_are_written_verified_and_read(self, stage: Stage, compression: Compression) -> None:
        parts = write_parts(
            self._batches(),
            open_write=stage.open_write,
            folder=_FOLDER,
            index=0,
            interval=Interval(_START, _START + timedelta(hours=2)),
            part_bytes=100_000,
            compression=compression,
        ).parts
        assert len(parts) > 1
        assert sorted(part.path for part in parts) == [file.path for file in stage.list(_FOLDER)]
        rows = 0
        for part in parts:
            with stage.open_read(part.path) as file:
                verify_part(part, file, stage.size(part.path))
                file.seek(0)
                rows += sum(batch.num_rows for batch in iter_part(file))
        assert rows == 5_000
        stage.delete([parts[0].path])
        with pytest.raises(DataError, match="does not exist"), stage.open_read(parts[0].path):
            pass

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for start in range(0, 5_000, 500):
            ids = range(start, start + 500)
            columns = (
                [f"flights/{i}" for i in ids],
                [_START + timedelta(microseconds=i) for i in ids],
                ["flights"] * 500,
                [f'{{"n": {i}, "x": "{hashlib.sha512(b"%d" % i).hexdigest()}"}}' for i in ids],
            )
            arrays = [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)

    def test_close_may_be_called_twice(self, stage: Stage) -> None:
        stage.write("a", b"a")
        stage.close()
        stage.close()
