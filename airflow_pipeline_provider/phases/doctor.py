"""Beside the phases: compare ledger, stage and target, and name what differs with the command that mends it.

Reads only, but for the small file by which `cleanup` asks the stage's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import doctor_target, doctor_upkeep
from airflow_pipeline_provider.phases.findings import Finding, View
from airflow_pipeline_provider.phases.runtime import Runtime

CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    doctor_target.state_lost,
    doctor_target.ledger_beyond_target,  # before the ledger is rebuilt, which refuses while the target lacks rows
    doctor_target.target_beyond_ledger,
    doctor_target.unverified,
    doctor_target.overlaps,
    doctor_target.counts,
    doctor_target.uncovered,
    doctor_upkeep.first_day,
    doctor_upkeep.blocked,
    doctor_upkeep.drifted,
    doctor_upkeep.ready_gaps,
    doctor_upkeep.expired_leases,
    doctor_upkeep.manifests,
    doctor_upkeep.orphans,
    doctor_upkeep.external_stage,
)
"""In the order in which `--fix` mends: the ledger, then the target, then what is missing, then what lies about."""


def examine(runtime: Runtime, at: datetime, span: Interval, name: str) -> list[Finding]:
    """Every finding.  `span` is looked at window by window; `at` is the instant that says what is ready.

    A check that cannot be made is a finding too; errors are those of state and target, without which there is none.
    """
    try:
        view = View(
            runtime,
            name,
            at,
            span,
            tuple(runtime.state.entries()),
            tuple(runtime.target.commits()),
            tuple(runtime.state.leases()),
            tuple(runtime.state.entries()),
        )
    except PipelineError as error:
        error.add_context(f"pipeline {runtime.config.pipeline_id}, doctor")
        raise
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(view)
        except PipelineError as error:
            what = check.__name__.replace("_", " ")
            findings.append(Finding("not_checked", None, f"{what} could not be checked: {error}"))
    return findings
