"""Staged parts into databases, beside the databases' own bulk load; and one whole window without Airflow.

`--set window_docs=100000` is how many documents the whole window has.  Snowflake takes part if
AIRFLOW_CONN_SNOWFLAKE_DEFAULT and SNOWFLAKE_SCRATCH, a schema, are set (`make test-snowflake`).
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.harness import output_of, say
from benchmarks.servers import start_postgres, start_replay, start_s3

TITLE = "Load, and a whole window"
LISTS_ALL_GOALS = True

DUCKDB, POSTGRES, WINDOW = "into DuckDB", "into PostgreSQL", "a whole window, embedded"
S3_STAGE, PROVEN, READ = "parts proven on S3", "ours", "ours, read_back: always"
SNOWFLAKE, SNOWFLAKE_NEEDS = "into Snowflake", ("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", "SNOWFLAKE_SCRATCH")
OURS, OWN = "ours", "its own bulk load"


def prepare(settings: Settings, opened: ExitStack) -> None:
    def wanted(race: str) -> bool:
        return not settings.races or any(part in race for part in settings.races)

    if any(map(wanted, (DUCKDB, POSTGRES, SNOWFLAKE, S3_STAGE))) and not _staged(settings).exists():
        say(f"staging {settings.docs:,} documents ...")
        output_of(settings.module("staged", _staged(settings), settings.docs))
    if wanted(POSTGRES):
        start_postgres(settings, opened)
    if wanted(S3_STAGE):
        start_s3(settings, opened)
    if wanted(WINDOW):
        start_replay(settings, opened, "replay", "--docs", _window_docs(settings))


def _staged(settings: Settings) -> Path:
    """In the folder of this run: built by the code that is measured."""
    return settings.work / f"staged-{settings.docs}"


def _window_docs(settings: Settings) -> int:
    return int(settings.options.get("window_docs", min(settings.docs, 100_000)))


def contestants(settings: Settings) -> list[Contestant]:
    found: list[Contestant] = []
    staged = _staged(settings)
    if staged.exists():
        facts = json.loads((staged / "facts.json").read_text())
        for name, how in ((OURS, "ours"), (OWN, "own")):
            arguments = ("--how", how, "--staged", staged)
            command = settings.module("contestants.load_duckdb", *arguments, "--out", "{out}")
            found.append(_make(DUCKDB, name, command, facts))
            if "postgres" in settings.servers:
                url = settings.servers["postgres"].url
                command = settings.module("contestants.load_postgres", *arguments, "--url", url)
                found.append(_make(POSTGRES, name, command, facts))
            if all(os.environ.get(needed) for needed in SNOWFLAKE_NEEDS):
                schema = os.environ["SNOWFLAKE_SCRATCH"]
                command = settings.module("contestants.load_snowflake", *arguments, "--schema", schema)
                found.append(_make(SNOWFLAKE, name, command, {"rows": facts["rows"], "document_bytes": 0}))
        if "s3" in settings.servers:
            server = settings.servers["s3"]
            for name, how in ((PROVEN, "when_required"), (READ, "always")):
                given = ("--read-back", how, "--staged", staged, "--bucket", server.url)
                command = settings.module("contestants.stage_s3", *given)
                found.append(_make(S3_STAGE, name, command, facts, servers=("s3",)))
    if "replay" in settings.servers:
        docs, url = _window_docs(settings), settings.servers["replay"].url
        command = settings.module("contestants.window", "--url", url, "--docs", docs, "--out", "{out}")
        found.append(_make(WINDOW, OURS, command, {"rows": docs, "document_bytes": 0}))
    return found


def _make(
    race: str, name: str, command: tuple[str, ...], facts: dict[str, Any], servers: tuple[str, ...] = ()
) -> Contestant:
    expected = facts if facts["document_bytes"] and not servers else {"rows": facts["rows"]}
    return Contestant(
        race, name, command, servers=servers, expected=expected, moves_bytes=facts["document_bytes"]
    )


def goals(results: Results) -> list[Goal]:
    found = []
    snowflake = [SNOWFLAKE] if results.has(SNOWFLAKE, OURS, OWN) else []
    for race in (DUCKDB, POSTGRES, *snowflake):
        least = 0.9 if race == POSTGRES else 0.8
        work, goal = f"staged parts {race}", f"≥ {least} × its own bulk load of the same rows"
        if results.has(race, OURS, OWN):
            ratio = results.ratio(race, OURS, OWN)
            found.append(Goal(work, goal, f"{ratio:.2f} ×", ratio >= least))
        else:
            found.append(Goal(work, goal, "", None))
    work, goal = "bytes read back from S3 to prove parts", "0 where the store proves them"
    if results.has(S3_STAGE, PROVEN):
        read_back = results.median(S3_STAGE, PROVEN, "read_back_mb")
        found.append(Goal(work, goal, f"{read_back:,.0f} MB", read_back == 0))
    else:
        found.append(Goal(work, goal, "", None))
    work, goal = "whole window without Airflow, embedded", "≤ 1.3 × the sum of its extract and its load"
    if results.has(WINDOW, OURS):
        ratio = results.median(WINDOW, OURS, "of_extract_and_load")
        found.append(Goal(work, goal, f"{ratio:.2f} ×", ratio <= 1.3))
    else:
        found.append(Goal(work, goal, "", None))
    return found
