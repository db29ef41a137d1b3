"""Phase 2: judge whether a window may be moved, and plan its slices; only the attempt's ledger entry is written.

The order of checks: in the future, already committed, loaded but not audited; the source exists, its rows, rows
without a time, age of the newest row.  A crash leaves nothing but a lease.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import structs

from airflow_pipeline_provider.connectors.base import CommitRow, Slice
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.record_validation import Verdict, VerdictKind, judge, needs_no_probe
from airflow_pipeline_provider.exceptions import ConfigError, DataError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.body_rules import follows_rules
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.leases import release
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.source_facts import SourceFacts, read_facts, report_facts
from airflow_pipeline_provider.phases.stage import staged_by
from airflow_pipeline_provider.phases.values import Claim, Staged, Validated

logger = logging.getLogger(__name__)
T = TypeVar("T")


def validate(runtime: Runtime, claim: Claim) -> Validated:
    """Return the verdict, and for `run` the attempt's id with its frozen slice plan (at least one slice)."""
    with run_phase(runtime, "validate", claim) as phase:
        verdict, source_rows, loaded, facts = _judge(runtime, claim)
        phase.counts(source=source_rows)
        if verdict.kind is VerdictKind.STALE:
            raise DataError(verdict.detail)
        for note in verdict.degraded:
            logger.warning("validate continues without a probe: %s", note)
        if verdict.kind is VerdictKind.SKIP:
            phase.skipped(verdict.reason or "skip")
            release(runtime, claim.run, claim.interval)
            return Validated("skip", verdict.detail, verdict.reason, source_rows=source_rows)
        if verdict.kind is VerdictKind.ALREADY_LOADED:
            return Validated("already_loaded", verdict.detail, source_rows=source_rows, staged=loaded)
        reach("validate.judged")
        report_facts(runtime, facts)
        attempt, slices = begin_attempt(runtime, claim, source_rows, facts.detail())
        return Validated("run", verdict.detail, attempt=attempt, slices=slices, source_rows=source_rows)


def begin_attempt(
    runtime: Runtime, claim: Claim, rows: int | None, facts: Mapping[str, object]
) -> tuple[str, tuple[Slice, ...]]:
    """Freeze a slice plan under a new attempt id, and record it with the facts of the source.

    `rows` are the source's rows as just counted; when they are unknown (None), `slices: auto` means one slice.
    """
    options, interval = runtime.config.source, claim.interval
    n = runtime.source.best_slices(rows or 0) if options.slices == "auto" else options.slices
    if options.distribute == "tasks":
        slices = tuple(runtime.source.plan_slices(interval, n))
    else:
        slices = tuple(
            structs.replace(slice_, readers=n) for slice_ in runtime.source.plan_slices(interval, 1)
        )
    slices = tuple(structs.replace(slice_, record_id=facts.get("record_id")) for slice_ in slices)
    attempt = uuid.uuid4().hex[:12]
    runtime.state.append(
        ledger.Entry(
            ledger.Kind.ATTEMPT,
            claim.interval,
            runtime.clock(),
            attempt=attempt,
            run=claim.run,
            detail={
                "slices": n,
                **facts,
                **runtime.execution.recorded(),
                **({} if claim.by is None else {"by": claim.by}),
            },
        )
    )
    reach("validate.recorded")
    return attempt, slices


def _began_other_load(entry: ledger.Entry, row: CommitRow) -> bool:
    """Return whether the entry is of a newer load than the commit row's, or of another one with the same token.

    Two loads have the same token only if the state fell back to an older copy while one of them got it.
    """
    is_other = entry.token == row.token and entry.manifest not in (None, row.manifest_sha)
    return is_other or (entry.token or 0) > row.token


def _judge(runtime: Runtime, claim: Claim) -> tuple[Verdict, int | None, Staged | None, SourceFacts]:
    """Return the verdict, the source's rows if counted, what the target holds of exactly this window, and facts."""
    config, interval = runtime.config, claim.interval
    unavailable: dict[str, str] = {}

    def probe(name: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except TransientError as error:
            if config.validate_.on_unavailable == "fail":
                raise
            unavailable[name] = str(error)
            return None

    if config.source.history == "changes" and not runtime.target.can_keep_history:
        raise ConfigError(
            f"source.history: target {config.target.type!r} cannot keep the history of changing records; "
            "use history: events, or another target"
        )
    with runtime.state.session():
        entries = runtime.state.entries(interval)
        now = runtime.now()
    committed = ledger.committed(entries)
    early = needs_no_probe(
        interval,
        now=now,
        settle_seconds=config.rules.settle_seconds,
        committed=committed,
        replace=claim.replace,
    )
    if early is not None:  # a source that no longer exists does not matter then
        return early, None, None, SourceFacts()
    with runtime.target.session():
        check_current(runtime)
        # A window requested by hand is read again, whatever an unfinished run left in the target.
        newest = None if claim.replace else runtime.target.newest_commit(interval)
    loaded = staged_by(runtime, claim, newest) if newest and newest.interval == interval else None
    if newest is not None and any(_began_other_load(entry, newest) for entry in entries):
        newest = None  # the audit would refuse what the target holds
    if newest is not None and not follows_rules(runtime, entries, newest.token, newest.manifest_sha):
        newest = None  # it has documents under other rules than the file has now
    probe("exists", runtime.source.check)
    source_rows = probe("count", lambda: runtime.source.count(interval))
    staleness = config.validate_.max_staleness_seconds
    newest_event = (
        probe("newest_event_time", runtime.source.newest_event_time) if staleness is not None else None
    )
    facts = read_facts(runtime, interval, source_rows, newest_event, probe)
    verdict = judge(
        interval,
        now=now,
        settle_seconds=config.rules.settle_seconds,
        committed=committed,
        newest_target=(newest.interval, newest.token) if newest else None,
        ledger_token=ledger.committed_token(entries, interval),
        replace=claim.replace,
        source_count=source_rows,
        newest_event_time=newest_event,
        max_staleness_seconds=staleness,
        on_unavailable=config.validate_.on_unavailable,
        unavailable=unavailable,
        loaded_rows=loaded.rows + loaded.quarantined if loaded else None,
    )
    return verdict, source_rows, loaded, facts
