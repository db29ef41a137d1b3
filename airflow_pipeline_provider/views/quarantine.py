"""Report quarantined rows: how many each load has and why, and the rows with their documents.

Each answer names where it looked.  What cannot be read is a sentence in the answer, never a smaller number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.values import QuarantinedRow
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.phases.quarantine import GONE, QuarantinedLoad, find_loads, staged_manifest
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.views.times import LocalInterval, local_fields

MOST_CHARACTERS = 10_000  # of a document that is shown
_NUMBER = re.compile(r"[0-9][0-9,]*")

Place = Literal["table", "stage", "ledger"]


class RejectReason(Struct, frozen=True):
    """A reason, with `…` for its numbers, and how many rows have it."""

    reason: str
    rows: int


class QuarantinedWindow(LocalInterval, frozen=True):
    """A load with quarantined rows.

    `rows` is their number; with `known_in: ledger` only the number is known, since neither the target's table nor the
    stage has the rows.  `replaced`: newer loads replaced a part of the window, and `rows` counts what is left.
    `detail` is what could not be read, or what differs.
    """

    window_id: str
    token: int
    rows: int | None
    known_in: Place
    replaced: bool
    reasons: tuple[RejectReason, ...]
    detail: str


class ShownRow(Struct, frozen=True):
    """A quarantined row; `body` is null unless it was asked for and read, and is cut after 10,000 characters."""

    window_id: str
    token: int
    record_id: str
    event_time: datetime
    reason: str
    stage_file: str
    body: str | None
    body_characters: int | None


class Shown(NamedTuple):
    """Rows; how many more there are; and a sentence for each thing that could not be read."""

    rows: tuple[ShownRow, ...]
    left: int
    gone: tuple[str, ...]


def list_quarantined(runtime: Runtime, within: Interval | None) -> list[QuarantinedWindow]:
    """Return the loads with quarantined rows that overlap `within` (None: all), in order of time."""
    found = (_window(runtime, load) for load in find_loads(runtime, within))
    return [window for window in found if window is not None]


def _window(runtime: Runtime, load: QuarantinedLoad) -> QuarantinedWindow | None:
    rows, known_in, reasons, detail = load.in_table, "table", load.reasons, ""
    if load.needs_stage:
        staged = _in_stage(runtime, load, 0)
        if staged is not None:
            rows, known_in, reasons = staged.total, "stage", tuple(staged.reasons.items())
            if not rows:
                return None  # none of them is in the part of the load that is left
        else:
            rows, known_in, detail = load.rows, "ledger", f"{GONE}"
            if load.in_table:
                detail += f"; the table has {load.in_table:,} of them"
    elif load.rows not in (None, load.in_table):
        detail = f"the ledger has {counted(load.rows, 'row')}; doctor shows what to do"
    elif load.outdated:
        detail = f"the table also has {counted(load.outdated, 'row')} of older loads; doctor shows what to do"
    elif load.manifest is None:
        detail = "the ledger has no commit of this load"
    zone, known = runtime.config.timezone, sum(number for _, number in reasons)
    if rows is not None and known < rows and reasons:
        detail = "; ".join(filter(None, (detail, f"the reasons are those of {counted(known, 'row')}")))
    return QuarantinedWindow(
        **local_fields(load.interval, zone),
        window_id=window_id_of(runtime.config.pipeline_id, load.interval),
        token=load.token,
        rows=rows,
        known_in=known_in,  # type: ignore[arg-type]
        replaced=not load.is_whole,
        reasons=_summary(reasons),
        detail=detail,
    )


def _summary(reasons: Iterable[tuple[str, int]]) -> tuple[RejectReason, ...]:
    """Return the reasons by how many rows they have; those that differ in numbers only are one."""
    tally: Counter[str] = Counter()
    for reason, rows in reasons:
        tally[_without_numbers(reason)] += rows
    return tuple(RejectReason(reason, rows) for reason, rows in tally.most_common())


def _without_numbers(reason: str) -> str:
    return _NUMBER.sub("…", reason)


def show_quarantined(runtime: Runtime, within: Interval | None, most: int, *, with_body: bool) -> Shown:
    """Return up to `most` quarantined rows of the loads that overlap `within`, in order of time."""
    rows: list[ShownRow] = []
    left, gone = 0, []
    for load in find_loads(runtime, within):
        room = most - len(rows)
        window_id = window_id_of(runtime.config.pipeline_id, load.interval)
        if not load.needs_stage:
            found = runtime.target.quarantined_rows(load.token, room) if room else []
            total = load.in_table or 0
        elif (staged := _in_stage(runtime, load, room)) is not None:
            found, total = staged, staged.total
        else:
            missing = "rows" if load.rows is None else counted(load.rows, "row")
            gone.append(
                f"{window_id}: {missing} cannot be shown: {GONE}, and the table does not have them all"
            )
            continue
        left += total - len(found)
        rows += [
            ShownRow(
                window_id, one.token, one.record_id, one.event_time, one.reason, one.stage_file, None, None
            )
            for one in found
        ]
    if with_body:
        rows = _with_bodies(runtime, rows, gone)
    return Shown(tuple(rows), left, tuple(gone))


class _StagedRows(list[QuarantinedRow]):
    """The first rows of a load's files; `total` counts all, `reasons` each reason with `…` for its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.reasons = 0, Counter[str]()


def _in_stage(runtime: Runtime, load: QuarantinedLoad, most: int) -> _StagedRows | None:
    """Return the rows of the load's files in its effective intervals; None if files are gone."""
    manifest = staged_manifest(runtime, load.interval, load.manifest)
    if manifest is None:
        return None
    from airflow_pipeline_provider.envelope.quarantine import iter_rejected

    found = _StagedRows()
    for part, row in iter_rejected(manifest.quarantined, load.pieces, runtime.stage.open_read):
        found.total += 1
        found.reasons[_without_numbers(row.reason)] += 1
        if len(found) < most:
            url = runtime.stage.url(part.path)
            found.append(
                QuarantinedRow(row.record_id, row.event_time, row.reason, url, load.interval, load.token)
            )
    return found


def _with_bodies(runtime: Runtime, rows: Sequence[ShownRow], gone: list[str]) -> list[ShownRow]:
    """Return the rows with the beginning of their documents, each file read once; add what is gone."""
    shown = list(rows)
    for url in dict.fromkeys(row.stage_file for row in rows):
        wanted: dict[tuple[str, datetime, str], list[int]] = {}
        for number, row in enumerate(rows):
            if row.stage_file == url:
                wanted.setdefault((row.record_id, row.event_time, row.reason), []).append(number)
        for number, body in _bodies(runtime, url, wanted):
            shown[number] = replace(shown[number], body=body[:MOST_CHARACTERS], body_characters=len(body))
        if left := sum(map(len, wanted.values())):
            gone.append(
                f"{counted(left, 'document')} of {url} cannot be shown: the file is gone or was changed"
            )
    return shown


def _bodies(
    runtime: Runtime, url: str, wanted: dict[tuple[str, datetime, str], list[int]]
) -> Iterator[tuple[int, str]]:
    """Yield the documents of the wanted rows, and remove those rows from `wanted`."""
    from airflow_pipeline_provider.envelope.quarantine import read_rejected

    base = runtime.stage.url("")
    path = url.removeprefix(base)
    if path == url or runtime.stage.size(path) is None:
        return
    with runtime.stage.open_read(path) as file:
        for row in read_rejected(file, with_body=True):
            numbers = wanted.get(row[:3])
            if numbers:
                yield numbers.pop(0), row.body or ""
            if not any(wanted.values()):
                return
