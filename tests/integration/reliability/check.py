"""Check what must hold right after a crash, and after the rerun.  Each finding is a sentence."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.phases.adopt import adopt
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from tests.doubles.memory_source import MemorySource

from .backends import Combination, LoadedRow, World
from .scenario import AFTER, BEFORE, DAY_INTERVAL, MIDDLE, NEXT_DAY, PIPELINE, Scenario

Content = Counter[tuple[str, datetime, str]]
"""(record id, event time, body) and how often it is there."""


def after_crash(
    combination: Combination, world: World, scenario: Scenario, before: list[LoadedRow]
) -> list[str]:
    """Check that the window holds either its old or its new version whole, and that nothing else changed."""
    now = combination.target.rows(world)
    window = scenario.window
    found = loaded(now, window, combination)
    old = loaded(before, window, combination)
    new = wanted(scenario, window, combination)
    problems = []
    if found not in (old, new):
        problems.append(
            f"after the crash the window held {found.total()} rows, neither the {old.total()} from before nor "
            f"the {new.total()} of the source"
        )
    problems += others_changed(before, now, window)
    problems += _typed(scenario, now)
    with opened(combination, world, scenario) as runtime:
        entries = runtime.state.entries(DAY_INTERVAL)
    sure = not ledger.unverified(entries) and any(i.covers(window) for i in ledger.committed(entries))
    if sure and found != new and scenario.kind == "live":
        problems.append(
            "after the crash the ledger called the window committed, and the target did not hold it"
        )
    return problems


def after_rerun(
    combination: Combination, world: World, scenario: Scenario, before: list[LoadedRow]
) -> list[str]:
    """Check that the target equals the source row by row, that the ledger agrees, and that nothing is left over."""
    rows = combination.target.rows(world)
    problems = others_changed(before, rows, scenario.window, grown=scenario.following)
    with opened(combination, world, scenario) as runtime:
        entries = runtime.state.entries()
        leases = runtime.state.leases()
        problems += _ledger(runtime, scenario, entries, rows)
        problems += _files(runtime, scenario, entries)
    if leases:
        problems.append(f"leases are left: {', '.join(f'{x.interval} of {x.owner}' for x in leases)}")
    covered = ledger.committed(entries)
    problems += _rows(combination, scenario, covered, rows)
    problems += _stamps(scenario, entries, rows)
    problems += _typed(scenario, rows)
    return problems


def _typed(scenario: Scenario, rows: list[LoadedRow]) -> list[str]:
    """Check that the physical column of every row holds the value of its document."""
    if not scenario.columns:
        return []
    wrong = [row for row in rows if row.version != json.loads(row.body)["version"]]
    return [f"row {row.record_id} has version {row.version}, its document is {row.body}" for row in wrong[:3]]


def _rows(
    combination: Combination, scenario: Scenario, covered: list[Interval], rows: list[LoadedRow]
) -> list[str]:
    problems = []
    for window in (BEFORE, MIDDLE, AFTER, NEXT_DAY):
        committed = any(interval.covers(window) for interval in covered)
        expected = wanted(scenario, window, combination) if committed else Counter()
        found = loaded(rows, window, combination)
        if found != expected:
            problems.append(
                f"{window}: {(expected - found).total()} rows of the source are missing in the target, "
                f"{(found - expected).total()} are there too many or differ"
            )
    return problems


def _stamps(scenario: Scenario, entries: list[ledger.Entry], rows: list[LoadedRow]) -> list[str]:
    """Check that every row names the pipeline, and the window and token of the effective commit of its time.

    An older version names those of the commit that loaded it.
    """
    rulers = [(piece, entry) for piece, entry, _ in ledger.effective(entries)]
    current = {(row.record_id, parse_utc(row.event_time)) for row in scenario.new}
    older = [(e.interval, e) for e in entries if e.kind is ledger.Kind.COMMITTED]
    problems = []
    for row in rows:
        found = rulers if (row.record_id, row.event_time) in current else older
        expected = [
            (PIPELINE, entry.interval.start, entry.interval.end, entry.token)
            for piece, entry in found
            if piece.holds(row.event_time)
        ]
        seen = (row.pipeline_id, row.window_start, row.window_end, row.token)
        if seen not in expected:
            problems.append(f"row {row.record_id} has {seen}, expected by the ledger: {expected}")
    return problems[:3]


def _ledger(
    runtime: Runtime, scenario: Scenario, entries: list[ledger.Entry], rows: list[LoadedRow]
) -> list[str]:
    from airflow_pipeline_provider.core.day_status import day_status

    problems = []
    report = day_status(
        DAY_INTERVAL, entries, now=datetime.now(timezone.utc), settle_seconds=0, max_attempts=5
    )
    expected = "complete" if scenario.prepared else "in_progress"
    if report.status.value != expected:
        problems.append(f"the day is {report.status.value}, expected {expected}: {report.reason}")
    ruling = {entry.token for _, entry, _ in ledger.effective(entries)}
    in_target = sum(DAY_INTERVAL.holds(row.event_time) and row.token in ruling for row in rows)
    if report.rows != in_target:
        problems.append(f"the ledger counts {report.rows} rows of the day, the target holds {in_target}")
    commits = {row.interval: row for row in runtime.target.commits()}  # the newest of each
    for window, entry, _ in ledger.effective(entries):
        commit = commits.get(window)
        theirs = (commit.token, commit.manifest_sha, commit.rows) if commit else None
        if theirs != (entry.token, entry.manifest, entry.rows):
            problems.append(f"{window}: committed as {entry.token} {entry.manifest}, in the target: {theirs}")
    failed = [entry for entry in entries if entry.kind is ledger.Kind.FAILED]
    if failed:
        problems.append(f"a failure is in the ledger: {failed[0].detail}")
    return problems


def _files(runtime: Runtime, scenario: Scenario, entries: list[ledger.Entry]) -> list[str]:
    """Check that the window's folder only holds files of the attempt whose token is committed."""
    folder = runtime.window(scenario.window).stage_path
    token = ledger.committed_token(entries, scenario.window)
    loaded = {
        entry.attempt for entry in entries if entry.kind is ledger.Kind.REPLACING and entry.token == token
    }
    found = {file.path.removeprefix(f"{folder}/").partition("/")[0] for file in runtime.stage.list(folder)}
    if found != loaded:
        return [f"the window's folder holds files of the attempts {sorted(found)}, committed is {loaded}"]
    return []


def others_changed(
    before: list[LoadedRow], now: list[LoadedRow], window: Interval, grown: Interval | None = None
) -> list[str]:
    """Check that the rows outside of the window are unchanged, including TOKEN and LOADED_AT.

    `grown` may have got rows: a run that finds its window done moves the next one.
    """
    outside = Counter(row for row in before if not window.holds(row.event_time))
    seen = Counter(
        row for row in now if not window.holds(row.event_time) and not (grown and grown.holds(row.event_time))
    )
    if outside == seen:
        return []
    return [
        f"other windows changed: {(outside - seen).total()} rows gone or written again, "
        f"{(seen - outside).total()} new"
    ]


def wanted(scenario: Scenario, window: Interval, combination: Combination) -> Content:
    return Counter(
        (row.record_id, parse_utc(row.event_time), combination.target.body(row.body))
        for row in scenario.expected(window)
    )


def loaded(rows: list[LoadedRow], window: Interval, combination: Combination) -> Content:
    return Counter(
        (row.record_id, row.event_time, combination.target.body(row.body))
        for row in rows
        if window.holds(row.event_time)
    )


def adopt_copy(combination: Combination, world: World, scenario: Scenario) -> None:
    MemorySource.table()
    with opened(combination, world, scenario) as runtime:
        adopt(runtime, "a copy of the template", "the tests")


@contextmanager
def opened(combination: Combination, world: World, scenario: Scenario) -> Iterator[Runtime]:
    """Open the pipeline as any other process does."""
    register("source", "memory", MemorySource)
    os.environ.update(combination.environment(world))  # every world has connections of its own
    config = parse_pipeline(
        combination.config(world, scenario.history, scenario.columns), options_model=options_model
    )
    with open_runtime(config) as runtime:
        yield runtime
