"""What a month of so much data a day takes, worked out from what `make bench` measured (benchmarks/results.json).

    python -m benchmarks.scale            # the tables
    python -m benchmarks.scale --write    # ... into docs/scale.md, between its marks

Nothing here is measured; docs/scale.md says what each line means and what it leaves out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from airflow_pipeline_provider.config.options import StageOptions
from airflow_pipeline_provider.connectors.elasticsearch.sizes import PAGE_BYTES
from benchmarks.groups.extract import peers
from benchmarks.groups.extract.shapes import race_name
from benchmarks.harness import ROOT
from benchmarks.shapes import SHAPES, USUAL

PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- scale: written by python -m benchmarks.scale --write -->", "<!-- end of scale -->"
DAYS = 30
DAY_SECONDS = 86_400
PART_BYTES = int(StageOptions.model_fields["part_size"].default)
LEDGER_ROWS = 3  # a window: attempt, replacing, committed
TASKS = 6  # generate, validate, stage, load, audit and the one that follows up; extract comes on top
OTHER_REQUESTS = (
    8  # a window: mapping, two counts, the plan of its slices, opening and closing the point in time
)
OTHER_OBJECTS = 1  # a window: the manifest; a receipt a task comes on top


class Measured(NamedTuple):
    """Of one document, seconds of a core or of the clock; of one task, likewise."""

    document_bytes: float
    part_bytes: float  # of a document in its part file
    client_cpu: float
    server_cpu: float
    rows_a_second: float  # that one task extracts, its server on the same machine
    duckdb_rows_a_second: float
    postgres_rows_a_second: float
    task_cpu: float  # what an Airflow task costs that does nothing

    @classmethod
    def of(cls, results: dict[str, Any], shape: str = USUAL) -> Measured:
        """Of documents of this shape in two shards; KeyError if they were not measured."""
        by_shape = results.get(race_name(shape, 2))
        if by_shape is None and shape == USUAL:  # results of before the races by shape
            by_shape = results[peers.REAL]
        ours = (by_shape or {})["ours"]
        rows = ours["rows"]
        duckdb, postgres = results["into DuckDB"]["ours"], results["into PostgreSQL"]["ours"]
        return cls(
            document_bytes=ours["moved_bytes"] / rows,
            part_bytes=ours["written_bytes"] / rows,
            client_cpu=ours["client_cpu_seconds"] / rows,
            server_cpu=ours["server_cpu_seconds"] / rows,
            rows_a_second=rows / ours["seconds"],
            duckdb_rows_a_second=duckdb["rows"] / duckdb["seconds"],
            postgres_rows_a_second=postgres["rows"] / postgres["seconds"],
            task_cpu=results["import when a task starts"]["ours"]["process_cpu_seconds"],
        )


@dataclass(frozen=True)
class Case:
    """So many bytes of documents a day, in windows of so many minutes, each extracted by so many tasks."""

    name: str
    day_bytes: float
    minutes: int
    tasks: int = 1


CASES = (
    Case("10 GB, by the hour", 1e10, 60),
    Case("100 GB, by the hour", 1e11, 60),
    Case("1 TB, by the hour", 1e12, 60),
    Case("1 TB, by 15 minutes", 1e12, 15),
    Case("1 TB, by the hour, 4 tasks", 1e12, 60, 4),
)


def month(case: Case, measured: Measured) -> dict[str, str]:
    """The lines of the table."""
    rows = case.day_bytes / measured.document_bytes
    windows = 24 * 60 / case.minutes
    window_rows, window_bytes = rows / windows, case.day_bytes / windows
    parts = case.tasks * math.ceil(window_rows * measured.part_bytes / case.tasks / PART_BYTES)
    requests = windows * (math.ceil(window_bytes / PAGE_BYTES) + OTHER_REQUESTS)
    tasks = windows * (TASKS + case.tasks)
    worker = rows * measured.client_cpu + tasks * measured.task_cpu
    return {
        "documents": _large(rows * DAYS),
        "windows": f"{windows * DAYS:,.0f}",
        "Airflow tasks": f"{tasks * DAYS:,.0f}",
        "workers: core hours, extraction and starting tasks": f"{worker * DAYS / 3600:,.0f}",
        "... cores busy on average": f"{worker / DAY_SECONDS:.2f}",
        "cluster: requests": _large(requests * DAYS),
        "cluster: cores busy on average": f"{rows * measured.server_cpu / DAY_SECONDS:.2f}",
        "stage: objects written": _large(windows * (parts + case.tasks + OTHER_OBJECTS) * DAYS),
        "stage: GB written": f"{rows * measured.part_bytes * DAYS / 1e9:,.0f}",
        "minutes to extract a window": f"{window_rows / measured.rows_a_second / case.tasks / 60:.1f}",
        "minutes to load it, DuckDB": f"{window_rows / measured.duckdb_rows_a_second / 60:.1f}",
        "minutes to load it, PostgreSQL": f"{window_rows / measured.postgres_rows_a_second / 60:.1f}",
        "load hours, DuckDB": f"{rows * DAYS / measured.duckdb_rows_a_second / 3600:,.1f}",
        "load hours, PostgreSQL": f"{rows * DAYS / measured.postgres_rows_a_second / 3600:,.1f}",
        "ledger: rows": f"{windows * LEDGER_ROWS * DAYS:,.0f}",
    }


def limits(measured: Measured) -> list[tuple[str, float]]:
    """(what ends first, bytes a day where it does), the lowest first: all of a day's seconds are used up."""

    def bytes_a_day(rows_a_second: float) -> float:
        return rows_a_second * DAY_SECONDS * measured.document_bytes

    one_after_the_other = 1 / (1 / measured.rows_a_second + 1 / measured.postgres_rows_a_second)
    return sorted(
        [
            (
                "one pipeline: a window extracted by one task, then loaded into PostgreSQL",
                bytes_a_day(one_after_the_other),
            ),
            ("a load into PostgreSQL, one connection", bytes_a_day(measured.postgres_rows_a_second)),
            ("a load into DuckDB, one process", bytes_a_day(measured.duckdb_rows_a_second)),
            ("one extracting task, on the same machine as its cluster", bytes_a_day(measured.rows_a_second)),
            ("one core of workers that extract", bytes_a_day(1 / measured.client_cpu)),
            ("one core of the cluster that answers", bytes_a_day(1 / measured.server_cpu)),
        ],
        key=lambda limit: limit[1],
    )


_MEASURED: dict[str, Callable[[Measured], str]] = {
    "bytes of a document": lambda of: f"{of.document_bytes:.0f}",
    "... of it in a part file": lambda of: f"{of.part_bytes:.0f}",
    "client CPU for a million documents": lambda of: f"{of.client_cpu * 1e6:.2f} s",
    "cluster CPU for a million documents": lambda of: f"{of.server_cpu * 1e6:.2f} s",
    "documents a second of one task": lambda of: f"{of.rows_a_second:,.0f}",
    "1 TB a day: cores of workers that extract": lambda of: f"{_cores(of, of.client_cpu):.2f}",
    "1 TB a day: cores of the cluster": lambda of: f"{_cores(of, of.server_cpu):.2f}",
    "1 TB a day: hours to extract a day": lambda of: (
        f"{1e12 / of.document_bytes / of.rows_a_second / 3600:.1f}"
    ),
}


def _cores(measured: Measured, cpu: float) -> float:
    return 1e12 / measured.document_bytes * cpu / DAY_SECONDS


def lines(of_shapes: Mapping[str, Measured]) -> Iterator[str]:
    measured = of_shapes[USUAL]
    yield f"| measured | {' | '.join(f'{shape} documents' for shape in of_shapes)} |"
    yield f"|---|{'---|' * len(of_shapes)}"
    for what, shown in _MEASURED.items():
        yield f"| {what} | {' | '.join(shown(each) for each in of_shapes.values())} |"
    yield ""
    yield "| measured of usual documents | |"
    yield "|---|---|"
    yield f"| rows a second into DuckDB | {measured.duckdb_rows_a_second:,.0f} |"
    yield f"| rows a second into PostgreSQL | {measured.postgres_rows_a_second:,.0f} |"
    yield f"| CPU of a task's start | {measured.task_cpu:.2f} s |"
    yield ""
    months = [month(case, measured) for case in CASES]
    yield f"| in {DAYS} days | {' | '.join(case.name for case in CASES)} |"
    yield f"|---|{'---|' * len(CASES)}"
    for line in months[0]:
        yield f"| {line} | {' | '.join(each[line] for each in months)} |"
    yield ""
    yield "| what is in use all day | at |"
    yield "|---|---|"
    for what, size in limits(measured):
        yield f"| {what} | {size / 1e12:.1f} TB a day |"


def _large(number: float) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"


def table(results: Path = ROOT / "benchmarks" / "results.json") -> str:
    found = json.loads(results.read_text())
    shapes = [shape for shape in SHAPES if shape == USUAL or race_name(shape, 2) in found]
    return "\n".join(lines({shape: Measured.of(found, shape) for shape in shapes}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    text = table()
    if not parser.parse_args().write:
        print(text)
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
