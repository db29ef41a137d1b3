"""Asset events with partition keys, and the DAGs that wait for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessor, OutletEventAccessors
from airflow.sdk.execution_time.task_runner import _serialize_outlet_events

from airflow_pipeline_provider import WholeDayMapper
from airflow_pipeline_provider.core.days import tile_day
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.windows import partition_key
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.partition_events import MANAGER, add_partition

from .conftest import Folder, stored_runs
from .test_asset_events import (
    DAY,
    EARLY,
    FIRST,
    HALF_DAYS,
    LATE,
    SECOND,
    events,
    load_downstream,
    maintenance,
)
from .test_asset_events import run_dated as run_dated
from .test_generated_dag import states

TASKS_GIVE_KEYS = hasattr(OutletEventAccessor, "add_partitions")  # since Airflow 3.3
WHOLE_DAYS = {**HALF_DAYS, "granularity": "1d"}
NOVEMBER_3 = "2013-11-03"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "downstream.md"


@pytest.fixture(autouse=True)
def api_server_gives_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure what Airflow 3.2 needs, as it would be at the start of its processes."""
    if TASKS_GIVE_KEYS:
        return
    from airflow.models import taskinstance

    from airflow_pipeline_provider.factory.asset_manager import PartitionAssetManager

    monkeypatch.setenv("AIRFLOW__CORE__ASSET_MANAGER_CLASS", MANAGER)
    monkeypatch.setattr(taskinstance, "asset_manager", PartitionAssetManager())


def keyed(folder: Folder, asset: str) -> list[tuple[str, dict[str, Any]]]:
    """Return key and what is known of the partition for each event of the asset, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    query = query.where(AssetModel.name == f"{folder.pipeline_id}.{asset}").order_by(AssetEvent.id)
    with create_session() as session:
        found = [(event.partition_key, event.extra) for event in session.scalars(query)]
    return [(key, extra["partitions"][key]) for key, extra in found]


def waiting(dag_id: str) -> set[str]:
    """Return the partition keys for which the DAG has an event and no run yet."""
    from airflow.models.asset import AssetPartitionDagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetPartitionDagRun.partition_key).where(AssetPartitionDagRun.target_dag_id == dag_id)
    with create_session() as session:
        return set(session.scalars(query))


def test_windows_and_days_have_keys(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(**HALF_DAYS)
    run_dag(folder.dag())
    run_dag(folder.dag())
    name = {"pipeline": folder.pipeline_id}
    assert keyed(folder, "window_partitions") == [
        ("2013-11-03T00:00:00-04:00", {**name, **FIRST, "rows": 39, "token": 1}),
        ("2013-11-03T12:00:00-05:00", {**name, **SECOND, "rows": 36, "token": 2}),
    ]
    assert keyed(folder, "day_partitions") == [(NOVEMBER_3, {**name, **DAY, "rows": 75, "token": 2})]
    assert len(events(folder, "windows")) == 2
    assert len(events(folder, "days")) == 1


def test_a_single_task_that_starts_the_next_run_sends_the_keys(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    """Airflow ends a task that starts a run in another way than one that returns."""
    folder.write(**{**HALF_DAYS, "backlog": "drain"}, airflow="{layout: single_task}")
    run_dag(folder.dag())
    assert any(run.run_id.startswith("drain__") for run in stored_runs(folder.pipeline_id))
    assert [key for key, _ in keyed(folder, "window_partitions")] == ["2013-11-03T00:00:00-04:00"]


def test_a_run_without_a_commit_sends_no_event(folder: Folder, run_dated: Callable[..., Any]) -> None:
    folder.write(**WHOLE_DAYS)
    run_dated(folder.dag())
    run_dated(folder.dag())
    assert [key for key, _ in keyed(folder, "window_partitions")] == ["2013-11-03T00:00:00-04:00"]
    assert [key for key, _ in keyed(folder, "day_partitions")] == [NOVEMBER_3]


@pytest.mark.parametrize("by", ["a retry", "the next run", "maintenance"])
def test_the_key_is_sent_also_if_the_audit_crashes_after_its_commit_by(
    folder: Folder, run_dated: Callable[..., Any], by: str
) -> None:
    folder.write(**WHOLE_DAYS, airflow=f"{{retries: {int(by == 'a retry')}}}")
    dag = folder.dag()
    audit = dag.get_task("audit")
    audit.retry_delay = timedelta(0)
    tries = []

    def crash_once(context: Any, result: Any) -> None:
        tries.append(keyed(folder, "day_partitions"))
        if len(tries) == 1:
            raise RuntimeError("the worker crashed")

    audit._post_execute_hook = crash_once
    succeeded = by == "a retry"
    assert states(run_dated(dag))["audit"] == ("success" if succeeded else "failed")
    assert tries == [[]] * len(tries)
    assert len(keyed(folder, "day_partitions")) == int(succeeded)
    for _ in range(2):  # the second one has nothing to send
        run_dated(folder.dag() if by != "maintenance" else maintenance(folder))
    assert [key for key, _ in keyed(folder, "day_partitions")] == [NOVEMBER_3]


def test_several_days_of_one_task_have_an_entry_each() -> None:
    """The events that one task sends for one asset have the same `extra`."""
    task = SimpleNamespace(outlets=[])
    context: Any = {"outlet_events": OutletEventAccessors(), "ti": SimpleNamespace(task=task)}
    days = {
        day: {"pipeline": "flights", "day": day, "rows": rows}
        for day, rows in ((NOVEMBER_3, 5), ("2013-11-04", 7))
    }
    for day, about in days.items():
        add_partition(context, "flights.day_partitions", day, about)
    assert task.outlets == [Asset("flights.day_partitions")]
    sent = list(_serialize_outlet_events(context["outlet_events"]))
    assert {event.get("partition_key") for event in sent} == ({*days} if TASKS_GIVE_KEYS else {None})
    assert all(event["extra"] == {"pipeline": "flights", "partitions": days} for event in sent)


def test_a_replaced_day_has_its_key_again(folder: Folder, run_dated: Callable[..., Any]) -> None:
    folder.write(**HALF_DAYS)
    for conf in (None, None, EARLY, LATE):
        run_dated(folder.dag(), **({"run_conf": conf} if conf else {}))
    found = keyed(folder, "day_partitions")
    assert {key for key, _ in found} == {NOVEMBER_3}
    assert [about["token"] for _, about in found] == [event["token"] for event in events(folder, "days")]


def example(number: int) -> str:
    """Return an example of the page, counted from 0."""
    return DOCS.read_text().split("```python")[number + 1].partition("```")[0]


def test_the_documented_consumer_of_days_waits_for_the_whole_day(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    dag_id = load_downstream(folder, example(1)).dag.dag_id
    folder.write(**HALF_DAYS)
    run_dag(folder.dag())
    assert waiting(dag_id) == set()
    run_dag(folder.dag())
    assert waiting(dag_id) == {NOVEMBER_3}


if TASKS_GIVE_KEYS:

    def test_the_documented_consumer_of_windows_is_serialized(
        folder: Folder, run_dag: Callable[..., Any]
    ) -> None:
        from airflow.models.serialized_dag import SerializedDagModel

        dag_id = load_downstream(folder, example(2)).dag.dag_id
        folder.write(**HALF_DAYS)
        run_dag(folder.dag())
        assert waiting(dag_id) == {NOVEMBER_3}
        stored: Any = SerializedDagModel.get_dag(dag_id)
        mapper = stored.timetable.get_partition_mapper(name=f"{folder.pipeline_id}.window_partitions")
        assert mapper.is_rollup
        assert len(mapper.to_upstream(NOVEMBER_3)) == 25

    def test_the_documented_consumer_of_a_month_expects_all_its_days(
        folder: Folder, run_dag: Callable[..., Any]
    ) -> None:
        module = load_downstream(folder, example(3))
        folder.write(**WHOLE_DAYS)
        run_dag(folder.dag())
        assert waiting(module.dag.dag_id) == {"2013-11"}
        mapper = rollup(module.MONTH)
        assert len(mapper.to_upstream("2013-11")) == 30
        assert NOVEMBER_3 in mapper.to_upstream("2013-11")

    def test_the_documented_mapper_of_days_knows_their_midnight() -> None:
        from airflow.partition_mappers.temporal import StartOfDayMapper

        call = DOCS.read_text().partition("`default_partition_mapper=")[2].partition("`")[0]
        mapper = eval(call, {"StartOfDayMapper": StartOfDayMapper})
        assert mapper.to_downstream(NOVEMBER_3) == NOVEMBER_3
        assert mapper.to_partition_date(NOVEMBER_3).isoformat() == "2013-11-03T00:00:00-04:00"

    def rollup(mapper: Any) -> Any:
        """Return the mapper as the scheduler sees it."""
        from airflow.serialization.decoders import decode_partition_mapper
        from airflow.serialization.encoders import encode_partition_mapper

        return decode_partition_mapper(encode_partition_mapper(mapper))

    @pytest.mark.parametrize(
        ("day", "granularity", "windows"),
        [
            ("2013-11-03", "1h", 25),
            ("2013-03-10", "1h", 23),
            ("2013-11-04", "1h", 24),
            ("2013-11-03", "13h", 2),
            ("2013-03-10", "1d", 1),
        ],
    )
    def test_a_day_waits_for_each_of_its_windows(day: str, granularity: str, windows: int) -> None:
        mapper = WholeDayMapper(timezone="America/New_York", granularity=granularity)
        keys = mapper.to_upstream(day)
        assert len(keys) == windows
        assert {mapper.to_downstream(key) for key in keys} == {day}
        plan = tile_day(date.fromisoformat(day), "America/New_York", parse_duration(granularity))
        assert keys == {partition_key(window.start, "America/New_York") for window in plan}
        same = WholeDayMapper.deserialize(mapper.serialize())
        assert same.to_upstream(day) == keys  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("timezone", "granularity", "message"),
        [
            ("Mars/Base", "1h", "WholeDayMapper: timezone: expected a name of the tz database"),
            ("UTC", "0s", "WholeDayMapper: granularity: expected more than 0s"),
            ("UTC", "often", "WholeDayMapper: granularity: "),
        ],
    )
    def test_an_invalid_argument_is_reported(timezone: str, granularity: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            WholeDayMapper(timezone=timezone, granularity=granularity)

    @pytest.mark.parametrize("key", ["2013-11-03", "west", "2013-11-03T01:00:00"])
    def test_a_key_that_is_no_window_is_refused(key: str) -> None:
        with pytest.raises(ConfigError, match="partition key: expected ISO 8601 with an offset"):
            WholeDayMapper(timezone="UTC", granularity="1h").to_downstream(key)

else:

    def test_without_the_setting_no_key_is_sent(
        folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIRFLOW__CORE__ASSET_MANAGER_CLASS")
        folder.write(**WHOLE_DAYS)
        run_dag(folder.dag())
        assert keyed(folder, "day_partitions") == keyed(folder, "window_partitions") == []
        assert len(events(folder, "days")) == 1

    def test_the_mapper_of_windows_names_the_version_that_it_needs() -> None:
        with pytest.raises(ConfigError, match=r"WholeDayMapper needs Airflow 3\.3"):
            WholeDayMapper(timezone="UTC", granularity="1h")
