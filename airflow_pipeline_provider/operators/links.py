"""Link each task of a pipeline to its window on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_pipeline_provider.core.intervals import Interval, iso_utc

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class WindowLink(BaseOperatorLink):
    """The window of the task in the tab Windows of its DAG; the tab alone before the task knows its window.

    Airflow asks the operator that has executed, and stores the link as an XCom.
    """

    name = "Window"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return a path on this Airflow: its host may have another name for the worker than for users."""
        dag_id, window = operator.shown_window or (ti_key.dag_id, None)
        return window_path(dag_id, window)


def window_path(dag_id: str, window: Interval | None) -> str:
    """Return `/dags/flights/plugin/windows?window=2013-11-03T04:00:00Z/2013-11-03T06:00:00Z`."""
    from airflow.sdk.configuration import conf

    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    query = f"?window={iso_utc(window.start)}/{iso_utc(window.end)}" if window is not None else ""
    return f"{base}/dags/{quote(dag_id, safe='')}/plugin/windows{query}"


def page_url(path: str = "") -> str:
    """Return the address of a path of this Airflow for a message; the path alone without `[api] base_url`."""
    from airflow.sdk.configuration import conf

    base = urlsplit(conf.get("api", "base_url", fallback="") or "")
    if not base.netloc:
        return path
    return f"{base.scheme}://{base.netloc}{path or base.path}"
