"""`run`: windows moved in this process, whatever other processes and the network do meanwhile."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from airflow_pipeline_provider.cli.run import Display
from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval
from tests.cli.conftest import AFTER, Place

UNTIL_DONE = ("run", "flights", "--until-done", "--reference-time", AFTER)
ONE = ("run", "flights", "--reference-time", AFTER)
FIRST = ("--window-start", "2013-11-03T00:00:00-04:00", "--window-end", "2013-11-03T04:00:00-05:00")


pytestmark = pytest.mark.usefixtures("short_pauses")


def test_one_window(place: Place) -> None:
    place.write()
    place.seed()
    result = place(*ONE)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == "window source staged target distinct token seconds status"
    assert lines[1].startswith("2013-11-03 [00:00 EDT, 04:00 EST) 10 10 10 10 1 ")
    assert lines[2] == "1 window committed, 10 rows: source = staged = target = distinct"
    assert result.err.startswith("flights: 2013-11-03 [00:00 EDT, 04:00 EST): 10 rows in ")
    assert place.moved() == 10


def test_quarantined_rows_are_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DuckDBTarget, "limits", TargetLimits(max_body_bytes=100))
    place.write(audit={"on_reject": "quarantine"})
    place.seed()
    place.rows().put("long", "2013-11-03T05:00:00Z", f'"{"x" * 100}"')
    lines = place(*ONE).out.splitlines()
    assert lines[-1] == (
        "1 window committed, 10 rows (1 more quarantined): source = staged + quarantined, "
        "staged = target = distinct"
    )
    (window,) = place("run", "flights", *FIRST, "-o", "json").json["windows"]
    counted = [window[name] for name in ("source_rows", "staged_rows", "quarantined_rows", "target_rows")]
    assert counted == [11, 10, 1, 10]


def test_until_done_moves_the_25_hour_day(place: Place) -> None:
    place.write()
    place.seed()
    result = place(*UNTIL_DONE, "--output", "json")
    assert result.code == 0
    windows = result.json["windows"]
    assert [window["status"] for window in windows] == ["committed"] * 5
    for window in windows:
        counts = {window[name] for name in ("source_rows", "staged_rows", "target_rows", "distinct_ids")}
        assert counts == {10}
    assert all(before["end"] == after["start"] for before, after in pairwise(windows))
    assert (windows[0]["start"], windows[-1]["end"]) == ("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")
    assert [window["token"] for window in windows] == [1, 2, 3, 4, 5]
    assert (result.json["reason"], result.json["error"]) == ("after_end_day", None)
    assert place.moved() == 50


def test_nothing_to_do_is_no_failure(place: Place) -> None:
    place.write()
    place.seed()
    place(*UNTIL_DONE)
    result = place(*UNTIL_DONE)
    assert result.code == 0
    assert result.out.startswith("nothing to do: after_end_day: ")
    assert place("run", "flights", "--reference-time", "2013-11-03T12:00:00Z").out.startswith(
        "nothing to do: "
    )


def test_a_named_window_is_moved_again(place: Place) -> None:
    place.write()
    place.seed()
    place(*UNTIL_DONE)
    place.rows().put("late", "2013-11-03T05:00:00Z", "{}")
    result = place("run", "flights", *FIRST, "-o", "json")
    assert result.code == 0
    (window,) = result.json["windows"]
    assert (window["target_rows"], window["token"]) == (11, 6)
    assert place.moved() == 51


def test_a_named_window_that_has_not_settled_is_a_no(place: Place) -> None:
    place.write(end_day=None)
    place.seed()
    result = place(
        "run",
        "flights",
        "--window-start",
        "2113-11-03T06:00:00Z",
        "--window-end",
        "2113-11-03T07:00:00Z",
        "--exact",
    )
    assert result.code == 1
    assert result.out.startswith("nothing to do: not_settled: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--reference-time", "2013-11-05T12:00:00"], "without an offset: add Z", id="no-offset"),
        pytest.param(FIRST[:2], "--window-end: expected both", id="no-end"),
        pytest.param(FIRST[2:], "--window-start: expected both", id="no-start"),
        pytest.param([FIRST[0], FIRST[3], FIRST[2], FIRST[1]], "expected an instant after", id="backwards"),
        pytest.param([*FIRST, "--until-done"], "--until-done: cannot be combined with a window", id="both"),
        pytest.param([*FIRST[:3], "2013-11-04T06:00:00Z"], "inside of one day", id="two-days"),
        pytest.param([*FIRST[:3], "2013-11-03T08:00:00Z"], "expected a window of the day plan", id="no-plan"),
        pytest.param(["--exact"], "--exact: expected --window-start and --window-end", id="exact-alone"),
        pytest.param(["--wait", "10"], "--wait: expected a duration", id="wait"),
        pytest.param(["--retries", "-1"], "--retries: expected a whole number", id="retries"),
    ],
)
def test_mistakes(place: Place, arguments: list[str], sentence: str) -> None:
    place.write()
    result = place("run", "flights", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert sentence in result.err
    assert result.err.count("\n") == 1


# --- errors


def test_an_error_that_passes_is_tried_again(place: Place) -> None:
    place.write()
    place.seed()
    place.rows().fail_pages = 2
    result = place(*ONE)
    assert result.code == 0
    assert "try 2 of 4 in " in result.err
    assert "try 3 of 4 in " in result.err
    assert place.moved() == 10


def test_an_error_that_does_not_pass_ends_the_run_and_gives_the_window_back(place: Place) -> None:
    place.write()
    place.seed()
    place.rows().fail_counts = 100
    result = place(*ONE, "--retries", "1", "-o", "json")
    assert result.code == 3
    assert result.json["error"]["kind"] == "TransientError"
    assert [(w["status"], w["reason"]) for w in result.json["windows"]] == [("failed", "TransientError")]
    last = result.err.splitlines()[-1]
    assert last.startswith(
        "error: pipeline flights, window [2013-11-03T04:00:00Z, 2013-11-03T09:00:00Z), validate"
    )
    assert last.endswith("the count failed on demand")
    assert place.state().leases() == []


def test_what_was_moved_before_an_error_is_still_reported(place: Place) -> None:
    place.write(audit={"on_empty": "fail"})
    place.seed()
    for row in list(place.rows().rows.values()):
        if row.event_time and row.event_time.hour >= 19:
            place.rows().delete(row.record_id)
    result = place(*UNTIL_DONE)
    assert result.code == 4
    assert "failed: DataError" in result.out
    assert "3 windows committed, 30 rows" in result.out
    (sentence,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert "audit.on_empty is 'fail'" in sentence
    assert "Traceback" not in result.err


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_display_follows_the_phases(
    place: Place, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    place.write()
    place.seed()
    monkeypatch.setenv("AIRFLOW_PIPELINES_LOG_FORMAT", log_format)
    phases: list[str] = []
    monkeypatch.setattr(Display, "phase", lambda _, name: phases.append(name))
    assert place("run", "flights", "--reference-time", AFTER).code == 0
    assert list(dict.fromkeys(phases)) == ["generate", "validate", "extract", "stage", "load", "audit"]


def test_verbose_shows_the_traceback_and_every_phase(place: Place) -> None:
    place.write()
    place.rows()
    place.rows().fail_counts = 100
    result = place(*ONE, "--retries", "0", "--verbose")
    assert result.code == 3
    assert "Traceback (most recent call last)" in result.err
    assert "phase=generate status=started" in result.err


def test_a_blocked_window_ends_with_a_data_error(place: Place) -> None:
    place.write(audit={"on_empty": "fail"}, max_attempts=1, granularity="1d")
    place.rows()
    assert place(*UNTIL_DONE).code == 4
    result = place(*UNTIL_DONE)
    assert result.code == 4
    assert result.out.startswith("nothing to do: blocked: ")


def test_a_missing_source_is_fatal(place: Place) -> None:
    place.write()
    result = place(*ONE)
    assert result.code == 5
    assert "table 'flights' does not exist" in result.err


@pytest.mark.parametrize("command", [("run", "flights", "--until-done"), ("recheck", "flights", "--here")])
def test_a_reference_time_in_the_future_is_refused_by_what_writes(
    place: Place, command: tuple[str, ...]
) -> None:
    place.write(end_day=None, start_day=None, granularity="1d")
    place.rows()
    result = place(*command, "--reference-time", "2113-01-05T00:00:00Z")
    assert (result.code, "--reference-time: expected an instant up to now" in result.err) == (2, True)
    assert place.state().first_day(None) is None
    assert place("status", "flights", "--reference-time", "2113-01-05T00:00:00Z").code == 0  # reads only


# --- leases of others


@pytest.fixture
def whole_day(interval: Interval) -> Interval:
    return Interval(interval.start, interval.start + timedelta(hours=25))


def test_an_expired_lease_is_taken_over(place: Place, interval: Interval) -> None:
    place.write()
    place.seed()
    place.state().acquire(interval, "cli/other", 60)
    place.clock_ahead = timedelta(minutes=2)
    assert place(*UNTIL_DONE).code == 0
    assert place.moved() == 50


def test_a_lease_is_waited_out_and_its_holder_named(
    place: Place, whole_day: Interval, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        place.clock_ahead += timedelta(seconds=seconds)

    began = datetime.now(timezone.utc)
    place.store.clock = lambda: began + place.clock_ahead  # only waiting moves it
    monkeypatch.setattr("airflow_pipeline_provider.cli.runner.time.sleep", sleep)
    place.write(granularity="1d")
    place.seed()
    place.state().acquire(whole_day, "cli/other-host-7", 90)
    result = place(*UNTIL_DONE)
    assert result.code == 0
    assert timedelta(seconds=90) <= place.clock_ahead < timedelta(seconds=91)
    assert "[00:00 EDT, 24:00 EST) is held by cli/other-host-7 since " in result.err
    assert "waiting up to 10m" in result.err
    assert "the lease of cli/other-host-7 has expired: its window is free" in result.err
    assert result.err.count("is held by") == 1
    assert place.moved() == 50


def test_a_lease_that_is_released_early_ends_the_wait(
    place: Place, whole_day: Interval, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "airflow_pipeline_provider.cli.runner.time.sleep", lambda _: place.state().release(whole_day, "other")
    )
    place.write(granularity="1d")
    place.seed()
    place.state().acquire(whole_day, "other", 3600)
    result = place(*UNTIL_DONE)
    assert result.code == 0
    assert "has expired" not in result.err
    assert place.moved() == 50


@pytest.mark.parametrize("named", [False, True], ids=["planned", "named"])
def test_patience_ends(place: Place, whole_day: Interval, named: bool) -> None:
    place.write()
    place.seed()
    place.state().acquire(whole_day, "other", 3600)
    result = place("run", "flights", *(FIRST if named else ONE[2:]), "--wait", "1s")
    assert result.code == 3
    last = result.err.splitlines()[-1]
    assert "is held by other since" in last
    assert last.endswith("run again later, or wait longer with --wait DURATION")
    assert [lease.owner for lease in place.state().leases()] == ["other"]


def test_a_window_that_a_newer_run_took_is_left_to_it(place: Place, interval: Interval) -> None:
    place.write()
    place.seed()
    taken = []

    def take() -> None:
        if taken:
            return
        (mine,) = place.state().leases()
        taken.append(mine)
        state = place.state()
        state.release(mine.interval, mine.owner)
        for kind in (ledger.Kind.REPLACING, ledger.Kind.COMMITTED):
            state.append(ledger.Entry(kind, mine.interval, state.now(), token=99, rows=10))

    place.rows().on_page = take
    result = place(*UNTIL_DONE, "-o", "json")
    assert result.code == 0
    assert taken[0].interval == interval
    windows = result.json["windows"]
    assert (windows[0]["status"], windows[0]["reason"]) == ("skipped", "superseded")
    assert [window["status"] for window in windows[1:]] == ["committed"] * 4


def test_every_window_is_a_run_of_its_own(place: Place) -> None:
    place.write()
    place.seed()
    owners = set()
    place.rows().on_page = lambda: owners.update(lease.owner for lease in place.state().leases())
    place(*UNTIL_DONE)
    assert len(owners) == 5
    assert all(owner.startswith("cli/") and f"-{os.getpid()}-" in owner for owner in owners)


# --- signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["interrupt", "terminate"]
)
def test_a_signal_gives_the_lease_back(place: Place, number: signal.Signals, code: int) -> None:
    place.write()
    place.seed()
    pages = []

    def end_in_the_second_window() -> None:
        pages.append(1)
        if len(pages) == 2:
            assert len(place.state().leases()) == 1
            os.kill(os.getpid(), number)
            time.sleep(5)  # the signal ends this

    place.rows().on_page = end_in_the_second_window
    before = signal.getsignal(number)
    result = place(*UNTIL_DONE)
    assert result.code == code
    assert result.err.splitlines()[-1] == f"error: ended by {number.name}; its leases were released"
    assert "1 window committed, 10 rows" in result.out
    assert place.state().leases() == []
    assert signal.getsignal(number) is before
    place.rows().on_page = None
    assert place(*UNTIL_DONE).code == 0
    assert place.moved() == 50


def test_libraries_that_print_do_not_reach_standard_output(place: Place) -> None:
    place.write()
    place.seed()
    place.rows().on_page = lambda: print("I am a library")
    result = place(*ONE, "-o", "json")
    assert result.json["windows"][0]["target_rows"] == 10
    assert "I am a library" in result.err
