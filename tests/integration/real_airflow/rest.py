"""Airflow as its users reach it: the REST API, with waiting by deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
PATIENCE = 1500.0  # seconds; a busy machine is slow, a hanging test is worse
FINISHED = ("success", "failed")


def wait(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What `look` gives as soon as it is something; fails with the last answer of `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


class Refused(Exception):
    """The API answered with an error; `status` and `detail` say which."""

    def __init__(self, response: httpx.Response) -> None:
        self.status, self.detail = response.status_code, response.text
        super().__init__(f"{response.request.method} {response.request.url}: {self.status} {self.detail}")


class Airflow:
    """One installation; the paths below are those of its API, version 2."""

    def __init__(self) -> None:
        self.dags_folder = os.environ["AIRFLOW_DAGS_FOLDER"]
        self._http = httpx.Client(
            base_url=os.environ["AIRFLOW_API_URL"], timeout=60, transport=httpx.HTTPTransport(retries=3)
        )
        self._login()

    def _login(self) -> None:
        login = {"username": os.environ["AIRFLOW_USERNAME"], "password": os.environ["AIRFLOW_PASSWORD"]}
        answer = self._http.post(os.environ["AIRFLOW_TOKEN_URL"], json=login)
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self._http.request(method, path, json=body, params=query)
        if answer.status_code == 401:
            self._login()
            answer = self._http.request(method, path, json=body, params=query)
        if answer.is_error:
            raise Refused(answer)
        return answer.json() if answer.content else None

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def listed(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """All pages of a collection."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=100, offset=len(rows), **query)
            rows += page[key]
            if len(rows) >= page["total_entries"] or not page[key]:
                return rows

    # --- connections

    def connection(self, conn_id: str, **fields: Any) -> None:
        """Make the connection, or change it."""
        body = {"connection_id": conn_id, **fields}
        try:
            self.call("POST", "connections", body)
        except Refused as error:
            if error.status != 409:
                raise
            self.call("PATCH", f"connections/{conn_id}", body)

    # --- DAGs

    def dag(self, dag_id: str) -> Any:
        """None: there is none."""
        try:
            return self.get(f"dags/{dag_id}")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def dags(self, pattern: str) -> dict[str, dict[str, Any]]:
        """DAGs that are not stale, by id."""
        found = self.listed("dags", "dags", dag_id_pattern=pattern, exclude_stale=True)
        return {dag["dag_id"]: dag for dag in found}

    def unpause(self, dag_id: str, paused: bool = False) -> None:
        wait(lambda: self.dag(dag_id), f"DAG {dag_id} appears")
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": paused})

    def import_errors(self, folder: str) -> dict[str, str]:
        """File name -> text of the import errors of the files below `folder`."""
        errors = self.listed("importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors if folder in error["filename"]}

    # --- assets

    def events(self, asset: str) -> list[dict[str, Any]]:
        """`extra` of the asset's events, oldest first."""
        found = [a for a in self.listed("assets", "assets", name_pattern=asset) if a["name"] == asset]
        return [
            event["extra"]
            for known in found
            for event in self.listed(
                "assets/events", "asset_events", asset_id=known["id"], order_by="timestamp"
            )
        ]

    # --- runs

    def runs(self, dag_id: str, **query: Any) -> list[dict[str, Any]]:
        return self.listed(f"dags/{dag_id}/dagRuns", "dag_runs", order_by="run_after", **query)

    def run(self, dag_id: str, run_id: str) -> Any:
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}")

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a manual run; returns its id."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        return str(run["dag_run_id"])

    def mark_failed(self, dag_id: str, run_id: str, task_id: str | None = None) -> None:
        """Mark the run, or one task of it, as failed, as people do on its page."""
        path, key = f"dags/{dag_id}/dagRuns/{run_id}", "state"
        if task_id is not None:
            path, key = f"{path}/taskInstances/{task_id}", "new_state"
        self.call("PATCH", path, {key: "failed"})

    def finished(self, dag_id: str, run_id: str) -> str:
        """Wait for the run's end; returns its state."""

        def state() -> str | None:
            found = self.run(dag_id, run_id)["state"]
            return found if found in FINISHED else None

        return wait(state, f"run {run_id} of {dag_id} ends")

    def quiet(self, dag_id: str, runs: int) -> list[dict[str, Any]]:
        """Wait until the DAG has at least this many runs and all of them have ended."""

        def all_ended() -> list[dict[str, Any]] | None:
            found = self.runs(dag_id)
            ended = len(found) >= runs and all(run["state"] in FINISHED for run in found)
            return found if ended else None

        return wait(all_ended, f"{runs} runs of {dag_id} end")

    def backfill(self, dag_id: str, first: str, last: str, reprocess: str = "none", at_once: int = 4) -> int:
        """Start a backfill without conf, over windows that start between the two instants; returns its id."""
        body = {
            "dag_id": dag_id,
            "from_date": first,
            "to_date": last,
            "reprocess_behavior": reprocess,
            "max_active_runs": at_once,
        }
        return int(self.call("POST", "backfills", body)["id"])

    def backfilled(self, backfill_id: int) -> None:
        wait(lambda: self.get(f"backfills/{backfill_id}")["completed_at"], f"backfill {backfill_id} ends")

    # --- tasks

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task instances by task id; mapped ones by "id[index]"."""
        found = self.listed(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti
            for ti in found
        }

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {name: ti["state"] for name, ti in self.tasks(dag_id, run_id).items()}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path, deserialize=True)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        """The log of the task's last try."""
        task = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        number = self.get(task if map_index < 0 else f"{task}/{map_index}")["try_number"]
        lines = self.get(f"{task}/logs/{number}", map_index=map_index, full_content=True)["content"]
        errors = [error["exc_value"] for line in lines for error in line.get("error_detail") or ()]
        return "\n".join([*(line["event"] for line in lines), *errors])

    def assert_succeeded(self, dag_id: str, runs: list[dict[str, Any]]) -> None:
        """All of these runs succeeded; one that did not is shown with its tasks' states and last log lines."""
        failed = [run["dag_run_id"] for run in runs if run["state"] != "success"]
        logs = [
            f"{run_id}, {name}:\n{self.log(dag_id, run_id, ti['task_id'], ti['map_index'])[-3000:]}"
            for run_id in failed
            for name, ti in self.tasks(dag_id, run_id).items()
            if ti["state"] == "failed"
        ]
        states = [f"{run_id}: {self.states(dag_id, run_id)}" for run_id in failed]
        assert not failed, "\n\n".join(["runs without success:", *states, *logs])

    def clear(self, dag_id: str, run_id: str, *task_ids: str, downstream: bool = False) -> None:
        """Clear tasks of a run, or without any the whole run."""
        if not task_ids:
            self.call("POST", f"dags/{dag_id}/dagRuns/{run_id}/clear", {"dry_run": False})
            return
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "include_downstream": downstream,
        }
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", body)
