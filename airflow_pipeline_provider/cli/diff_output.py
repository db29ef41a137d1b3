"""The JSON document of `diff`, and what it prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from airflow_pipeline_provider.cli.output import ErrorText, Screen
from airflow_pipeline_provider.cli.reload import ReloadResult
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.comparison import DifferenceKind, RecordDifference
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.diff import DiffedWindow, DiffReport, DiffVerdict, LeftOutReason
from airflow_pipeline_provider.views.times import LocalInterval, local_fields, local_iso

COUNTS = ("source", "target", "missing", "extra", "different", "repeated", "quarantined", "unproven")


class DiffRecord(Struct, frozen=True):
    """A record that differs. A side without it has 0 rows, and no event time.

    `content_differs` is null where contents were not compared.
    """

    kind: DifferenceKind
    record_id: str
    source_rows: int
    target_rows: int
    source_event_time: datetime | None
    target_event_time: datetime | None
    content_differs: bool | None


class DiffWindow(LocalInterval, frozen=True):
    """A window that is not equal, with the numbers of its records and the first ones that differ.

    `source` and `target` count rows. `extra` is null where the target keeps older versions of records. `quarantined`
    records are missing because the target cannot accept them. The contents of `unproven` records could not be
    compared. `status` is started, committed, skipped or failed, null where nothing was done; `reason`, `detail`,
    `rows` and `token` exist where the window was moved in this process.
    """

    verdict: DiffVerdict
    source: int
    target: int
    missing: int
    extra: int | None
    different: int
    repeated: int
    quarantined: int
    unproven: int
    records: tuple[DiffRecord, ...]
    run_id: str | None = None
    status: str | None = None
    reason: str | UnsetType | None = UNSET
    detail: str | UnsetType = UNSET
    rows: int | UnsetType | None = UNSET
    token: int | UnsetType | None = UNSET


class DiffLeftOut(LocalInterval, frozen=True):
    """Time that was not compared, with the reason."""

    reason: LeftOutReason
    detail: str


class DiffResult(Struct, frozen=True):
    """What `diff` found in this time, and what it did about it.

    `result` is equal only if all of the time was compared, and all contents that were asked for.
    """

    pipeline_id: str
    timezone: str
    content: bool
    result: Literal["equal", "differs", "incomplete"]
    compared: int
    equal: int
    source: int
    target: int
    quarantined: int
    windows: tuple[DiffWindow, ...]
    left_out: tuple[DiffLeftOut, ...]
    records_file: str | None
    error: ErrorText | None


def diff_result(
    config: PipelineConfig, report: DiffReport, done: ReloadResult, *, content: bool, records: str | None
) -> DiffResult:
    """Return the JSON document of a diff, and of the windows that were moved again."""
    zone = config.timezone
    shown = [one for one in report.windows if one.verdict is not DiffVerdict.EQUAL]
    result: Literal["equal", "differs", "incomplete"] = "equal" if report.is_whole else "incomplete"
    return DiffResult(
        pipeline_id=config.pipeline_id,
        timezone=zone,
        content=content,
        result="differs" if report.differing else result,
        compared=len(report.windows),
        equal=len(report.windows) - len(shown),
        source=sum(one.tally.source for one in report.windows),
        target=sum(one.tally.target for one in report.windows),
        quarantined=sum(one.tally.quarantined for one in report.windows),
        windows=done.reported(_window(one, zone, content=content) for one in shown),
        left_out=tuple(
            DiffLeftOut(**local_fields(left.interval, zone), reason=left.reason, detail=left.detail)
            for left in report.left_out
        ),
        records_file=records,
        error=done.error,
    )


def _window(one: DiffedWindow, zone: str, *, content: bool) -> DiffWindow:
    tally = one.tally
    return DiffWindow(
        **local_fields(one.interval, zone),
        verdict=one.verdict,
        source=tally.source,
        target=tally.target,
        missing=tally.missing,
        extra=tally.extra if one.judges_extra else None,
        different=tally.different,
        repeated=tally.repeated,
        quarantined=tally.quarantined,
        unproven=tally.unproven,
        records=tuple(diff_record(example, content=content) for example in one.examples),
    )


def diff_record(one: RecordDifference, *, content: bool) -> DiffRecord:
    """Return a record that differs as the JSON document and the file of records show it."""
    compared = content and one.kind is DifferenceKind.DIFFERENT
    return DiffRecord(
        one.kind,
        one.record_id,
        one.source_rows,
        one.target_rows,
        _instant(one.source_time),
        _instant(one.target_time),
        one.content if compared else None,
    )


def _instant(micros: int | None) -> datetime | None:
    from airflow_pipeline_provider.envelope.part_writer import from_micros

    return None if micros is None else from_micros(micros)


# --- for people


def print_diff(config: PipelineConfig, report: DiffReport, screen: Screen, *, content: bool) -> None:
    """Print the numbers, what was not compared, the windows that are not equal, and the first records."""
    zone = config.timezone
    shown = [one for one in report.windows if one.verdict is not DiffVerdict.EQUAL]
    what = "ids, event times and contents" if content else "ids and event times"
    rows = sum(one.tally.source for one in report.windows), sum(one.tally.target for one in report.windows)
    screen.print_line(
        f"{config.pipeline_id}: {what} of {counted(len(report.windows), 'committed window')} compared, "
        f"{len(report.windows) - len(shown)} equal, {len(report.differing)} differ; "
        f"{counted(rows[0], 'row')} in the source, {rows[1]:,} in the target{_quarantined(report)}",
        "bold",
    )
    for left in report.left_out:
        window = local_window(left.interval, zone)
        screen.print_line(f"not compared: {left.reason.value}: {window}: {left.detail}", "yellow")
    if not shown:
        return
    screen.print_table(
        ("window", *COUNTS, "verdict"),
        [(local_window(one.interval, zone), *_numbers(one), one.verdict.value) for one in shown],
        right=COUNTS,
        styles=["red" if one.verdict is DiffVerdict.DIFFERS else "yellow" for one in shown],
    )
    examples = [(one, example) for one in shown for example in one.examples]
    if examples:
        screen.print_table(
            ("window", "record", "difference", "detail"),
            [
                (local_window(one.interval, zone), found.record_id, found.kind.value, _detail(found, zone))
                for one, found in examples
            ],
        )
    hidden = sum(one.tally.differences - len(one.examples) for one in shown)
    if hidden:
        screen.print_line(f"{counted(hidden, 'record')} not shown: raise --limit, or give --records FILE")


def _quarantined(report: DiffReport) -> str:
    found = sum(one.tally.quarantined for one in report.windows)
    return f"; {counted(found, 'record')} quarantined" if found else ""


def _numbers(one: DiffedWindow) -> Iterator[str]:
    for name in COUNTS:
        hidden = name == "extra" and not one.judges_extra
        yield "-" if hidden else f"{getattr(one.tally, name):,}"


def _detail(one: RecordDifference, zone: str) -> str:
    source, target = (
        "" if instant is None else local_iso(instant, zone)
        for instant in (_instant(one.source_time), _instant(one.target_time))
    )
    if one.kind is DifferenceKind.REPEATED:
        return f"{counted(one.source_rows, 'row')} in the source, {one.target_rows:,} in the target"
    if one.kind is not DifferenceKind.DIFFERENT:
        return source or target
    found = ["content"] if one.content else []
    if source != target:
        found.append(f"event time: source {source}, target {target}")
    return ", ".join(found)
