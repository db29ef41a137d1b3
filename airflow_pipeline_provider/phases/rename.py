"""`state rename`: give the state and the target rows of one pipeline to another id, without moving data.

Order: lease both ids whole, mark the new one as unfinished and the old one as renamed, copy the state, rename in the
target (one transaction), record source and target with the new id, which ends its mark.  After a crash the
same command finishes it.  Until then no run of either pipeline begins: first the leases, later the marks prevent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import NamedTuple

from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError, PipelineError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.identity import change_sentence, datasets_of, differences, recorded
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.about import NOTHING, About, Act, merged
from airflow_pipeline_provider.state.base import State

ALL_TIME = Interval(datetime(1000, 1, 1, tzinfo=timezone.utc), datetime(9000, 1, 1, tzinfo=timezone.utc))
LEASE_SECONDS = 3600.0  # for all of it; a command that was cut off takes its lease again at once


class RenameResult(NamedTuple):
    """Number of `entries` in the ledger under the new id, and of `rows` that this call changed in the target."""

    entries: int
    rows: int


def rename(runtime: Runtime, old: State, by: str) -> RenameResult:
    """Rename the pipeline of `old` to that of `runtime`.

    Raises ConfigError when there is nothing to rename, source or target changed too, or the new id has a history;
    TransientError while a run of either holds a window; DataError when the target holds commit rows of both.
    """
    old_id, new_id = old.identity.pipeline_id, runtime.config.pipeline_id
    try:
        with all_time(runtime.state, f"rename {old_id} {new_id}"), all_time(old, f"rename {old_id} {new_id}"):
            return _rename(runtime, old, by)
    except PipelineError as error:
        error.add_context(f"pipeline {old_id}, state rename to {new_id}")
        raise


@contextmanager
def all_time(state: State, owner: str) -> Iterator[None]:
    """Hold a lease on all time, so that no run begins; raise TransientError while one is at work."""
    try:
        state.acquire(ALL_TIME, owner, LEASE_SECONDS)
    except LeaseHeldError as error:
        raise TransientError(
            f"{error.message}: stop the pipeline {state.identity.pipeline_id!r} or wait until its runs end"
        ) from error
    try:
        yield
    finally:
        state.release(ALL_TIME, owner)


def _rename(runtime: Runtime, old: State, by: str) -> RenameResult:
    old_id, new_id = old.identity.pipeline_id, runtime.config.pipeline_id
    new, target = runtime.state, runtime.target
    snapshot = old.snapshot()
    now = datasets_of(runtime)
    if not snapshot.entries and snapshot.about == NOTHING:
        raise ConfigError(f"the state store that {new_id!r} names knows no pipeline {old_id!r}")
    if snapshot.about.renamed_to not in (None, new_id):
        raise ConfigError(f"pipeline {old_id!r} was renamed to {snapshot.about.renamed_to!r} before")
    if found := differences(snapshot.about, now):
        raise ConfigError(
            f"{change_sentence(found)}; nothing was changed. Rename first with the old source and target in the "
            "file, and change them afterwards"
        )
    count, present = len(snapshot.entries), tuple(new.entries())
    both = min(count, len(present))
    if present[:both] != snapshot.entries[:both]:
        raise ConfigError(
            f"pipeline {new_id!r} has a history of its own ({counted(len(present), 'entry')}), which cannot be "
            "joined with "
            f"that of {old_id!r}; nothing was changed: choose another pipeline_id"
        )
    if new.about().renaming_from is None and snapshot.about.renamed_to == new_id:
        return RenameResult(count, 0)  # done before
    new.change_about(lambda about: replace(about, renaming_from=old_id, renamed_to=None))
    reach("rename.begun")
    old.change_about(lambda about: replace(about, renamed_to=new_id))
    reach("rename.old_marked")
    if len(present) < count:
        new.restore(replace(snapshot, about=NOTHING))
    reach("rename.state_copied")
    target.prepare()
    rows = target.rename_pipeline(old_id)
    target.register(now.entry, lambda _: None)
    reach("rename.target_committed")
    act = Act(new.now(), "rename", by, detail={"from": old_id})

    def finish(about: About) -> About:
        both = merged(snapshot.about, about)
        done = replace(recorded(about, now), renaming_from=None, acts=both.acts, day_events=both.day_events)
        return done.with_act(act)

    new.change_about(finish)
    return RenameResult(count, rows)
