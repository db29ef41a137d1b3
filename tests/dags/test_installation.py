"""Two Airflows on one state store make equal run ids; an installation's id keeps their leases apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError, SupersededError, TransientError
from airflow_pipeline_provider.operators import generate as generate_operator
from airflow_pipeline_provider.operators import installation
from airflow_pipeline_provider.operators.installation import VARIABLE, installation_of
from airflow_pipeline_provider.phases.leases import take
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.owners import Owner
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable_access import AirflowVariables
from airflow_pipeline_provider.testing.faults import hooked
from tests.doubles.memory_variables import DictVariables

from .conftest import Folder
from .test_generated_dag import states, xcom

SETTING = "AIRFLOW__PIPELINES__INSTALLATION"


def config(state: dict[str, Any]) -> PipelineConfig:
    return parse_pipeline(
        {
            "pipeline_id": "flights",
            "granularity": "1h",
            "source": {
                "type": "sql",
                "conn_id": "c",
                "table": "t",
                "time_column": "at",
                "key_columns": ["id"],
            },
            "stage": {"type": "object_store", "path": "/data/stage"},
            "target": {"type": "duckdb", "path": "/data/lake.duckdb", "table": "main.flights"},
            "state": state,
        },
        options_model=options_model,
    )


SHARED = {"type": "sql", "conn_id": "state_db"}


def test_each_metadata_database_gets_an_id_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PAUSE_SECONDS", 0)
    blue, green = DictVariables(), DictVariables()
    ids = [installation_of(config(SHARED), variables) for variables in (blue, green, blue, green)]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert blue.values == {VARIABLE: ids[0]}


def test_two_tasks_that_write_the_first_id_at_once_use_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = DictVariables()
    monkeypatch.setattr(installation.time, "sleep", lambda _: variables.set(VARIABLE, "of-the-other"))
    assert installation_of(config(SHARED), variables) == "of-the-other"


@pytest.mark.parametrize(
    "point",
    [
        "generate.leased",
        "validate.judged",
        "extract.opened",
        "stage.verified",
        "load.recorded",
        "audit.counted",
    ],
)
def test_a_run_keeps_its_lease_when_a_stalled_task_overwrites_the_first_id(
    folder: Folder, run_dag: Callable[..., Any], point: str
) -> None:
    """Another first task of this Airflow read "not defined" before this run's, and writes at `point`."""
    AirflowVariables().set(VARIABLE, first := f"first-{uuid4().hex[:8]}")
    folder.write(backlog="wait")
    state = SqlState.from_url(
        f"sqlite:///{folder.path}/state.db", Identity(folder.pipeline_id, "America/New_York")
    )
    holders: list[str] = []

    def overwrite(reached: str) -> None:
        if reached == point:
            AirflowVariables().set(VARIABLE, f"late-{uuid4().hex[:8]}")
        if reached in ("generate.bound", "audit.committed"):
            holders.extend(str(lease.installation) for lease in state.leases())

    with hooked(overwrite):
        run = run_dag(folder.dag())
    assert set(states(run).values()) == {"success"}
    assert holders == [first, first]
    assert AirflowVariables().get(VARIABLE) != first, "nothing overwrote the id"
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
    assert state.leases() == []


def test_a_claim_of_an_earlier_version_uses_the_id_of_the_variable(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_operator, "msgspec", SimpleNamespace(to_builtins=without_installation))
    folder.write(backlog="wait")
    run = run_dag(folder.dag())
    assert "installation" not in xcom(run, "generate_window", "window")
    assert set(states(run).values()) == {"success"}


def without_installation(claim: Any) -> Any:
    value = msgspec.to_builtins(claim)
    assert value.pop("installation")
    return value


def test_the_pause_after_the_first_id_grows_where_airflow_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task may need as long from its read to its write, and would overwrite an id that is in use."""
    now, pauses = [0.0], []

    class SlowVariables(DictVariables):
        def set(self, key: str, value: str) -> None:
            now[0] += 4
            super().set(key, value)

    monkeypatch.setattr(installation.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(installation.time, "sleep", pauses.append)
    installation_of(config(SHARED), SlowVariables())
    installation_of(config(SHARED), DictVariables())
    assert pauses == [12, installation.PAUSE_SECONDS]


def test_the_configured_name_goes_before_and_writes_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, " blue ")
    variables = DictVariables()
    assert installation_of(config(SHARED), variables) == "blue"
    assert variables.values == {}


def test_a_state_of_one_airflow_needs_no_id() -> None:
    variables = DictVariables()
    assert installation_of(config({"type": "variable"}), variables) is None
    assert variables.values == {}


@pytest.mark.parametrize("text", ["two words", "x" * 65, "a\nb", "é"])
def test_a_name_that_no_message_could_show_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"Airflow Variable 'pipelines.installation'.*64 letters.*delete it"
    ):
        installation_of(config(SHARED), DictVariables({VARIABLE: text}))
    monkeypatch.setenv(SETTING, text)
    with pytest.raises(
        ConfigError, match=r"\[pipelines\] installation of Airflow's configuration.*correct it"
    ):
        installation_of(config(SHARED), DictVariables())


def test_a_retried_task_takes_its_runs_lease_over_at_once(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease names installation and try number; the process of the earlier try can no longer use it."""
    monkeypatch.setenv(SETTING, "blue")
    folder.write(
        backlog="wait", airflow="{retries: 1}", state="{type: sql, conn_id: pipeline_state, lease: 1h}"
    )
    dag = folder.dag()
    task = dag.get_task("extract")
    task.retry_delay = timedelta(0)
    state = SqlState.from_url(
        f"sqlite:///{folder.path}/state.db", Identity(folder.pipeline_id, "America/New_York")
    )
    seen: list[Lease] = []
    stale: list[str] = []

    def hook(point: str) -> None:
        if point != "extract.read":
            return
        seen.extend(state.leases())
        if len(seen) == 1:
            raise TransientError("the network failed")
        earlier, lease = seen
        [execution] = [e for e in earlier.executions if e.task == "extract -1"]
        with pytest.raises(SupersededError, match=r"try 2\) took over the run's lease: this one \(try 1"):
            state.acquire(lease.interval, Owner(lease.owner, "blue", execution, renews=True), 60)
        context: Any = {
            "ti": SimpleNamespace(task_id="extract", map_index=-1, try_number=1, max_tries=1),
            "dag_run": SimpleNamespace(dag_id=folder.pipeline_id, run_id=lease.owner.partition("/")[2]),
        }
        with (
            pytest.raises(AirflowSkipException, match=r"superseded: .*is stale") as skipped,
            task.runtime(context) as runtime,
        ):
            take(runtime, lease.owner, lease.interval)
        stale.append(str(skipped.value))

    with hooked(hook):
        run = run_dag(dag)
    assert str(run.state) == "success"
    assert len(stale) == 1
    assert [lease.holder for lease in seen] == [f"{folder.pipeline_id}/{run.run_id} (installation blue)"] * 2
    tries = [{(e.task, e.try_number) for e in lease.executions} for lease in seen]
    before = {("generate_window -1", 1), ("validate -1", 1)}
    assert tries == [before | {("extract -1", 1)}, before | {("extract -1", 2)}]
    assert seen[0].since == seen[1].since
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
    assert state.leases() == []
