"""Source `csv` keeps the contract of sources."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from csv_source import CsvSource

from airflow_pipeline_provider.connectors import Identity, Slice
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, SnapshotLostError
from airflow_pipeline_provider.testing import Expected, KitRow, Loaded, SnapshotConformance
from airflow_pipeline_provider.testing.source_kit import START, WINDOW, read_all

CONN_ID = "csv_files"
HEADER = ["id", "created_at", "text"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the Airflow connection names."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(tmp_path))
    return tmp_path


def connection(folder: Path) -> str:
    return json.dumps({"conn_type": "fs", "extra": {"path": str(folder)}})


def source(files: str = "*.csv", page_size: int = 50) -> CsvSource:
    options = CsvSource.Options(
        type="csv",
        conn_id=CONN_ID,
        files=files,
        key_column="id",
        time_column="created_at",
        page_size=page_size,
    )
    return CsvSource(options, Identity("kit", "UTC"))


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


class TestCsvSource(SnapshotConformance):
    @pytest.fixture
    def load(self, folder: Path) -> Callable[[Sequence[KitRow]], Loaded]:
        def load(rows: Sequence[KitRow]) -> Loaded:
            texts = [
                [row.key, row.event_time.isoformat() if row.event_time else "?", row.text] for row in rows
            ]
            write(folder / "a.csv", texts[::2])
            write(folder / "b.csv", texts[1::2])
            bodies = [json.dumps(dict(zip(HEADER, text, strict=True)), ensure_ascii=False) for text in texts]
            expected = {
                row.key: Expected(row.event_time, body)
                for row, body in zip(rows, bodies, strict=True)
                if row.event_time
            }
            return Loaded(source(page_size=self.page_size), expected, delete_all=delete_all)

        def delete_all() -> None:
            for name in ("a.csv", "b.csv"):  # replaced, as the README asks for
                write(folder / "new", [])
                (folder / "new").rename(folder / name)

        return load

    @pytest.fixture
    def missing(self) -> CsvSource:
        return source("no_such_folder/*.csv")


# --- what the kit cannot know


def without_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", '{"conn_type": "fs"}')


def without_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "a.csv", [["2013-11-03T05:00:00Z"]], header=["created_at"])


def ragged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.csv").write_text("id,created_at\n1,2013-11-03T05:00:00Z\n2\n")


def not_utf8(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.csv").write_bytes(b"id,created_at\n\xff,2013-11-03T05:00:00Z\n")


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (without_path, FatalError, "connection 'csv_files' names no folder"),
        (
            without_key,
            DataError,
            r"a.csv has no column 'id' \(source.key_column\); its columns are created_at",
        ),
        (ragged, DataError, "a.csv is not a CSV file with a header, in UTF-8: .*Expected 2 columns, got 1"),
        (not_utf8, DataError, "a.csv is not a CSV file with a header, in UTF-8"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Path, pytest.MonkeyPatch], None],
    error: type[PipelineError],
    message: str,
) -> None:
    broken(folder, monkeypatch)
    for ask in (source().check, lambda: source().count(WINDOW), lambda: read_all(source(), WINDOW)):
        with pytest.raises(error, match=message):
            ask()


def test_a_file_that_changes_while_it_is_read_loses_the_view(folder: Path) -> None:
    write(folder / "a.csv", [["1", START.isoformat(), "one"]])
    with source().open(Slice(0, 1, WINDOW)) as (batches,):
        next(batches)
        with (folder / "a.csv").open("a") as file:
            file.write("2,2013-11-03T05:00:00Z,two\r\n")
            os.fsync(file.fileno())
        with pytest.raises(SnapshotLostError, match=r"a.csv changed while it was read"):
            next(batches)


def test_rows_without_a_usable_time_are_counted_apart(folder: Path) -> None:
    times = ["2013-11-03T05:00:00Z", "2013-11-03T01:00:00-05:00", "2013-11-03T05:00:00", "yesterday", ""]
    write(folder / "a.csv", [[str(n), time, ""] for n, time in enumerate(times)])
    assert source().count(WINDOW) == 2
    assert source().count_untimed() == 3
