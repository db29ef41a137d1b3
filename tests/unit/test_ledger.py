"""What the ledger's entries say, in tables.

A history is written as words, oldest first: `C2-4@7` committed the hours [2, 4) under token 7 with 10 rows an hour,
`R2-4@7` began to replace them, `F2-4` failed on its data, `T2-4` failed on the network, `A2-4` was attempted,
`W2-4` was waived, `G2-4`, `S2-4` and `E2-4` found it grown, shrunk and equal.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, check_transition
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError, SupersededError

START = datetime(2013, 11, 3, tzinfo=timezone.utc)
KINDS = {
    "A": Kind.ATTEMPT,
    "R": Kind.REPLACING,
    "C": Kind.COMMITTED,
    "F": Kind.FAILED,
    "T": Kind.FAILED,
    "W": Kind.WAIVED,
    "G": Kind.CHECKED,
    "S": Kind.CHECKED,
    "E": Kind.CHECKED,
}
DETAILS = {
    "F": {"error": "DataError"},
    "T": {"error": "TransientError"},
    "G": {"source": 1021, "target": 20, "verdict": "grew"},
    "S": {"source": 19, "target": 20, "verdict": "shrank"},
    "E": {"source": 20, "target": 20, "verdict": "equal"},
}


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def hours(text: str) -> list[Interval]:
    pairs = [pair.split("-") for pair in text.split()]
    return [Interval(at(float(a)), at(float(b))) for a, b in pairs]


def hour(text: str) -> Interval:
    (interval,) = hours(text)
    return interval


def history(text: str) -> list[Entry]:
    entries = []
    for number, word in enumerate(text.split()):
        match = re.fullmatch(r"([ARCFTWGSE])([\d.]+-[\d.]+)(?:@(\d+))?", word)
        assert match, word
        letter, span, token = match.groups()
        interval = hour(span)
        entries.append(
            Entry(
                KINDS[letter],
                interval,
                at=START + timedelta(days=9, seconds=number),
                token=int(token) if token else None,
                rows=int(interval.seconds // 360) if letter == "C" else None,
                detail=DETAILS.get(letter, {}),
            )
        )
    return entries


DAY = hour("0-24")


@pytest.mark.parametrize(
    ("written", "committed", "waived"),
    [
        pytest.param("", "", "", id="nothing"),
        pytest.param("A0-2 R0-2@1 C0-2@1 R2-4@2 C2-4@2", "0-4", "", id="merged"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2", "0-2", "", id="still covered while it is replaced"),
        pytest.param("R0-2@1", "", "", id="a first load without commit covers nothing"),
        pytest.param("A0-2 F0-2", "", "", id="a failure covers nothing"),
        pytest.param("R0-2@1 C0-2@1 W2-4 W6-8", "0-2", "2-4 6-8", id="waived"),
    ],
)
def test_coverage(written: str, committed: str, waived: str) -> None:
    assert ledger.committed(history(written)) == hours(committed)
    assert ledger.waived(history(written)) == hours(waived)


@pytest.mark.parametrize(
    ("written", "blocked"),
    [
        pytest.param("F0-2 F0-2", "", id="once less than the limit"),
        pytest.param("F0-2 F0-2 F0-2", "0-2", id="the limit"),
        pytest.param("F0-2 F0-2 F0-2 F0-2", "0-2", id="more"),
        pytest.param("T0-2 T0-2 T0-2 T0-2", "", id="other errors do not count"),
        pytest.param("F0-2 T0-2 F0-2 T0-2 F0-2", "0-2", id="other errors in between"),
        pytest.param("F0-2 F0-2 C0-2@1 F0-2", "", id="a commit begins the count anew"),
        pytest.param("F0-2 F0-2 F0-2 C0-2@1", "", id="a commit unblocks"),
        pytest.param("F0-2 F0-2 F0-2 W0-2", "", id="a waive unblocks"),
        pytest.param("F0-2 F0-2 F0-2 C1-3@1", "", id="an overlapping commit unblocks"),
        pytest.param("F0-2 F0-2 F0-2 C2-4@1", "0-2", id="a touching commit does not"),
        pytest.param("C0-2@1 F0-2 F0-2 F0-2", "0-2", id="an earlier commit does not"),
        pytest.param("F0-2 F0-2 F0-1 F1-2", "", id="each window counts for itself"),
        pytest.param("F0-2 F0-2 F0-2 F2-4 F2-4 F2-4", "0-4", id="neighbours are joined"),
        pytest.param("F0-2 R0-2@1 F0-2 A0-2 F0-2", "0-2", id="attempts and loads do not unblock"),
    ],
)
def test_blocked(written: str, blocked: str) -> None:
    assert ledger.blocked(history(written), max_attempts=3) == hours(blocked)


def test_unexpected_errors_count_as_those_of_the_data() -> None:
    [failed] = history("F0-2")
    detail = {"error": "RecursionError", "unexpected": True}
    entries = [failed, replace(failed, detail=detail), replace(failed, detail=detail)]
    assert ledger.blocked(entries, max_attempts=3) == hours("0-2")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None, "3"])
def test_blocked_names_a_bad_limit(limit: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^max_attempts: expected a whole number, 1 or more, got "
    ) as caught:
        ledger.blocked([], limit)  # type: ignore[arg-type]
    assert repr(limit) in str(caught.value)


@pytest.mark.parametrize(
    ("written", "unverified"),
    [
        pytest.param("R0-2@1", "", id="a first load is a gap"),
        pytest.param("R0-2@1 C0-2@1", "", id="committed"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2", "0-2", id="replacing"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2 C0-2@2", "", id="replaced"),
        pytest.param("R0-4@1 C0-4@1 R1-2@2", "1-2", id="a part"),
        pytest.param("R0-2@1 C0-2@1 R0-4@2", "0-2", id="a wider one: beyond is a gap"),
        pytest.param("R0-4@1 C0-4@1 R0-4@2 R1-2@3 C1-2@3", "0-1 2-4", id="a part of it was replaced since"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2 R0-2@3 C0-2@3", "", id="a later one committed"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2 W0-2", "", id="given up since"),
        pytest.param("R0-2@1 C0-2@1 W0-1 R0-2@2", "0-2", id="given up before"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2 W0-1", "1-2", id="given up in part"),
        pytest.param("R0-2@1 R2-4@2 C2-4@2 C0-2@1 R3-5@3", "3-4", id="written out of order"),
        pytest.param("R0-1@1 C0-1@1 R2-3@2 C2-3@2 R0-3@3", "0-1 2-3", id="only what was committed"),
        pytest.param("R1-1@9 C1-1@9", "", id="an empty interval is nothing"),
    ],
)
def test_unverified(written: str, unverified: str) -> None:
    assert ledger.unverified(history(written)) == hours(unverified)


@pytest.mark.parametrize(
    ("written", "drifted"),
    [
        pytest.param("C0-2@1", "", id="never checked"),
        pytest.param("C0-2@1 S0-2", "S0-2", id="shrunk"),
        pytest.param("C0-2@1 G0-2", "G0-2", id="grown"),
        pytest.param("C0-2@1 G0-2 S0-2", "S0-2", id="the newest check counts"),
        pytest.param("C0-2@1 G0-2 E0-2", "", id="equal again"),
        pytest.param("C0-2@1 G0-2 C0-2@2", "", id="reloaded"),
        pytest.param("C0-2@1 G0-2 R0-2@2", "G0-2", id="a load that did not commit mends nothing"),
        pytest.param("C0-2@1 G0-2 A0-2 F0-2", "G0-2", id="nor does a failure"),
        pytest.param("C0-2@1 S0-2 W0-2", "", id="a person keeps the rows"),
        pytest.param("C0-4@1 S0-4 C1-2@2", "S0-1 S2-4", id="reloaded in part"),
        pytest.param("C0-4@1 S0-4 E1-2", "S0-1 S2-4", id="equal in part"),
        pytest.param("C2-4@1 C0-2@2 S2-4 G0-2", "G0-2 S2-4", id="in order of time"),
        pytest.param("C0-2@1 S0-2 C2-4@2", "S0-2", id="a neighbour's commit does not touch it"),
    ],
)
def test_drifted(written: str, drifted: str) -> None:
    expected = history(drifted)
    found = ledger.drifted(history(written))
    assert [(piece, check.detail) for piece, check in found] == [(e.interval, e.detail) for e in expected]


@pytest.mark.parametrize(
    ("written", "pieces"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("C0-2@1 C2-4@2", "0-2@1 2-4@2", id="side by side"),
        pytest.param("C0-4@1 C1-2@2", "0-1@1 1-2@2 2-4@1", id="a part was replaced"),
        pytest.param("C0-1@1 C1-2@2 C0-2@3", "0-2@3", id="a wider one replaced them"),
        pytest.param("C0-2@1 W4-6 S0-2 R0-2@2", "0-2@1", id="commits alone"),
    ],
)
def test_effective_intervals(written: str, pieces: str) -> None:
    words = [word.split("@") for word in pieces.split()]
    expected = [(hour(span), int(token)) for span, token in words]
    assert [(piece, entry.token) for piece, entry, _ in ledger.effective(history(written))] == expected


@pytest.mark.parametrize(
    ("written", "tiles"),
    [
        ("C0-2@1 C2-4@2", True),
        ("C2-4@2 C0-2@1", True),  # in the order of writing
        ("C0-4@1", True),
        ("C0-2@1", False),
        ("C0-2@1 C3-4@2", False),
        ("C0-2@1 C2-5@2", False),
        ("C0-2@1 C2-4@2 C2-4@3", False),
        ("C0-2@1 C2-4@2 G2-4", False),
        ("C0-2@1 W2-4", False),
        ("R0-4@1", False),
        ("", False),
    ],
)
def test_commits_that_tile_an_interval(written: str, tiles: bool) -> None:
    entries = history(written)
    found = ledger.tiling(entries, hour("0-4"))
    assert found == (sorted(entries, key=lambda entry: entry.interval) if tiles else None)


@pytest.mark.parametrize(
    ("written", "end"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("C0-2@1 C2-4@2", 4, id="prefix"),
        pytest.param("C2-4@1", None, id="no prefix"),
        pytest.param("C0-2@1 C4-6@2", 2, id="up to the gap"),
        pytest.param("C0-2@1 W2-4 C4-6@2", 6, id="waived counts"),
        pytest.param("C0-2@1 F2-4 F2-4 F2-4 C4-6@2", 2, id="blocked does not"),
        pytest.param("C0-2@1 R0-1@2", 2, id="a replacement does not move it back"),
        pytest.param("C0-13.5@1 R13.5-20@2", 13.5, id="any start"),
        pytest.param("C0-24@1", 24, id="the whole day"),
    ],
)
def test_continuation(written: str, end: float | None) -> None:
    assert ledger.continuation(history(written), DAY) == (None if end is None else at(end))


def test_a_skipped_day_has_no_continuation() -> None:
    assert ledger.continuation(history("C0-24@1"), hour("5-5")) is None


@pytest.mark.parametrize(
    ("written", "asked", "token", "rows"),
    [
        pytest.param("", "0-2", None, None, id="nothing"),
        pytest.param("R0-2@5", "0-2", None, None, id="not committed"),
        pytest.param("C0-2@5", "0-2", 5, 20, id="the window"),
        pytest.param("C0-2@5", "2-4", None, None, id="a neighbour"),
        pytest.param("C0-2@5 C2-4@6", "0-4", 6, 40, id="tiles"),
        pytest.param("C0-2@5", "0-4", 5, 20, id="at least"),
        pytest.param("C0-4@5", "0-2", 5, None, id="reaches beyond: unknown"),
        pytest.param("C0-2@9 C0-2@5", "0-2", 9, 20, id="the newest by token, not by place"),
        pytest.param("C0-1@1 C1-2@2 C0-2@3", "0-2", 3, 20, id="a wider one replaced them"),
        pytest.param("C0-4@1 C0-2@2", "0-4", 2, 20, id="replaced in part: only the part is known"),
        pytest.param("C0-4@1 C1-2@2", "2-4", 1, None, id="what is left is not known"),
        pytest.param("C0-2@1 C0-2@1", "0-2", 1, 20, id="the same twice"),
    ],
)
def test_newest_commit(written: str, asked: str, token: int | None, rows: int | None) -> None:
    assert ledger.committed_token(history(written), hour(asked)) == token
    assert ledger.rows_inside(history(written), hour(asked))[0] == rows


@pytest.mark.parametrize(
    ("written", "new"),
    [
        pytest.param("", "A0-2", id="attempt"),
        pytest.param("", "F0-2", id="a failure before any attempt"),
        pytest.param("C0-2@9", "W0-2", id="waive"),
        pytest.param("C0-2@9", "S0-2", id="check"),
        pytest.param("", "R0-2@1", id="first load"),
        pytest.param("R0-2@1", "R0-2@1", id="load again"),
        pytest.param("R0-2@1", "C0-2@1", id="commit"),
        pytest.param("R0-2@1 C0-2@1", "C0-2@1", id="commit again"),
        pytest.param("R0-2@1 C0-2@1", "R0-2@1", id="load cleared after the commit"),
        pytest.param("R0-2@1 C0-2@1", "R0-2@2", id="replacement"),
        pytest.param("R0-2@1 C0-2@1 R0-2@2", "C0-2@2", id="replaced"),
        pytest.param("R0-2@1 C0-2@1", "R1-3@2", id="another granularity"),
        pytest.param("R2-4@9 C2-4@9", "R0-2@1", id="a newer token next door"),
    ],
)
def test_legal_transitions(written: str, new: str) -> None:
    check_transition(history(written), history(new)[0])


@pytest.mark.parametrize(
    ("written", "new", "error", "said"),
    [
        pytest.param("R0-2@2", "R0-2@1", SupersededError, "the newer token 2", id="older load"),
        pytest.param(
            "R0-2@1 R0-2@2", "C0-2@1", SupersededError, "the newer token 2", id="a stale task's commit"
        ),
        pytest.param(
            "R0-2@1 C0-2@1 R1-3@2", "C0-2@1", SupersededError, "newer run", id="repeated after a newer one"
        ),
        pytest.param("R1-3@5", "R0-2@4", SupersededError, "02:00:00Z) has token 4", id="older on an overlap"),
        pytest.param("", "C0-2@1", PipelineError, "needs a replacing entry", id="commit out of nothing"),
        pytest.param(
            "R0-2@1", "C0-2@2", PipelineError, "under token 2 needs", id="commit under another token"
        ),
        pytest.param("R0-2@1", "C0-4@1", PipelineError, "belongs to", id="commit of another interval"),
        pytest.param("R0-2@1", "R4-6@1", PipelineError, "mint a new one", id="one token for two windows"),
        pytest.param("", "R0-2", ConfigError, "expected a token of 1 or more, got None", id="no token"),
        pytest.param("", "C0-2@0", ConfigError, "expected a token of 1 or more, got 0", id="token 0"),
        pytest.param("", "A2-2", ConfigError, "attempt: expected an interval", id="empty interval"),
    ],
)
def test_illegal_transitions(written: str, new: str, error: type[PipelineError], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)) as caught:
        check_transition(history(written), history(new)[0])
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("attempt", "run", "by"),
    [
        pytest.param("early", "slow", 5, id="another run's commit came after it began"),
        pytest.param("early", "quick", 5, id="so did another attempt's of its own run"),
        pytest.param("quickest", "quick", None, id="its own commit"),
        pytest.param("late", "slow", None, id="it began after the commit"),
        pytest.param("unknown", "slow", None, id="nobody knows when it began"),
        pytest.param(None, "slow", None, id="no attempt of this ledger"),
    ],
)
def test_an_attempt_is_overtaken_by_the_commit_of_another_attempt(
    attempt: str | None, run: str, by: int | None
) -> None:
    begun, other, loaded, done, later = history("A0-2 A0-2 R0-2@5 C0-2@5 A0-2")
    entries = [
        replace(begun, attempt="early", run="slow"),
        replace(other, attempt="quickest", run="quick"),
        loaded,
        replace(done, attempt="quickest", run="quick"),
        replace(later, attempt="late", run="slow"),
    ]
    found = ledger.overtaken_by(entries, attempt)
    assert (found.token if found else None) == by
    new = replace(history("R0-2@6")[0], attempt=attempt, run=run)
    if by is None:
        check_transition(entries, new)
    else:
        with pytest.raises(SupersededError, match="quick committed"):
            check_transition(entries, new)
        check_transition(entries, replace(new, token=by))  # what was committed, written down once more


@pytest.mark.parametrize(
    ("written", "now", "status", "said", "percent", "rows"),
    [
        pytest.param(
            "", 30, DayStatus.IN_PROGRESS, "2013-11-03 [00:00, 24:00) UTC is not", 0.0, 0, id="untouched"
        ),
        pytest.param(
            "",
            -5,
            DayStatus.NOT_SETTLED,
            "what follows 2013-11-03 00:00 UTC has not settled",
            0.0,
            0,
            id="future",
        ),
        pytest.param(
            "C0-6@1", 7.5, DayStatus.IN_PROGRESS, "[06:00, 24:00) UTC is not committed", 25.0, 60, id="behind"
        ),
        pytest.param(
            "C0-6@1",
            6.5,
            DayStatus.NOT_SETTLED,
            "what follows 2013-11-03 06:00 UTC",
            25.0,
            60,
            id="settled up to date",
        ),
        pytest.param(
            "C0-24@1", 30, DayStatus.COMPLETE, "every instant is committed", 100.0, 240, id="complete"
        ),
        pytest.param(
            "C0-24@1 R0-2@2",
            30,
            DayStatus.UNVERIFIED,
            "[00:00, 02:00) UTC was begun",
            91.6,
            None,
            id="unsure",
        ),
        pytest.param(
            "C0-24@1 R0-2@2 C0-2@2", 30, DayStatus.COMPLETE, "every", 100.0, None, id="replaced in part"
        ),
        pytest.param(
            "C0-22@1 W22-24",
            30,
            DayStatus.WAIVED,
            "22:00, 24:00) UTC was given up; the",
            91.6,
            220,
            id="waived",
        ),
        pytest.param("W0-24 C0-24@1", 30, DayStatus.COMPLETE, "every", 100.0, 240, id="waived, yet loaded"),
        pytest.param(
            "C4-24@1 F0-2 F0-2",
            30,
            DayStatus.BLOCKED,
            "[00:00, 02:00) UTC failed 2 times",
            83.3,
            200,
            id="blocked",
        ),
        pytest.param(
            "C0-24@1 F0-2 F0-2",
            30,
            DayStatus.COMPLETE,
            "every",
            100.0,
            240,
            id="failed replacements stop before it",
        ),
        pytest.param(
            "F0-2 F0-2 C4-9@1 F20-22 F20-22", 30, DayStatus.BLOCKED, "and 1 more", 20.8, 50, id="several"
        ),
        pytest.param(
            "C0-2@1 F2-4 F2-4 R0-2@3",
            30,
            DayStatus.UNVERIFIED,
            "was begun",
            0.0,
            None,
            id="unsure before blocked",
        ),
        pytest.param(
            "C0-24@1 S0-24",
            30,
            DayStatus.DRIFTED,
            "drifted (shrunk): 2013-11-03 [00:00, 24:00) UTC has 19 rows in the source, 20 rows in the target: look",
            100.0,
            240,
            id="shrunk",
        ),
        pytest.param(
            "C0-24@1 S0-24 C20-24@2",
            30,
            DayStatus.DRIFTED,
            "drifted (shrunk): 2013-11-03 [00:00, 20:00) UTC is left of 2013-11-03 [00:00, 24:00) UTC, which has "
            "19 rows in the source, 20 rows in the target: look",
            100.0,
            None,
            id="the rest of what shrank",
        ),
        pytest.param(
            "C0-2@1 G0-2",
            30,
            DayStatus.DRIFTED,
            "drifted (grown): 2013-11-03 [00:00, 02:00) UTC has 1,021 rows in the source, 20 rows in the target: ",
            8.3,
            20,
            id="grown, before in progress",
        ),
        pytest.param(
            "C0-12@1 C12-24@2 G0-12 S12-24",
            30,
            DayStatus.DRIFTED,
            "(shrunk): 2013-11-03 [12:00, 24:00) UTC has 19 rows in the source, 20 rows in the target, and 1 more",
            100.0,
            240,
            id="shrinkage is said first",
        ),
        pytest.param(
            "C2-24@1 S2-4 F0-2 F0-2",
            30,
            DayStatus.BLOCKED,
            "failed 2 times",
            91.6,
            220,
            id="blocked before drifted",
        ),
        pytest.param(
            "C0-24@1 S0-2 R0-2@2", 30, DayStatus.UNVERIFIED, "begun", 91.6, None, id="unsure before drifted"
        ),
        pytest.param(
            "C0-24@1 S0-2 W0-2", 30, DayStatus.COMPLETE, "every", 100.0, 240, id="the target keeps its rows"
        ),
        pytest.param("C0-24@1 S24-26", 30, DayStatus.COMPLETE, "every", 100.0, 240, id="another day drifted"),
    ],
)
def test_day_status(
    written: str, now: float, status: DayStatus, said: str, percent: float, rows: int | None
) -> None:
    report = day_status(DAY, history(written), now=at(now), settle_seconds=3600, max_attempts=2)
    assert report.status is status
    assert said in report.reason
    assert (report.percent, report.rows) == (percent, rows)


def test_day_report_counts_only_its_own_day() -> None:
    neighbours = history("C0-2@1 R0-2@1 C20-26@2")
    report = day_status(
        hour("0-24"), neighbours, now=at(99), settle_seconds=0, max_attempts=3, timezone="Europe/Berlin"
    )
    assert report.committed_seconds == 6 * 3600
    assert report.gaps == tuple(hours("2-20"))
    assert report.rows is None  # the window that reaches into the next day may hold them on either side
    assert report.reason == "2013-11-03 [03:00, 21:00) CET is not committed yet"


def test_a_skipped_date_is_complete() -> None:
    report = day_status(hour("5-5"), [], now=at(-99), settle_seconds=0, max_attempts=3)
    assert (report.status, report.percent, report.rows, report.gaps) == (DayStatus.COMPLETE, 100.0, 0, ())
    assert report.reason == "the zone skipped this date"


def test_percent_is_never_rounded_up_to_all() -> None:
    almost = [Entry(Kind.COMMITTED, Interval(at(0), at(24) - timedelta(seconds=1)), at(30), token=1, rows=1)]
    assert day_status(DAY, almost, now=at(99), settle_seconds=0, max_attempts=3).percent == 99.9


def test_the_reason_of_a_waive_stays_visible() -> None:
    said = [Entry(Kind.WAIVED, DAY, at(30), detail={"reason": text}) for text in ("a typo", "the disk burnt")]
    report = day_status(DAY, said, now=at(99), settle_seconds=0, max_attempts=3)
    assert report.status is DayStatus.WAIVED
    assert 'was given up ("the disk burnt")' in report.reason
    assert report.given_up == ((DAY, "the disk burnt"),)


def test_what_was_given_up_is_told_beside_whatever_else_holds() -> None:
    report = day_status(DAY, history("W0-4 C2-6@1 S2-6"), now=at(99), settle_seconds=0, max_attempts=3)
    assert (report.status, report.given_up) == (DayStatus.DRIFTED, ((hour("0-2"), ""),))


def test_a_check_without_counts_is_still_told() -> None:
    bare = [*history("C0-24@1"), Entry(Kind.CHECKED, hour("0-2"), at(30), detail={"verdict": "grew"})]
    report = day_status(DAY, bare, now=at(99), settle_seconds=0, max_attempts=3)
    assert report.status is DayStatus.DRIFTED
    assert "an unknown number of rows in the source" in report.reason
