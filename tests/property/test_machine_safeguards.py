"""The state machine can fail: each safeguard has a short story that goes well with it, and is noticed without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

import pytest

from airflow_pipeline_provider.connectors.base import CommitRow, LoadResult, Source, Stage
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.planning import target_day
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.phases import audit as audit_phase
from airflow_pipeline_provider.phases import fallback, leases, run_phase
from airflow_pipeline_provider.phases import generate as generate_phase
from airflow_pipeline_provider.phases import load as load_phase
from airflow_pipeline_provider.phases import stage as stage_phase
from airflow_pipeline_provider.phases import validate as validate_phase
from airflow_pipeline_provider.phases.attempt_files import find_attempts
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged
from airflow_pipeline_provider.state import base as state_base
from airflow_pipeline_provider.state.base import Lease
from tests.doubles import memory_target
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse, TargetRow
from tests.property import machine_stories as stories
from tests.property.machine_world import World

pytestmark = pytest.mark.usefixtures("quiet")


def no_delete(self: MemoryTarget, manifest: Manifest, stage: Stage) -> LoadResult:
    self.warehouse.rows += tuple(self._copy(manifest, stage))
    row = CommitRow(manifest.interval, manifest.token, manifest.sha256, manifest.rows)
    self.warehouse.commits += ((manifest.pipeline_id, row),)
    return LoadResult(manifest.rows, manifest.rows)


original_load = MemoryTarget.load


def load_without_history(self: MemoryTarget, manifest: Manifest, stage: Stage) -> LoadResult:
    of_events = MemoryTarget(
        self.options, self.identity._replace(keeps_history=False), warehouse=self.warehouse
    )
    return original_load(of_events, manifest, stage)


def loaded_last(self: MemoryWarehouse) -> list[TargetRow]:
    newest: dict[str, TargetRow] = {}
    for row in sorted(self.rows, key=lambda row: row.token):
        newest[row.record_id] = row
    return list(newest.values())


def overtaken_by_other_runs(entries: Iterable[ledger.Entry], attempt: str | None) -> ledger.Entry | None:
    """Without a thought of two installations, which give equal names to their runs."""
    written = list(entries)
    begun = [n for n, entry in enumerate(written) if entry.attempt == attempt is not None]
    after = written[begun[0] :] if begun else []
    others = (e for e in after if e.kind is Kind.COMMITTED and e.run != after[0].run)
    return next(others, None)


def overtaken_is_all(runtime: Runtime, claim: Claim, attempt: str | None) -> None:
    """Whose attempt it is, is not asked."""


def day_of_the_caller(runtime: Runtime, run_after: datetime | None) -> date | None:
    return runtime.state.first_day(target_day(runtime.config.rules, run_after or runtime.clock()))


def newest_token(runtime: Runtime, given: int = 0) -> int:
    return runtime.target.newest_token()


def remove_all_others(runtime: Runtime, claim: Claim, staged: Staged) -> None:
    files = runtime.stage.list(claim.stage_path)
    found = find_attempts(runtime.config.pipeline_id, files)
    runtime.stage.delete([f.path for a in found if a.attempt != staged.attempt for f in a.files])


def manifest_of_anybody(runtime: Runtime, claim: Claim, staged: Staged) -> Manifest:
    return Manifest.from_bytes(runtime.stage.read(str(staged.path)))


def nothing(*args: Any, **kwargs: Any) -> None:
    """The check is gone."""


class Safeguard(NamedTuple):
    """`noticed`: what the machine finds; `without`: (where, name, what is there instead) of each of its parts."""

    name: str
    story: Callable[[World], None]
    noticed: str
    without: list[tuple[Any, str, Any]]
    history: str = "events"
    start_day: bool = True


SAFEGUARDS = [
    Safeguard(
        "a load deletes first",
        stories.a_window_is_replaced,
        "a row is doubled",
        [(MemoryTarget, "load", no_delete)],
    ),
    Safeguard(
        "a load refuses an older token",
        stories.a_stale_load_wakes,
        "was loaded over",
        [(memory_target, "is_loaded", lambda rows, manifest: False)],
    ),
    Safeguard(
        "the continuation passes no gap",
        stories.the_days_end_comes_first,
        "past a gap",
        [(ledger, "contiguous_end", lambda day, covered: max((i.end for i in covered), default=day.start))],
    ),
    Safeguard(
        "a commit overtakes older attempts",
        stories.a_slow_run_is_overtaken,
        "holds older readings than what is committed",
        [
            (ledger, "overtaken_by", lambda entries, attempt: None),
            (stage_phase, "overtaken_by", lambda entries, attempt: None),
        ],
    ),
    Safeguard(
        "attempts are compared, not runs",
        stories.two_installations_execute_one_run,
        "holds older readings than what is committed",
        [
            (ledger, "overtaken_by", overtaken_by_other_runs),
            (stage_phase, "overtaken_by", overtaken_by_other_runs),
        ],
    ),
    Safeguard(
        "a lease is of one installation",
        stories.two_installations_begin_one_run,
        "generate of installation green took the lease of another one",
        [(state_base, "is_same_run", lambda run, installation, owner: run == owner.run)],
    ),
    Safeguard(
        "a committed window keeps its rows",
        stories.a_document_goes,
        "nobody accepted that",
        [(load_phase, "_check_shrink", nothing)],
    ),
    Safeguard(
        "slices tile the window",
        stories.the_window_is_sliced,
        "expected one receipt for each of 3 slices",
        [
            (
                MemorySource,
                "plan_slices",
                lambda self, interval, n: Source.plan_slices(self, interval, n)[: max(1, n - 1)],
            )
        ],
    ),
    Safeguard(
        "a new state continues the target's tokens",
        stories.the_state_is_lost,
        "got the token 1 after 1",
        [(MemoryTarget, "newest_token", lambda self: 0)],
    ),
    Safeguard(
        "a reference time is at most now",
        stories.a_caller_asks_from_the_future,
        "from the future",
        [(generate_phase, "at_most_now", lambda runtime, reference, run_after=None: reference)],
    ),
    Safeguard(
        "the first day is not the caller's",
        stories.the_first_run_comes_from_the_future,
        "days from 2013-11-02 on are lost",
        [(generate_phase, "remember_first_day", day_of_the_caller)],
        start_day=False,
    ),
    Safeguard(
        "a window is over by the store's clock too",
        stories.a_worker_is_ahead,
        "is committed, and it is",
        [(Runtime, "now", lambda self: self.clock())],
    ),
    Safeguard(
        "a state that fell back is noticed",
        stories.the_state_falls_back,
        "relies on an older state",
        [
            (module, "check_current", newest_token)
            for module in (fallback, validate_phase, stage_phase, load_phase)
        ],
    ),
    Safeguard(
        "a load's token is one that the state has given out",
        stories.a_staged_run_outlives_its_state,
        "relies on an older state",
        [(load_phase, "check_current", newest_token)],
    ),
    Safeguard(
        "a claim is of the pipeline",
        stories.another_pipelines_claim,
        "validate works with values of another run",
        [(run_phase, "check_pipeline", nothing)],
    ),
    Safeguard(
        "a claim is of the run",
        stories.another_windows_claim,
        "validate works with values of another run",
        [(leases, "check_binding", nothing)],
    ),
    Safeguard(
        "receipts are of the attempt",
        stories.another_runs_receipts,
        "stage works with values of another run",
        [(stage_phase, "_check_attempts", nothing)],
    ),
    Safeguard(
        "an attempt is of the run",
        stories.another_runs_attempt,
        "stage works with values of another run",
        [(stage_phase, "check_attempt", overtaken_is_all)],
    ),
    Safeguard(
        "a manifest is of the run",
        stories.another_runs_manifest,
        "load works with values of another run",
        [
            (load_phase, "check_attempt", overtaken_is_all),
            (load_phase, "read_manifest", manifest_of_anybody),
        ],
    ),
    Safeguard(
        "a commit deletes older files only",
        stories.an_audit_wakes_beside_a_newer_attempt,
        "no commit has made useless",
        [(audit_phase, "remove_older_attempts", remove_all_others)],
    ),
    Safeguard(
        "a lease ends within its length",
        stories.the_stores_clock_was_ahead,
        "is not committed yet",
        [(Lease, "is_live", lambda self, now: now < self.until)],
    ),
    Safeguard(
        "a load refuses an older token (history)",
        stories.a_stale_load_wakes,
        "was loaded over",
        [(memory_target, "is_loaded", lambda rows, manifest: False)],
        history="changes",
    ),
    Safeguard(
        "older versions stay",
        stories.a_record_moves_inside,
        "lacks what one did",
        [(MemoryTarget, "load", load_without_history)],
        history="changes",
    ),
    Safeguard(
        "the newest version is the one with the latest time",
        stories.a_record_moves_on,
        "_LATEST shows an older version",
        [(MemoryWarehouse, "latest", loaded_last)],
        history="changes",
    ),
]
CASES = [pytest.param(safeguard, id=safeguard.name) for safeguard in SAFEGUARDS]


def play(safeguard: Safeguard) -> None:
    with stories.world(safeguard.history, start_day=safeguard.start_day) as made:
        safeguard.story(made)


@pytest.mark.parametrize("safeguard", CASES)
def test_a_story_goes_well_with_its_safeguard(safeguard: Safeguard) -> None:
    play(safeguard)


@pytest.mark.parametrize("safeguard", CASES)
def test_a_safeguard_that_is_removed_is_noticed(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, instead in safeguard.without:
        monkeypatch.setattr(place, name, instead)
    with pytest.raises(AssertionError, match=safeguard.noticed):
        play(safeguard)
