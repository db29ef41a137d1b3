"""Compare ledger, stage and target, and report each difference with the command that repairs it.

Reads only, except for the small file with which `cleanup` reads the clock of the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.planning import PlanRules, recent_days, target_day
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import doctor_quarantine, doctor_target, doctor_upkeep
from airflow_pipeline_provider.phases.findings import Finding, View
from airflow_pipeline_provider.phases.runtime import Runtime

CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    doctor_target.identity,
    doctor_target.state_lost,
    doctor_target.state_behind,
    doctor_target.ledger_beyond_target,  # before the ledger is rebuilt, which refuses while the target lacks rows
    doctor_target.target_beyond_ledger,
    doctor_target.unverified,
    doctor_target.overlaps,
    doctor_target.counts,
    doctor_target.uncovered,
    doctor_quarantine.quarantined,
    doctor_upkeep.first_day,
    doctor_upkeep.blocked,
    doctor_upkeep.drifted,
    doctor_upkeep.ready_gaps,
    doctor_upkeep.too_old,
    doctor_upkeep.source_facts,
    doctor_upkeep.expired_leases,
    doctor_upkeep.manifests,
    doctor_upkeep.orphans,
    doctor_upkeep.external_stage,
    doctor_upkeep.unsafe_connections,
)
"""In the order in which `--fix` repairs: the ledger, the target, what is missing, what is left behind."""


@dataclass(frozen=True)
class Examined:
    """What was compared, and what was found.

    `days` are the local days that were compared; `commits` and `rows` count what ledger and target hold of them;
    `earlier` is set when either has windows before them.
    """

    days: tuple[date, ...]
    commits: int
    rows: int
    earlier: bool
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool | None:
        """Return None when there was nothing to compare and nothing was found."""
        if any(not finding.harmless for finding in self.findings):
            return False
        return True if self.commits or self.rows else None


def examine(runtime: Runtime, at: datetime, days: int, name: str) -> Examined:
    """Compare the last `days` days up to the target day, or up to `end_day`; `at` decides what is ready.

    A check that cannot be made is a finding too; errors are those of state and target, without which there is none.
    """
    span = _span(runtime.config.rules, at, days)
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
        if any(finding.kind in doctor_target.NO_RUN_LOADS for finding in findings):
            break  # no other difference can be repaired, or it is measured against another source or target
    known = [row.interval for row in view.rows]
    known += [entry.interval for entry in view.entries if entry.kind is Kind.COMMITTED]
    return Examined(
        tuple(recent_days(runtime.config.rules, at, days)),
        len(view.commits),
        sum(row.rows for row, _ in view.effective_loads),
        any(interval.start < span.start for interval in known),
        tuple(findings),
    )


def _span(rules: PlanRules, at: datetime, days: int) -> Interval:
    """Return the days that `status` shows, without a bound at the first day: the state may be what was lost.

    What was moved by hand after them is looked at too.
    """
    target = target_day(rules, at)
    last = min(target, rules.end_day or target)
    first = day_interval(last - timedelta(days=days - 1), rules.timezone)
    return Interval(first.start, max(at, day_interval(last, rules.timezone).end))
