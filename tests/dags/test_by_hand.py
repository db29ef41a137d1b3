"""Run the custom DAG `dags/weather_by_hand.py` with a pipeline file on embedded parts."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import PIPELINE, Folder

EXAMPLE = Path(__file__).resolve().parents[2] / "dags" / "weather_by_hand.py"


def test_the_operators_work_in_a_custom_dag(folder: Folder, run_dag: Callable[..., Any]) -> None:
    (folder.path / "dags" / "by_hand").mkdir()
    text = PIPELINE.format(pipeline_id=folder.pipeline_id, folder=folder.path)
    text = text.replace("granularity: 5h", "granularity: 1d\nschedule: null")
    (folder.path / "dags" / "by_hand" / "daily_weather.yaml").write_text(text)
    file = Path(shutil.copy(EXAMPLE, folder.path / "dags"))
    spec = importlib.util.spec_from_file_location("weather_by_hand", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = run_dag(module.dag)
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == dict.fromkeys(
        ["generate_window", "validate", "extract", "stage", "load", "audit", "report"], "success"
    )
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")
