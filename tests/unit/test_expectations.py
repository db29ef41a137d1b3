"""What is expected of days and windows, and how it is judged."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from airflow_pipeline_provider.core.days import day_interval, tile_day
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.expectations import (
    CompleteBy,
    Miss,
    RowsExpected,
    Unmet,
    always_late,
    days_completed_late,
    days_due,
    due_at,
    entry_of,
    late_days,
    miss_of,
    open_misses,
    parse_complete_by,
)
from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.core.usual_rows import (
    ACCEPTED,
    CommittedRows,
    NotJudged,
    comparable,
    judge_window,
    judge_windows,
)

NINE = CompleteBy(1, 9 * 60)
NEW_YORK = "America/New_York"
AT = parse_utc("2014-01-01T00:00:00Z")
HOUR = Duration(0, 3600)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("09:00", (1, 540)), ("00:00", (1, 0)), ("2d 23:59", (2, 1439)), ("1d 09:00", (1, 540))],
)
def test_times_are_parsed(text: str, expected: tuple[int, int]) -> None:
    assert parse_complete_by(text) == expected
    assert parse_complete_by(str(parse_complete_by(text))) == expected


@pytest.mark.parametrize(
    "text", ["", "9:00", "24:00", "09:60", "0d 09:00", "09:00:00", "2d09:00", "09:00 ", "٠٩:٠٠"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a local time such as 09:00"):
        parse_complete_by(text)


@pytest.mark.parametrize(
    ("zone", "day", "complete_by", "due"),
    [
        pytest.param(NEW_YORK, "2013-11-05", "09:00", "2013-11-06T14:00:00Z", id="24 hours"),
        pytest.param(
            NEW_YORK, "2013-11-02", "09:00", "2013-11-03T14:00:00Z", id="the day after has 25 hours"
        ),
        pytest.param(NEW_YORK, "2013-11-03", "09:00", "2013-11-04T14:00:00Z", id="the day has 25 hours"),
        pytest.param(
            NEW_YORK, "2013-03-09", "09:00", "2013-03-10T13:00:00Z", id="the day after has 23 hours"
        ),
        pytest.param(NEW_YORK, "2013-03-10", "09:00", "2013-03-11T13:00:00Z", id="the day has 23 hours"),
        pytest.param(NEW_YORK, "2013-03-09", "02:30", "2013-03-10T07:00:00Z", id="in the gap: its end"),
        pytest.param(NEW_YORK, "2013-03-09", "02:00", "2013-03-10T07:00:00Z", id="the gap's first minute"),
        pytest.param(NEW_YORK, "2013-11-02", "01:30", "2013-11-03T05:30:00Z", id="twice: the first"),
        pytest.param(
            "America/Sao_Paulo", "2018-11-03", "00:30", "2018-11-04T03:00:00Z", id="a gap at midnight"
        ),
        pytest.param(
            "Pacific/Apia", "2011-12-29", "09:00", "2011-12-30T10:00:00Z", id="the next date is skipped"
        ),
        pytest.param("UTC", "2013-11-05", "2d 09:00", "2013-11-07T09:00:00Z", id="the second day after"),
        pytest.param("UTC", "2013-11-05", "00:00", "2013-11-06T00:00:00Z", id="at its end"),
    ],
)
def test_when_a_day_is_due(zone: str, day: str, complete_by: str, due: str) -> None:
    assert iso_utc(due_at(date.fromisoformat(day), parse_complete_by(complete_by), zone)) == due


@pytest.mark.parametrize(
    ("clock", "late"), [("08:59:00", False), ("08:59:59", False), ("09:00:00", True), ("09:01:00", True)]
)
@pytest.mark.parametrize(
    "offset_day", [("2013-11-02", "-05:00"), ("2013-11-05", "-05:00"), ("2013-03-09", "-04:00")]
)
def test_a_day_is_late_from_its_time_on(clock: str, late: bool, offset_day: tuple[str, str]) -> None:
    day, offset = offset_day
    after = date.fromisoformat(day) + timedelta(days=1)
    at = parse_utc(f"{after}T{clock}{offset}")
    whole = day_interval(date.fromisoformat(day), NEW_YORK)
    missing_minute = Interval(whole.start, whole.end - timedelta(minutes=1))
    due = days_due(rules(), NINE, at, date.fromisoformat(day), 7)
    assert [miss.what for miss in late_days(due, NINE, at, [missing_minute], NEW_YORK)] == [Unmet.LATE] * late
    assert list(late_days(due, NINE, at, [whole], NEW_YORK)) == []


HALVES = {"a": Interval(parse_utc("2013-11-05T05:00:00Z"), parse_utc("2013-11-05T17:00:00Z"))}
HALVES["b"] = Interval(HALVES["a"].end, parse_utc("2013-11-06T05:00:00Z"))
HALVES["before"] = Interval(parse_utc("2013-11-04T05:00:00Z"), HALVES["a"].start)


@pytest.mark.parametrize(
    ("written", "completed"),
    [
        pytest.param("a 13:00, b 14:00", None, id="in time"),
        pytest.param("a 13:00, b 14:01", "14:01", id="a minute late"),
        pytest.param("a 13:00, waived b 15:00", "15:00", id="by a waiver"),
        pytest.param("b 16:00, a 13:00", "16:00", id="in any order"),
        pytest.param("a 13:00, b 13:30, b 16:00", None, id="replaced later"),
        pytest.param("a 13:00, b 15:00, b 16:00", "15:00", id="the first complete instant"),
        pytest.param("a 13:00", None, id="not complete yet"),
        pytest.param("a 14:01, b 14:02", None, id="the pipeline may not have begun"),
        pytest.param("before 13:00, a 14:01, b 14:02", "14:02", id="it had begun with another day"),
        pytest.param("a 13:00, rebuilt b 15:00", None, id="the time of the commit is lost"),
        pytest.param("", None, id="no entries"),
    ],
)
def test_a_day_that_was_complete_too_late(written: str, completed: str | None) -> None:
    entries = []
    for number, text in enumerate(filter(None, written.split(", ")), 1):
        *kind, name, clock = text.split()
        at = parse_utc(f"2013-11-06T{clock}:00Z")
        if kind == ["waived"]:
            entries.append(Entry(Kind.WAIVED, HALVES[name], at))
        else:
            detail = {"rebuilt": True} if kind else {}
            entries.append(Entry(Kind.COMMITTED, HALVES[name], at, token=number, rows=1, detail=detail))
    found = list(days_completed_late([date(2013, 11, 5)], NINE, entries, NEW_YORK))
    expected = [parse_utc(f"2013-11-06T{completed}:00Z")] if completed else []
    assert [miss.completed for miss in found] == expected
    assert [miss_of(entry_of(miss, AT, None)) for miss in found] == found


def rules(zone: str = NEW_YORK, **changes: object) -> PlanRules:
    given = {"timezone": zone, "x_time_back": Duration(0, 0), "granularity": HOUR, **changes}
    return PlanRules(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "first", "most", "days"),
    [
        pytest.param(
            {}, date(2013, 11, 3), 7, ["2013-11-03", "2013-11-04", "2013-11-05"], id="from the first day"
        ),
        pytest.param({}, date(2013, 11, 3), 2, ["2013-11-04", "2013-11-05"], id="the last ones"),
        pytest.param({"start_day": date(2013, 11, 5)}, None, 7, ["2013-11-05"], id="from start_day"),
        pytest.param({"end_day": date(2013, 11, 4)}, date(2013, 11, 4), 7, ["2013-11-04"], id="to end_day"),
        pytest.param({}, None, 7, [], id="no day is known"),
        pytest.param({}, date(2013, 11, 6), 7, [], id="the first day is not due"),
    ],
)
def test_which_days_are_due(
    changes: dict[str, object], first: date | None, most: int, days: list[str]
) -> None:
    at = parse_utc("2013-11-06T14:00:00Z")
    assert [str(day) for day in days_due(rules(**changes), NINE, at, first, most)] == days


def test_a_time_before_the_last_window_is_ready_is_always_late() -> None:
    assert always_late(rules("UTC", settle_seconds=600), NINE) is None
    due, ready = always_late(rules("UTC", x_time_back=Duration(1, 0)), NINE) or (AT, AT)
    assert (iso_utc(due), iso_utc(ready)) == ("2023-01-19T09:00:00Z", "2023-01-19T23:00:00Z")
    assert always_late(rules("UTC", x_time_back=Duration(1, 0)), CompleteBy(2, 540)) is None


# --- windows


def at_hour(text: str, hours: float = 1) -> Interval:
    start = datetime.fromisoformat(text)
    return Interval(start, start + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("window", "before"),
    [
        pytest.param(
            at_hour("2013-11-06T06:00-05:00"), at_hour("2013-10-30T06:00-04:00"), id="over a change"
        ),
        pytest.param(at_hour("2013-11-03T01:00-04:00"), at_hour("2013-10-27T01:00-04:00"), id="first of two"),
        pytest.param(
            at_hour("2013-11-03T01:00-05:00"), at_hour("2013-10-27T01:00-04:00"), id="second of two"
        ),
        pytest.param(
            at_hour("2013-11-10T01:00-05:00"), at_hour("2013-11-03T01:00-04:00"), id="before: twice"
        ),
        pytest.param(at_hour("2013-03-17T02:00-04:00"), None, id="before: skipped"),
        pytest.param(
            at_hour("2013-03-17T03:00-04:00"), at_hour("2013-03-10T03:00-04:00"), id="after the gap"
        ),
        pytest.param(
            at_hour("2013-11-03T00:00-04:00", 25), at_hour("2013-10-27T00:00-04:00", 24), id="25 hours"
        ),
        pytest.param(
            at_hour("2013-03-17T00:00-04:00", 24), at_hour("2013-03-10T00:00-05:00", 23), id="23 hours before"
        ),
    ],
)
def test_the_same_hours_of_the_week_before(window: Interval, before: Interval | None) -> None:
    assert comparable(window, 1, NEW_YORK) == [before]


def commit(window: Interval, rows: int, token: int, **detail: object) -> Entry:
    return Entry(Kind.COMMITTED, window, AT, token=token, rows=rows, manifest="0" * 64, detail=detail)


WINDOW = at_hour("2013-12-18T06:00-05:00")


def weeks_of(*rows: int) -> list[Entry]:
    """Return commits of the window's weeks before, the newest first."""
    pieces = comparable(WINDOW, len(rows), NEW_YORK)
    return [
        commit(piece, n, token) for token, (piece, n) in enumerate(zip(pieces, rows, strict=True), 1) if piece
    ]


USUAL = RowsExpected(weeks=4, band=50)


@pytest.mark.parametrize(
    ("history", "rows", "expected", "found"),
    [
        pytest.param([90, 100, 100, 900], 50, USUAL, None, id="the lower bound"),
        pytest.param([90, 100, 100, 900], 49, USUAL, (Unmet.FEW, 100), id="below it"),
        pytest.param([90, 100, 100, 900], 150, USUAL, None, id="the upper bound"),
        pytest.param([90, 100, 100, 900], 151, USUAL, (Unmet.MANY, 100), id="above it"),
        pytest.param([90, 100, 100, 900], 0, USUAL, (Unmet.EMPTY, 100), id="empty"),
        pytest.param([1, 2, 3, 4], 1, USUAL, (Unmet.FEW, 2.5), id="an even number of weeks: between two"),
        pytest.param([0, 0, 0, 0], 0, RowsExpected(1, 4), (Unmet.EMPTY, None), id="the minimum rules first"),
        pytest.param([], 4, RowsExpected(5), (Unmet.FEW, None), id="the minimum needs no history"),
        pytest.param([], 5, RowsExpected(5), None, id="the minimum itself"),
        pytest.param([100, 100, 100], 1, USUAL, NotJudged(WINDOW, 4, 3), id="too few weeks"),
        pytest.param([], 0, USUAL, NotJudged(WINDOW, 4, 0), id="no weeks"),
        pytest.param([0, 0, 0, 9], 7, USUAL, NotJudged(WINDOW, 4, 4), id="usually empty"),
        pytest.param(
            [100] * 4, 0, RowsExpected(weeks=4, band=100), None, id="a band of 100 % starts at zero"
        ),
    ],
)
def test_a_window_is_compared_with_the_median(
    history: list[int], rows: int, expected: RowsExpected, found: object
) -> None:
    known = CommittedRows(weeks_of(*history))
    verdict = judge_window(WINDOW, rows, 7, expected, known, NEW_YORK)
    if isinstance(verdict, Miss):
        assert (verdict.what, verdict.usual) == found
        assert miss_of(entry_of(verdict, AT, "m/1")) == verdict
    else:
        assert verdict == found


def test_windows_of_another_length_are_added_up() -> None:
    """A day that was caught up as a whole is no evidence for an hour, but hours are for a day."""
    day = date(2013, 12, 18)
    whole = day_interval(day, NEW_YORK)
    hours = [
        commit(hour, 10, n) for n, hour in enumerate(tile_day(day - timedelta(days=7), NEW_YORK, HOUR), 1)
    ]
    one = RowsExpected(weeks=1)
    assert judge_window(whole, 240, 99, one, CommittedRows(hours), NEW_YORK) is None
    assert isinstance(judge_window(whole, 240, 99, one, CommittedRows(hours[:-1]), NEW_YORK), NotJudged)
    as_a_whole = [commit(day_interval(day - timedelta(days=7), NEW_YORK), 240, 1)]
    assert judge_window(WINDOW, 10, 99, one, CommittedRows(as_a_whole), NEW_YORK) == NotJudged(WINDOW, 1, 0)


def test_replaced_and_waived_windows_are_no_evidence() -> None:
    old = weeks_of(100)
    replaced = [
        *old,
        commit(Interval(old[0].interval.start, old[0].interval.end - timedelta(minutes=1)), 5, 9),
    ]
    waived = [*old, Entry(Kind.WAIVED, old[0].interval, AT, detail={"reason": "outage"})]
    for entries in (replaced, waived):
        assert judge_window(
            WINDOW, 1, 7, RowsExpected(weeks=1), CommittedRows(entries), NEW_YORK
        ) == NotJudged(WINDOW, 1, 0)


def test_accepted_windows_are_not_judged_again() -> None:
    def judged(**detail: object) -> list[object]:
        entries = [*weeks_of(100, 100, 100, 100), commit(WINDOW, 1, 7, **detail)]
        return list(judge_windows([WINDOW], USUAL, CommittedRows(entries), NEW_YORK))

    assert [miss.what for miss in judged() if isinstance(miss, Miss)] == [Unmet.FEW]
    assert judged(**{ACCEPTED: {"what": "few"}}) == []


@pytest.mark.parametrize(
    ("miss", "sentence"),
    [
        (
            Miss(
                Unmet.LATE, day_interval(date(2013, 11, 2), NEW_YORK), due=parse_utc("2013-11-03T14:00:00Z")
            ),
            "2013-11-02 is late: it was due to be complete by 2013-11-03 09:00 EST",
        ),
        (
            Miss(Unmet.EMPTY, WINDOW, 7, rows=0, least=1),
            "2013-12-18 [06:00, 07:00) EST has no rows, expected 1 or more",
        ),
        (
            Miss(Unmet.MANY, WINDOW, 7, rows=1200, usual=2.5, weeks=4),
            "2013-12-18 [06:00, 07:00) EST has 1,200 rows, usual are 2.5: the median of the same weekday and hour of "
            "the last 4 weeks",
        ),
    ],
)
def test_sentences(miss: Miss, sentence: str) -> None:
    assert miss.sentence(NEW_YORK) == sentence


# --- the ledger


def test_what_resolves_a_recorded_miss() -> None:
    day = day_interval(date(2013, 12, 18), NEW_YORK)
    late = entry_of(Miss(Unmet.LATE, day, due=AT), AT, "m/1")
    few = entry_of(Miss(Unmet.FEW, WINDOW, 7, rows=1, usual=100.0, weeks=4), AT, "m/1")
    written = [commit(WINDOW, 1, 7), late, few]
    assert [miss.what for miss in open_misses(written, [WINDOW])] == [Unmet.LATE, Unmet.FEW]
    assert [miss.what for miss in open_misses(written, [day])] == [Unmet.FEW]
    assert [miss.what for miss in open_misses([*written, commit(WINDOW, 90, 8)], [WINDOW])] == [Unmet.LATE]
    waived = Entry(Kind.WAIVED, WINDOW, AT, detail={"reason": "holiday"})
    assert open_misses([*written, waived], [day]) == []


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (3, "3 of the last 4 weeks have a committed window to compare with"),
        (4, "windows of the last 4 weeks are usually empty"),
    ],
)
def test_why_a_window_is_not_judged(known: int, sentence: str) -> None:
    assert NotJudged(WINDOW, 4, known).sentence == sentence


def test_weeks_before_the_first_day_of_the_calendar_have_no_window() -> None:
    window = Interval(parse_utc("0001-01-10T10:00:00Z"), parse_utc("0001-01-10T11:00:00Z"))
    assert comparable(window, 2, "UTC") == [None, None]
