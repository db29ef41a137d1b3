"""The Airflow of the group `wide`: CeleryExecutor, two workers of four slots, on ports and folders of its own.

Every component imports the pipelines' libraries at its start (`preload/`), which counts in the workers: they fork the
tasks.  `--set preload=no` leaves that out.

Imported by the harness, so by the standard library alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks.contract import Server, Settings
from benchmarks.harness import output_of, say
from benchmarks.servers import start_postgres, start_service
from benchmarks.wide.pipelines import write_dags

AIRFLOW_PORT, POSTGRES_PORT = 27180, 27432  # Airflow takes the four ports after its own, too
WORKERS, SLOTS = 2, 4
PRELOAD = Path(__file__).parent / "preload"
METADATA, WAREHOUSE = "wide_airflow", "wide_warehouse"


def start_airflow(
    settings: Settings, opened: ExitStack, connections: dict[str, str], counts: tuple[int, ...]
) -> None:
    """As `settings.servers["airflow"]`, whose pids are the workers', with its DAGs ready; target and state are in
    `settings.servers["postgres"]`.  `connections`: by id, as the environment gives them to Airflow.
    """
    start_postgres(settings, opened, "bench-wide", POSTGRES_PORT)
    server = settings.servers["postgres"].url
    output_of(settings.module("wide.delivery", server, METADATA, WAREHOUSE))
    home = settings.data / "airflow-wide"
    write_dags(home / "dags", settings.work, counts)
    say(f"starting Airflow with {WORKERS} Celery workers ...")
    preload = {} if settings.options.get("preload") == "no" else {"PYTHONPATH": str(PRELOAD)}
    env = {
        "PYTHON": settings.python,
        "EXECUTOR": "CeleryExecutor",
        "CELERY_WORKERS": str(WORKERS),
        "WORKER_CONCURRENCY": str(SLOTS),
        "TRIGGERER": "0",
        **preload,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(server, METADATA, "postgresql+psycopg2"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",  # Airflow's own default; parsing takes CPU
        "AIRFLOW_CONN_WIDE_WAREHOUSE": warehouse(settings),
        **{f"AIRFLOW_CONN_{name.upper()}": text for name, text in connections.items()},
    }
    printed = start_service(opened, "airflow", AIRFLOW_PORT, home, env)
    pids = [int(file.read_text().split()[0]) for file in sorted((home / "run").glob("worker-*.pid"))]
    assert len(pids) == WORKERS, f"expected {WORKERS} workers, found {pids}"
    settings.servers["airflow"] = Server("airflow", printed["AIRFLOW_API_URL"], tuple(pids))
    output_of(settings.module("wide.ready", *counts), **printed)


def warehouse(settings: Settings) -> str:
    return _database(settings.servers["postgres"].url, WAREHOUSE, "postgresql")


def service_env(settings: Settings) -> dict[str, str]:
    """How contestants reach Airflow, as start.sh printed it."""
    lines = Path(settings.data / "airflow-wide" / "service.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def _database(server: str, name: str, scheme: str) -> str:
    return urlunsplit(urlsplit(server)._replace(scheme=scheme, path=f"/{name}"))
