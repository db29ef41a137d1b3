"""What Airflow's plugin manager loads: the timetable behind `schedule: auto`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_pipeline_provider.factory.timetable import DayPlanTimetable


class PipelinePlugin(AirflowPlugin):
    """Registers the timetable in the scheduler, the api-server and the dag-processor."""

    name = "airflow_pipeline_provider"
    timetables = [DayPlanTimetable]  # noqa: RUF012  (Airflow declares it so)
