"""A source, target or pipeline that is another one is refused before anything is written; and the ways out of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.core.ledger import Kind, committed, unverified
from airflow_pipeline_provider.exceptions import ConfigError, DataError, TransientError
from airflow_pipeline_provider.fault_points import ACTION_POINTS
from airflow_pipeline_provider.phases.adopt import adopt, begin_all, committed_windows
from airflow_pipeline_provider.phases.doctor import examine
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.rename import ALL_TIME, rename
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime, utc_now
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.state.about import NOTHING, About, DayEvent, Task
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_state import MemoryState
from tests.doubles.memory_variables import DictVariables

from .conftest import Pipeline

ONE_DAY = {"granularity": "1d"}


@pytest.fixture
def moved(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose only window is committed."""
    for n in range(8):
        pipeline.rows.put(f"r{n}", f"2013-11-03T{n + 6:02}:00:00Z")
    assert pipeline.move(pipeline.runtime(**ONE_DAY)).audited is not None
    return pipeline


def target(pipeline: Pipeline, table: str = "main.flights", file: str = "lake") -> dict[str, Any]:
    return {"type": "duckdb", "path": str(pipeline.folder / f"{file}.duckdb"), "table": table}


def changed(pipeline: Pipeline, what: str) -> Runtime:
    MemorySource.tables["others"] = MemorySource.tables["rows"]
    changes: dict[str, dict[str, Any]] = {
        "source.table": {"source": {"table": "others"}},
        "target.table": {"target": target(pipeline, "main.trips")},
        "target.path": {"target": target(pipeline, file="other")},
    }
    return pipeline.runtime(**ONE_DAY, **changes[what])


def count(pipeline: Pipeline, sql: str) -> int:
    import duckdb

    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        return int(connection.execute(sql).fetchall()[0][0])


def everything(pipeline: Pipeline) -> tuple[Any, ...]:
    store = pipeline.store.pipelines
    return {
        name: (list(one.entries), one.about, one.token) for name, one in store.items()
    }, pipeline.target_rows()


@pytest.mark.parametrize("kind", [RunKind.LIVE, RunKind.WINDOW, RunKind.BACKFILL])
@pytest.mark.parametrize("what", ["source.table", "target.table", "target.path"])
def test_a_changed_source_or_target_is_refused_before_anything_is_written(
    moved: Pipeline, what: str, kind: RunKind
) -> None:
    before = everything(moved)
    named = {} if kind is RunKind.LIVE else {"interval": moved.entries()[-1].interval}
    with pytest.raises(
        ConfigError, match=rf"{what} was .* and is .*adopt flights --reason .*reprocess flights --all --here"
    ):
        moved.move(changed(moved, what), kind=kind, **named)
    assert everything(moved) == before
    assert not (moved.folder / "other.duckdb").exists()


def test_a_file_that_changes_between_generate_and_load_is_refused_there(moved: Pipeline) -> None:
    runtime = moved.runtime(**ONE_DAY)
    window = moved.entries()[-1].interval
    claim = generate(runtime, moved.request(kind=RunKind.WINDOW, interval=window)).claim
    assert claim is not None
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    receipts = [extract(runtime, claim, validated.attempt, one) for one in validated.slices]
    staged = stage(runtime, claim, validated.attempt, receipts)
    with pytest.raises(ConfigError, match=r"source\.table was"):
        load(changed(moved, "source.table"), claim, staged)
    assert [e.kind for e in moved.entries()][-1] is Kind.FAILED
    assert len(moved.target_rows()) == 8


def test_a_state_of_an_older_version_records_source_and_target_silently(moved: Pipeline) -> None:
    state = moved.runtime().state
    state.change_about(lambda _: NOTHING)
    interval = moved.entries()[-1].interval
    assert moved.move(moved.runtime(**ONE_DAY), kind=RunKind.WINDOW, interval=interval).audited is not None
    about = state.about()
    assert about.source is not None
    assert about.target is not None
    assert (about.source["table"], about.target["table"], about.acts) == ("rows", "main.flights", ())


def test_a_copied_file_is_refused_by_what_the_table_knows(moved: Pipeline) -> None:
    with pytest.raises(
        ConfigError, match=r"'flights' loads the same source .*state rename flights flights_v2"
    ):
        moved.move(moved.runtime(**ONE_DAY, pipeline_id="flights_v2"))
    assert len(moved.target_rows()) == 8


@pytest.mark.parametrize(
    "other",
    [{"source": {"table": "others"}}, {"start_day": "2013-11-04", "end_day": "2013-11-04"}],
    ids=["another source", "other days"],
)
def test_two_pipelines_may_share_a_table(moved: Pipeline, other: dict[str, Any]) -> None:
    MemorySource.table("others").put("x", "2013-11-03T10:00:00Z")
    assert moved.move(moved.runtime(**ONE_DAY, pipeline_id="others", **other)).audited is not None


def test_twins_that_begin_at_once_are_seen_by_the_second_load(moved: Pipeline) -> None:
    """The first one registers between the other's generate and its load."""
    import duckdb

    with duckdb.connect(str(moved.folder / "lake.duckdb")) as connection:
        [(registered,)] = connection.execute("SELECT PIPELINES FROM main.flights_FENCE").fetchall()
        connection.execute("UPDATE main.flights_FENCE SET PIPELINES = NULL")
    runtime = moved.runtime(**ONE_DAY, pipeline_id="twin")

    def register() -> None:
        with duckdb.connect(str(moved.folder / "lake.duckdb")) as connection:
            connection.execute("UPDATE main.flights_FENCE SET PIPELINES = ?", [registered])

    moved.rows.on_page = register
    with pytest.raises(ConfigError, match="'flights' loads the same source"):
        moved.move(runtime)
    assert len(moved.target_rows()) == 8


# --- adopt


def test_adopt_takes_a_table_that_was_renamed_with_its_commits(moved: Pipeline) -> None:
    import duckdb

    with duckdb.connect(str(moved.folder / "lake.duckdb")) as connection:
        connection.execute("DROP VIEW main.flights_LATEST")
        for suffix in ("", "_COMMITS", "_FENCE"):
            connection.execute(f"ALTER TABLE main.flights{suffix} RENAME TO trips{suffix}")
    runtime = changed(moved, "target.table")
    done = adopt(runtime, "renamed in the warehouse", "ann")
    assert done.windows == 1
    assert moved.move(runtime).reason == "after_end_day"
    [act] = runtime.state.about().acts
    assert (act.what, act.by, act.why) == ("adopt", "ann", "renamed in the warehouse")
    assert adopt(runtime, "again", "ann").found == []


@pytest.mark.parametrize("what", ["target.table", "target.path"])
def test_adopt_refuses_a_target_that_lacks_committed_windows(moved: Pipeline, what: str) -> None:
    before = everything(moved)
    with pytest.raises(DataError, match=r"lacks 1 of 1 committed window.*reprocess flights --all"):
        adopt(changed(moved, what), "sure", "ann")
    assert everything(moved) == before


def test_adopt_takes_another_source_and_twins(moved: Pipeline) -> None:
    assert adopt(changed(moved, "source.table"), "the index was renamed", "ann").windows is None
    assert moved.move(changed(moved, "source.table")).reason == "after_end_day"
    twin = moved.runtime(**ONE_DAY, pipeline_id="twin", source={"table": "others"})
    assert adopt(twin, "both are wanted", "ann").twins == ["flights"]
    assert moved.move(twin).audited is not None


def test_adopt_waits_for_runs(moved: Pipeline) -> None:
    runtime = changed(moved, "source.table")
    runtime.state.acquire(moved.entries()[-1].interval, "flights/run", 60)
    with pytest.raises(TransientError, match="stop the pipeline 'flights'"):
        adopt(runtime, "sure", "ann")


# --- reprocess --all


@pytest.mark.parametrize("point", ["reprocess.marked", None])
def test_all_committed_windows_move_into_a_new_target(moved: Pipeline, point: str | None) -> None:
    runtime = changed(moved, "target.path")
    if point is not None:
        with failing_at(point), pytest.raises(Crash):
            begin_all(runtime, "ann")
        with pytest.raises(ConfigError, match=r"target\.path was"):
            moved.move(runtime)
    begin_all(runtime, "ann")
    assert unverified(moved.entries()) == committed(moved.entries())  # nothing is complete until it is moved
    [window] = committed_windows(runtime)
    assert moved.move(runtime, kind=RunKind.WINDOW, interval=window).audited is not None
    assert unverified(moved.entries()) == []
    assert runtime.target.count(window) == (8, 8)
    assert runtime.state.about().acts[-1].what == "reprocess --all"


def test_what_was_cut_off_goes_on_where_it_was(pipeline: Pipeline) -> None:
    pipeline.rows.put("r", "2013-11-03T06:00:00Z")
    pipeline.move_all(pipeline.runtime(granularity="12h"))
    runtime = pipeline.runtime(granularity="12h", target=target(pipeline, file="other"))
    first, *rest = committed_windows(runtime)
    begin_all(runtime, "ann")
    pipeline.move(runtime, kind=RunKind.WINDOW, interval=first)
    assert committed_windows(runtime) == rest
    for window in rest:
        pipeline.move(runtime, kind=RunKind.WINDOW, interval=window)
    assert committed_windows(runtime) == [first, *rest]  # all of them once more, when asked for


# --- rename


def renamed(pipeline: Pipeline) -> Runtime:
    return pipeline.runtime(**ONE_DAY, pipeline_id="trips")


def old_state(pipeline: Pipeline, name: str = "flights") -> MemoryState:
    return MemoryState(None, Identity(name, "America/New_York"), store=pipeline.store)


RENAME_POINTS = sorted(point for point in ACTION_POINTS if point.startswith("rename."))


@pytest.mark.parametrize("point", [None, *RENAME_POINTS])
def test_a_rename_that_is_cut_off_anywhere_is_finished_by_the_next(
    moved: Pipeline, point: str | None
) -> None:
    entries, rows = list(moved.entries()), moved.target_rows()
    if point is not None:
        with failing_at(point), pytest.raises(Crash):
            rename(renamed(moved), old_state(moved), "ann")
        for state in (old_state(moved), old_state(moved, "trips")):
            state.release(ALL_TIME, "rename flights trips")  # as when they have expired
        stopped = [renamed(moved), *([] if point == "rename.begun" else [moved.runtime(**ONE_DAY)])]
        for runtime in stopped:
            with pytest.raises(ConfigError, match="state rename"):
                moved.move(runtime)
        assert moved.target_rows() == rows
    rename(renamed(moved), old_state(moved), "ann")
    again = rename(renamed(moved), old_state(moved), "ann")
    assert (again.rows, moved.target_rows()) == (0, rows)
    assert count(moved, "SELECT count(*) FROM main.flights WHERE PIPELINE_ID = 'trips'") == 8
    assert count(moved, "SELECT count(*) FROM main.flights_COMMITS WHERE PIPELINE_ID = 'trips'") == 1
    state = renamed(moved).state
    assert state.entries()[: len(entries)] == entries
    assert [(act.what, act.by, act.detail) for act in state.about().acts] == [
        ("rename", "ann", {"from": "flights"})
    ]
    assert moved.move(renamed(moved)).reason == "after_end_day"
    examined = examine(renamed(moved), moved.now, 7, "trips")
    assert [one.kind for one in examined.findings if not one.harmless] == []
    assert examined.healthy
    with pytest.raises(ConfigError, match=r"was renamed to 'trips'.*state rename trips flights"):
        moved.move(moved.runtime(**ONE_DAY))


def test_a_rename_keeps_the_day_events_that_were_not_sent(moved: Pipeline) -> None:
    for token in (1, 2):
        event = DayEvent(date(2013, 11, 3), token, Task("flights/a", "audit"), False)
        old_state(moved).change_about(lambda about, event=event: about.with_day_event(event.day, event))
        rename(renamed(moved), old_state(moved), "ann")
        assert renamed(moved).state.about().day_events == (event,)
        rename(moved.runtime(**ONE_DAY), old_state(moved, "trips"), "ann")


def test_a_rename_may_be_taken_back(moved: Pipeline) -> None:
    rename(renamed(moved), old_state(moved), "ann")
    assert moved.move(renamed(moved), kind=RunKind.WINDOW, interval=moved.entries()[-1].interval).audited
    assert rename(moved.runtime(**ONE_DAY), old_state(moved, "trips"), "ann").rows == 8
    assert moved.move(moved.runtime(**ONE_DAY)).reason == "after_end_day"
    assert len(moved.target_rows()) == 8


Breaks = Callable[[Pipeline], None]


def another_history(pipeline: Pipeline) -> None:
    pipeline.rows.put("x", "2013-11-04T12:00:00Z")
    days = {"start_day": "2013-11-04", "end_day": "2013-11-04"}
    assert pipeline.move(pipeline.runtime(**ONE_DAY, **days, pipeline_id="trips")).audited


def a_run_at_work(pipeline: Pipeline) -> None:
    old_state(pipeline).acquire(pipeline.entries()[-1].interval, "flights/run", 60)


@pytest.mark.parametrize(
    ("breaks", "options", "error", "sentence"),
    [
        (another_history, {}, ConfigError, "history of its own"),
        (a_run_at_work, {}, TransientError, "stop the pipeline 'flights'"),
        (lambda _: None, {"source": {"table": "others"}}, ConfigError, r"source\.table was .*Rename first"),
        (lambda p: p.store.pipelines.clear(), {}, ConfigError, "knows no pipeline 'flights'"),
    ],
)
def test_a_rename_that_cannot_be(
    moved: Pipeline, breaks: Breaks, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    breaks(moved)
    before = moved.target_rows()
    with pytest.raises(error, match=sentence):
        rename(moved.runtime(**ONE_DAY, pipeline_id="trips", **options), old_state(moved), "ann")
    assert moved.target_rows() == before
    assert old_state(moved).about().renamed_to is None


# --- the stores that people use


@pytest.fixture(params=["sql", "variable"])
def open_state(request: pytest.FixtureRequest, pipeline: Pipeline) -> Callable[[str], State]:
    values: dict[str, str] = {}

    def make(name: str) -> State:
        identity = Identity(name, "America/New_York")
        if request.param == "sql":
            return SqlState.from_url(f"sqlite:///{pipeline.folder / 'state.db'}", identity)
        options = VariableStateOptions(type="variable")
        return VariableState(options, identity, variables=DictVariables(values), pause_seconds=0.01)

    return make


@pytest.mark.parametrize("point", ["rename.begun", "rename.state_copied", "rename.target_committed"])
def test_each_store_survives_a_rename_that_is_cut_off(
    pipeline: Pipeline, open_state: Callable[[str], State], point: str
) -> None:
    for n in range(4):
        pipeline.rows.put(f"r{n}", f"2013-11-03T{n + 6:02}:00:00Z")

    def runtime(name: str, **changes: Any) -> Runtime:
        made = pipeline.runtime(granularity="12h", pipeline_id=name, **changes)
        return replace(made, state=open_state(name), clock=utc_now)

    at = {"reference_time": parse_utc("2013-11-06T12:00:00Z")}
    assert run_window(runtime("flights"), pipeline.request("flights/a", **at)).audited is not None
    entries = open_state("flights").entries()
    with failing_at(point), pytest.raises(Crash):
        rename(runtime("trips"), open_state("flights"), "ann")
    for _ in range(2):
        rename(runtime("trips"), open_state("flights"), "ann")
    assert open_state("trips").entries() == entries
    assert [act.what for act in open_state("trips").about().acts] == ["rename"]
    with pytest.raises(ConfigError, match="state rename trips flights"):
        run_window(runtime("flights"), pipeline.request("flights/b", **at))
    outcome = run_window(runtime("trips"), pipeline.request("trips/a", **at))
    assert outcome.claim is not None
    assert outcome.claim.start == entries[0].interval.end
    assert len(pipeline.target_rows()) == 4


# --- one file and one table in other spellings


@pytest.fixture
def shop(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SQLite file with four rows of the day."""
    folder = pipeline.folder / "data"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT)")
        for n in range(4):
            database.execute("INSERT INTO orders VALUES (?, ?)", (n, f"2013-11-03 {n + 6:02}:00:00"))
        database.commit()
    (folder / "current.db").symlink_to("shop.db")
    monkeypatch.chdir(folder)
    return folder


def reads(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    conn: str,
    table: str = "orders",
    **more: Any,
) -> Runtime:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn.upper()}", json.dumps({"conn_type": "sqlite", "host": path}))
    source = {
        "type": "sql", "conn_id": conn, "table": table, "time_column": "at", "time_column_zone": "UTC",
        "key_columns": ["id"], "name": more.pop("name", "orders"),
    }  # fmt: skip
    return pipeline.runtime(**ONE_DAY, source=source, **more)


def as_recorded_before(about: About) -> About:
    """As versions recorded it that knew no `file` and no `dialect`."""
    source, target = (
        {key: value for key, value in (one or {}).items() if key not in ("file", "dialect")}
        for one in (about.source, about.target)
    )
    return structs.replace(about, source=source, target=target)


@pytest.mark.parametrize("before", [as_recorded_before, lambda about: about], ids=["older record", "record"])
@pytest.mark.parametrize("conn", ["shop", "renamed"])
@pytest.mark.parametrize("path", ["{}/../data/shop.db", "shop.db", "./shop.db", "{}/current.db"])
def test_another_spelling_of_a_file_is_no_change(
    pipeline: Pipeline,
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    conn: str,
    before: Callable[[About], About],
) -> None:
    runtime = reads(pipeline, monkeypatch, str(shop / "shop.db"), "shop")
    assert pipeline.move(runtime).audited is not None
    runtime.state.change_about(before)
    spelled = target(pipeline)
    spelled["path"] = str(pipeline.folder / "data" / ".." / "lake.duckdb")
    again = reads(pipeline, monkeypatch, path.format(shop), conn, target=spelled)
    [window] = committed_windows(again)
    assert pipeline.move(again, kind=RunKind.WINDOW, interval=window).audited is not None
    assert len(pipeline.target_rows()) == 4


@pytest.mark.parametrize("name", ["Orders", "main.orders", '"orders"'])
def test_a_table_that_only_case_tells_apart_is_the_same_source(
    pipeline: Pipeline, shop: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """SQLite reads the same rows under both names, and the record ids would differ."""
    assert pipeline.move(reads(pipeline, monkeypatch, "shop.db", "shop")).audited is not None
    twin = reads(
        pipeline, monkeypatch, str(shop / "current.db"), "other", name, name=name, pipeline_id="twin"
    )
    with pytest.raises(ConfigError, match=r"'flights' loads the same source .*mean one table.*adopt twin"):
        pipeline.move(twin)
    assert len(pipeline.target_rows()) == 4
