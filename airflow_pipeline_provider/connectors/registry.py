"""Find connectors by name: this package's own in a table, those of other packages by their entry points.

A package adds one with::

    [project.entry-points."airflow_pipeline_provider.connectors"]
    "source.kafka" = "mycompany.connectors:KafkaSource"
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from airflow_pipeline_provider import __version__
from airflow_pipeline_provider.exceptions import ConfigError, FatalError
from airflow_pipeline_provider.garbage_collection import relaxed_gc
from airflow_pipeline_provider.suggestions import did_you_mean

ENTRY_POINT_GROUP = "airflow_pipeline_provider.connectors"
KINDS = ("source", "stage", "target", "state")

DISTRIBUTION = "airflow-pipeline-provider"
_HERE = "airflow_pipeline_provider"
BUILT_IN: dict[str, str] = {
    "source.elasticsearch": f"{_HERE}.connectors.elasticsearch.source:ElasticsearchSource",
    "source.sql": f"{_HERE}.connectors.sql.source:SqlSource",
    "stage.object_store": f"{_HERE}.connectors.object_store.stage:ObjectStoreStage",
    "target.duckdb": f"{_HERE}.connectors.duckdb.target:DuckDBTarget",
    "target.postgres": f"{_HERE}.connectors.postgres.target:PostgresTarget",
    "target.snowflake": f"{_HERE}.connectors.snowflake.target:SnowflakeTarget",
    "state.variable": f"{_HERE}.state.variable:VariableState",
    "state.sql": f"{_HERE}.state.sql:SqlState",
}

_registered: dict[str, str | type] = {}


def register(kind: str, name: str, target: str | type, *, replace: bool = False) -> None:
    """Add a connector for this process: a class, or "module:Class", which is imported on first use.

    Raise ConfigError if `kind` is unknown, or if another class has the name already and `replace` is False.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    key, path = f"{kind}.{name}", _path(target)
    if not replace and (taken := _taken(key) - {path}):
        raise ConfigError(
            f"{key}: cannot register {path}: {' and '.join(sorted(taken))} has this name already; "
            "choose another name, or pass replace=True to use yours in its place"
        )
    _registered[key] = target


def known(kind: str) -> list[str]:
    """Return the names that `type:` may have in this section."""
    names = {*BUILT_IN, *_entry_points(), *_registered}
    return sorted(name.partition(".")[2] for name in names if name.startswith(f"{kind}."))


class Installed(NamedTuple):
    """A connector, and the package that defines it; `package` is "" if this process registered the connector."""

    kind: str
    type: str
    path: str
    package: str
    version: str


def installed() -> list[Installed]:
    """Return all connectors in the order of `KINDS`; a type that two packages define is in it twice."""
    rows = []
    for kind in KINDS:
        for name in known(kind):
            key = f"{kind}.{name}"
            points = [_point(key, _path(_registered[key]))] if key in _registered else _installed(key)
            rows += [Installed(kind, name, point.value, *_package(point)) for point in points]
    return rows


def connector_class(kind: str, name: str) -> Any:
    """Return the class of a connector.

    Raise ConfigError if no connector has the name (it suggests the nearest one), if several packages define one, or
    if its package cannot be imported.
    """
    key = f"{kind}.{name}"
    found = _registered.get(key)
    if isinstance(found, type):
        return found
    points = [_point(key, found)] if found is not None else _installed(key)
    if len({point.value for point in points}) > 1:
        raise ConfigError(
            f"{kind}.type: {name!r} is defined by {' and by '.join(_origin(point) for point in points)}; "
            "uninstall one of them, or rename the entry point of one"
        )
    if points:
        return _loaded(points[0], kind, name)
    hint = did_you_mean(str(name), known(kind)) or f"known: {', '.join(known(kind))}"
    raise ConfigError(f"{kind}.type: unknown {name!r}; {hint}")


def _loaded(point: EntryPoint, kind: str, name: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{kind}.type: {name!r} is {_origin(point)}, which cannot be imported ({error}); "
            "install what it needs, or correct the name of the class"
        ) from error


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _installed(key: str) -> list[EntryPoint]:
    """Return the connectors of this name that installed packages define, this package's own first."""
    ours = [_point(key, BUILT_IN[key])] if key in BUILT_IN else []
    return [*ours, *_entry_points().get(key, [])]


def _taken(key: str) -> set[str]:
    if key in _registered:
        return {_path(_registered[key])}
    return {point.value for point in _installed(key)}


def _point(key: str, path: str) -> EntryPoint:
    return EntryPoint(name=key, value=path, group=ENTRY_POINT_GROUP)


def _origin(point: EntryPoint) -> str:
    if point.dist is not None:
        return f"{point.value} of package {point.dist.name}"
    if point.value == BUILT_IN.get(point.name):
        return f"{point.value} of package {DISTRIBUTION}"
    return point.value  # registered by the caller


def _package(point: EntryPoint) -> tuple[str, str]:
    """Return name and version of the package that defines the connector."""
    if point.dist is not None:
        return point.dist.name, point.dist.version
    if point.value == BUILT_IN.get(point.name):
        return DISTRIBUTION, __version__
    return "", ""


def _path(target: str | type) -> str:
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def options_model(kind: str, name: str) -> Any:
    """Return the pydantic model of the connector's YAML section."""
    return connector_class(kind, name).Options


def require(module: str, extra: str, why: str) -> Any:
    """Import a vendor library; raise FatalError that names its extra if it is missing."""
    try:
        with relaxed_gc():
            return import_module(module)
    except ImportError as error:
        raise FatalError(
            f"{why} needs the library {module.partition('.')[0]!r}, which cannot be imported ({error}): "
            f"pip install 'airflow-pipeline-provider[{extra}]'"
        ) from error
