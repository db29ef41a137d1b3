"""The demo's own Airflow home: settings by environment, and a copy of the DAGs folder that knows one day only."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

DAY = "2013-11-03"  # in New York the clocks went back: 25 hours, one of them twice
LEASE = "8s"  # a killed run's window is free again after this; 2m is the default
ROOT = Path(__file__).resolve().parent.parent


def make_dags(workdir: Path) -> Path:
    """Copy `dags/`, narrowed to the one day by its defaults.yaml; returns the copy."""
    folder = workdir / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "pipelines" / "defaults.yaml"
    defaults = yaml.safe_load(file.read_text())
    defaults |= {"start_day": DAY, "end_day": DAY}
    defaults["backlog"] = "wait"  # no scheduler is here to run what a drain task would start
    defaults["state"]["lease"] = LEASE
    file.write_text(yaml.safe_dump(defaults, sort_keys=False))
    return folder


def environment(workdir: Path, name: str) -> dict[str, str]:
    """What makes an Airflow process use a home of its own, quietly: two would fight over one SQLite file."""
    home, dags = workdir / "airflow" / name, workdir / "dags"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_PIPELINES_LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
