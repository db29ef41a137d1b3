"""Read windows of rows from CSV files: source `csv`."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from airflow_pipeline_provider.connectors import Slice, Source, get_connection
from airflow_pipeline_provider.core import Interval
from airflow_pipeline_provider.exceptions import DataError, FatalError, SnapshotLostError, TransientError
from csv_source.options import CsvOptions

if TYPE_CHECKING:
    import pyarrow as pa  # only imported where rows are read: DAG files are parsed often

BLOCK_BYTES = 16 << 20  # the longest row


class Row(NamedTuple):
    """A row of a file; `moment` is None if its time cannot be read."""

    record_id: str
    moment: datetime | None
    body: str


class CsvSource(Source):
    """The rows of all files that match the pattern; `BODY` is a JSON object of the row's texts."""

    Options = CsvOptions
    options: CsvOptions

    # --- what is there

    def dataset(self) -> dict[str, Any]:
        options = self.options
        return {
            **super().dataset(),
            "table": options.files,
            "query": None,
            "key_column": options.key_column,
            "time_column": options.time_column,
        }

    def check(self) -> None:
        for _ in self._rows():  # a file that cannot be read, or lacks a column, is an error here
            break

    def count(self, interval: Interval) -> int:
        return sum(row.moment is not None and interval.holds(row.moment) for row in self._rows())

    def count_untimed(self) -> int:
        return sum(row.moment is None for row in self._rows())

    def newest_event_time(self) -> datetime | None:
        return max((row.moment for row in self._rows() if row.moment is not None), default=None)

    # --- rows

    @contextmanager
    def open(self, slice_: Slice, readers: int = 1) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:
        """Open every file at once, and share the files among the readers.

        An open file keeps its content when another one is renamed into its place, so this is one consistent view.
        """
        with ExitStack() as stack:
            files = [(path, stack.enter_context(self._opened(path))) for path in self._paths()]
            yield [self._batches(files[n::readers], slice_.interval) for n in range(readers)]

    def _batches(self, files: list[tuple[Path, BinaryIO]], interval: Interval) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from airflow_pipeline_provider.envelope import ENVELOPE

        for path, file in files:
            before = _version(file)
            name = path.relative_to(self._folder()).as_posix()
            inside = (
                {"RECORD_ID": row.record_id, "EVENT_TIME": row.moment, "SOURCE_NAME": name, "BODY": row.body}
                for row in self._rows_of(path, file)
                if row.moment is not None and interval.holds(row.moment)
            )
            while page := list(itertools.islice(inside, self.options.page_size)):
                yield pa.RecordBatch.from_pylist(page, schema=ENVELOPE)
            if _version(file) != before:
                raise SnapshotLostError(f"{path} changed while it was read; replace files by renaming")

    def _rows(self) -> Iterator[Row]:
        for path in self._paths():
            with self._opened(path) as file:
                yield from self._rows_of(path, file)

    def _rows_of(self, path: Path, file: BinaryIO) -> Iterator[Row]:
        import pyarrow as pa
        from pyarrow import csv

        # Texts stay as they are: no column is taken for numbers, no text for NULL.
        quoted = csv.ParseOptions(newlines_in_values=True)
        blocks = csv.ReadOptions(block_size=BLOCK_BYTES)
        try:
            names = csv.open_csv(file, blocks, quoted).schema.names
            file.seek(0)
            texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), check_utf8=True)
            self._require(path, names)
            for batch in csv.open_csv(file, blocks, quoted, texts):
                for row in batch.to_pylist():
                    yield Row(
                        row[self.options.key_column],
                        _instant(row[self.options.time_column]),
                        json.dumps(row, ensure_ascii=False),
                    )
        except pa.ArrowInvalid as error:
            raise DataError(f"{path} is not a CSV file with a header, in UTF-8: {error}") from error

    def _require(self, path: Path, names: list[str]) -> None:
        for option in ("key_column", "time_column"):
            column = getattr(self.options, option)
            if column not in names:
                raise DataError(
                    f"{path} has no column {column!r} (source.{option}); its columns are {', '.join(names)}"
                )

    # --- files

    def _folder(self) -> Path:
        path = get_connection(self.options.conn_id).extra_dejson.get("path")
        if not path:
            raise FatalError(
                f"connection {self.options.conn_id!r} names no folder: set Path in Airflow, or extra.path"
            )
        return Path(path)

    def _paths(self) -> list[Path]:
        folder = self._folder()
        found = sorted(folder.glob(self.options.files))
        if not found:
            raise FatalError(
                f"no file matches {self.options.files} below {folder} (connection {self.options.conn_id!r}): "
                "correct source.files, or the path of the connection"
            )
        return found

    @contextmanager
    def _opened(self, path: Path) -> Iterator[BinaryIO]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise TransientError(
                f"{path} was removed before it could be read; the next try lists again"
            ) from None
        except OSError as error:
            raise FatalError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
        with file:
            yield file


def _version(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _instant(text: str) -> datetime | None:
    """Return the instant of ISO 8601 text with an offset, or None."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.astimezone(timezone.utc) if moment.tzinfo else None
