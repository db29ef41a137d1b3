"""A late day is noticed when it is due, whatever the schedule of the maintenance DAG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.timetables.base import DataInterval, TimeRestriction

from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.factory import timetable as module
from airflow_pipeline_provider.factory.timetable import DeadlineTimetable
from airflow_pipeline_provider.operators import maintenance
from airflow_pipeline_provider.phases.expectations import Checked, Judgement

from .conftest import Folder
from .test_maintenance import states, with_maintenance

NEW_YORK = ("America/New_York", "09:00")
BERLIN = ("Europe/Berlin", "09:00")


def utc(text: str) -> pendulum.DateTime:
    return pendulum.instance(datetime.fromisoformat(text + "+00:00"))


@pytest.fixture
def at_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_clock(text: str) -> None:
        monkeypatch.setattr(module.pendulum, "now", lambda _: utc(text))

    return set_clock


def next_run(table: Any, last: DataInterval | None = None) -> Any:
    restriction = TimeRestriction(utc("1970-01-02T00:00"), None, catchup=False)
    return table.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)


def runs(table: Any) -> Any:
    """Yield the times of the runs, as a scheduler that is never late makes them."""
    last = None
    while True:
        info = next_run(table, last)
        last = info.data_interval
        yield info.run_after.isoformat()


@pytest.mark.parametrize(
    ("deadlines", "clock", "expected"),
    [
        pytest.param(
            [NEW_YORK],
            "2013-11-02T12:00",
            ["2013-11-01T13:00", "2013-11-02T13:00", "2013-11-03T14:00", "2013-11-04T14:00"],
            id="09:00 on the clock, also after it was set back",
        ),
        pytest.param(
            [NEW_YORK],
            "2013-03-09T15:00",
            ["2013-03-09T14:00", "2013-03-10T13:00", "2013-03-11T13:00"],
            id="and forward",
        ),
        pytest.param(
            [("America/New_York", "02:30")],
            "2013-03-09T15:00",
            ["2013-03-09T07:30", "2013-03-10T07:00", "2013-03-11T06:30"],
            id="a time that the clock skips is the end of the gap",
        ),
        pytest.param(
            [NEW_YORK, BERLIN, NEW_YORK, ("UTC", "2d 14:00")],
            "2013-11-05T07:00",
            ["2013-11-04T14:00", "2013-11-05T08:00", "2013-11-05T14:00", "2013-11-06T08:00"],
            id="one run for each distinct instant",
        ),
    ],
)
def test_a_run_at_each_instant_at_which_a_day_is_due(
    at_clock: Callable[[str], None], deadlines: Any, clock: str, expected: list[str]
) -> None:
    at_clock(clock)
    table = DeadlineTimetable.deserialize(DeadlineTimetable(deadlines).serialize())
    assert [text[:16] for text in islice(runs(table), len(expected))] == expected


def test_after_an_outage_one_run_judges_all_that_became_due_in_it(at_clock: Callable[[str], None]) -> None:
    table = DeadlineTimetable([NEW_YORK, BERLIN])
    before = DataInterval(utc("2013-11-04T08:00"), utc("2013-11-04T14:00"))
    at_clock("2013-11-08T10:00")
    info = next_run(table, before)
    assert (info.run_after, info.data_interval) == (
        utc("2013-11-08T08:00"),
        DataInterval(before.end, utc("2013-11-08T08:00")),
    )
    assert next_run(table, info.data_interval).run_after == utc("2013-11-08T14:00")


def with_deadlines(folder: Folder, **others: str) -> tuple[str, dict[str, str]]:
    """Write pipelines that are due at 09:00 and at other times; return the id of the DAG, and the pipelines' ids."""
    ids = {"nine": folder.pipeline_id}
    folder.write(granularity="1d", backlog="wait", expect='{day_complete_by: "09:00"}')
    for name, text in others.items():
        ids[name] = f"{folder.pipeline_id}_{name}"
        folder.write(ids[name], granularity="1d", backlog="wait", expect=f'{{day_complete_by: "{text}"}}')
    return with_maintenance(folder) + ".deadlines", ids


@pytest.mark.parametrize(
    ("interval", "judged"),
    [
        pytest.param(("2013-11-03T17:00", "2013-11-04T14:00"), ["nine"], id="09:00"),
        pytest.param(("2013-11-04T14:00", "2013-11-04T17:00"), ["noon"], id="12:00"),
        pytest.param(("2013-11-01T13:00", "2013-11-04T14:00"), ["nine", "noon"], id="after an outage"),
        pytest.param(None, ["nine", "noon"], id="by hand"),
    ],
)
def test_a_run_judges_the_pipelines_of_which_a_day_became_due(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, interval: tuple[str, str] | None, judged: list[str]
) -> None:
    dag_id, ids = with_deadlines(folder, noon="12:00")
    choose = folder.dags()[dag_id].get_task("choose_due")
    skipped: set[str] = set()
    monkeypatch.setattr(
        type(choose), "skip", lambda _, ti, tasks: skipped.update(task.task_id for task in tasks)
    )
    start, end = map(utc, interval or ("2013-11-04T14:00", "2013-11-04T14:00"))
    run = SimpleNamespace(
        run_type="scheduled" if interval else "manual", data_interval_start=start, data_interval_end=end
    )
    context: Any = {"dag_run": run, "ti": SimpleNamespace()}
    choose.execute.__wrapped__(choose, context)
    assert {f"expectations__{ids[name]}" for name in ids} - skipped == {
        f"expectations__{ids[name]}" for name in judged
    }


@pytest.mark.parametrize(
    ("run_type", "behind", "waits"),
    [
        pytest.param("scheduled", 8, True, id="behind"),
        pytest.param("scheduled", 0, False, id="equal"),
        pytest.param("scheduled", 3600, False, id="far behind"),
        pytest.param("manual", 8, False, id="by hand"),
    ],
)
def test_a_task_whose_clock_is_behind_waits_until_the_day_is_due_there_too(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, run_type: str, behind: int, waits: bool
) -> None:
    """Days are judged by the clock of the state if it is earlier: the day would not be due."""
    dag_id, ids = with_deadlines(folder)
    task: Any = folder.dags()[dag_id].get_task(f"expectations__{ids['nine']}")
    end, asked = utc("2013-11-04T14:00"), []

    @contextmanager
    def runtime(_: object, context: object) -> Iterator[Any]:
        yield SimpleNamespace(now=lambda: end - timedelta(seconds=behind), config=task.load_config())

    def check(*_: object) -> Checked:
        asked.append(True)
        return Checked(Judgement(), ())

    monkeypatch.setattr(type(task), "runtime", runtime)
    monkeypatch.setattr(maintenance, "check_expectations", check)
    run = SimpleNamespace(run_type=run_type, data_interval_end=end, dag_id=dag_id, run_id="r")
    with pytest.raises(AirflowRescheduleException) if waits else nullcontext():
        task.execute.__wrapped__(task, {"dag_run": run, "ti": SimpleNamespace()})
    assert bool(asked) is not waits


def test_the_dag_has_the_pipelines_with_a_time_and_follows_the_schedule(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag_id, ids = with_deadlines(folder, noon="12:00")
    folder.write(f"{folder.pipeline_id}_without", granularity="1d", expect="{rows: {min: 1}}")
    dag = folder.dags()[dag_id]
    assert set(dag.task_ids) == {"choose_due", *(f"expectations__{name}" for name in ids.values())}
    assert dag.timetable.serialize() == {
        "deadlines": [["America/New_York", "09:00"], ["America/New_York", "12:00"]]
    }
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    assert list(folder.dags()) == [dag_id]
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID")
    with_maintenance(folder, schedule=None)
    assert dag_id not in folder.dags()


def test_a_pipeline_with_the_id_of_the_dag_is_refused(folder: Folder) -> None:
    dag_id, _ = with_deadlines(folder)
    folder.write(dag_id, granularity="1d")
    with pytest.raises(ConfigError, match=r"\.deadlines is the id of the DAG that judges days"):
        folder.dags()


def test_a_run_by_hand_judges_each_pipeline_and_records_its_late_days(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    dag_id, ids = with_deadlines(folder, noon="12:00")
    run = run_dag(folder.dags()[dag_id])
    assert states(run) == {"choose_due": ["success"], "expectations": ["success"] * 2}
    task_id = f"expectations__{ids['noon']}"
    assert run.get_task_instance(task_id).xcom_pull(task_id) == [
        "2013-11-03 is late: it was due to be complete by 2013-11-04 12:00 EST"
    ]
