# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted, values are bound)
"""The statements of the table of quarantined rows: which rows a load left out, why, and which file holds them.

The documents are only in the files of the stage: a target that cannot store a document cannot store it here either,
and a part of it would be a second copy of personal data.  A load deletes the rows of its interval and inserts its
own, as it does with the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol, read_instant
from airflow_pipeline_provider.connectors.values import QuarantinedCount, QuarantinedRow
from airflow_pipeline_provider.core.intervals import Interval, subtract
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.fault_points import reach

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

MOST_REASONS = 1_000  # different texts that a count reads
_ROWS, _CHARACTERS = (
    500,
    300_000,
)  # of one INSERT; Snowflake limits a statement to 1 MB, which UTF-8 may reach


class KeptRow(NamedTuple):
    """A row to insert; `stage_file` is the URL of the file that holds its document."""

    record_id: str
    event_time: str
    reason: str
    stage_file: str


class QuarantineTable:
    """Reads and changes the quarantined rows of one pipeline, through the `execute` of a load."""

    def __init__(self, protocol: LoadProtocol) -> None:
        self.protocol, self.tables = protocol, protocol.tables
        self._mark = self.tables.dialect.placeholder
        self._at = f"CAST({self._mark} AS {self.tables.dialect.instant})"

    # --- changes, inside the transaction that has the fence

    def replace(self, manifest: Manifest, rows: Iterable[KeptRow], *, is_replacement: bool) -> None:
        """Replace the rows of the manifest's interval by these.

        Raises:
            DataError: The number of rows differs from the manifest's.
        """
        if is_replacement:
            self.delete(manifest.interval)
        self.check_rows(manifest, self.insert(manifest, rows))
        reach("load.quarantined")

    def check_rows(self, manifest: Manifest, inserted: int) -> None:
        """Raise DataError unless so many rows are all of the manifest's quarantined rows."""
        if inserted != manifest.quarantined_rows:
            raise DataError(
                f"{self.tables.quarantine}: expected {counted(manifest.quarantined_rows, 'quarantined row')} in the "
                f"files of {manifest.interval}, got {inserted:,}; nothing was changed, extract the window again"
            )

    def delete(self, interval: Interval) -> None:
        """Delete the pipeline's rows in the interval."""
        inside, bounds = self.protocol.inside, self.protocol.bounds(interval)
        self.protocol.execute(f"DELETE FROM {self.tables.quarantine} {inside}", bounds)

    def insert(self, manifest: Manifest, rows: Iterable[KeptRow]) -> int:
        """Insert rows of the manifest's load; return their number."""
        d, mark, at = self.tables.dialect, self._mark, self._at
        listed = self.tables.listed(self.tables.types(self.tables.quarantine))
        values = f"({mark}, {at}, {mark}, {mark}, {mark}, {at}, {at}, {mark}, {d.now})"
        stamps = self.protocol.stamps(manifest)
        inserted = 0
        for some in _batches(rows):
            bound = [value for row in some for value in (*row, *stamps)]
            all_values = ", ".join([values] * len(some))
            self.protocol.execute(
                f"INSERT INTO {self.tables.quarantine} ({listed}) VALUES {all_values}", bound
            )
            inserted += len(some)
        return inserted

    def rename(self, old: str) -> None:
        """Give the rows of pipeline `old` to this one."""
        column = self.tables.columns.pipeline_id
        self.protocol.execute(
            f"UPDATE {self.tables.quarantine} SET {column} = {self._mark} WHERE {column} = {self._mark}",
            [self.protocol.pipeline_id, old],
        )

    # --- questions

    def effective(self, manifest: Manifest) -> list[Interval]:
        """Return the parts of the manifest's interval that no newer load replaced.

        Raises:
            DataError: The manifest was not loaded.
        """
        rows = self.protocol.read_commits(manifest.interval)
        key = (manifest.interval, manifest.token, manifest.sha256)
        if key not in [(row.interval, row.token, row.manifest_sha) for row in rows]:
            raise DataError(
                f"{self.tables.commits} has no commit row of token {manifest.token} and {manifest.interval}: nothing "
                "was changed, load the window again"
            )
        return subtract([manifest.interval], [row.interval for row in rows if row.token > manifest.token])

    def count(self, within: Interval | None) -> list[QuarantinedCount]:
        """Count the rows of each load, in order of time, with the most frequent reasons."""
        c, read = self.tables.columns, self.tables.dialect.read_instant.format
        where, bound = self._where(within)
        load = f"{c.window_start}, {c.window_end}, {c.token}"
        found = self.protocol.execute(
            f"SELECT {read(c.window_start)}, {read(c.window_end)}, {c.token}, COUNT(*) "
            f"FROM {self.tables.quarantine} {where} GROUP BY {load} ORDER BY {load}",
            bound,
        )
        reasons: dict[int, list[tuple[str, int]]] = {}
        if found:
            for token, reason, rows in self.protocol.execute(
                f"SELECT {c.token}, {c.reason}, COUNT(*) FROM {self.tables.quarantine} {where} "
                f"GROUP BY {c.token}, {c.reason} ORDER BY 3 DESC, 1, 2 LIMIT {MOST_REASONS}",
                bound,
            ):
                reasons.setdefault(int(token), []).append((str(reason), int(rows)))
        return [
            QuarantinedCount(
                Interval(read_instant(start), read_instant(end)),
                int(token),
                int(rows),
                tuple(reasons.get(int(token), ())),
            )
            for start, end, token, rows in found
        ]

    def rows(self, token: int, most: int) -> list[QuarantinedRow]:
        """Return up to `most` rows of a load, in order of time."""
        c, read = self.tables.columns, self.tables.dialect.read_instant.format
        found = self.protocol.execute(
            f"SELECT {c.record_id}, {read(c.event_time)}, {c.reason}, {c.stage_file}, {read(c.window_start)}, "
            f"{read(c.window_end)} FROM {self.tables.quarantine} WHERE {c.pipeline_id} = {self._mark} "
            f"AND {c.token} = {self._mark} ORDER BY {c.event_time}, {c.record_id} LIMIT {most:d}",
            [self.protocol.pipeline_id, token],
        )
        return [
            QuarantinedRow(
                str(name),
                read_instant(time),
                str(reason),
                str(file),
                Interval(read_instant(start), read_instant(end)),
                token,
            )
            for name, time, reason, file, start, end in found
        ]

    def _where(self, within: Interval | None) -> tuple[str, list[str]]:
        if within is not None:
            return self.protocol.inside, self.protocol.bounds(within)
        return f"WHERE {self.tables.columns.pipeline_id} = {self._mark}", [self.protocol.pipeline_id]


def _batches(rows: Iterable[KeptRow]) -> Iterator[list[KeptRow]]:
    """Yield the rows in lists that one statement can hold."""
    some: list[KeptRow] = []
    size = 0
    for row in rows:
        length = sum(map(len, row)) + 200  # and the stamps
        if some and (len(some) == _ROWS or size + length > _CHARACTERS):
            yield some
            some, size = [], 0
        some.append(row)
        size += length
    if some:
        yield some
