"""The commands and the provider, seen from the environment of the installation that moved the days."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.stories import THE_LONG_DAY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


def airflow_command(*arguments: str) -> Any:
    """JSON that `airflow ARGUMENTS` prints inside of that installation."""
    file = os.environ.get("AIRFLOW_ENV_FILE")
    assert file, (
        "AIRFLOW_ENV_FILE is not set: name the file with the settings of the Airflow given by AIRFLOW_API_URL"
    )
    script = f'set -a; . "{file}"; set +a; exec "{sys.executable}" -m airflow "$@"'
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRFLOW_CONN_"))}
    done = subprocess.run(
        ["bash", "-c", script, "airflow", *arguments, "--output", "json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_status_and_plan_agree_with_what_was_moved(world: World, manual: str) -> None:
    planned = lake.windows(*THE_LONG_DAY, 12)
    world.airflow.quiet(manual, len(planned))
    day = THE_LONG_DAY[0].isoformat()
    plan = airflow_command("pipelines", "plan", manual, "--day", day)
    assert [(w["start"], w["end"]) for w in plan["windows"]] == [
        tuple(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in window) for window in planned
    ]
    status = airflow_command("pipelines", "status", manual)
    (shown,) = (found for found in status["days"] if found["day"] == day)
    rows = len(world.warehouse.rows(manual))
    assert (shown["status"], shown["percent"], shown["rows"]) == ("complete", 100.0, rows)
    assert status["next"]["reason"] == "after_end_day"


def test_airflow_lists_the_provider(world: World) -> None:
    names = [provider["package_name"] for provider in airflow_command("providers", "list")]
    assert "airflow-pipeline-provider" in names
