"""One whole window without Airflow: Elasticsearch's answers to a file stage, DuckDB, and a state in SQLite."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack

import duckdb  # noqa: F401  (so that their import is not timed)

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.observability.metrics import PHASE_SECONDS, sending_to
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime, utc_now
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from benchmarks.contestants.arguments import parser
from benchmarks.contestants.ours import connection, import_what_phases_need, write_pipeline
from benchmarks.contestants.timing import Timing
from benchmarks.documents import interval


class Phases:
    """A sink that keeps how long each phase took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def count(self, name: str, by: int, tags: Mapping[str, str]) -> None: ...
    def gauge(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...

    def timing(self, name: str, seconds: float, tags: Mapping[str, str]) -> None:
        if name == PHASE_SECONDS:
            phase = tags["phase"]
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds


def main() -> None:
    given = parser(__doc__).parse_args()
    os.environ["AIRFLOW_CONN_ELASTICSEARCH_DEFAULT"] = connection(given.url)
    os.environ["AIRFLOW_CONN_BENCH_STATE"] = json.dumps(
        {"conn_type": "sqlite", "host": str(given.out / "state.sqlite")}
    )
    path = write_pipeline(given, {}, state={"type": "sql", "conn_id": "bench_state"})
    import_what_phases_need()
    phases = Phases()
    with ExitStack() as opened:
        runtime = opened.enter_context(open_runtime(load_pipeline(path, options_model=options_model)))
        opened.enter_context(sending_to(phases))
        runtime.state.entries()  # tables are made once in a pipeline's life
        runtime.target.prepare()
        request = RunRequest("bench/1", RunKind.WINDOW, utc_now(), Interval(*interval(given.docs)))
        with Timing() as timing:
            outcome = run_window(runtime, request)
        assert outcome.audited is not None, outcome.detail
    seconds = {f"{phase}_seconds": taken for phase, taken in phases.seconds.items()}
    over = timing.figures["seconds"] / (phases.seconds["extract"] + phases.seconds["load"])
    rows = outcome.audited.target_rows
    print(json.dumps({"rows": rows, "of_extract_and_load": over, **seconds, **timing.figures}))


if __name__ == "__main__":
    main()
