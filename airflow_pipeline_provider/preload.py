"""Import what the tasks of pipelines need before Airflow forks them, so that no task imports it again.

Write a module `airflow_local_settings.py` with these lines, and put its folder into the `PYTHONPATH` of the processes
that fork tasks: the scheduler with LocalExecutor, each worker with CeleryExecutor::

    from airflow_pipeline_provider.preload import preload

    preload("elasticsearch", "object_store", "snowflake", "sql")
"""

from __future__ import annotations

from importlib import import_module

from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.garbage_collection import relaxed_gc
from airflow_pipeline_provider.suggestions import did_you_mean

_PACKAGE = "airflow_pipeline_provider"
# What every task imports: the DAG file's part, the phases, and Arrow
_TASKS = (
    f"{_PACKAGE}.factory.dag",
    f"{_PACKAGE}.factory.maintenance",
    f"{_PACKAGE}.phases.run",
    f"{_PACKAGE}.phases.drain",
    f"{_PACKAGE}.envelope.parts",
)
_SQL_STATE = (f"{_PACKAGE}.state.sql", f"{_PACKAGE}.state.sql_database")
_POSTGRES = ("airflow.providers.postgres.hooks.postgres",)
# `type:` of a section of the pipeline file -> modules that its connectors import on first use
CONNECTORS: dict[str, tuple[str, ...]] = {
    "duckdb": (f"{_PACKAGE}.connectors.duckdb.target", "duckdb"),
    "elasticsearch": (f"{_PACKAGE}.connectors.elasticsearch.source", "elastic_transport"),
    "object_store": (
        f"{_PACKAGE}.connectors.object_store.stage",
        f"{_PACKAGE}.connectors.object_store.remote_files",
        "s3fs",
        "airflow.providers.amazon.aws.fs.s3",
    ),
    "postgres": (
        f"{_PACKAGE}.connectors.postgres.target",
        f"{_PACKAGE}.connectors.postgres.session",
        *_POSTGRES,
    ),
    "snowflake": (
        f"{_PACKAGE}.connectors.snowflake.target",
        "airflow.providers.snowflake.hooks.snowflake",
        "snowflake.connector",
    ),
    "sql": (*_SQL_STATE, f"{_PACKAGE}.connectors.sql.source", *_POSTGRES),
    "variable": (f"{_PACKAGE}.state.variable",),
}


def preload(*types: str) -> list[str]:
    """Import the modules of these connectors, named as `type:` in a pipeline file; without names, of all.

    Return the modules that are not installed. Nothing is connected, and no thread is started.

    Raise ConfigError for a name that is not a connector of this package.
    """
    for name in types:
        if name not in CONNECTORS:
            hint = did_you_mean(name, list(CONNECTORS)) or f"known: {', '.join(CONNECTORS)}"
            raise ConfigError(f"preload: unknown connector {name!r}; {hint}")
    modules = [*_TASKS, *(module for name in types or CONNECTORS for module in CONNECTORS[name])]
    missing = []
    with relaxed_gc():
        for module in dict.fromkeys(modules):
            try:
                import_module(module)
            except ImportError:
                missing.append(module)
    return missing
