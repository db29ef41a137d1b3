"""Values that come by XCom are those of the pipeline, the run and the window, or nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError, SupersededError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.drain import drain
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, Staged

from .conftest import Pipeline

FIRST = msgspec.convert(["2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z"], Interval)
SECOND = msgspec.convert(["2013-11-03T06:00:00Z", "2013-11-03T08:00:00Z"], Interval)


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    for n in range(8):
        pipeline.rows.put(f"r{n}", f"2013-11-03T{4 + n // 2:02}:{n % 2 * 30:02}:00Z")
    return pipeline


def claimed(pipeline: Pipeline, run: str, window: Interval = FIRST, runtime: Runtime | None = None) -> Claim:
    request = pipeline.request(run, kind=RunKind.WINDOW, interval=window)
    claim = generate(runtime or pipeline.runtime(), request).claim
    assert claim is not None
    return claim


def staged(pipeline: Pipeline, claim: Claim) -> tuple[str, Staged]:
    runtime = pipeline.runtime()
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    receipts = [extract(runtime, claim, validated.attempt, one) for one in validated.slices]
    return validated.attempt, stage(runtime, claim, validated.attempt, receipts)


Phase = Callable[[Runtime, Claim, str, Staged], Any]
PHASES: dict[str, Phase] = {
    "validate": lambda r, c, a, s: validate(r, c),
    "extract": lambda r, c, a, s: extract(r, c, a, r.source.plan_slices(FIRST, 1)[0]),
    "stage": lambda r, c, a, s: stage(r, c, a, []),
    "load": lambda r, c, a, s: load(r, c, s),
    "audit": lambda r, c, a, s: audit(r, c, s),
    "drain": lambda r, c, a, s: drain(r, c, s.token),
}


def state_of(pipeline: Pipeline) -> Any:
    return {
        name: (list(one.entries), list(one.leases), dict(one.runs))
        for name, one in pipeline.store.pipelines.items()
    }


@pytest.mark.parametrize("phase", sorted(PHASES))
def test_a_window_of_another_pipeline_is_refused_before_anything(seeded: Pipeline, phase: str) -> None:
    claim = claimed(seeded, "flights/a")
    attempt, manifest = staged(seeded, claim)
    other = seeded.runtime(pipeline_id="other", source={"table": "rows"})
    other.state.mint_token(floor=50)
    before, files = state_of(seeded), seeded.stage_files()
    with pytest.raises(ConfigError, match=r"pipeline other, .*got flights\."):
        PHASES[phase](other, claim, attempt, manifest)
    assert (state_of(seeded), seeded.stage_files()) == (before, files)
    assert not (seeded.folder / "lake.duckdb").exists()


def moved_claim(claim: Claim) -> Claim:
    return replace(claim, interval=SECOND)


@pytest.mark.parametrize(
    ("phase", "edit", "error"),
    [
        ("stage", lambda c, a, s, other: (c, other[0], s), DataError),
        ("load", lambda c, a, s, other: (c, a, other[1]), DataError),
        ("load", lambda c, a, s, other: (c, a, replace(other[1], attempt=a)), DataError),
        ("load", lambda c, a, s, other: (c, a, replace(s, token=99)), DataError),
    ],
    ids=["attempt", "manifest", "manifest under our attempt", "token"],
)
def test_values_of_another_run_are_refused(
    seeded: Pipeline, phase: str, edit: Callable[..., tuple[Claim, str, Staged]], error: type[PipelineError]
) -> None:
    other = staged(seeded, claimed(seeded, "flights/b", FIRST))
    seeded.runtime().state.release(FIRST, "flights/b")
    claim = claimed(seeded, "flights/a")
    attempt, manifest = staged(seeded, claim)
    with pytest.raises(error):
        PHASES[phase](seeded.runtime(), *edit(claim, attempt, manifest, other))
    assert seeded.runtime().target.commits() == []


@pytest.mark.parametrize("phase", sorted(set(PHASES) - {"drain"}))
def test_a_window_that_is_not_the_runs_is_not_even_leased(seeded: Pipeline, phase: str) -> None:
    claim = claimed(seeded, "flights/a")
    attempt, manifest = staged(seeded, claim)
    before, files = state_of(seeded), seeded.stage_files()
    with pytest.raises(SupersededError, match=r"flights/a has the window .*, and this task was given"):
        PHASES[phase](seeded.runtime(), moved_claim(claim), attempt, manifest)
    assert (state_of(seeded), seeded.stage_files()) == (before, files)
    assert seeded.runtime().target.commits() == []


@pytest.mark.parametrize("edit", [{"rows": 1}, {"quarantined": 3}, {"sha256": "0" * 64}])
def test_counts_that_load_did_not_record_are_not_committed(seeded: Pipeline, edit: dict[str, Any]) -> None:
    """Rows that were called quarantined would hide as many that are missing."""
    claim = claimed(seeded, "flights/a")
    _, manifest = staged(seeded, claim)
    load(seeded.runtime(), claim, manifest)
    with pytest.raises(DataError, match="that load recorded"):
        audit(seeded.runtime(), claim, replace(manifest, **edit))
    assert audit(seeded.runtime(), claim, manifest).token == manifest.token
