"""`state export`, `import` and `rebuild`: move a state, and rebuild it when it is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.state.base import Snapshot, State
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from tests.doubles.memory_variables import DictVariables

from .conftest import AFTER, Place

IDENTITY = Identity("flights", "America/New_York")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Target and state of the two windows, made by the first test that needs them."""
    return tmp_path_factory.mktemp("kept") / "flights.duckdb", {}


@pytest.fixture
def moved(place: Place, kept: tuple[Path, dict[str, Any]]) -> Place:
    """The first two windows of the day are committed, without a start_day."""
    target, pipelines = kept
    place.write(start_day=None, end_day=None, max_backlog_days=31)
    place.seed()
    if pipelines:
        shutil.copy(target, place.folder.parent)
    else:
        for _ in range(2):
            assert place("run", "flights", "--reference-time", "2013-11-04T21:30:00Z").code == 0
        shutil.copy(place.folder.parent / target.name, target)
        pipelines.update(deepcopy(place.store.pipelines))
    place.take_over(pipelines)
    return place


def test_what_was_exported_is_imported_elsewhere(moved: Place, tmp_path: Path) -> None:
    file = tmp_path / "flights.jsonl"
    result = moved("state", "export", "flights", str(file))
    assert (result.code, result.out) == (0, "")
    assert "newest token 2" in result.err
    before = moved.state().snapshot()
    moved.store.pipelines.clear()
    for _ in range(2):  # doing it again changes nothing
        assert moved("state", "import", "flights", str(file)).code == 0
    assert without_acts(moved.state()) == before
    assert moved.state().first_day(None) == date(2013, 11, 3)
    result = moved("run", "flights", "--reference-time", "2013-11-04T21:30:00Z", "-o", "json")
    (window,) = result.json["windows"]
    assert (window["start"], window["token"]) == ("2013-11-03T14:00:00Z", 3)


def test_only_this_user_can_read_an_export(moved: Place, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert moved("state", "export", "flights", str(tmp_path / "flights.jsonl")).code == 0
    finally:
        os.umask(before)
    assert (tmp_path / "flights.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_lines_are_for_programs_too(moved: Place) -> None:
    result = moved("state", "export", "flights", "-o", "json")
    header, *lines = [json.loads(line) for line in result.out.splitlines()]
    assert (header["pipeline_id"], header["token"]) == ("flights", 2)
    assert [line["entry"]["kind"] for line in lines if "entry" in line] == [
        "attempt",
        "replacing",
        "committed",
    ] * 2
    assert [line["interval"] for line in lines if "run" in line] == [
        ["2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z"],
        ["2013-11-03T09:00:00Z", "2013-11-03T14:00:00Z"],
    ]


def test_from_standard_input(moved: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = moved("state", "export", "flights").out
    moved.store.pipelines.clear()
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    result = moved("state", "import", "flights", "-", "-o", "json")
    assert result.json == {
        "pipeline_id": "flights",
        "entries": 6,
        "runs": 2,
        "token": 2,
        "first_day": "2013-11-03",
    }


def without_acts(state: State) -> Snapshot:
    packed = state.snapshot()
    assert {act.what for act in packed.about.acts} == {"state import"}
    return replace(packed, about=replace(packed.about, acts=()))


def variables(values: dict[str, str]) -> VariableState:
    return VariableState(VariableStateOptions(type="variable"), IDENTITY, variables=DictVariables(values))


@pytest.mark.parametrize("way", ["variable to sql", "sql to variable"])
def test_from_one_kind_of_store_to_the_other(
    moved: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The command reads from the store that the file names, and writes to the one that it names then."""
    values: dict[str, str] = {}
    file = tmp_path / "state.db"
    monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    monkeypatch.setattr(
        "airflow_pipeline_provider.state.variable.AirflowVariables", lambda: DictVariables(values)
    )
    stores: dict[str, tuple[dict[str, Any], Callable[[], State]]] = {
        "variable": ({"type": "variable"}, lambda: variables(values)),
        "sql": ({"type": "sql", "conn_id": "kit"}, lambda: SqlState.from_url(f"sqlite:///{file}", IDENTITY)),
    }
    first, second = way.split(" to ")
    packed = moved.state().snapshot()
    stores[first][1]().restore(packed)
    lines = tmp_path / "lines"
    moved.write(state=stores[first][0])
    assert moved("state", "export", "flights", str(lines)).code == 0
    moved.write(state=stores[second][0])
    assert moved("state", "import", "flights", str(lines)).code == 0
    assert without_acts(stores[second][1]()) == packed
    assert moved("status", "flights", "--reference-time", AFTER, "-o", "json").json["continuation"] == (
        "2013-11-03T14:00:00Z"
    )


def test_a_run_at_work_is_named(moved: Place, interval: Interval) -> None:
    moved.state().acquire(interval, "flights/now", 600)
    assert "flights/now holds a lease since" in moved("state", "export", "flights").err


# --- mistakes


def test_an_export_is_never_written_over(moved: Place, tmp_path: Path) -> None:
    file = tmp_path / "flights.jsonl"
    file.write_text("the only copy")
    result = moved("state", "export", "flights", str(file))
    assert result.code == 2
    assert "exists and is not overwritten: choose another name" in result.err
    assert file.read_text() == "the only copy"
    assert moved("state", "export", "flights", str(tmp_path / "no" / "folder")).code == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def change(**changes: Any) -> Callable[[list[str]], list[str]]:
    return lambda lines: [json.dumps({**json.loads(lines[0]), **changes}), *lines[1:]]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        pytest.param(
            lambda lines: lines[:-1], "6 entries and 2 runs as the first line says, got 6 and 1", id="cut"
        ),
        pytest.param(lambda lines: [], "got nothing", id="empty"),
        pytest.param(
            lambda lines: lines[1:], "line 1: expected what `state export` writes, but there is no", id="head"
        ),
        pytest.param(lambda lines: [*lines, "{"], "line 10: expected what", id="no JSON"),
        pytest.param(lambda lines: [*lines, "[]"], "[] is not a JSON object", id="no object"),
        pytest.param(change(pipeline_id="other"), "got that of 'other'", id="another pipeline"),
        pytest.param(change(airflow_pipelines_state=2), "its version is 2", id="a newer version"),
        pytest.param(change(token="9"), "token is '9'", id="token"),
        pytest.param(
            change(token=2**63 - 1), "token is 9223372036854775807, not a whole", id="the largest token"
        ),
        pytest.param(
            change(first_day="2999-01-01"), "line 1: .* first_day is 2999-01-01", id="a far first day"
        ),
        pytest.param(
            change(about={"source": {"x": "a" * 2001}}), "line 1: .* longer than 2,000", id="a long text"
        ),
        pytest.param(change(about={}), "line 1: .* missing required field `source`", id="about"),
        pytest.param(lambda lines: [*lines, "[" * 100_000], "line 10: .* more than 20 deep", id="deep lists"),
        pytest.param(
            lambda lines: [*lines, '{"entry":' + '{"a":' * 5000 + "1" + "}" * 5001],
            "line 10: .* more than 20 deep",
            id="deep objects",
        ),
        pytest.param(
            lambda lines: [*lines, "x" * 1_000_001], "line 10: .* longer than 1,000,000", id="a long line"
        ),
        pytest.param(
            lambda lines: [line.replace('"rows":10', '"rows":' + "9" * 5000) for line in lines],
            "line 3: .* 5000 digits",
            id="a number of 5000 digits",
        ),
        pytest.param(
            lambda lines: [line.replace("2013-11-03T09", "2023-11-03T09", 1) for line in lines],
            "line 2: .* longer than 3 days",
            id="an interval of years",
        ),
        pytest.param(
            lambda lines: [line.replace('"at":"2', '"at":"3', 1) for line in lines],
            "line 2: .* at is 3 .* is in the future",
            id="an instant in the future",
        ),
        pytest.param(
            lambda lines: [line.replace('["2013', '["0013').replace(',"2013', ',"0013') for line in lines],
            "line 2: .* outside of the accepted years",
            id="a year",
        ),
        pytest.param(change(token=2**63), "not a whole number from 0 to", id="a token no store can keep"),
        pytest.param(change(token=1), "the newest token is 1, and an entry has 2", id="an old token"),
        pytest.param(
            lambda lines: [line.replace('"attempt":"', '"attempt":"\\ud800', 1) for line in lines],
            "surrogates not allowed",
            id="half a surrogate pair",
        ),
        pytest.param(lambda lines: [*lines[:3], lines[2], *lines[4:]], "repeats line 3", id="a line twice"),
        pytest.param(
            lambda lines: [line.replace('"token":1,', "") for line in lines], "has no token", id="no token"
        ),
        pytest.param(
            lambda lines: [line.replace("09:00:00Z", "04:00:00Z", 1) for line in lines],
            "is empty",
            id="interval",
        ),
        pytest.param(
            lambda lines: [line.replace("attempt", "guess", 1) for line in lines], "'guess'", id="kind"
        ),
    ],
)
def test_a_file_that_is_none_changes_nothing(
    moved: Place, tmp_path: Path, edit: Callable[[list[str]], list[str]], sentence: str
) -> None:
    lines = moved("state", "export", "flights").out.splitlines()
    file = tmp_path / "lines"
    file.write_text("\n".join(edit(lines)))
    moved.store.pipelines.clear()
    result = moved("state", "import", "flights", str(file))
    assert (result.code, result.out) == (2, "")
    assert all(part in result.err for part in sentence.split(" .* "))
    assert moved.state().snapshot().entries == ()


def test_another_history_is_not_written_over(moved: Place, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    moved("state", "export", "flights", str(file))
    moved("run", "flights", "--reference-time", "2013-11-04T21:30:00Z")
    before = moved.state().snapshot()
    result = moved("state", "import", "flights", str(file))
    assert result.code == 2
    assert "got 3 others, the first of them: attempt" in result.err
    assert moved.state().snapshot() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["state", "import", "flights"], "FILE: expected the file"),
        (["state", "import", "flights", "/no/such/file"], "cannot be read"),
        (["state", "rebuild", "flights", "x"], "leave it out"),
        (["state", "burn", "flights"], "invalid choice"),
    ],
)
def test_mistakes(moved: Place, arguments: list[str], sentence: str) -> None:
    result = moved(*arguments)
    assert result.code == 2
    assert sentence in result.err


# --- rebuild


def test_a_lost_ledger_is_rebuilt(moved: Place) -> None:
    before = moved.state().snapshot()
    moved.store.pipelines.clear()
    result = moved("state", "rebuild", "flights", "-o", "json")
    assert result.code == 0
    assert [(row["start"], row["token"], row["rows"]) for row in result.json["written"]] == [
        ("2013-11-03T04:00:00Z", 1, 10),
        ("2013-11-03T09:00:00Z", 2, 10),
    ]
    after = moved.state().snapshot()
    commits = [[e for e in s.entries if e.kind is Kind.COMMITTED] for s in (before, after)]
    said = [[(e.interval, e.token, e.rows, e.manifest) for e in one] for one in commits]
    assert said[0] == said[1]
    # the files of these windows are elsewhere, so nothing shows under which rules they were written
    assert all(entry.detail == {"rebuilt": True, "rewritten": {"body": "unknown"}} for entry in after.entries)
    assert (after.first_day, after.token) == (date(2013, 11, 3), 3)
    result = moved("run", "flights", "--reference-time", "2013-11-04T21:30:00Z", "-o", "json")
    (window,) = result.json["windows"]
    assert (window["start"], window["token"]) == ("2013-11-03T14:00:00Z", 4)


def test_the_lost_end_of_a_ledger_is_rebuilt(moved: Place) -> None:
    """A store that was restored from an old backup."""
    entries = moved.store.pipelines["flights"].entries
    del entries[3:]
    result = moved("state", "rebuild", "flights")
    assert result.code == 0
    assert "1 commit written, 1 already in the ledger" in result.out
    assert [e.token for e in entries if e.kind is Kind.COMMITTED] == [1, 2]
    again = moved("state", "rebuild", "flights", "-o", "json")
    assert (again.json["written"], again.json["known"]) == ([], 2)


def test_a_partly_replaced_window_is_rebuilt_as_it_is(moved: Place) -> None:
    half = ["--window-start", "2013-11-03T04:00:00Z", "--window-end", "2013-11-03T06:00:00Z", "--exact"]
    assert moved("run", "flights", *half).code == 0
    whole = ["--window-start", "2013-11-03T09:00:00Z", "--window-end", "2013-11-03T14:00:00Z"]
    assert moved("run", "flights", *whole).code == 0
    moved.store.pipelines.clear()
    result = moved("state", "rebuild", "flights", "-o", "json")
    assert [row["token"] for row in result.json["written"]] == [1, 3, 4], "2 was replaced whole"
    assert moved.state().mint_token() > 4


def test_an_interrupted_rebuild_continues(moved: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.doubles.memory_state import MemoryState

    append, left = MemoryState.append, iter(range(3))
    moved.store.pipelines.clear()

    def crash(state: MemoryState, entry: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        append(state, entry)

    monkeypatch.setattr(MemoryState, "append", crash)
    assert moved("state", "rebuild", "flights").code == 130
    monkeypatch.undo()
    assert moved("state", "rebuild", "flights").code == 0
    assert [e.kind.value for e in moved.state().entries()] == ["replacing", "committed"] * 2


def sql(place: Place, statement: str) -> None:
    import duckdb

    with duckdb.connect(str(place.folder.parent / "flights.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        pytest.param(
            "DELETE FROM main.moved WHERE RECORD_ID = 'r002'",
            "the target holds 9 rows there, its commit row says 10",
            id="a row is gone",
        ),
        pytest.param(
            "INSERT INTO main.moved SELECT * FROM main.moved WHERE RECORD_ID = 'r002'",
            "the target holds 11 rows there with 10 distinct ids",
            id="a row stands twice",
        ),
    ],
)
def test_what_the_target_does_not_hold_is_left_out(moved: Place, statement: str, why: str) -> None:
    sql(moved, statement)
    moved.store.pipelines.clear()
    result = moved("state", "rebuild", "flights")
    assert result.code == 1
    assert f"2013-11-03 [00:00 EDT, 04:00 EST) was left out: {why}" in result.err
    assert [e.token for e in moved.state().entries()] == [2, 2]


def test_what_was_never_audited_is_left_to_the_audit(moved: Place) -> None:
    entries = moved.store.pipelines["flights"].entries
    assert entries.pop().kind is Kind.COMMITTED
    result = moved("state", "rebuild", "flights")
    assert result.code == 1
    assert "was loaded and never audited" in result.err


def test_a_ledger_that_disagrees_is_not_changed(moved: Place) -> None:
    sql(moved, "DELETE FROM main.moved_COMMITS WHERE TOKEN = 2")
    before = moved.state().snapshot()
    result = moved("state", "rebuild", "flights")
    assert result.code == 4
    assert "committed with token 2, and the target has no such commit row" in result.err
    assert moved.state().snapshot() == before


def test_nothing_is_rebuilt_under_a_run_at_work(moved: Place, interval: Interval) -> None:
    moved.store.pipelines.clear()
    moved.state().acquire(interval, "flights/now", 600)
    result = moved("state", "rebuild", "flights")
    assert result.code == 3
    assert "flights/now works on" in result.err
