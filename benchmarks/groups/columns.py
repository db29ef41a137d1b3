"""What gathering the fields of documents costs an extraction, and what other ways to gather them would.

Its contestants are those of the group `extract`, with and without a contract, on the replay server.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Column, Contestant, Goal, Results, Settings
from benchmarks.servers import start_replay, truth

TITLE = "Fields of documents"

EXTRACT, WAYS = "extract with a contract, replay server", "fields of a page of documents"
WITHOUT, SAMPLED, EVERY = "without a contract", "with a contract", "with a contract, every document"
ALL_WAYS = "CPU nanoseconds a document"

COLUMNS = {WAYS: [Column("seconds", "seconds")]}


def prepare(settings: Settings, opened: ExitStack) -> None:
    start_replay(settings, opened, "replay", "--docs", settings.docs)


def contestants(settings: Settings) -> list[Contestant]:
    known = truth(settings, settings.docs)

    def ours(name: str, *more: object) -> Contestant:
        arguments = (
            "--url",
            settings.servers["replay"].url,
            "--docs",
            settings.docs,
            "--out",
            "{out}",
            *more,
        )
        return Contestant(
            race=EXTRACT,
            name=name,
            command=settings.module("contestants.ours", *arguments),
            env={
                "AIRFLOW_HOME": str(settings.work / "airflow"),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            },
            servers=("replay",),
            check=settings.module("digest", "parquet", "{out}"),
            expected={key: known[key] for key in ("rows", "digest")},
            moves_bytes=known["document_bytes"],
        )

    return [
        ours(WITHOUT),
        ours(SAMPLED, "--contract"),
        ours(EVERY, "--contract", "--every", 1),
        Contestant(WAYS, ALL_WAYS, settings.module("columns.mechanisms"), rounds=1),
    ]


def goals(results: Results) -> list[Goal]:
    work, goal = "extract with a contract: client CPU", "≤ 1.05 × without"
    if not results.has(EXTRACT, WITHOUT, SAMPLED):
        return [Goal(work, goal, "", None)]
    # round by round: each pair ran one after the other, so what slowed the machine slowed both
    pairs = zip(
        results.values(EXTRACT, SAMPLED, "client_cpu_seconds"),
        results.values(EXTRACT, WITHOUT, "client_cpu_seconds"),
        strict=True,
    )
    ratios = sorted(one / other for one, other in pairs)
    middle = ratios[len(ratios) // 2]
    return [Goal(work, goal, f"{middle:.3f} ×", middle <= 1.05)]
