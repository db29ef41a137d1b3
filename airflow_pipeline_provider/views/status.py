"""Report the status of pipelines: which days are complete, what is missing and why, and when it is caught up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.garbage_collection import relaxed_gc
from airflow_pipeline_provider.phases.expectations import judge, question
from airflow_pipeline_provider.phases.identity import change_sentence, declared, differences
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.state.about import RenameNotice, find_rename
from airflow_pipeline_provider.views.bulk_read import read_entries, read_states
from airflow_pipeline_provider.views.files_removed import files_removed
from airflow_pipeline_provider.views.misses import Unexpected, unexpected
from airflow_pipeline_provider.views.pipeline_status import (
    Readable,
    eta_from,
    eta_spans,
    find_eta,
    read_status,
    too_old_days,
)
from airflow_pipeline_provider.views.status_report import StatusReport, caught_up, day_row, next_window
from airflow_pipeline_provider.views.times import lease_row, length_text


class StatusQuery(NamedTuple):
    """What to report: `days` up to the target day; `limit_seconds` is how far behind a pipeline may be."""

    reference_time: datetime
    days: int
    limit_seconds: int | None = None


class Reading(NamedTuple):
    """The status of a pipeline, and a sentence for each problem for which `status` returns 1."""

    report: StatusReport
    problems: list[str]


def read_pipeline(config: PipelineConfig, query: StatusQuery) -> Reading:
    """Open the state of one pipeline and report its status."""
    with open_runtime(config) as runtime:
        try:
            return read_status_of(config, runtime.state, query)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def read_status_of(config: PipelineConfig, state: Readable, query: StatusQuery) -> Reading:
    """Report the status of one pipeline, whose state is open."""
    found = _Read(config, state, query)
    eta = find_eta(config, state, found.status, query.reference_time)
    return found.reading(eta, state.entries_in(found.judged_spans))


def read_pipelines(
    configs: Iterable[PipelineConfig], query: StatusQuery
) -> tuple[dict[str, Reading], dict[str, PipelineError]]:
    """Report many pipelines, with a few queries for each SQL database that they share; return errors by pipeline."""
    with relaxed_gc():
        found = {config.pipeline_id: config for config in configs}
        states = read_states(found.values(), query.reference_time, query.days)
        read: dict[str, _Read] = {}
        single: dict[str, Reading] = {}
        errors: dict[str, PipelineError] = {}
        for pipeline_id, config in found.items():
            try:
                if pipeline_id in states:
                    read[pipeline_id] = _Read(config, states[pipeline_id], query)
                else:
                    single[pipeline_id] = read_pipeline(config, query)
            except PipelineError as error:  # the other pipelines are still reported
                errors[pipeline_id] = error
        together = _add_estimates(read, query.reference_time)
        return {name: single.get(name) or together[name] for name in found if name not in errors}, errors


def _add_estimates(read: Mapping[str, _Read], at: datetime) -> dict[str, Reading]:
    """Return the reports of pipelines that were read together, with one query for all estimates and expectations."""
    timed = {name: eta_spans(one.config, one.status, at) for name, one in read.items()}
    spans = {name: merge([*timed[name], *one.judged_spans]) for name, one in read.items()}
    entries: dict[str, list[Entry]] = {name: [] for name, listed in spans.items() if not listed}
    entries |= read_entries((read[name].config, listed) for name, listed in spans.items() if listed)

    def reading(name: str, one: _Read) -> Reading:
        if name not in entries:
            return one.reading(None, None)
        if not one.judged_spans:
            return one.reading(eta_from(one.config, entries[name], one.status, at), [])
        eta = eta_from(one.config, _inside(timed[name], entries[name]), one.status, at)
        return one.reading(eta, _inside(one.judged_spans, entries[name]))

    return {name: reading(name, one) for name, one in read.items()}


def _inside(spans: Sequence[Interval], entries: list[Entry]) -> list[Entry]:
    """Return the entries that overlap one of the spans, as a query for these alone does."""
    return [entry for entry in entries if any(entry.interval.overlaps(span) for span in spans)]


class _Read:
    """What was read of one pipeline, to which an estimate may be added."""

    def __init__(self, config: PipelineConfig, state: Readable, query: StatusQuery) -> None:
        self.config, self.query = config, query
        self.status = read_status(config, state, query.reference_time, query.days)
        about = state.about()
        self.changes = differences(about, declared(config))
        self.renamed = find_rename(config.pipeline_id, about)
        self.asked = question(config, query.reference_time, query.days, self.status.first_day)
        self.judged_spans = self.asked.spans(config)

    def reading(self, eta: Eta | None, entries: Sequence[Entry] | None) -> Reading:
        """Return the report with the estimate; `entries` are those of `judged_spans`, None if they were not read."""
        config, status, limit = self.config, self.status, self.query.limit_seconds
        too_old = too_old_days(config.rules, status.too_old)
        late = limit is not None and (status.behind_seconds > limit or too_old is not None)
        report = StatusReport(
            pipeline_id=config.pipeline_id,
            timezone=config.timezone,
            reference_time=self.query.reference_time,
            target_day=status.target_day,
            continuation=status.continuation,
            ready_until=status.ready_until,
            behind_seconds=status.behind_seconds,
            behind=length_text(status.behind_seconds),
            too_far_behind=late,
            too_old=too_old,
            eta=None if eta is None else caught_up(eta),
            next=next_window(status.plan),
            leases=tuple(lease_row(lease) for lease in status.leases),
            untimed=status.facts.get("untimed"),
            elsewhere=status.facts.get("elsewhere"),
            body=status.facts.get("body"),
            not_seen=status.facts.get("not_seen"),
            rewritten=status.facts.get("rewritten"),
            schema_changes=tuple(changes_in(status.facts).sentences()),
            unexpected=self._unexpected(entries),
            files_removed=files_removed((e for day in status.days for e in day.entries), config.timezone),
            days=tuple(day_row(day, config.timezone) for day in status.days),
            changes=tuple(self.changes),
            renamed=self.renamed.sentence if self.renamed else None,
        )
        return Reading(report, _problems(report, self.renamed, limit))

    def _unexpected(self, entries: Sequence[Entry] | None) -> Unexpected | None:
        if self.config.expect is None or entries is None:
            return None
        done, at = self.status.covered.done, self.query.reference_time
        return unexpected(judge(self.config, self.asked, entries, done, at), self.config.timezone)


def _problems(report: StatusReport, renamed: RenameNotice | None, limit: int | None) -> list[str]:
    name, found = f"pipeline {report.pipeline_id}", []
    if renamed is not None:
        found.append(f"{renamed.sentence}. {renamed.remedy}")
    if report.changes:
        found.append(f"{name}: {change_sentence(list(report.changes))}")
    if report.too_far_behind and report.too_old is not None:
        found.append(f"{name}: {report.too_old.sentence}")
    if report.too_far_behind and report.behind_seconds > (limit or 0):
        since = local_time(report.continuation or report.reference_time, report.timezone)
        found.append(
            f"{name} is {report.behind} behind, more than {length_text(limit or 0)}: its oldest gap starts at {since}"
        )
    return found
