"""`DayCompleteSensor` over the ledger of a real pipeline, in a worker and deferred to a trigger."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from datetime import date, datetime, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from msgspec.structs import replace

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class, options_model
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import DATA_ERROR, Entry, Kind
from airflow_pipeline_provider.sensors import DayCompleteSensor
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.triggers import DayCompleteTrigger
from airflow_pipeline_provider.triggers.day_complete import DayQuestion

from .conftest import Folder
from .test_generated_dag import states, xcom

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
MORNING = Interval(DAY.start, parse_utc("2013-11-03T17:00:00Z"))
EVENING = Interval(MORNING.end, DAY.end)


def state_of(folder: Folder) -> State:
    """Open the state store of the pipeline's file."""
    config = load_pipeline(
        folder.path / "dags" / "pipelines" / f"{folder.pipeline_id}.yaml", options_model=options_model
    )
    identity = Identity(folder.pipeline_id, config.timezone)
    state: State = connector_class("state", config.state.type)(config.state, identity)
    return state


def write(folder: Folder, *lines: tuple[Any, ...]) -> None:
    """Append entries by kind, interval and verdict of a check; a commit gets its token and its `replacing`."""
    state = state_of(folder)
    for kind, interval, *verdict in lines:
        detail: dict[str, Any] = {"error": DATA_ERROR} if kind is Kind.FAILED else {}
        if verdict:
            detail = {"source": 1, "target": 2, "verdict": verdict[0]}
        entry = Entry(kind, interval, DAY.end, detail=detail)
        if kind is Kind.COMMITTED:
            entry = Entry(kind, interval, DAY.end, token=state.mint_token(), rows=10)
            state.append(Entry(Kind.REPLACING, interval, DAY.end, token=entry.token))
        state.append(entry)
    state.close()


def sensor(folder: Folder, **arguments: Any) -> DayCompleteSensor:
    changes = {"state": arguments.pop("state")} if "state" in arguments else {}
    changes |= arguments.pop("changes", {})
    schedule = arguments.pop("schedule", None)
    values = {
        "pipeline": str(folder.write(**changes)),
        "day": "2013-11-03",
        "poke_interval": 0.05,
        **arguments,
    }
    with DAG(f"{folder.pipeline_id}_waits", schedule=schedule, start_date=datetime(2013, 1, 1)):
        return DayCompleteSensor(task_id="day", **values)


ANSWER = {"day": "2013-11-03", "status": "complete", "rows": 20, "reason": "every instant is committed"}
BOTH = ((Kind.COMMITTED, MORNING), (Kind.COMMITTED, EVENING))
BLOCKED = ((Kind.COMMITTED, MORNING), *[(Kind.FAILED, EVENING)] * 5)
SHRUNK = (*BOTH, (Kind.CHECKED, EVENING, "shrank"))
GREW = (*BOTH, (Kind.CHECKED, EVENING, "grew"))
GIVEN_UP = ((Kind.COMMITTED, MORNING), (Kind.WAIVED, EVENING))


@pytest.mark.parametrize(
    ("lines", "arguments", "expected"),
    [
        ((), {}, None),
        (BOTH[:1], {}, None),
        (BOTH, {}, "complete"),
        (BOTH, {"day": date(2013, 11, 3)}, "complete"),
        (BOTH[:1], {"day": "2013-11-03", "changes": {"end_day": "null"}}, None),
        (BOTH, {"day": "2013-11-04"}, "day 2013-11-04 of pipeline .* is after end_day 2013-11-03, so no run"),
        (BOTH, {"day": "2013-11-02"}, "day 2013-11-02 of pipeline .* is before start_day 2013-11-03"),
        (SHRUNK, {}, "is drifted and will not .*drifted .shrunk.: .*set fail_on_blocked to False"),
        (SHRUNK, {"fail_on_blocked": False}, None),
        (GREW, {}, None),
        (BLOCKED, {"fail_on_blocked": False}, None),
        (GIVEN_UP, {"accept_waived": True}, "waived"),
        (BLOCKED, {}, "is blocked and will not become complete by itself: .*set fail_on_blocked to False"),
        (GIVEN_UP, {}, "is waived and will not become complete by itself: .*set accept_waived"),
        (BOTH, {"day": "yesterday"}, "day: expected a calendar day such as 2013-11-03, got 'yesterday'"),
        (BOTH, {"day": None}, "this run has no data interval to derive it from"),
    ],
    ids=[
        "no ledger yet",
        "half a day",
        "complete",
        "a date as a date",
        "half a day, without an end day",
        "after the end day",
        "before the start day",
        "shrunk",
        "shrunk, configured to wait",
        "grown",
        "blocked, configured to wait",
        "waived, configured to accept it",
        "blocked",
        "given up",
        "no date",
        "no data interval",
    ],
)
def test_the_status_of_the_day_decides_success_failure_or_waiting(
    folder: Folder, lines: Any, arguments: dict[str, Any], expected: str | None
) -> None:
    task = sensor(folder, **arguments)
    write(folder, *lines)
    if expected is not None and " " in expected:
        with pytest.raises(AirflowFailException, match=expected):
            task.poke({})  # type: ignore[typeddict-item]
        return
    seen = task.poke({})  # type: ignore[typeddict-item]
    assert (seen.xcom_value or {}).get("status") == expected
    assert bool(seen) is (expected is not None)


@pytest.mark.parametrize(
    ("end", "day"),
    [
        pytest.param("2013-11-04T05:00:00Z", "2013-11-03", id="the midnight that ends it"),
        pytest.param("2013-11-04T04:59:00Z", "2013-11-02", id="a minute before, the 4th in UTC"),
        pytest.param("2013-11-04T11:00:00Z", "2013-11-03", id="six in the morning of the next day"),
        pytest.param("2013-11-05T00:00:00Z", "2013-11-03", id="midnight in UTC"),
    ],
)
@pytest.mark.parametrize("key", ["data_interval_end", "run_after"])
@pytest.mark.parametrize("unnamed", [None, "", "None"])
def test_the_default_day_is_the_one_that_has_just_ended(
    folder: Folder, end: str, day: str, key: str, unnamed: str | None
) -> None:
    moment = parse_utc(end)
    run = SimpleNamespace(run_after=moment if key == "run_after" else None)
    context: Any = {"dag_run": run} if key == "run_after" else {"data_interval_end": moment, "dag_run": run}
    task = sensor(folder, day=unnamed)
    assert task._day(context, "America/New_York").isoformat() == day


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"logical_date": "2013-11-04T11:00:00Z"}, id="scheduled by a cron string"),
        pytest.param({"logical_date": None, "run_after": "2013-11-04T11:00:00Z"}, id="by hand"),
    ],
)
@pytest.mark.parametrize("deferrable", [False, True], ids=["in a worker", "deferred"])
def test_a_cron_dag_waits_for_the_day_that_has_just_ended(
    folder: Folder, run_dag: Callable[..., Any], arguments: dict[str, Any], deferrable: bool
) -> None:
    task = sensor(folder, deferrable=deferrable, day=None, schedule="0 6 * * *")
    write(folder, *BOTH)
    moments = {name: value and parse_utc(value) for name, value in arguments.items()}
    run = run_dag(task.dag, **moments)
    assert states(run) == {"day": "success"}
    assert xcom(run, "day") == {"pipeline": folder.pipeline_id, **ANSWER}


@pytest.mark.parametrize("deferrable", [False, True], ids=["in a worker", "deferred"])
def test_a_day_after_the_end_day_fails_immediately(
    folder: Folder, run_dag: Callable[..., Any], deferrable: bool
) -> None:
    task = sensor(folder, deferrable=deferrable, day="2013-11-04", retries=3)
    run = run_dag(task.dag)
    assert states(run) == {"day": "failed"}
    assert [ti.try_number for ti in run.get_task_instances()] == [1]


RENAMES: dict[str, tuple[dict[str, str], str]] = {
    "renamed": ({"renamed_to": "trips"}, "was renamed to 'trips', which .*file of the new id"),
    "cut off": ({"renaming_from": "trips"}, "rename of pipeline 'trips' to .* was cut off.*Finish it"),
}


@pytest.mark.parametrize("case", RENAMES)
def test_a_renamed_pipeline_is_not_waited_for(folder: Folder, case: str) -> None:
    marks, sentence = RENAMES[case]
    task = sensor(folder)
    write(folder, *BOTH)
    state = state_of(folder)
    state.change_about(lambda about: replace(about, **marks))
    state.close()
    with pytest.raises(AirflowFailException, match=sentence):
        task.poke({})  # type: ignore[typeddict-item]
    assert re.search(sentence, asyncio.run(first_event(trigger_of(folder)))["error"])


def test_a_running_rename_is_waited_for(folder: Folder) -> None:
    """Its ledger is not complete yet, and the target's rows do not have the new id."""
    task = sensor(folder)
    write(folder, *BOTH)
    state = state_of(folder)
    state.change_about(lambda about: replace(about, renaming_from="trips"))
    state.acquire(DAY, "rename trips flights", 60)
    assert task.poke({}).xcom_value is None  # type: ignore[typeddict-item]
    state.release(DAY, "rename trips flights")
    state.change_about(lambda about: replace(about, renaming_from=None))
    state.close()
    assert task.poke({}).is_done  # type: ignore[typeddict-item]


STORES = {"sql": "{type: sql, conn_id: pipeline_state}", "variable": "{type: variable}"}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("deferrable", [False, True], ids=["in a worker", "deferred"])
def test_a_task_waits_and_returns_the_result(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, deferrable: bool, store: str
) -> None:
    task = sensor(folder, deferrable=deferrable, day="{{ dag_run.conf['day'] }}", state=STORES[store])
    looks = []
    ask = DayQuestion.ask

    def commit_between_two_looks(question: DayQuestion) -> Any:
        answer = ask(question)
        looks.append(threading.current_thread() is threading.main_thread())
        if len(looks) <= len(BOTH):
            write(folder, BOTH[len(looks) - 1])
        return answer

    monkeypatch.setattr(DayQuestion, "ask", commit_between_two_looks)
    run = run_dag(task.dag, run_conf={"day": "2013-11-03"})
    assert states(run) == {"day": "success"}
    assert xcom(run, "day") == {"pipeline": folder.pipeline_id, **ANSWER}
    assert looks == [True, not deferrable, not deferrable]


async def first_event(trigger: DayCompleteTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("the trigger ended without an event")


def trigger_of(folder: Folder, **state: Any) -> DayCompleteTrigger:
    """Build the trigger from its path and its serialized arguments, like a triggerer."""
    from airflow.sdk.module_loading import import_string
    from airflow.serialization.serialized_objects import BaseSerialization

    config = load_pipeline(folder.write(**state), options_model=options_model)
    question = DayQuestion.for_day(config, date(2013, 11, 3), accept_waived=False, fail_on_blocked=True)
    path, arguments = DayCompleteTrigger(msgspec.to_builtins(question), 0.05).serialize()
    stored = BaseSerialization.deserialize(BaseSerialization.serialize(arguments))
    trigger = import_string(path)(**stored)
    assert isinstance(trigger, DayCompleteTrigger)
    return trigger


def test_the_trigger_fires_once_the_last_window_is_committed(folder: Folder) -> None:
    trigger = trigger_of(folder)
    write(folder, BOTH[0])

    async def story() -> tuple[bool, dict[str, Any]]:
        waiting = asyncio.create_task(first_event(trigger))
        await asyncio.sleep(0.3)
        early = waiting.done()
        await asyncio.to_thread(write, folder, BOTH[1])
        return early, await asyncio.wait_for(waiting, 30)

    assert asyncio.run(story()) == (False, {"answer": {"pipeline": folder.pipeline_id, **ANSWER}})


@pytest.mark.parametrize(
    ("state", "lines", "message"),
    [
        ({}, BLOCKED, "is blocked"),
        ({"state": "{type: sql, conn_id: nowhere}"}, (), "connection 'nowhere' is not defined"),
    ],
    ids=["a blocked day", "a state that cannot be reached for good"],
)
def test_the_trigger_ends_if_the_day_cannot_become_complete(
    folder: Folder, airflow_db: Any, state: dict[str, Any], lines: Any, message: str
) -> None:
    sensor(folder)
    write(folder, *lines)
    trigger = trigger_of(folder, **state)
    event = asyncio.run(first_event(trigger))
    assert message in event["error"]
    with pytest.raises(AirflowFailException, match=message):
        sensor(folder).execute_complete({}, event=event)  # type: ignore[arg-type]


def test_an_unavailable_state_is_read_again(folder: Folder) -> None:
    """A locked database counts as not complete, and the triggerer's loop continues while a thread waits for it."""
    import sqlite3

    trigger = trigger_of(folder)
    write(folder, *BOTH)
    held = sqlite3.connect(folder.path / "state.db", isolation_level=None)
    held.execute("PRAGMA locking_mode = EXCLUSIVE")
    held.execute("BEGIN EXCLUSIVE")

    async def story() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(trigger))
        begun = datetime.now(timezone.utc)
        await asyncio.sleep(0.2)
        assert (datetime.now(timezone.utc) - begun).total_seconds() < 5
        assert not waiting.done()
        held.execute("COMMIT")
        held.close()
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(story())["answer"]["status"] == "complete"
