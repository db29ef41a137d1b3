"""Each command on an Airflow whose metadata database is not migrated or not there: one sentence of the right kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import AFTER, Place

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "flights", "--reference-time", AFTER),
    "status": ("status", "flights", "--reference-time", AFTER),
    "gaps": ("gaps", "flights", "--reference-time", AFTER),
    "history": ("history", "flights", "2013-11-03"),
    "diff": ("diff", "flights", "--from", "2013-11-03", "--to", "2013-11-03"),
    "recheck": ("recheck", "flights", "--days", "1", "--here", "--reference-time", AFTER),
    "reprocess": ("reprocess", "flights", "--from", "2013-11-03", "--to", "2013-11-03", "--here"),
    "waive": ("waive", "flights", "--from", "2013-11-03", "--to", "2013-11-03", "--reason", "lost"),
    "doctor": ("doctor", "flights", "--reference-time", AFTER),
    "quarantine list": ("quarantine", "list", "flights"),
    "unlock": ("unlock", "flights"),
    "cleanup": ("cleanup", "flights"),
    "columns infer": ("columns", "infer", "flights"),
    "state export": ("state", "export", "flights", "-"),
}
STATES: dict[str, dict[str, Any]] = {
    "variable": {"type": "variable"},
    "sql": {"type": "sql", "conn_id": "kept_in_the_database"},
}
MIGRATE = "run `airflow db migrate`"


@pytest.fixture
def metadata(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Point Airflow at another metadata database for the test."""
    import sqlalchemy as sa
    from airflow import settings

    # handlers of earlier tests write to streams that are closed by now
    monkeypatch.setattr(logging, "raiseExceptions", False)
    engines = []

    def point(url: str) -> None:
        engine = sa.create_engine(url)
        engines.append(engine)
        monkeypatch.setattr(settings, "engine", engine)
        for name in ("Session", "NonScopedSession"):
            make = getattr(settings, name, None)
            if make is not None:
                monkeypatch.setattr(settings, name, sa.orm.sessionmaker(bind=engine, expire_on_commit=False))

    yield point
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_migrated(
    place: Place, metadata: Any, tmp_path: Path, command: str, state: str
) -> None:
    place.write(state=STATES[state])
    place.seed()
    metadata(f"sqlite:///{tmp_path}/empty.db")
    result = place(*COMMANDS[command])
    assert result.code == 5, "a table that is missing will be missing the next time too"
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert MIGRATE in errors[0]
    assert "Traceback" not in result.err
    assert "the next try" not in result.err


@pytest.mark.parametrize("state", STATES)
def test_a_database_that_is_out_of_reach(place: Place, metadata: Any, tmp_path: Path, state: str) -> None:
    place.write(state=STATES[state])
    metadata("postgresql+psycopg2://kit:hunter2@127.0.0.1:1/airflow")
    result = place(*COMMANDS["status"])
    assert result.code == 3
    assert "Airflow's metadata database: the database answered" in result.err
    assert "Traceback" not in result.err
    assert "hunter2" not in result.err
