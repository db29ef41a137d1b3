"""The variable state store: the kit over a dict, then real Airflow Variables outside of a task and inside of one."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import ConfigError, DataError, TransientError
from airflow_pipeline_provider.state import variable_lease
from airflow_pipeline_provider.state.base import Snapshot
from airflow_pipeline_provider.state.variable import KEPT_RUNS, TRIES, VariableState, VariableStateOptions
from airflow_pipeline_provider.state.variable_access import AirflowVariables
from airflow_pipeline_provider.testing.sample_rows import DAY, ZONE, hours
from airflow_pipeline_provider.testing.state_fixtures import FAR, OpenState, entry
from airflow_pipeline_provider.testing.state_kit import StateConformance
from tests.doubles.memory_variables import DictVariables

STATE_KEY, DAY_KEY = "pipelines.flights.state", "pipelines.flights.2013-11-03"
LEASE_KEY = "pipelines.flights.lease"


def open_over(variables: Any, pipeline_id: str = "flights", zone: str = ZONE) -> VariableState:
    return VariableState(
        VariableStateOptions(type="variable"),
        Identity(pipeline_id, zone),
        variables=variables,
        pause_seconds=0,
    )


class TestVariableState(StateConformance):
    @pytest.fixture
    def open_state(self) -> OpenState:
        variables = DictVariables()
        return lambda pipeline_id, timezone: open_over(variables, pipeline_id, timezone)


@pytest.fixture
def variables() -> DictVariables:
    return DictVariables()


@pytest.fixture
def state(variables: DictVariables) -> VariableState:
    return open_over(variables)


def test_one_variable_a_day_and_one_for_the_pipeline(state: VariableState, variables: DictVariables) -> None:
    state.append(entry(Kind.REPLACING, hours(0, 2), 7, run="dag/run", rows=3))
    state.append(entry(Kind.ATTEMPT, hours(24, 25)))
    state.append(entry(Kind.ATTEMPT, hours(25, 26)))
    assert sorted(variables.values) == [DAY_KEY, "pipelines.flights.2013-11-04", LEASE_KEY, STATE_KEY]
    day = json.loads(variables.values[DAY_KEY])
    assert [one["interval"] for one in day["entries"]] == [
        ["2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z"],
        ["2013-11-04T04:00:00Z", "2013-11-04T05:00:00Z"],
    ]
    assert day["entries"][0].items() >= {"kind": "replacing", "fence": 7, "run": "dag/run", "rows": 3}.items()
    assert json.loads(variables.values[STATE_KEY])["days"] == [["2013-11-03", "2013-11-04"]]
    assert "token" not in "".join(variables.values.values())  # Airflow's pages would hide it


def test_an_interval_over_days_is_found_from_any_of_them(state: VariableState) -> None:
    state.append(entry(Kind.WAIVED, hours(-240, 240)))
    for day in range(-10, 10):
        assert len(state.entries(hours(24 * day + 1, 24 * day + 2))) == 1
    assert state.entries(hours(240, 241)) == []


def test_another_timezone_finds_what_was_written_under_the_old_one(variables: DictVariables) -> None:
    open_over(variables, zone="Pacific/Kiritimati").append(entry(Kind.ATTEMPT, hours(0, 1)))
    assert len(open_over(variables, zone="Pacific/Pago_Pago").entries(hours(0, 1))) == 1


def test_only_the_days_in_question_are_read(state: VariableState) -> None:
    for day in range(60):
        state.append(entry(Kind.ATTEMPT, hours(24 * day, 24 * day + 1)))
    read: list[str] = []
    get = state._variables.get
    state._variables.get = lambda key: read.append(key) or get(key)  # type: ignore[method-assign, func-returns-value]
    assert len(state.entries(hours(24 * 30, 24 * 31))) == 1
    assert len(read) <= 8


def test_the_newest_bindings_are_kept(state: VariableState) -> None:
    for number in range(KEPT_RUNS + 5):
        state.bind_run(f"dag/run-{number}", hours(0, 2))
    assert state.bound("dag/run-4") is None
    assert state.bound("dag/run-5") == hours(0, 2)
    state.bind_run("dag/run-5", hours(2, 4), replace=True)  # and so is the newest again
    state.bind_run("dag/another", hours(0, 2))
    assert state.bound("dag/run-5") == hours(2, 4)
    assert state.bound("dag/run-6") is None


def test_a_clock_that_went_back_keeps_the_order(
    state: VariableState, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2013, 11, 5, tzinfo=timezone.utc)
    for number in range(3):
        monkeypatch.setattr(state, "now", lambda number=number: now - timedelta(hours=number))
        state.append(entry(Kind.ATTEMPT, hours(0, 1), attempt=str(number)))
    assert [one.attempt for one in state.entries()] == ["0", "1", "2"]


# --- what is not ours is left alone


@pytest.mark.parametrize("key", [STATE_KEY, DAY_KEY])
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        pytest.param(lambda _: "", "truncated", id="empty"),
        pytest.param(lambda _: "hello", "malformed", id="text"),
        pytest.param(lambda text: text[:-3], "truncated", id="cut off"),
        pytest.param(lambda _: "[]", "Expected `object`, got `array`", id="a list"),
        pytest.param(lambda _: "{}", "missing required field", id="no keys"),
        pytest.param(
            lambda text: text.replace('"version":1', '"version":2'), "Invalid value 2", id="version"
        ),
        pytest.param(
            lambda text: text.replace('"fence":1', '"fence":"1"'), "got `str`", id="a number as text"
        ),
        pytest.param(lambda text: text.replace("2013-11-03T04", "2013-11-33T04"), "datetime", id="no day"),
        pytest.param(lambda text: text.replace("Z", ""), "aware|timezone", id="no offset"),
    ],
)
def test_a_variable_edited_by_hand_is_said_and_left(
    state: VariableState, variables: DictVariables, key: str, edit: Any, said: str
) -> None:
    state.mint_token()
    state.append(entry(Kind.REPLACING, hours(0, 2), 1))
    state.acquire(hours(0, 2), "one", FAR)
    state.bind_run("dag/run", hours(0, 2))
    variables.values[key] = edit(variables.values[key])
    before = dict(variables.values)
    asks = [lambda: state.append(entry(Kind.COMMITTED, hours(0, 2), 1)), lambda: state.entries(hours(0, 2))]
    if key == STATE_KEY:
        asks += [state.mint_token, lambda: state.bind_run("x", hours(0, 1)), lambda: state.first_day(DAY)]
    for ask in asks:
        with pytest.raises(DataError, match=f"variable '{key}' does not hold.*({said}).*it was not changed"):
            ask()
    assert variables.values == before


def unordered() -> Snapshot:
    """What a store whose clock was set back may hold: three days, the newest entry with the oldest time."""
    moments = [hours(9, 10).start, hours(9, 10).start, hours(8, 9).start, hours(9, 10).start]
    days = [25, 0, -24, 0]
    return Snapshot(
        entries=tuple(
            replace(entry(Kind.ATTEMPT, hours(day, day + 1), attempt=str(number)), at=at)
            for number, (day, at) in enumerate(zip(days, moments, strict=True))
        )
    )


def test_a_restore_keeps_the_order_of_a_store_whose_clock_was_set_back(state: VariableState) -> None:
    state.restore(unordered())
    assert [one.attempt for one in state.entries()] == ["0", "1", "2", "3"]
    assert state.entries()[0] == unordered().entries[0]
    before = state.snapshot()
    state.restore(unordered())
    assert state.snapshot() == before


@pytest.mark.parametrize("writes", range(5))
def test_a_restore_that_was_cut_off_is_done_again(variables: DictVariables, writes: int) -> None:
    left = iter(range(writes))

    class Dies(DictVariables):
        def set(self, key: str, value: str) -> None:
            if key != LEASE_KEY and next(left, None) is None:
                raise KeyboardInterrupt
            super().set(key, value)

    dying = open_over(Dies(variables.values))
    with suppress(KeyboardInterrupt):  # the last time it lives: there are four writes
        dying.restore(unordered())
    assert len(variables.values.keys() - {LEASE_KEY}) == writes
    variables.values.pop(LEASE_KEY, None)  # it ends by itself
    whole = open_over(DictVariables())
    whole.restore(unordered())
    state = open_over(variables)
    state.restore(unordered())
    assert state.snapshot() == whole.snapshot()


class Forgetful(DictVariables):
    """Somebody else writes after each of our writes, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def set(self, key: str, value: str) -> None:
        super().set(key, value)
        if self.times and key == STATE_KEY:
            self.times -= 1
            self.values[key] = value.replace('"fence":1', '"fence":70')


def test_a_change_that_does_not_stick_is_made_again() -> None:
    variables = Forgetful(TRIES - 1)
    assert open_over(variables).mint_token() == 71  # above what the other one wrote
    assert json.loads(variables.values[STATE_KEY])["fence"] == 71


def test_a_change_that_never_sticks_names_both_values() -> None:
    class Shadowed(DictVariables):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

        def set(self, key: str, value: str) -> None:
            """For this key a secrets backend answers instead."""
            if key != self.key:
                super().set(key, value)

    with pytest.raises(TransientError) as caught:
        open_over(Shadowed(STATE_KEY)).mint_token()
    message = str(caught.value)
    assert '"fence":' in message
    assert "read back nothing" in message
    assert "secrets backend shadows it" in message
    with pytest.raises(
        TransientError, match=r"wrote the owner .*, read back None.*secrets backend shadows it"
    ):
        open_over(Shadowed(LEASE_KEY)).mint_token()


def test_a_lease_that_is_shorter_than_the_pause_lasts_long_enough_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = VariableStateOptions(type="variable", lease="1s", verify_after="2s")  # type: ignore[arg-type]
    state = VariableState(options, Identity("flights", ZONE), variables=DictVariables())
    monkeypatch.setattr(variable_lease.time, "sleep", lambda _: None)
    lease = state.acquire(hours(0, 2), "flights/run", options.lease_seconds)
    assert (lease.until - lease.since).total_seconds() == 10
    assert state.bind_run("flights/run", hours(0, 2)) == hours(0, 2)


def test_a_lease_that_ends_before_every_write_says_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    state = open_over(DictVariables())
    clock = iter(range(10_000))
    start = datetime.now(timezone.utc)
    monkeypatch.setattr(state, "now", lambda: start + timedelta(seconds=200 * next(clock)))
    with pytest.raises(TransientError, match=r"lease ended before each of 3 tries.*raise state\.lease"):
        state.mint_token()


@pytest.mark.parametrize("key", [STATE_KEY, DAY_KEY])
def test_a_shadowing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setitem(os.environ, f"AIRFLOW_VAR_{key.upper()}", '{"version": 1}')
    state = VariableState(VariableStateOptions(type="variable"), Identity("flights", ZONE))
    with pytest.raises(ConfigError, match=f"shadowed by the environment variable AIRFLOW_VAR_{key.upper()}"):
        state._variables.get(key)
    with pytest.raises(ConfigError, match="AIRFLOW_VAR_"):
        state._variables.set(key, "{}")


def test_options() -> None:
    assert connector_class("state", "variable") is VariableState
    assert VariableStateOptions(type="variable").lease_seconds == 120
    for bad in ({"prefix": "a b"}, {"prefix": ""}, {"conn_id": "x"}):
        with pytest.raises(ValidationError):
            VariableStateOptions.model_validate({"type": "variable", **bad})


# --- real variables


def real_state(name: str) -> VariableState:
    """Over Airflow's own Variables; one process after another needs no long pause."""
    return VariableState(VariableStateOptions(type="variable"), Identity(name, ZONE), pause_seconds=0.01)


def everything(state: VariableState) -> dict[str, Any]:
    """Each method once; what can be compared."""
    with pytest.raises(ConfigError, match="250"):
        VariableState(state.options, Identity("x" * 250, ZONE)).mint_token()
    token = state.mint_token(floor=4)
    state.append(entry(Kind.REPLACING, hours(0, 2), token))
    state.append(entry(Kind.COMMITTED, hours(0, 2), token, detail={"ü": 'a "b"'}))
    lease = state.acquire(hours(2, 4), "dag/run", FAR)
    assert state.leases() == [lease]
    state.release(hours(2, 4), "dag/run")
    return {
        "token": token,
        "next": state.mint_token(),
        "detail": state.entries()[-1].detail,
        "available": state.latest_timestamp_available(DAY),
        "bound": state.bind_run("dag/run", hours(2, 4)),
        "unbound": state.bound("dag/other"),
        "first_day": state.first_day(date(2013, 11, 1)),
    }


EVERYTHING = {
    "token": 5,
    "next": 6,
    "detail": {"ü": 'a "b"'},
    "available": hours(0, 2).end,
    "bound": hours(2, 4),
    "unbound": None,
    "first_day": date(2013, 11, 1),
}


def test_variables_of_a_plain_process(airflow_db: Path) -> None:
    """As the command line and the api-server see them."""
    assert everything(real_state("plain")) == EVERYTHING
    again = real_state("plain")
    assert again.mint_token() == 7
    assert again.bound("dag/run") == Interval(hours(2, 4).start, hours(2, 4).end)


def test_variables_of_a_task(airflow_db: Path) -> None:
    """As a task sees them, through Airflow's task SDK and API."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG, task

    seen: list[Any] = []
    with DAG("variable_state", schedule=None) as dag:

        @task
        def use_state() -> None:
            from airflow_pipeline_provider.state.variable_access import _supervisor

            seen.append(_supervisor() is not None)
            seen.append(everything(real_state("task")))

        use_state()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull, collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    run = dag.test()
    assert str(run.state) == "success"
    assert seen == [True, EVERYTHING]
    plain = real_state("task")
    assert plain.mint_token() == 7


def test_a_metadata_database_that_does_not_answer_is_no_empty_state(
    airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow answers "not defined" then; believed, the next write would begin the state anew."""
    import sqlalchemy as sa
    from airflow import settings

    state = real_state("down")
    state.mint_token()
    engine = settings.engine

    def refuse(*_: Any) -> None:
        raise sa.exc.OperationalError("SELECT", {}, Exception("the server closed the connection"))

    sa.event.listen(engine, "before_cursor_execute", refuse)
    try:
        with pytest.raises(TransientError, match="server closed the connection"):
            state.mint_token()
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)
    assert state.mint_token() == 2


def test_an_api_that_does_not_answer_is_no_empty_state(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    answers = {"broken": ErrorType.API_SERVER_ERROR, "missing": ErrorType.VARIABLE_NOT_FOUND}

    class Supervisor:
        """What the task's process talks to; its answers are Airflow's own messages."""

        def send(self, message: Any) -> Any:
            return ErrorResponse(error=answers["missing" if "missing" in message.key else "broken"])

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    state = VariableState(VariableStateOptions(type="variable"), Identity("broken", ZONE))
    with pytest.raises(TransientError, match="first it was not defined, then Airflow answered"):
        state.entries()
    missing = VariableState(VariableStateOptions(type="variable"), Identity("missing", ZONE))
    assert missing.entries() == []


def test_a_variable_that_another_task_defines_meanwhile_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

    answers = [ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND), VariableResult(key="new", value="blue")]

    class Supervisor:
        def send(self, message: Any) -> Any:
            return answers.pop(0) if isinstance(message, GetVariable) else None

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    assert AirflowVariables().get("new") == "blue"
    assert answers == []
