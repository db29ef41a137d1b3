"""What the page's answers cost, against the limits that a person notices."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Column, Contestant, Goal, Results, Settings
from benchmarks.servers import start_postgres

TITLE = "The page inside Airflow"

YEAR, LIST = "one pipeline, a year of hourly windows", "the list of 1,000 pipelines"
POSTGRES, SQLITE = "state in PostgreSQL", "state in SQLite"
_SHOWN = [
    Column("first answer, ms", "first_seconds", 0.001, ".0f"),
    Column("after a change, ms", "seconds", 0.001, ".0f"),
    Column("unchanged, ms", "unchanged_seconds", 0.001, ".0f"),
    Column("queries", "queries", 1, ".0f"),
    Column("queries, unchanged", "unchanged_queries", 1, ".0f"),
    Column("KB", "bytes", 1000, ".0f"),
]
COLUMNS = {YEAR: _SHOWN, LIST: _SHOWN}


def prepare(settings: Settings, opened: ExitStack) -> None:
    start_postgres(settings, opened)


def contestants(settings: Settings) -> list[Contestant]:
    url = settings.servers["postgres"].url

    def module(race: str, name: str, *arguments: object) -> Contestant:
        return Contestant(race, name, settings.module("page.answers", *arguments))

    return [
        module(YEAR, POSTGRES, "--work", "year", "--url", url),
        module(YEAR, SQLITE, "--work", "year"),
        module(LIST, POSTGRES, "--work", "list", "--url", url),
        module(LIST, SQLITE, "--work", "list"),
    ]


def goals(results: Results) -> list[Goal]:
    found = []

    def most(work: str, race: str, value: str, limit: float, unit: str, factor: float = 1) -> None:
        names = [name for name in (POSTGRES, SQLITE) if results.has(race, name)]
        if names:
            seen = max(results.median(race, name, value) for name in names) * factor
            found.append(
                Goal(work, f"≤ {limit:.0f} {unit}".rstrip(), f"{seen:.0f} {unit}".rstrip(), seen <= limit)
            )

    most("a year of hourly windows", YEAR, "seconds", 150, "ms", 1000)
    most("a year of hourly windows, queries", YEAR, "queries", 5, "")
    most("a year of hourly windows, unchanged, queries", YEAR, "unchanged_queries", 1, "")
    most("a year of hourly windows, size", YEAR, "bytes", 200, "KB", 0.001)
    most("the list of 1,000 pipelines", LIST, "seconds", 500, "ms", 1000)
    most("the list of 1,000 pipelines, first answer of a process", LIST, "first_seconds", 500, "ms", 1000)
    most("the list of 1,000 pipelines, size", LIST, "bytes", 200, "KB", 0.001)
    return found
