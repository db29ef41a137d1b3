"""Register the timetable of `schedule: auto` with Airflow's plugin manager."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_pipeline_provider.factory.timetable import DayPlanTimetable


class PipelinePlugin(AirflowPlugin):
    """The timetable for the scheduler, the API server and the DAG processor."""

    name = "airflow_pipeline_provider"
    timetables = [DayPlanTimetable]  # noqa: RUF012  (declared like this by Airflow)
