"""Accept a changed source or target: because it holds the same data, or by moving every committed window again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from airflow_pipeline_provider.core.command_line import name_of, reprocess_all, shell_line
from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval, common, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed, effective
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, PipelineError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.identity import (
    Datasets,
    datasets_of,
    differences,
    is_twin,
    recorded,
    refuse_renamed,
)
from airflow_pipeline_provider.phases.rename import all_time
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.about import Act

MARK = {"reprocess": "all"}
"""Detail of the `replacing` entries that make committed windows unverified until they are moved again."""


class Adoption(NamedTuple):
    """`found` are the differences that were accepted, `twins` pipelines with the same source in the table.

    `windows` is how many committed windows the target was found to hold, None when the target is the same.
    """

    found: list[str]
    twins: list[str]
    windows: int | None


def adopt(runtime: Runtime, reason: str, by: str) -> Adoption:
    """Record source and target as they are now.

    DataError when the target changed and lacks a committed window.  TransientError while a run holds a window.
    """
    name = runtime.config.pipeline_id
    try:
        with all_time(runtime.state, f"adopt {name}"):
            about, now = runtime.state.about(), datasets_of(runtime)
            refuse_renamed(name, about)
            found = differences(about, now)
            others = runtime.target.pipelines()
            twins = sorted(other for other, entry in others.items() if other != name and is_twin(now, entry))
            if not found and not (twins and about.source is None):
                return Adoption([], [], None)
            runtime.source.check()
            windows = _check_windows(runtime) if any(one.startswith("target.") for one in found) else None
            _accept(
                runtime,
                now,
                Act(runtime.state.now(), "adopt", by, reason, detail={"changes": found or twins}),
            )
            return Adoption(found, twins, windows)
    except PipelineError as error:
        error.add_context(f"pipeline {name}, adopt")
        raise


def committed_windows(runtime: Runtime) -> list[Interval]:
    """Return what `reprocess --all` moves: every committed window, or what an earlier one that was cut off left."""
    entries = runtime.state.entries()
    pieces = [piece for piece, _, _ in effective(entries)]
    if not differences(runtime.state.about(), datasets_of(runtime)):
        ruling = effective(entries, (Kind.REPLACING, Kind.COMMITTED))
        marked = [piece for piece, entry, _ in ruling if entry.kind is Kind.REPLACING and _is_mark(entry)]
        pieces = [piece for piece in pieces if common([piece], marked)] or pieces
    zone = runtime.config.timezone
    return [part for piece in pieces for _, part in days_in(piece, zone)]


def begin_all(runtime: Runtime, by: str) -> None:
    """Make every committed window unverified and record source and target, where they changed.

    After a crash in between, the next call marks them again.
    """
    name = runtime.config.pipeline_id
    try:
        with all_time(runtime.state, f"reprocess {name}"):
            about, now = runtime.state.about(), datasets_of(runtime)
            refuse_renamed(name, about)
            found = differences(about, now)
            if found:
                runtime.source.check()
                runtime.target.prepare()
                _mark(runtime, by)
                reach("reprocess.marked")
                act = Act(runtime.state.now(), "reprocess --all", by, detail={"changes": found})
                _accept(runtime, now, act)
    except PipelineError as error:
        error.add_context(f"pipeline {name}, reprocess --all")
        raise


def _mark(runtime: Runtime, by: str) -> None:
    state, zone = runtime.state, runtime.config.timezone
    for stretch in merge(committed(state.entries())):
        for _, part in days_in(stretch, zone):
            token = state.mint_token(floor=runtime.target.newest_token())
            detail = {**MARK, "by": by}
            state.append(Entry(Kind.REPLACING, part, runtime.clock(), token=token, detail=detail))


def _is_mark(entry: Entry) -> bool:
    return MARK.items() <= entry.detail.items()


def _accept(runtime: Runtime, now: Datasets, act: Act) -> None:
    runtime.target.prepare()
    runtime.target.register(now.entry, lambda _: None)
    runtime.state.change_about(lambda about: recorded(about, now).with_act(act))


def _check_windows(runtime: Runtime) -> int:
    """Return how many committed windows the target holds; DataError when it lacks one."""
    commits = effective(runtime.state.entries())
    held = {(row.interval, row.token, row.manifest_sha) for row in runtime.target.commits()}
    missing: Sequence[Interval] = [
        piece for piece, e, _ in commits if (e.interval, e.token, e.manifest) not in held
    ]
    if missing:
        raise DataError(
            f"the target that the file names now lacks {len(missing):,} of "
            f"{counted(len(commits), 'committed window')}, first "
            f"{missing[0]}; nothing was changed. Rename or copy the table together with its _COMMITS and _FENCE, or "
            f"run `{shell_line(reprocess_all(name_of(runtime.config.pipeline_id)))}`"
        )
    return len(commits)
