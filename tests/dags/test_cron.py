"""A cron expression in `schedule` uses the pipeline's time zone, and `check` prints the runs that Airflow makes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pendulum
import pytest
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.views.next_runs import next_runs
from tests.dags.conftest import Folder


def airflow_runs(dag: Any, after: datetime, number: int) -> list[datetime]:
    """Yield the runs that the scheduler creates from the serialized DAG, in order."""
    table = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    restriction = TimeRestriction(pendulum.instance(after).add(seconds=1), None, catchup=True)
    found: list[datetime] = []
    last = None
    while len(found) < number:
        info = table.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        assert info is not None
        last = info.data_interval
        found.append(datetime.fromisoformat(info.run_after.isoformat()))
    return found


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize(
    "cron", ["30 6 * * *", "30 1 * * *", "30 2 * * *", "15 * * * *", "*/20 0-3 * * *", "@daily"]
)
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("change", ["2013-11-03", "2013-03-10", "2013-10-27", "2013-03-31", "2013-04-07"])
def test_the_printed_runs_are_those_of_airflow(folder: Folder, cron: str, zone: str, change: str) -> None:
    file = folder.write(timezone=zone, schedule=f"'{cron}'", start_day="2013-01-01", end_day="null")
    config = load_pipeline(file, options_model=options_model)
    after = datetime.fromisoformat(f"{change}T00:00:00+00:00")
    dag = folder.dag()
    expected = airflow_runs(dag, after, 30)
    assert next_runs(config, after, 30) == expected
    assert str(dag.timezone) == zone
