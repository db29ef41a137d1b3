"""Run all phases in one process, for `airflow-pipelines run` and for tests."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Audited, Claim, RunRequest


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run: `audited` when a window was committed, otherwise the reason and a sentence."""

    claim: Claim | None
    audited: Audited | None
    reason: str | None
    detail: str


def run_window(runtime: Runtime, request: RunRequest) -> Outcome:
    """Move one window, or return why there is none; raise the errors of the phases, with their context."""
    generated = generate(runtime, request)
    if generated.claim is None:
        return Outcome(None, None, generated.reason, generated.detail)
    claim = generated.claim
    validated = validate(runtime, claim)
    if validated.verdict == "skip":
        return Outcome(claim, None, validated.reason, validated.detail)
    staged = validated.staged
    if staged is None:
        attempt = validated.attempt or ""
        receipts = [extract(runtime, claim, attempt, slice_) for slice_ in validated.slices]
        staged = stage(runtime, claim, attempt, receipts)
        load(runtime, claim, staged)
    return Outcome(claim, audit(runtime, claim, staged), None, generated.detail)
