"""`doctor`: each disagreement is named with the command that repairs it, and `--fix` runs those that are safe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import FatalError
from tests.doubles.memory_source import MemorySource

from .conftest import AFTER, Place, Result

FIRST = msgspec.convert(["2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z"], Interval)
SECOND = msgspec.convert(["2013-11-03T09:00:00Z", "2013-11-03T14:00:00Z"], Interval)
AT = ("--reference-time", AFTER)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Files and state of a complete day, made by the first test that needs them."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def whole(place: Place, kept: tuple[Path, dict[str, Any]]) -> Place:
    """A day that is complete: five windows of ten rows."""
    files, pipelines = kept
    home = place.folder.parent
    place.write()
    place.seed()
    if pipelines:
        shutil.copytree(files / "stage", home / "stage")
        shutil.copy(files / "flights.duckdb", home)
    else:
        assert place("run", "flights", "--until-done", *AT).code == 0
        shutil.copytree(home / "stage", files / "stage")
        shutil.copy(home / "flights.duckdb", files)
        pipelines.update(deepcopy(place.store.pipelines))
    place.take_over(pipelines)
    return place


def entries(place: Place) -> list[Entry]:
    return place.store.pipelines["flights"].entries


def sql(place: Place, statement: str) -> None:
    import duckdb

    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(statement)


def stage(place: Place) -> Path:
    return place.folder.parent / "stage" / "flights"


def look(place: Place, *arguments: str) -> Result:
    return place("doctor", "flights", *AT, "-o", "json", *arguments)


@pytest.mark.parametrize("damage", ["DELETE FROM {fence}", "INSERT INTO {fence} SELECT * FROM {fence}"])
def test_a_fence_table_that_stops_every_load_is_not_healthy(whole: Place, damage: str) -> None:
    fence = 'main."moved_FENCE"'
    sql(whole, damage.format(fence=fence))
    result = look(whole)
    assert (result.code, result.json["healthy"]) == (1, False)
    [found] = result.json["findings"]
    assert found["kind"] == "not_checked"
    assert "expected exactly one row" in found["sentence"]
    first = ("--window-start", "2013-11-03T04:00:00Z", "--window-end", "2013-11-03T09:00:00Z")
    refused = whole("run", "flights", *first)
    assert (refused.code, "drop the table while nothing loads" in refused.err) == (5, True)
    sql(whole, f"DROP TABLE {fence}")
    assert whole("run", "flights", *first).code == 0
    assert look(whole).code == 0


def test_a_healthy_pipeline(whole: Place) -> None:
    result = whole("doctor", "flights", *AT)
    assert (result.code, result.out) == (
        0,
        "flights: compared 2013-11-03: healthy, ledger and target agree in every count, no manifest is missing "
        "(5 commits, 50 rows)\n",
    )
    assert look(whole).json["findings"] == []
    assert look(whole, "--fix").json["fixed"] == []


def test_a_pipeline_that_never_ran(place: Place) -> None:
    place.write()
    place.rows()
    found = look(place).json["findings"]
    assert [(one["kind"], one["window"]["start"]) for one in found] == [("gap", "2013-11-03T04:00:00Z")]


# --- what can be wrong: how it comes about, what is found, does --fix mend it


def lose_state(place: Place) -> None:
    place.store.pipelines.clear()


def lose_end_of_ledger(place: Place) -> None:
    """The last window's attempt, replacing and committed: an old backup of the state."""
    del entries(place)[-3:]


def lose_audit(place: Place) -> None:
    assert entries(place).pop().kind is Kind.COMMITTED


def begin_replacement(place: Place) -> None:
    """Died between `replacing` and the target's transaction."""
    token = place.state().mint_token()
    place.state().append(Entry(Kind.REPLACING, FIRST, FIRST.start, token=token, attempt="0" * 12))


def lose_target(place: Place) -> None:
    """A target from before the last load."""
    sql(place, "DELETE FROM main.moved WHERE TOKEN = 5")
    sql(place, "DELETE FROM main.moved_COMMITS WHERE TOKEN = 5")


def lose_target_and_source(place: Place) -> None:
    lose_target(place)
    for record_id, row in list(place.rows().rows.items()):
        if row.event_time and row.event_time >= SECOND.end + timedelta(hours=10):
            place.rows().delete(record_id)


def delete_row(place: Place) -> None:
    sql(place, "DELETE FROM main.moved WHERE RECORD_ID = 'r003'")


def delete_row_everywhere(place: Place) -> None:
    delete_row(place)
    place.rows().delete("r003")


def double_row(place: Place) -> None:
    sql(place, "INSERT INTO main.moved SELECT * FROM main.moved WHERE RECORD_ID = 'r003'")


def foreign_row(place: Place) -> None:
    sql(
        place,
        "INSERT INTO main.moved SELECT * REPLACE ('alien' AS RECORD_ID) FROM main.moved WHERE RECORD_ID = 'r003'",
    )


def row_far_away(place: Place) -> None:
    sql(
        place,
        "INSERT INTO main.moved SELECT * REPLACE ('alien' AS RECORD_ID, TIMESTAMPTZ '1999-01-01 00:00:00Z' AS "
        "EVENT_TIME) FROM main.moved WHERE RECORD_ID = 'r003'",
    )


def edit_commit_row(place: Place) -> None:
    sql(place, "UPDATE main.moved_COMMITS SET MANIFEST_SHA256 = 'edited' WHERE TOKEN = 2")


def one_token_twice(place: Place) -> None:
    sql(
        place,
        "INSERT INTO main.moved_COMMITS SELECT * REPLACE (TIMESTAMPTZ '2012-01-01 00:00:00Z' AS WINDOW_START, "
        "TIMESTAMPTZ '2012-01-01 01:00:00Z' AS WINDOW_END, 0 AS ROW_COUNT) FROM main.moved_COMMITS WHERE TOKEN = 2",
    )


def forget_commit(place: Place) -> None:
    """Neither ledger nor target know the last window: a gap."""
    lose_end_of_ledger(place)
    lose_target(place)


def block(place: Place) -> None:
    forget_commit(place)
    window = Interval(SECOND.end + timedelta(hours=10), SECOND.end + timedelta(hours=15))
    for _ in range(5):
        detail = {"error": "DataError", "message": "expected 10 rows, got 9", "phase": "audit"}
        place.state().append(Entry(Kind.FAILED, window, FIRST.start, detail=detail))


def drift(verdict: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        if verdict == "grew":
            place.rows().put("late", FIRST.start, "{}")
        detail = {"source": 11 if verdict == "grew" else 9, "target": 10, "verdict": verdict}
        place.state().append(Entry(Kind.CHECKED, FIRST, FIRST.start, detail=detail))

    return change


def leave_lease(place: Place) -> None:
    place.state().acquire(FIRST, "flights/dead", 60)
    place.clock_ahead = timedelta(minutes=2)


def leave_files(place: Place) -> None:
    """An attempt that began before its window's commit."""
    folder = stage(place) / "2013-11-03" / "flights.20131103T040000Z-20131103T090000Z" / ("d" * 12)
    folder.mkdir(parents=True)
    (folder / "part-0-0-x.parquet").write_bytes(b"12345")
    entries(place).insert(0, Entry(Kind.ATTEMPT, FIRST, entries(place)[0].at, attempt="d" * 12))


def lose_manifest(place: Place) -> None:
    next(iter(sorted(stage(place).rglob("manifest-*.json")))).unlink()


WRONG = [
    pytest.param(lose_state, ["state_lost"], "state rebuild flights", True, id="the state is lost"),
    pytest.param(
        lose_end_of_ledger,
        ["not_in_ledger"],
        "state rebuild flights",
        True,
        id="the end of the ledger is lost",
    ),
    pytest.param(
        lose_audit,
        ["not_audited"],
        "run flights --window-start 2013-11-04T00:00:00Z --window-end 2013-11-04T05:00:00Z --exact",
        True,
        id="loaded, not audited",
    ),
    pytest.param(
        begin_replacement,
        ["unverified"],
        "run flights --window-start 2013-11-03T04:00:00Z --window-end 2013-11-03T09:00:00Z",
        True,
        id="a replacement was begun",
    ),
    pytest.param(
        lose_target,
        ["not_in_target"],
        "run flights --window-start 2013-11-04T00:00:00Z",
        True,
        id="an old target",
    ),
    pytest.param(
        lose_target_and_source,
        ["not_in_target"],
        "run flights --window-start 2013-11-04T00:00:00Z",
        False,
        id="an old target, and the source is gone too",
    ),
    pytest.param(
        delete_row,
        ["count_differs"],
        "run flights --window-start 2013-11-03T04:00:00Z",
        True,
        id="a row is gone",
    ),
    pytest.param(
        delete_row_everywhere,
        ["count_differs"],
        "run flights --window-start 2013-11-03T04:00:00Z",
        False,
        id="a row is gone in the source too",
    ),
    pytest.param(double_row, ["count_differs"], "reprocess flights --from", False, id="a row stands twice"),
    pytest.param(foreign_row, ["count_differs"], "--accept-shrink", False, id="somebody else's row"),
    pytest.param(row_far_away, ["uncovered"], None, False, id="a row that no commit row covers"),
    pytest.param(
        edit_commit_row,
        ["disagreement"],
        "history flights flights.20131103T090000Z-20131103T140000Z",
        False,
        id="a commit row was edited",
    ),
    pytest.param(
        one_token_twice,
        ["overlap"],
        "history flights flights.20131103T090000Z",
        False,
        id="one token for two windows",
    ),
    pytest.param(forget_commit, ["gap"], "run flights --until-done", True, id="a gap"),
    pytest.param(block, ["blocked"], "reprocess flights --from 2013-11-04T00:00:00Z", False, id="blocked"),
    pytest.param(drift("grew"), ["drifted"], "reprocess flights --from", True, id="late data"),
    pytest.param(drift("shrank"), ["drifted"], "--accept-shrink", False, id="the source shrank"),
    pytest.param(leave_lease, ["expired_lease"], "unlock flights", True, id="an expired lease"),
    pytest.param(leave_files, ["orphan_files"], "cleanup flights", True, id="files of an abandoned attempt"),
    pytest.param(
        lose_manifest,
        ["manifest_missing"],
        "run flights --window-start 2013-11-03T04:00:00Z",
        True,
        id="a manifest alone is gone",
    ),
]


@pytest.mark.parametrize(("spoil", "kinds", "command", "mended"), WRONG)
def test_each_difference_is_found_and_repaired(
    whole: Place, spoil: Callable[[Place], None], kinds: list[str], command: str | None, mended: bool
) -> None:
    spoil(whole)
    before, held = whole.state().snapshot(), table(whole)
    result = look(whole)
    found: list[dict[str, Any]] = result.json["findings"]
    assert result.code == 1
    assert [one["kind"] for one in found] == kinds
    assert command in (found[0]["command"] or "") if command else found[0]["command"] is None
    assert [one["safe"] for one in found] == [mended]
    assert (whole.state().snapshot(), table(whole)) == (before, held), "looking changes nothing"

    result = look(whole, "--fix")
    if mended:
        assert [one["exit_code"] for one in result.json["fixed"]] == [0]
        assert (result.code, result.json["findings"]) == (0, [])
        assert len(table(whole)) == len(set(table(whole))) >= 50
    else:
        assert (result.code, result.json["fixed"]) == (1, [])
        assert (whole.state().snapshot(), table(whole)) == (before, held)


def table(place: Place) -> list[str]:
    import duckdb

    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        found = connection.execute("SELECT RECORD_ID FROM main.moved ORDER BY 1").fetchall()
    return [row[0] for row in found]


def test_a_window_that_two_checks_name_is_loaded_once(whole: Place) -> None:
    drift("grew")(whole)
    delete_row(whole)
    found = look(whole).json["findings"]
    assert [(one["kind"], one["safe"]) for one in found] == [("count_differs", True), ("drifted", True)]
    loads = [entry.kind for entry in entries(whole)].count(Kind.REPLACING)
    result = look(whole, "--fix")
    assert (result.code, result.json["findings"], len(result.json["fixed"])) == (0, [], 1)
    assert [entry.kind for entry in entries(whole)].count(Kind.REPLACING) == loads + 1


def test_for_people(whole: Place) -> None:
    lose_audit(whole)
    double_row(whole)
    result = whole("doctor", "flights", *AT)
    lines = result.out.splitlines()
    assert lines[0] == (
        "not_audited: 2013-11-03 [19:00, 24:00) EST token 5 loaded 10 rows and was never audited: its run was "
        "interrupted"
    )
    assert lines[1].startswith("    airflow-pipelines run flights --window-start 2013-11-04T00:00:00Z")
    assert lines[3].endswith("(needs review: --fix does not run it)")
    assert lines[-2:] == [
        "flights: compared 2013-11-03 (4 commits, 50 rows)",
        "2 findings; --fix repairs 1 of them",
    ]


def test_what_a_run_works_on_is_no_finding(whole: Place) -> None:
    """Loaded and not yet audited, by a run that still holds its lease."""
    last = entries(whole).pop()
    whole.state().acquire(last.interval, "flights/now", 600)
    assert look(whole).json["findings"] == []


def test_a_window_that_was_replaced_in_part_is_normal(whole: Place) -> None:
    half = ["--window-start", "2013-11-03T04:00:00Z", "--window-end", "2013-11-03T06:00:00Z", "--exact"]
    assert whole("run", "flights", *half).code == 0
    assert look(whole).json["findings"] == []
    double_row(whole)  # in the first half, which the newer commit speaks for
    (found,) = look(whole).json["findings"]
    assert (found["kind"], found["window"]["end"]) == ("count_differs", "2013-11-03T06:00:00Z")


def test_the_command_repairs_after_the_time_zone_was_changed(whole: Place) -> None:
    """A window of New York crosses a midnight of Kolkata, where no run may be asked for it as it was."""
    sql(whole, "DELETE FROM main.moved WHERE RECORD_ID = 'r025'")
    whole.write(timezone="Asia/Kolkata")
    (found,) = [one for one in look(whole).json["findings"] if one["kind"] == "count_differs"]
    words = found["command"].split()
    assert words[:3] == ["airflow-pipelines", "reprocess", "flights"]
    assert whole(*words[1:]).code == 0
    assert "r025" in table(whole)
    assert not [one for one in look(whole).json["findings"] if one["kind"] == "count_differs"]


def test_a_stage_that_forgets_old_files_is_no_problem(whole: Place) -> None:
    for file in stage(whole).rglob("*"):
        if file.is_file():
            file.unlink()
    result = look(whole)
    assert result.code == 0
    (found,) = result.json["findings"]
    assert (found["kind"], found["harmless"]) == ("files_expired", True)
    assert "5 committed windows" in found["sentence"]


def test_a_first_day_that_is_not_known_is_found_again(place: Place) -> None:
    place.write(start_day=None, end_day=None)
    place.seed()
    at = ("--reference-time", "2013-11-04T21:30:00Z")
    assert place("run", "flights", "--until-done", *at).code == 0
    place.store.pipelines["flights"].first_day = None
    result = place("doctor", "flights", *at, "-o", "json")
    kinds = [one["kind"] for one in result.json["findings"]]
    assert "first_day_missing" in kinds
    assert place("doctor", "flights", *at, "--fix", "-o", "json").code == 0
    assert str(place.state().first_day(None)) == "2013-11-03"


def test_a_part_that_cannot_be_asked_hides_no_other(whole: Place) -> None:
    stage(whole).rename(stage(whole).with_name("away"))
    stage(whole).write_text("a file where the folder was")
    lose_audit(whole)
    found = look(whole).json["findings"]
    assert found[0]["kind"] == "not_audited"
    assert [one["sentence"][:29] for one in found if one["kind"] == "not_checked"] == [
        "orphans could not be checked:"
    ]


def test_earlier_commits_outside_the_compared_days_are_mentioned(whole: Place) -> None:
    double_row(whole)
    whole.write(end_day=None, max_backlog_days=31)
    late = ("--reference-time", "2013-12-20T12:00:00Z")
    short = whole("doctor", "flights", *late, "--days", "7", "-o", "json").json
    assert short["days"] == ["2013-12-13", "2013-12-19"]
    assert (short["healthy"], [one["kind"] for one in short["findings"]]) == (False, ["gap", "too_old"])
    assert (
        "(not what was committed before; --days N goes further back)"
        in whole("doctor", "flights", *late, "--days", "7").out
    )
    kinds = [
        one["kind"]
        for one in whole("doctor", "flights", *late, "--days", "60", "-o", "json").json["findings"]
    ]
    assert kinds == ["count_differs", "gap", "too_old"]


def test_a_repair_that_fails_is_reported(whole: Place) -> None:
    lose_audit(whole)

    def fail() -> None:
        raise FatalError("the disk is full")

    whole.rows().on_page = fail
    result = look(whole, "--fix")
    assert result.code == 1
    assert [one["exit_code"] for one in result.json["fixed"]] == [5]
    assert [one["kind"] for one in result.json["findings"]] == ["not_audited"]
    assert "the disk is full" in result.err


@pytest.mark.parametrize(
    ("error", "hint", "safe"),
    [
        ("DataError", "repair the data first", False),
        ("FatalError", "remove the cause first", False),
        ("ConfigError", "correct the file or the connection first", False),
        ("KeyError", "", True),
    ],
)
def test_only_a_failure_that_may_pass_is_counted_as_fixable(
    whole: Place, error: str, hint: str, safe: bool
) -> None:
    forget_commit(whole)
    window = Interval(SECOND.end + timedelta(hours=10), SECOND.end + timedelta(hours=15))
    detail = {"error": error, "message": "the role may not insert", "phase": "load"}
    whole.state().append(Entry(Kind.FAILED, window, FIRST.start, detail=detail))
    [found] = look(whole).json["findings"]
    assert (found["kind"], found["safe"], hint in found["sentence"]) == ("failed", safe, True)
    said = whole("doctor", "flights", *AT).out
    assert ("--fix" in said.splitlines()[-1]) is safe
    assert bool(look(whole, "--fix").json["fixed"]) is safe


# --- by hand: the same questions in SQL


def lose_ledger_lines(place: Place) -> None:
    place.store.pipelines["flights"].entries[:] = [
        e for e in entries(place) if not e.interval.overlaps(FIRST)
    ]


def lose_files(place: Place) -> None:
    for file in stage(place).rglob("*.parquet"):
        file.unlink()


def delete_commit_row(place: Place) -> None:
    sql(place, "DELETE FROM main.moved_COMMITS WHERE TOKEN = 2")


def delete_rows(place: Place) -> None:
    sql(place, "DELETE FROM main.moved WHERE EVENT_TIME < '2013-11-03T09:00:00Z'")


def delete_all_rows(place: Place) -> None:
    sql(place, "DELETE FROM main.moved")


DAMAGE = [
    pytest.param(None, id="nothing"),
    pytest.param(delete_rows, id="the rows of a window"),
    pytest.param(delete_all_rows, id="all rows"),
    pytest.param(delete_row, id="a row"),
    pytest.param(double_row, id="a row twice"),
    pytest.param(delete_commit_row, id="a commit row"),
    pytest.param(lose_target, id="rows and commit row"),
    pytest.param(lose_ledger_lines, id="lines of the ledger"),
    pytest.param(lose_audit, id="the last commit in the ledger"),
    pytest.param(forget_commit, id="a window in ledger and target"),
]


@pytest.mark.parametrize("spoil", DAMAGE)
@pytest.mark.parametrize("now", [AFTER, "2019-05-05T00:00:00Z"], ids=["soon", "years after end_day"])
def test_doctor_and_status_agree_with_sql(
    whole: Place, spoil: Callable[[Place], None] | None, now: str
) -> None:
    """The day ended long ago for one of them: status, doctor and SQL look at the same days."""
    if spoil is not None:
        spoil(whole)
    complete, agrees = by_hand(whole)
    at = ("--reference-time", now, "-o", "json")
    doctor, status = whole("doctor", "flights", *at), whole("status", "flights", *at)
    assert doctor.json["days"] == ["2013-11-03", "2013-11-03"]
    assert (doctor.json["healthy"], doctor.code) == (agrees, 0 if agrees else 1)
    assert (status.json["days"][0]["status"] == "complete") is complete
    assert (status.json["behind_seconds"] == 0 and status.json["too_old"] is None) is complete


def by_hand(place: Place) -> tuple[bool, bool]:
    """(is all of the day committed in the ledger, do ledger, commit rows and rows agree window by window?)"""
    import duckdb

    rows_of = "FROM main.moved WHERE EVENT_TIME >= w AND EVENT_TIME < w + INTERVAL 5 HOUR"
    asked = f"""
        SELECT w, (SELECT ROW_COUNT FROM main.moved_COMMITS WHERE WINDOW_START = w),
          (SELECT count(*) {rows_of}), (SELECT count(DISTINCT RECORD_ID) {rows_of})
        FROM generate_series(TIMESTAMPTZ '2013-11-03 04:00:00Z', TIMESTAMPTZ '2013-11-04 00:00:00Z', INTERVAL 5 HOUR)
          AS windows(w)"""
    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        held = {start: rest for start, *rest in connection.execute(asked).fetchall()}
    ledger = {entry.interval.start: entry.rows for entry in entries(place) if entry.kind is Kind.COMMITTED}
    agrees = all(ledger.get(start) == rows == seen == ids for start, (rows, seen, ids) in held.items())
    return len(ledger) == len(held) == 5, agrees


def test_files_that_are_missing_are_not_called_in_agreement(whole: Place) -> None:
    lose_files(whole)
    assert whole("doctor", "flights", *AT).code == 0  # parts may go once their rows are in the target
    shutil.rmtree(stage(whole))
    result = whole("doctor", "flights", *AT)
    assert result.code == 0
    assert "healthy, ledger and target agree in every count (5 commits, 50 rows)" in result.out


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2013-10-01T00:00:00Z", "compared no day, start_day is after the target day: nothing is committed"),
        (
            "2013-11-04T05:30:00Z",
            "compared 2013-11-03: nothing is committed or loaded there, so there is nothing",
        ),
    ],
)
def test_nothing_is_not_healthy(place: Place, now: str, said: str) -> None:
    place.write(end_day=None, settle="2d")
    result = place("doctor", "flights", "--reference-time", now)
    assert (result.code, said in result.out, "healthy" in result.out) == (0, True, False), result.out
    assert place("doctor", "flights", "--reference-time", now, "-o", "json").json["healthy"] is None


def test_a_connection_without_verification_is_a_finding(
    whole: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["connection 'es' has verify_certs: false"]
    monkeypatch.setattr(MemorySource, "unsafe_settings", lambda source: told)
    result = look(whole)
    assert result.code == 1
    assert [(f["kind"], f["sentence"]) for f in result.json["findings"]] == [("unsafe_connection", told[0])]
