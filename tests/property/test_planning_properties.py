"""The planner in every timezone: windows become ready one after the other, and all time is covered once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.backlog_windows import back_since, backlog_plan, lies_back
from airflow_pipeline_provider.core.days import day_interval, day_of, transitions
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind, check_transition
from airflow_pipeline_provider.core.planning import (
    Known,
    PlanRules,
    Reason,
    day_plan,
    horizon,
    opens,
    plan_live,
    plan_window,
    ready_at,
    target_day,
)
from tests.property.strategies import UTC, granularities, zones_and_days

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)

backs = st.builds(
    Duration,
    st.integers(0, 3) | st.just(30),
    st.sampled_from([0, 1, 1800, 3600, 7200, 86_399, 86_400]) | st.integers(0, 200_000),
)
settles = st.sampled_from([0, 600, 7200, 90_000])
plannable = st.just(Duration(0, 60)) | granularities


# --- when


@settings(max_examples=60)
@given(zones_and_days(), backs, plannable, settles)
def test_windows_become_ready_one_after_the_other(
    zone_and_day: tuple[str, date], back: Duration, granularity: Duration, settle: int
) -> None:
    zone, day = zone_and_day
    rules = PlanRules(zone, back, granularity, settle)
    latest = None
    for number in range(-1, 2 + min(back.days, 2)):
        for index, window in enumerate(day_plan(rules, day + number * DAY)):
            ready = ready_at(rules, window)
            assert latest is None or ready > latest, "Airflow would drop one of two runs of the same instant"
            assert ready >= window.end + settle * SECOND
            assert ready >= opens(rules, day + number * DAY) + index * SECOND
            latest = ready


@settings(max_examples=150)
@given(zones_and_days(), backs, st.lists(st.integers(0, 4 * 86_400), max_size=20))
def test_a_day_opens_for_good_and_not_later_than_it_must(
    zone_and_day: tuple[str, date], back: Duration, later: list[int]
) -> None:
    zone, day = zone_and_day
    rules = PlanRules(zone, back, Duration(0, 3600))
    opened = opens(rules, day)
    assert target_day(rules, opened - MICROSECOND) < day <= target_day(rules, opened)
    changes = transitions(zone, opened, opened + 4 * DAY)
    probes = [opened + n * SECOND for n in later]
    probes += [change + n * SECOND for change in changes for n in (-1, 0, 1, 1800, 3600)]
    for probe in probes:
        assert probe < opened or target_day(rules, probe) >= day


@settings(max_examples=60)
@given(zones_and_days(), backs, granularities, settles, st.data())
def test_a_ready_window_lies_in_a_day_that_is_open(
    zone_and_day: tuple[str, date], back: Duration, granularity: Duration, settle: int, data: st.DataObject
) -> None:
    zone, day = zone_and_day
    rules = PlanRules(zone, back, granularity, settle)
    windows = day_plan(rules, day)
    if windows:
        window = data.draw(st.sampled_from(windows))
        inside = data.draw(st.integers(0, int(window.seconds) - 1)) * SECOND
        later_start = Interval(window.start + inside, window.end)
        assert target_day(rules, ready_at(rules, window)) >= day
        assert ready_at(rules, window) <= ready_at(rules, later_start), "readiness grows with the start"


# --- in steady state, on time


@settings(max_examples=40)
@given(zones_and_days(), backs, granularities.filter(lambda g: g.days or g.seconds > 1800), settles)
def test_on_time_the_first_gap_is_the_window_that_became_ready(
    zone_and_day: tuple[str, date], back: Duration, granularity: Duration, settle: int
) -> None:
    zone, day = zone_and_day
    rules = PlanRules(zone, back, granularity, settle, start_day=day)
    committed: list[Interval] = []
    for number in range(2):
        for window in day_plan(rules, day + number * DAY):
            ready = ready_at(rules, window)
            before = plan_live(rules, ready - MICROSECOND, Known(tuple(committed)))
            assert before.interval is None, "nothing may run before its time"
            assert plan_live(rules, ready, Known(tuple(committed))).interval == window
            committed = merge([*committed, window])


# --- in days that lie back


multiples = st.tuples(st.sampled_from([1800, 3600, 5400]), st.integers(1, 16)).map(
    lambda pair: (Duration(0, pair[0]), Duration(0, pair[0] * pair[1]))
) | st.tuples(granularities.filter(lambda g: g.days or g.seconds > 1800), st.just(Duration(1, 0)))


@settings(max_examples=60)
@given(zones_and_days(), backs, multiples, settles, st.booleans())
def test_larger_windows_wait_for_nothing_and_end_where_the_day_does(
    zone_and_day: tuple[str, date],
    back: Duration,
    sizes: tuple[Duration, Duration],
    settle: int,
    is_last: bool,
) -> None:
    zone, day = zone_and_day
    rules = PlanRules(
        zone,
        back,
        sizes[0],
        settle,
        start_day=day,
        end_day=day if is_last else None,
        backlog_granularity=sizes[1],
    )
    whole, windows = day_interval(day, zone), day_plan(rules, day)
    since = back_since(rules, day)
    for window in backlog_plan(rules, day):
        assert whole.covers(window)
        assert ready_at(rules, window) <= since
        assert {window.start, window.end} <= {bound for one in windows for bound in (one.start, one.end)}
    if not windows:
        return
    last = windows[-1]
    if is_last:
        assert since == ready_at(rules, last), "the last run of the schedule moves larger windows"
    before = plan_live(rules, since - MICROSECOND, Known((Interval(whole.start, last.start),))).interval
    assert before in (last, None), "the live day keeps its granularity to its last window"
    seen: list[Interval] = []
    for window in backlog_plan(rules, day):
        plan = plan_live(rules, since, Known(tuple(seen)))
        assert plan.interval == window
        seen.append(window)


# --- driven to the end


def pieces_of(span: Interval) -> st.SearchStrategy[Interval]:
    """Any part of a span, to the second: what hands, older granularities and backfills leave behind."""
    seconds = st.integers(0, int(span.seconds))
    return st.tuples(seconds, seconds).map(
        lambda pair: Interval(span.start + min(pair) * SECOND, span.start + max(pair) * SECOND)
    )


class Driver:
    """A ledger, some leases and a clock; checks every window that the planner offers."""

    max_attempts = 2

    def __init__(self, rules: PlanRules, span: Interval) -> None:
        self.rules, self.span = rules, span
        self.entries: list[Entry] = []
        self.leases: list[Interval] = []
        self.token = 0

    def write(self, kind: Kind, interval: Interval, token: int | None = None, **detail: str) -> None:
        entry = Entry(
            kind, interval, datetime(2000, 1, 1, tzinfo=UTC), token=token, rows=1, detail=dict(detail)
        )
        check_transition(self.entries, entry)
        self.entries.append(entry)

    def commit(self, interval: Interval) -> None:
        self.token += 1
        self.write(Kind.REPLACING, interval, self.token)
        self.write(Kind.COMMITTED, interval, self.token)

    @property
    def done(self) -> list[Interval]:
        return merge(ledger.committed(self.entries) + ledger.waived(self.entries))

    def known(self) -> Known:
        return Known(
            committed=tuple(ledger.committed(self.entries)),
            waived=tuple(ledger.waived(self.entries)),
            blocked=tuple(ledger.blocked(self.entries, self.max_attempts)),
            leased=tuple(self.leases),
            failed=tuple(ledger.failures_after({}, self.entries)),
        )

    def check(self, window: Interval, now: datetime) -> None:
        day = day_of(window.start, self.rules.timezone)
        assert not window.is_empty
        assert self.span.covers(window)
        assert day_interval(day, self.rules.timezone).covers(window), "no window crosses midnight"
        assert not common([window], self.done), "nothing is moved twice"
        assert not common([window], self.leases), "nothing of another run is touched"
        assert not common([window], ledger.blocked(self.entries, self.max_attempts))
        assert ready_at(self.rules, window) <= now
        assert day <= target_day(self.rules, now)
        granularity = self.rules.granularity
        if granularity.days or window.seconds <= granularity.seconds:
            return
        assert self.rules.backlog_granularity is not None, "no window is longer than its granularity"
        assert lies_back(self.rules, day, now)
        assert not common([window], [*ledger.failures_after({}, self.entries)]), "what failed is not joined"
        assert any(one.covers(window) for one in backlog_plan(self.rules, day)), (
            "larger windows have common bounds"
        )


@st.composite
def drives(draw: st.DrawFn) -> tuple[Driver, list[Duration]]:
    zone, day = draw(zones_and_days())
    last = day + draw(st.integers(0, 2)) * DAY
    sizes = draw(st.lists(granularities.filter(lambda g: g.days or g.seconds > 5000), min_size=1, max_size=3))
    larger = draw(st.sampled_from([None, Duration(1, 0)]))
    rules = PlanRules(
        zone, draw(backs), sizes[0], draw(settles), start_day=day, end_day=last, backlog_granularity=larger
    )
    span = Interval(day_interval(day, zone).start, day_interval(last, zone).end)
    driver = Driver(rules, span)
    parts = pieces_of(span).filter(lambda piece: not piece.is_empty)
    if not span.is_empty:
        for piece in draw(st.lists(parts, max_size=4)):
            driver.commit(piece)
        for piece in draw(st.lists(parts, max_size=2)):
            driver.write(Kind.WAIVED, piece)
        driver.leases = draw(st.lists(parts, max_size=2))
    return driver, sizes


def outcomes(data: st.DataObject) -> Iterator[str]:
    for _ in range(60):
        yield data.draw(st.sampled_from(["commit", "commit", "commit", "fail", "crash", "resize"]))
    while True:
        yield "commit"


@settings(max_examples=80)
@given(drives(), st.data())
def test_driven_to_the_end_every_day_is_covered_exactly(
    drive: tuple[Driver, list[Duration]], data: st.DataObject
) -> None:
    driver, sizes = drive
    zone, span = driver.rules.timezone, driver.span
    now = span.start
    steps = data.draw(
        st.lists(st.sampled_from([timedelta(hours=1), timedelta(hours=7), 3 * DAY]), max_size=30)
    )
    luck = outcomes(data)
    for _ in range(400):
        plan = plan_live(driver.rules, now, driver.known())
        if plan.interval is not None:
            driver.check(plan.interval, now)
            outcome = next(luck)
            if outcome == "commit":
                driver.commit(plan.interval)
            elif outcome == "fail":
                driver.write(Kind.FAILED, plan.interval, error="DataError")
            elif outcome == "crash":  # a first load that did not commit is a gap as before
                driver.token += 1
                driver.write(Kind.REPLACING, plan.interval, driver.token)
                assert not common(ledger.unverified(driver.entries), gaps(span, driver.done))
            else:
                size = data.draw(st.sampled_from(sizes))
                driver.rules = replace(driver.rules, granularity=size)
        elif plan.reason is Reason.LEASED:
            assert common(driver.leases, gaps(span, driver.done))
            driver.leases = []
        elif plan.reason is Reason.BLOCKED:  # a person runs it by hand, or waives it
            stuck = common(ledger.blocked(driver.entries, driver.max_attempts), gaps(span, driver.done))[0]
            by_hand = plan_window(driver.rules, stuck, now, cut=True).interval
            assert by_hand is not None
            if data.draw(st.booleans()):
                driver.commit(by_hand)
            else:
                driver.write(Kind.WAIVED, by_hand)
        elif plan.reason in (Reason.NOT_SETTLED, Reason.BEFORE_START_DAY, Reason.COMPLETE):
            if plan.reason is Reason.COMPLETE:
                looked_at = horizon(driver.rules, now)
                assert looked_at is None or not gaps(looked_at, driver.done)
            now += steps.pop() if steps else 60 * DAY
        else:
            break
    assert plan.reason is Reason.AFTER_END_DAY
    assert gaps(span, driver.done) == []
    day = day_of(span.start, zone)
    while not span.is_empty and day_interval(day, zone).start < span.end:
        whole = day_interval(day, zone)
        assert whole.is_empty or ledger.continuation(driver.entries, whole) == whole.end
        day += DAY


# --- the ledger's arithmetic, against a model of single hours

START = datetime(2013, 11, 3, tzinfo=UTC)
HOURS = range(12)


def cell(start: int, end: int) -> Interval:
    return Interval(START + timedelta(hours=start), START + timedelta(hours=end))


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Loads with growing tokens, each committed at once, later, or never; waives in between."""
    spans = st.tuples(st.integers(0, 11), st.integers(1, 6)).map(
        lambda pair: cell(pair[0], min(12, sum(pair)))
    )
    written: list[Entry] = []
    pending: list[Entry] = []
    for token, span in enumerate(draw(st.lists(spans, max_size=8)), start=1):
        written.append(Entry(Kind.REPLACING, span, START, token=token))
        match draw(st.sampled_from(["commit", "late", "never", "waive"])):
            case "commit":
                written.append(Entry(Kind.COMMITTED, span, START, token=token, rows=10**token))
            case "late":
                pending.append(Entry(Kind.COMMITTED, span, START, token=token, rows=10**token))
            case "waive":
                written.append(Entry(Kind.WAIVED, draw(spans), START))
    return written + pending


@given(histories())
def test_the_ledger_agrees_with_single_hours(entries: list[Entry]) -> None:
    unverified, owner = set(), {}
    for hour in HOURS:
        here = [(n, e) for n, e in enumerate(entries) if e.interval.overlaps(cell(hour, hour + 1))]
        commits = [e for _, e in here if e.kind is Kind.COMMITTED]
        loads = [(e.token or 0, n) for n, e in here if e.kind is Kind.REPLACING]
        if commits:
            owner[hour] = max(commits, key=lambda e: e.token or 0)
            token, number = max(loads)
            waived_since = any(n > number and e.kind is Kind.WAIVED for n, e in here)
            if token > (owner[hour].token or 0) and not waived_since:
                unverified.add(hour)
    assert {h for h in HOURS if common(ledger.unverified(entries), [cell(h, h + 1)])} == unverified
    whole = {e.token: e for e in owner.values()}.values()
    known = [e.rows or 0 for e in whole if e.interval.seconds == 3600 * sum(o is e for o in owner.values())]
    assert ledger.rows_inside(entries, cell(0, 12))[0] == (sum(known) if known else None)
    assert ledger.committed_token(entries, cell(0, 12)) == max((e.token or 0 for e in whole), default=None)
