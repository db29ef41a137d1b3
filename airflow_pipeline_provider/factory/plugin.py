"""Register the timetable of `schedule: auto` and the page with Airflow's plugin manager.

Every process of Airflow loads this module; only the api-server asks for `fastapi_apps`, so only it imports the page.
"""

from __future__ import annotations

import logging
import traceback
from urllib.parse import urlsplit

from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from airflow_pipeline_provider.factory.timetable import DayPlanTimetable, DeadlineTimetable

logger = logging.getLogger(__name__)

URL_PREFIX = "/airflow-pipelines"


def bundle_url() -> str:
    """Return the path of the page's module: absolute, since Airflow 3.2 resolves it against its own module."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{base}{URL_PREFIX}/static/app.js"


class PipelinePlugin(AirflowPlugin):
    """The timetable for the scheduler, the API server and the DAG processor; the page for the API server."""

    name = "airflow_pipeline_provider"
    timetables = [DayPlanTimetable, DeadlineTimetable]  # noqa: RUF012  (declared like this by Airflow)
    react_apps = [  # noqa: RUF012
        {
            "name": "Pipelines",
            "bundle_url": bundle_url(),
            "destination": "nav",
            "url_route": "pipelines",
            "nav_top_level": True,
        },
        {"name": "Windows", "bundle_url": bundle_url(), "destination": "dag", "url_route": "windows"},
    ]

    @property
    def partition_mappers(self) -> list[type]:  # type: ignore[override]
        """Return our mapper, imported where a partitioned DAG with it is read."""
        from airflow_pipeline_provider.factory.partition_mapper import WholeDayMapper

        return [WholeDayMapper]

    @property
    def fastapi_apps(self) -> list[dict[str, object]]:  # type: ignore[override]
        """Return the page's application, built when the api-server asks for it.

        Airflow must start also if the page cannot be imported, such as with an Airflow whose interfaces have changed:
        whatever is raised is logged, and there is no page.
        """
        if not hasattr(self, "_apps"):
            try:
                from airflow_pipeline_provider.web.app import build_app

                self._apps: list[dict[str, object]] = [
                    {"app": build_app(), "url_prefix": URL_PREFIX, "name": "Pipelines"}
                ]
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                logger.exception(
                    "the page Pipelines cannot be loaded with Airflow %s: %s: %s (%s:%s). Pipelines run without the "
                    "page. Upgrade or reinstall airflow-pipeline-provider, or use an Airflow that it supports",
                    airflow_version,
                    type(error).__name__,
                    error,
                    place.filename,
                    place.lineno,
                )
                self._apps = []
        return self._apps
