"""`gaps`, `waive` and `history`: what is missing and why, what was given up, and the story of a window."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from tests.cli.conftest import AFTER, Place, lines

AT = ("--reference-time", AFTER)
DAY = ("--from", "2013-11-03", "--to", "2013-11-03")
WINDOW = "flights.20131103T040000Z-20131103T090000Z"


def hours(first: int, last: int) -> Interval:
    start = parse_utc("2013-11-03T04:00:00Z")
    return Interval(start + timedelta(hours=first), start + timedelta(hours=last))


def fail(place: Place, window: Interval, message: str = "counts differ") -> None:
    detail = {"error": "DataError", "phase": "audit", "message": message}
    place.state().append(Entry(Kind.FAILED, window, place.state().now(), run="flights/r1", detail=detail))


def test_each_gap_has_a_reason(place: Place) -> None:
    place.write(max_attempts=2, granularity="5h")
    state = place.state()
    state.append(Entry(Kind.WAIVED, hours(0, 5), state.now(), detail={"reason": "burnt"}))
    fail(place, hours(5, 10))
    fail(place, hours(5, 10), "ids repeat")
    fail(place, hours(10, 12))
    state.append(Entry(Kind.ATTEMPT, hours(10, 12), state.now(), run="flights/r2"))
    state.acquire(hours(12, 15), "flights/other", 600)
    result = place("gaps", "flights", *AT)
    assert result.code == 1
    seen = lines(result.out)
    assert seen[0] == "pipeline day gap length why failures detail"
    assert seen[1] == ("flights 2013-11-03 [04:00, 09:00) EST 5h blocked 2 DataError in audit: ids repeat")
    assert seen[2] == "flights 2013-11-03 [09:00, 11:00) EST 2h failed 1 DataError in audit: counts differ"
    assert seen[3].startswith(
        "flights 2013-11-03 [11:00, 14:00) EST 3h leased 0 flights/other works on it since "
    )
    assert seen[4] == "flights 2013-11-03 [14:00, 24:00) EST 10h never_run 0 no run has begun it"


@pytest.mark.parametrize(
    ("at", "reasons", "code"),
    [
        pytest.param("2013-11-04T04:30:00Z", [], 0, id="the day is not open yet"),
        pytest.param(
            "2013-11-04T11:00:00Z", ["never_run", "ready", "not_settled"], 1, id="its first windows are"
        ),
        pytest.param("2013-11-05T12:00:00Z", ["never_run"], 1, id="all is"),
        pytest.param("2014-02-01T12:00:00Z", ["too_old"], 1, id="too far back for any run"),
    ],
)
def test_readiness(place: Place, at: str, reasons: list[str], code: int) -> None:
    place.write(end_day=None, max_backlog_days=31)
    days = ("--days", "3") if at < "2014" else ("--days", "100")
    result = place("gaps", "flights", "--reference-time", at, *days, "-o", "json")
    (one,) = result.json["pipelines"]
    assert [gap["reason"] for gap in one["gaps"] if gap["day"] == "2013-11-03"] == reasons
    assert result.code == code


def test_no_gap_of_all_pipelines_but_one_file_is_broken(place: Place) -> None:
    place.write()
    place.seed()
    assert place("run", "flights", "--until-done", *AT).code == 0
    assert lines(place("gaps", *AT).out) == ["flights: no gap from 2013-11-03 to 2013-11-03"]
    place.write("broken", granularity="0s")
    result = place("gaps", *AT)
    assert (result.code, "granularity" in result.err) == (2, True)


def test_an_unfinished_window_names_its_run(place: Place) -> None:
    place.write()
    state = place.state()
    state.append(Entry(Kind.ATTEMPT, hours(0, 5), state.now(), run="flights/r7"))
    (one,) = place("gaps", "flights", *AT, "-o", "json").json["pipelines"]
    assert [(gap["reason"], gap["detail"], gap["seconds"]) for gap in one["gaps"]] == [
        ("unfinished", "flights/r7 began it and did not finish", 5 * 3600),
        ("never_run", "no run has begun it", 20 * 3600),
    ]


def test_a_failed_hour_is_no_part_of_hours_that_were_never_run(place: Place) -> None:
    place.write(granularity="1h")
    fail(place, hours(5, 6), "ids repeat")
    result = place("gaps", "flights", *AT)
    assert [line.split()[3:8] for line in lines(result.out)[1:]] == [
        ["04:00)", "EST", "5h", "never_run", "0"],
        ["05:00)", "EST", "1h", "failed", "1"],
        ["24:00)", "EST", "19h", "never_run", "0"],
    ] or result.out
    (day,) = place("status", "flights", *AT, "-o", "json").json["days"]
    assert day["reason"] == "2013-11-03 [04:00, 05:00) EST failed: DataError in audit: ids repeat"
    found = place("doctor", "flights", *AT, "-o", "json").json["findings"]
    assert [(one["kind"], one["window"]["local_start"][11:16], one["safe"]) for one in found] == [
        ("gap", "00:00", True),
        ("failed", "04:00", False),
        ("gap", "05:00", True),
    ]
    assert "it failed 1 time: DataError in audit: ids repeat; repair the data first" in found[1]["sentence"]
    commands = [one["command"].split()[1] for one in found]
    assert commands == ["run", "run", "reprocess"], (
        "a run of all that is ready ends at the window that failed"
    )


def test_an_error_that_may_pass_is_fixed_by_a_run(place: Place) -> None:
    place.write()
    place.seed()
    detail = {"error": "TransientError", "phase": "load", "message": "the network is down"}
    for _ in range(2):
        place.state().append(Entry(Kind.FAILED, hours(0, 5), place.state().now(), detail=detail))
    found = place("doctor", "flights", *AT, "-o", "json").json["findings"][0]
    assert (found["kind"], found["safe"]) == ("failed", True)
    assert found["sentence"] == "it failed 2 times: TransientError in load: the network is down"
    assert place("doctor", "flights", *AT, "--fix").code == 0


def test_a_coarser_granularity_waits_for_its_own_window(place: Place) -> None:
    """Windows of 1h were moved up to 19:00; the rest of the day is one window now, ready when all of it is."""
    place.write(granularity="1h", end_day=None)
    place.seed()
    at = ("--reference-time", "2013-11-04T23:30:00Z")
    assert place("run", "flights", "--until-done", *at).code == 0
    place.write(granularity="6h", end_day=None)
    status = place("status", "flights", *at, "--fail-if-behind", "0s", "-o", "json")
    assert (status.code, status.json["behind_seconds"], status.json["days"][0]["status"]) == (
        0,
        0,
        "not_settled",
    )
    gaps = place("gaps", "flights", *at, "-o", "json")
    (gap,) = gaps.json["pipelines"][0]["gaps"]
    assert (gaps.code, gap["reason"]) == (0, "not_settled")
    assert gap["detail"] == "its first window is ready at 2013-11-04 19:00 EST"
    assert place("doctor", "flights", *at).code == 0
    run = place("run", "flights", *at, "-o", "json").json
    assert (run["reason"], "is ready at 2013-11-04 19:00 EST" in run["detail"]) == ("not_settled", True)


OLD = {"start_day": "2013-10-01", "end_day": None, "max_backlog_days": 2, "granularity": "1d"}


def test_days_that_are_too_old_are_counted_everywhere(place: Place) -> None:
    place.write(**OLD)
    place.seed()
    place.state().append(
        Entry(Kind.WAIVED, hours(-24, 0), place.state().now(), detail={"reason": "no flights"})
    )
    sentence = (
        "too_old: 32 days (2013-10-01 to 2013-11-01) are missing and never caught up: raise "
        "max_backlog_days, or move or waive them by hand"
    )
    assert sentence in place("run", "flights", "--until-done", "--reference-time", "2013-11-06T00:00:00Z").out
    late = ("--reference-time", "2013-11-06T00:00:00Z")
    status = place("status", "flights", *late, "--fail-if-behind", "30d")
    assert (status.code, sentence in status.err, sentence in status.out) == (1, True, True)
    assert "up to date" not in status.out
    many = place("status", "flights", *late, "--days", "50", "-o", "json").json["days"]
    assert many[0]["reason"] == (
        "2013-10-01 [00:00, 24:00) EDT is too_old: runs look back 2 days (max_backlog_days)"
    )
    assert place("status", "flights", *late, "-o", "json").json["too_old"] == {
        "days": 32,
        "first": "2013-10-01",
        "last": "2013-11-01",
    }
    assert "32 days too_old (to 2013-11-01); " in place("status", *late).out
    gaps = place("gaps", "flights", *late)
    assert (gaps.code, sentence in gaps.out) == (1, True)
    (found,) = place("doctor", "flights", *late, "-o", "json").json["findings"]
    assert (found["kind"], found["sentence"], found["safe"]) == ("too_old", sentence, False)
    assert place(*found["command"].split()[1:], folder=False).code == 0
    assert place("status", "flights", *late, "--fail-if-behind", "0s").code == 0
    assert place("doctor", "flights", *late, "--days", "60").code == 0


def test_with_a_start_day_nothing_is_too_old_unless_a_limit_is_written(place: Place) -> None:
    place.write(start_day="2013-01-01")
    status = place("status", "flights", *AT, "-o", "json").json
    assert (status["too_old"], status["continuation"]) == (None, "2013-01-01T05:00:00Z")
    assert "warning:" not in place("check").out
    place.write(start_day="2013-01-01", max_backlog_days=31)
    out = place("check").out
    assert "warning: " in out
    assert "31 excludes 307 days since start_day today (2013-01-01 to 2013-11-03), too_old" in out


def test_a_waived_window_lets_a_stopped_pipeline_go_on(place: Place) -> None:
    place.write(max_attempts=1, on_blocked="stop")
    place.seed()
    fail(place, hours(0, 5))
    assert place("run", "flights", *AT).code == 4
    assert (
        place(
            "waive",
            "flights",
            "--from",
            "2013-11-03",
            "--to",
            "2013-11-03T04:00:00-05:00",
            "--reason",
            "burnt",
        ).code
        == 0
    )
    assert place("run", "flights", "--until-done", *AT).code == 0
    assert place.moved() == 40
    status = place("status", "flights", *AT, "-o", "json").json
    (day,) = status["days"]
    assert (day["status"], day["missing"], status["behind_seconds"]) == ("waived", [], 0)
    assert day["reason"] == '2013-11-03 [00:00 EDT, 04:00 EST) was given up ("burnt"); the rest is committed'
    assert [one["reason"] for one in day["waived"]] == ["burnt"]
    said = place("status", "flights", *AT).out
    assert "waived: 2013-11-03 [00:00 EDT, 04:00 EST): burnt" in said
    told = place("history", WINDOW)
    assert "waived" in told.out
    assert "burnt" in told.out


def test_only_what_is_missing_is_waived_and_only_once(place: Place) -> None:
    place.write()
    place.seed()
    assert place("run", "flights", *AT).code == 0
    first = place("waive", "flights", *DAY, "--reason", "burnt", "-o", "json")
    assert first.code == 0
    assert [piece["local_start"] for piece in first.json["waived"]] == ["2013-11-03T04:00:00-05:00"]
    assert [(piece["local_start"], piece["why"][:17]) for piece in first.json["left_out"]] == [
        ("2013-11-03T00:00:00-04:00", "already committed")
    ]
    lines_before = len(place.state().entries())
    again = place("waive", "flights", *DAY, "--reason", "burnt twice")
    assert again.code == 1
    assert "already waived" in again.out
    assert "error: nothing was waived" in again.err
    assert len(place.state().entries()) == lines_before
    assert place.state().leases() == []


def test_what_a_run_works_on_is_not_waived(place: Place) -> None:
    place.write()
    place.state().acquire(hours(20, 25), "flights/other", 600)
    result = place("waive", "flights", *DAY, "--reason", "burnt")
    assert result.code == 3
    assert "2013-11-03 [19:00, 24:00) EST is held by flights/other since " in result.err
    assert place.state().entries() == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(DAY, "the following arguments are required: --reason", id="no reason"),
        pytest.param((*DAY, "--reason", "  \n"), "--reason: expected a sentence", id="a reason of nothing"),
        pytest.param(
            (*DAY, "--reason", "\u200b"), "got '\\u200b': remove the characters", id="a hidden reason"
        ),
        pytest.param((*DAY, "--reason", "x" * 501), "--reason: expected a sentence", id="a novel"),
        pytest.param(
            ("--from", "2013-11-03", "--to", "2113-11-03", "--reason", "burnt"), "--to: expected", id="future"
        ),
        pytest.param(
            ("--from", "2026-01-01", "--to", "2034-11-03", "--reason", "burnt"),
            "--to: expected a past time",
            id="a typo in the year",
        ),
    ],
)
def test_waive_refuses(place: Place, arguments: tuple[str, ...], sentence: str) -> None:
    place.write()
    result = place("waive", "flights", *arguments)
    assert (result.code, sentence in result.err) == (2, True)
    assert place.state().entries() == []


def test_the_story_of_a_window(place: Place) -> None:
    place.write()
    place.seed()
    place("run", "flights", *AT)
    result = place("history", WINDOW)
    assert result.code == 0
    seen = lines(result.out)
    assert seen[0] == f"{WINDOW}: 2013-11-03 [00:00 EDT, 04:00 EST)"
    assert seen[1] == "at what token rows attempt"
    whats = [line.split()[3] for line in seen if line.startswith("20")]
    assert whats == ["attempt", "replacing", "committed"]
    assert any(" committed 1 10 " in line for line in seen)
    assert seen[-2].startswith("source 10, target 10, distinct 10")
    assert seen[-1].startswith("in the target: token 1, 10 rows, manifest ")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((WINDOW,), id="id"),
        pytest.param(("flights", WINDOW), id="pipeline and id"),
        pytest.param(("flights", "2013-11-03"), id="day"),
        pytest.param(("flights", "2013-11-03T00:00:00-04:00", "2013-11-03T04:00:00-05:00"), id="instants"),
    ],
)
def test_ways_to_name_a_window(place: Place, words: tuple[str, ...]) -> None:
    place.write()
    place.seed()
    place("run", "flights", *AT)
    answer = place("history", *words, "-o", "json").json
    assert [entry["kind"] for entry in answer["entries"]] == ["attempt", "replacing", "committed"]
    (row,) = answer["target"]
    assert (row["token"], row["rows"], row["in_ledger"]) == (1, 10, True)


def test_what_touched_a_part_of_the_window_is_its_story_too(place: Place) -> None:
    place.write()
    place.seed()
    place("run", "flights", *AT)
    part = ("--from", "2013-11-03T01:00:00-04:00", "--to", "2013-11-03T01:00:00-05:00")
    assert place("reprocess", "flights", *part, "--here").code == 0
    told = lines(place("history", WINDOW).out)
    commits = [number for number, line in enumerate(told) if " committed " in line]
    assert [" ".join(told[number].split()[3:6]) for number in commits] == ["committed 1 10", "committed 2 2"]
    assert told[commits[0] + 1].startswith("manifest ")
    assert told[commits[1] + 1] == "window 2013-11-03 [01:00 EDT, 01:00 EST)"


def test_a_load_missing_in_the_ledger_is_reported(place: Place) -> None:
    place.write()
    place.seed()
    place("run", "flights", *AT)
    place.store.pipelines.clear()
    result = place("history", WINDOW)
    assert result.code == 0
    assert "the ledger has no entry of this window" in result.out
    assert "NOT committed in the ledger" in result.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        pytest.param(("flights",), 2, "WINDOW: expected a window id, or PIPELINE and", id="a pipeline alone"),
        pytest.param(("flights", "yesterday"), 2, "WINDOW: expected a window id", id="no day"),
        pytest.param(("flights", "a", "b", "c"), 2, "got 4 arguments", id="too many"),
        pytest.param(("other", WINDOW), 2, "no pipeline 'other'", id="unknown"),
        pytest.param(("flights", WINDOW.replace("flights", "x")), 2, "is a window of x", id="of another"),
        pytest.param(
            ("flights", "2013-11-03T04:00:00Z", "2013-11-03T04:00:00Z"), 2, "end: expected", id="empty"
        ),
        pytest.param((WINDOW,), 1, "", id="nothing is known"),
    ],
)
def test_history_refuses(place: Place, words: tuple[str, ...], code: int, sentence: str) -> None:
    place.write()
    result = place("history", *words)
    assert (result.code, sentence in result.err) == (code, True)


def test_the_ledger_is_printed_without_a_target(place: Place) -> None:
    path = place.write()
    place.seed()
    place("run", "flights", *AT)
    path.write_text(path.read_text().replace("flights.duckdb", "pipelines"))  # a folder
    result = place("history", WINDOW)
    assert "committed" in result.out
    assert result.code not in (0, 1)
    assert "pipeline flights, target" in result.err


def test_unverified_time_may_be_given_up(place: Place) -> None:
    place.write()
    place.seed()
    place("run", "flights", *AT)
    state = place.state()
    state.append(Entry(Kind.REPLACING, hours(0, 5), state.now(), token=9))
    assert place("status", "flights", *AT, "-o", "json").json["days"][0]["status"] == "unverified"
    end = ("--to", "2013-11-03T04:00:00-05:00")
    assert place("waive", "flights", "--from", "2013-11-03", *end, "--reason", "target is gone").code == 0
    assert ledger.unverified(place.state().entries()) == []


def test_history_fits_into_80_columns_and_breaks_no_hash(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "width", 80)
    place.write()
    place.seed()
    message = "table t of connection 'shop' refused the row that was read from the source " * 3
    fail(place, hours(0, 5), message)
    assert place("run", "flights", *AT).code == 0
    shown = place("history", WINDOW).out.splitlines()
    run = max((entry.run or "" for entry in place.state().entries()), key=len)
    assert max(len(line) for line in shown[1:-1] if run not in line) <= 80
    assert any(line.startswith("    DataError in audit: table t of") for line in shown)
    assert " ".join(message.split()) in " ".join(" ".join(shown).split())
    manifest = next(entry.manifest for entry in place.state().entries() if entry.manifest)
    assert sum(line.strip() == f"manifest {manifest[:12]}" for line in shown) == 2


def test_days_that_were_never_run_are_one_line_and_old_gaps_are_explained(place: Place) -> None:
    place.write(start_day="2003-11-03", granularity="1d")
    fail(place, Interval(parse_utc("2003-11-05T05:00:00Z"), parse_utc("2003-11-06T05:00:00Z")), "ids repeat")
    (one,) = place("gaps", "flights", *AT, "-o", "json").json["pipelines"]
    assert (one["first_day"], one["last_day"]) == ("2003-11-03", "2013-11-03")
    assert [(gap["day"], gap["reason"], gap["days"]) for gap in one["gaps"]] == [
        ("2003-11-03", "never_run", 2),
        ("2003-11-05", "failed", 1),
        ("2003-11-06", "never_run", 3651),
    ]
    state = place.state()
    since = Interval(parse_utc("2003-11-06T05:00:00Z"), parse_utc("2013-11-03T04:00:00Z"))
    state.append(Entry(Kind.WAIVED, since, state.now(), detail={"reason": "no flights"}))
    fail(place, hours(0, 25), "counts differ")
    (one,) = place("gaps", "flights", *AT, "-o", "json").json["pipelines"]
    assert [(gap["day"], gap["reason"]) for gap in one["gaps"]] == [
        ("2003-11-03", "never_run"),
        ("2003-11-05", "failed"),
        ("2013-11-03", "failed"),
    ]
