"""Write benchmarks/results.md (goals, a table per race, machine and versions) and results.json (the medians)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import earlier
from benchmarks.contract import Column, Goal, Results, Settings

Group = tuple[ModuleType, Results]

VERSIONS = (
    "apache-airflow", "apache-airflow-providers-elasticsearch", "elasticsearch", "elastic-transport", "dlt",
    "dag-factory", "duckdb", "msgspec", "pyarrow", "sqlalchemy",
)  # fmt: skip
# have columns, or none
MEASURED = {"seconds", "cpu_seconds", "digest", "rows", "bytes", "document_bytes", "own_peak_rss_mb"}


MEDIANS = (
    "rows", "seconds", "client_cpu_seconds", "process_cpu_seconds", "server_cpu_seconds", "peak_rss_bytes",
    "written_bytes", "moved_bytes",
)  # fmt: skip


def write(
    path: Path, groups: Sequence[Group], settings: Settings, failed: Sequence[str], *, narrowed: bool = False
) -> None:
    """Write the page; if the run was `narrowed`, keep what an earlier one measured of other groups and races.

    Of a group that `failed`, keep the earlier races that were not measured again as well.
    """
    page = earlier.read(path) if narrowed or failed else earlier.Page()
    if not settings.races and not settings.names:
        whole = [group for group, _ in groups if _name(group) not in failed]
        page = page.without([_name(group) for group in whole], [group.TITLE for group in whole])
    for group, results in groups:
        rows = [(goal, _goal(_name(group), goal)) for goal in group.goals(results)]
        if getattr(group, "LISTS_ALL_GOALS", False):
            page = page.with_goals_of(_name(group), [earlier.goal_key(row) for _, row in rows])
        for goal, row in rows:
            key = earlier.goal_key(row)
            if (
                goal.reached is not None or key not in page.goals
            ):  # a part of the group may not have been measured
                page.goals[key] = row
        columns = getattr(group, "COLUMNS", {})
        for race in results.races():
            lines = _table(race, results, columns.get(race))
            page.groups.setdefault(group.TITLE, {})[race] = [*lines, _measured(settings)]
    page.medians |= _medians(groups)
    page.machines = [
        *(line for line in page.machines if not line.startswith(f"- {_today()}:")),
        _machine(settings),
    ]
    path.write_text("\n".join(_page(page, failed)) + "\n")
    path.with_suffix(".json").write_text(json.dumps(page.medians, indent=1) + "\n")


def _page(page: earlier.Page, failed: Sequence[str]) -> list[str]:
    lines = [
        "# Results",
        "",
        "Written by `make bench`. Contestants run interleaved, each run in a process of its own. A figure is the",
        "median, with the smallest and the largest in parentheses if there were several rounds. docs/performance.md",
        "explains them.",
        "",
        f"## {earlier.GOALS}",
        "",
        "| group | work | goal | measured | |",
        "|---|---|---|---|---|",
        *(row for _, row in sorted(page.goals.items(), key=lambda item: item[0][0])),
    ]
    if failed:
        lines += ["", f"**Not finished because of an error: {', '.join(failed)}.**"]
    for title, races in page.groups.items():
        lines += ["", f"## {title}"]
        for race, shown in races.items():
            lines += ["", f"### {race}", "", *shown]
    return [*lines, "", f"## {earlier.MACHINE}", "", *page.machines]


def _name(group: ModuleType) -> str:
    return str(getattr(group, "__name__", group.TITLE)).rpartition(".")[2]


def _today() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d}"


def _measured(settings: Settings) -> str:
    rounds = f"{settings.rounds} round{'s' if settings.rounds > 1 else ''}"
    options = "".join(f", {name}={value}" for name, value in settings.options.items())
    what = f"{rounds}, {settings.docs:,} documents unless the table has another number{options}"
    return f"Measured {_today()}: {what}; at the end the load was {os.getloadavg()[2]:.1f} on {os.cpu_count()} CPUs."


def _medians(groups: Sequence[Group]) -> dict[str, Any]:
    """Map race, contestant and value to the median, for pages that are computed from these figures."""
    found: dict[str, Any] = {}
    for _, results in groups:
        for (race, name), runs in results.runs.items():
            figures = {key for run in runs for key, value in run.figures.items() if _is_number(value)}
            values = [*MEDIANS, *sorted(figures - MEASURED)]
            found.setdefault(race, {})[name] = {
                value: float(f"{results.median(race, name, value):.6g}") for value in values
            }
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _goal(group: str, goal: Goal) -> str:
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    return f"| {group} | {goal.work} | {goal.goal} | {goal.seen} | {words[goal.reached]} |"


def _table(race: str, results: Results, columns: Sequence[Column] | None) -> list[str]:
    """Return the table of a race; contestants that move rows have other columns than those that only take time."""
    names = results.names(race)
    with_rows = all(run.rows for name in names for run in results.runs[race, name])
    columns = columns or _usual_columns(race, results, with_rows)
    ratio_of = "rows_per_second" if with_rows else "seconds"
    lines = [
        f"| | {' | '.join(column.heading for column in columns)} | ratio |",
        f"|---|{'---|' * len(columns)}---|",
    ]
    for name in names:
        cells = [_cell(results, race, name, column) for column in columns]
        ratio = results.ratio(race, name, names[0], ratio_of)
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio:.2f} |")
    what = "rows per second" if with_rows else "seconds"
    return [*lines, "", f"The ratio compares {what} with the first line."]


def _usual_columns(race: str, results: Results, with_rows: bool) -> list[Column]:
    runs = [run for name in results.names(race) for run in results.runs[race, name]]
    columns = []
    if with_rows:
        columns.append(Column("rows/s", "rows_per_second", 1, ",.0f"))
    columns.append(Column("seconds", "seconds"))
    if all(run.moved_bytes for run in runs):
        columns.append(Column("MB/s", "bytes_per_second", 1e6, ".1f"))
    columns += [Column("client CPU s", "client_cpu_seconds"), Column("process CPU s", "process_cpu_seconds")]
    if any(run.server_cpu_seconds for run in runs):
        columns.append(Column("server CPU s", "server_cpu_seconds"))
    columns.append(Column("peak RSS MB", "peak_rss_bytes", 1e6, ".0f"))
    if any(run.written_bytes for run in runs):
        columns.append(Column("written MB", "written_bytes", 1e6, ".1f"))
    return columns + [Column(name, name, 1, ".4g") for name in _own_figures(results, race)]


def _own_figures(results: Results, race: str) -> list[str]:
    """Numbers that a contestant gave beside the usual ones."""
    found = {
        figure: None
        for name in results.names(race)
        for run in results.runs[race, name]
        for figure, value in run.figures.items()
        if figure not in MEASURED and isinstance(value, int | float)
    }
    return list(found)


def _cell(results: Results, race: str, name: str, column: Column) -> str:
    form = column.format
    try:
        values = [value / column.divided_by for value in results.values(race, name, column.value)]
    except KeyError:
        return ""
    middle = format(statistics.median(values), form)
    if max(values) - min(values) < 0.005 * max(values):
        return middle
    return f"{middle} ({format(min(values), form)}–{format(max(values), form)})"


def _machine(settings: Settings) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = []
    for name in VERSIONS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name}: not installed")
    package = settings.data / "npm" / "node_modules" / "elasticdump" / "package.json"
    versions.append(
        f"elasticdump {json.loads(package.read_text())['version'] if package.exists() else 'not installed'}"
    )
    return (
        f"- {_today()}: {os.cpu_count()} CPUs ({_cpu_model()}), {memory:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}; {', '.join(versions)}."
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
