"""Collect facts about the source in validate, and refuse a window because of them where configured.

The facts are recorded with the attempt and its commit, so that `status` and `doctor` report them without asking the
source: `untimed` (rows without a usable event time), `elsewhere` (the window is empty and the newest row is in no
planned day), `body` (what BODY is, as `connectors.base.Body`), `record_id` (the form of record ids, unless usual).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar

from airflow_pipeline_provider.connectors.base import Body, BodyReport
from airflow_pipeline_provider.connectors.probes import EPOCH_SECONDS, count_unusable
from airflow_pipeline_provider.core.body_rules import KEY as REWRITTEN
from airflow_pipeline_provider.core.change_markers import why_not_seen
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.record_ids import record_id_form
from airflow_pipeline_provider.phases.runtime import Runtime

logger = logging.getLogger(__name__)

T = TypeVar("T")
Probe = Callable[[str, Callable[[], T]], "T | None"]

RECORDED = ("body", "untimed", "elsewhere", "record_id")
"""Keys of an attempt's detail that its commit repeats."""

SHOWN = (*RECORDED, "fields", REWRITTEN)
"""Keys of the detail of commits and failures that views show as they were recorded last."""

_FIRST, _LAST = datetime(1000, 1, 1, tzinfo=timezone.utc), datetime(9999, 1, 1, tzinfo=timezone.utc)
_DAY = timedelta(days=1)


class SourceFacts(NamedTuple):
    """Facts about the source; None is unknown."""

    body: BodyReport | None = None
    untimed: int | None = None
    all_untimed: bool = False
    elsewhere: dict[str, object] | None = None
    record_id: str | None = None

    def detail(self) -> dict[str, object]:
        """Return the facts as the ledger keeps them."""
        found: dict[str, object] = {
            "body": self.body.kind.value if self.body else None,
            "untimed": self.untimed,
            "elsewhere": self.elsewhere,
            "record_id": self.record_id,
        }
        return {name: value for name, value in found.items() if value is not None}


def read_facts(
    runtime: Runtime, interval: Interval, rows: int | None, newest: datetime | None, probe: Probe[Any]
) -> SourceFacts:
    """Ask the source, and the state for the form of earlier record ids.

    `rows` of the window were just counted, `newest` is the source's newest event time where that was asked.
    """
    source, first = runtime.source, _first_planned(runtime, interval)
    # Without an answer nothing can be read: under another form, rows would be other records.
    facts = SourceFacts(probe("body", source.body_report), record_id=record_id_form(runtime))
    untimed = probe("count_untimed", lambda: count_unusable(source, first))
    facts = facts._replace(untimed=untimed)
    if rows != 0:
        return facts
    usable = Interval(max(_FIRST, EPOCH_SECONDS.end if first >= EPOCH_SECONDS.end else _FIRST), _LAST)
    if untimed and probe("count_timed", lambda: source.count(usable)) == 0:
        return facts._replace(all_untimed=True)
    newest = newest or probe("newest_event_time", source.newest_event_time)
    if newest is None:
        return facts
    return facts._replace(elsewhere=_elsewhere(runtime, first, newest, probe))


def _elsewhere(
    runtime: Runtime, first: datetime, newest: datetime, probe: Probe[object]
) -> dict[str, object] | None:
    """Return where the source's rows are, if its newest one is in no day that was or will soon be planned."""
    tomorrow = runtime.clock() + _DAY
    if newest > tomorrow:
        rows = probe("count_later", lambda: runtime.source.count(Interval(tomorrow, _LAST)))
        return {"newest": iso_utc(newest), "side": "after", "rows": rows} if rows else None
    return {"newest": iso_utc(newest), "side": "before"} if newest < first else None


def _first_planned(runtime: Runtime, interval: Interval) -> datetime:
    """Return the start of the pipeline's first day, or of the window's day where no day was planned before."""
    zone = runtime.config.timezone
    day = runtime.config.rules.start_day or runtime.state.first_day(None) or day_of(interval.start, zone)
    return min(day_interval(day, zone).start, interval.start)


def report_facts(runtime: Runtime, facts: SourceFacts) -> None:
    """Log what needs review; raise DataError by `validate.on_untimed`, or if no row at all has an event time."""
    if facts.untimed is not None:
        metrics.gauge(metrics.UNTIMED_ROWS, facts.untimed, pipeline=runtime.config.pipeline_id)
    if facts.body is not None and facts.body.kind is not Body.AS_INDEXED:
        logger.warning(
            "BODY is %s, not the documents as they were indexed: %s",
            facts.body.kind.value,
            "; ".join(facts.body.reasons),
        )
    if facts.elsewhere is not None:
        logger.warning("the window is empty, but %s", elsewhere_sentence(facts.elsewhere))
    if not facts.untimed:
        return
    sentence = untimed_sentence(facts.untimed)
    if facts.all_untimed or runtime.config.validate_.on_untimed == "fail":
        which = (
            "every row of the source is such a row" if facts.all_untimed else "validate.on_untimed is fail"
        )
        raise DataError(
            f"{sentence} ({which}): correct the time field of `source`, or its values", detail=facts.detail()
        )
    logger.warning("%s and are not moved; correct them, or leave them out by the source's query", sentence)


def recorded(entries: Iterable[Entry], attempt: str | None) -> dict[str, object]:
    """Return the facts that were recorded with this attempt; none for one that an earlier version began."""
    for entry in entries:
        if entry.kind is Kind.ATTEMPT and entry.attempt == attempt is not None:
            return {name: entry.detail[name] for name in RECORDED if name in entry.detail}
    return {}


def latest(entries: Iterable[Entry]) -> dict[str, object]:
    """Return each fact as the last commit or failure recorded it, in the order of `entries`.

    `not_seen` is why updates in place of the last commit are not seen, None if they are.
    """
    found: dict[str, object] = {}
    for entry in entries:
        if entry.kind in (Kind.COMMITTED, Kind.FAILED):
            if "untimed" in entry.detail:  # a later look without this finding takes it back
                found.pop("elsewhere", None)
            if entry.kind is Kind.COMMITTED:  # one without it has the documents as the source returned them
                found.pop(REWRITTEN, None)
            for name in SHOWN:
                if name in entry.detail:
                    found[name] = entry.detail[name]
        if entry.kind is Kind.COMMITTED:
            found["not_seen"] = why_not_seen(entry.detail)
    return found


def fact_warnings(facts: dict[str, Any]) -> list[str]:
    """Return a sentence, without a full stop, for each fact that needs review."""
    found = []
    if facts.get("untimed"):
        found.append(untimed_sentence(facts["untimed"]))
    if "elsewhere" in facts:
        found.append(f"the last window was empty, but {elsewhere_sentence(facts['elsewhere'])}")
    if facts.get("body") in (Body.FILTERED.value, Body.UNKNOWN.value):
        found.append(f"BODY is {facts['body']}: documents may lack fields (validate's log names them)")
    return found


def untimed_sentence(rows: int) -> str:
    """Return what `untimed` means, without a full stop."""
    noun = "row has" if rows == 1 else "rows have"
    return (
        f"{rows:,} {noun} no usable event time (missing, not a date, or in another unit: seconds or microseconds "
        "taken for milliseconds), so they belong to no window"
    )


def elsewhere_sentence(found: dict[str, object]) -> str:
    """Return what `elsewhere` means, without a full stop."""
    if found["side"] == "before":
        return (
            f"the source's newest row is of {found['newest']}, before the first planned day: check `source` and its "
            "time field, and `start_day`"
        )
    noun = "row is" if found["rows"] == 1 else "rows are"
    return (
        f"{found['rows']:,} {noun} more than a day in the future, the newest of {found['newest']}: check the unit "
        "and the time zone of the source's time field"
    )
