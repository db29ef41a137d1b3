"""Connectors by name: a lazy table for our own, the entry-point group for everybody else's.

A package adds one with::

    [project.entry-points."airflow_pipeline_provider.connectors"]
    "source.kafka" = "mycompany.connectors:KafkaSource"
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from airflow_pipeline_provider.exceptions import ConfigError, FatalError

ENTRY_POINT_GROUP = "airflow_pipeline_provider.connectors"
KINDS = ("source", "stage", "target", "state")

_HERE = "airflow_pipeline_provider"
BUILT_IN: dict[str, str] = {
    "source.elasticsearch": f"{_HERE}.connectors.sources.elasticsearch:ElasticsearchSource",
    "source.sql": f"{_HERE}.connectors.sources.sql:SqlSource",
    "stage.object_store": f"{_HERE}.connectors.stages.object_store:ObjectStoreStage",
    "target.duckdb": f"{_HERE}.connectors.targets.duckdb:DuckDBTarget",
    "target.postgres": f"{_HERE}.connectors.targets.postgres:PostgresTarget",
    "target.snowflake": f"{_HERE}.connectors.targets.snowflake:SnowflakeTarget",
    "state.variable": f"{_HERE}.state.variable:VariableState",
    "state.sql": f"{_HERE}.state.sql:SqlState",
}

_registered: dict[str, str | type] = {}


def register(kind: str, name: str, target: str | type) -> None:
    """Add or replace a connector for this process: a class, or "module:Class" imported on first use."""
    if kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    _registered[f"{kind}.{name}"] = target


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, Callable[[], Any]]:
    return {point.name: point.load for point in entry_points(group=ENTRY_POINT_GROUP)}


def known(kind: str) -> list[str]:
    """Names that `type:` may have in this section."""
    names = {*BUILT_IN, *_entry_points(), *_registered}
    return sorted(name.partition(".")[2] for name in names if name.startswith(f"{kind}."))


def connector_class(kind: str, name: str) -> Any:
    """The class; an unknown name is a ConfigError with the nearest known one."""
    key = f"{kind}.{name}"
    found = _registered.get(key) or BUILT_IN.get(key)
    if isinstance(found, type):
        return found
    if found is not None:
        module, _, attribute = found.partition(":")
        return getattr(import_module(module), attribute)
    if key in _entry_points():
        return _entry_points()[key]()
    import difflib  # only for somebody who misspelled something

    near = difflib.get_close_matches(str(name), known(kind), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known(kind))}"
    raise ConfigError(f"{kind}.type: unknown {name!r}; {hint}")


def options_model(kind: str, name: str) -> Any:
    """The pydantic model of the connector's YAML section."""
    return connector_class(kind, name).Options


def require(module: str, extra: str, why: str) -> Any:
    """Import a vendor library, or say which extra brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise FatalError(
            f"{why} needs the library {module.partition('.')[0]!r}, which cannot be imported ({error}): "
            f"pip install 'airflow-pipeline-provider[{extra}]'"
        ) from error
