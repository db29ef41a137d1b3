"""Build what `certify` runs: connectors in a scratch place, and the properties of their kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import uuid4

import yaml
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.connectors.scratch import Scratch, SourceScratch, StageScratch
from airflow_pipeline_provider.connectors.sql_scratch import SqlScratch
from airflow_pipeline_provider.core.intervals import Interval, parse_instant
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.properties import source, sql_target, stage, state, target
from airflow_pipeline_provider.testing.properties.judging import Property
from airflow_pipeline_provider.testing.source_rows import Expected, KitRow, Loaded

_TYPES = {  # by type of the Airflow connection
    "target": {"postgres": "postgres", "postgresql": "postgres", "snowflake": "snowflake"},
    "source": {"elasticsearch": "elasticsearch"},
    "stage": {},
    "state": {"postgres": "sql", "postgresql": "sql", "sqlite": "sql"},
}
_MOST_ROWS = 100_000  # of the window of a source that is read
_STILL = timedelta(minutes=10)  # documents younger than that may still come
_SPANS = tuple(timedelta(seconds=seconds) for seconds in (86_400, 3_600, 600, 60, 1))


class Case(NamedTuple):
    """A property with its lab."""

    property: Property[Any]
    lab: Any


@dataclass
class Run:
    """What is run: cases, and the scratch places that are emptied after them."""

    type: str
    name: str
    cases: list[Case]
    scratches: list[Scratch]


class Request(NamedTuple):
    """The command's arguments."""

    kind: str
    conn: str
    type: str | None
    schema: str | None
    scratch: str | None
    stage: str | None
    settings: Mapping[str, object]
    window: Interval | None
    compression: str | None = None


def read_settings(texts: Sequence[str] | None) -> dict[str, object]:
    """Parse `--set KEY=VALUE`; the value is YAML, as in a pipeline file."""
    found: dict[str, object] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set: expected KEY=VALUE, such as index=flights, got {text!r}")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set: {key}: expected a YAML value, got {value!r}") from error
    return found


def read_window(first: str | None, last: str | None) -> Interval | None:
    """Parse `--from` and `--to`, which come together."""
    if first is None and last is None:
        return None
    if first is None or last is None:
        raise ConfigError("--from and --to: expected both or none")
    start, end = parse_instant(first, "--from"), parse_instant(last, "--to")
    if end <= start:
        raise ConfigError(f"--to: expected a time after --from {first}, got {last}")
    return Interval(start, end)


def build(request: Request, resources: ExitStack) -> Run:
    """Return the run; nothing has been created."""
    name = f"certify_{uuid4().hex[:8]}"
    kind = request.type or _type_of(request)
    builders: dict[str, Callable[[Request, Any, str, ExitStack], tuple[list[Case], list[Scratch]]]] = {
        "target": _target,
        "source": _source,
        "stage": _stage,
        "state": _state,
    }
    chosen = connector_class(request.kind, kind)
    cases, scratches = builders[request.kind](
        request._replace(settings={"type": kind, **request.settings}), chosen, name, resources
    )
    return Run(kind, name, cases, scratches)


def _type_of(request: Request) -> str:
    if request.kind == "stage":
        return "object_store"
    if "/" in request.conn:
        if request.kind == "target" and request.conn.endswith((".duckdb", ".db")):
            return "duckdb"
        raise ConfigError(f"--type: expected the type of the {request.kind}, since {request.conn} is a path")
    conn_type = get_connection(request.conn).conn_type
    if conn_type in _TYPES[request.kind]:
        return _TYPES[request.kind][conn_type]
    if request.kind == "source":
        return "sql"
    raise ConfigError(
        f"--type: expected the type of the {request.kind}, since connection {request.conn!r} has the type "
        f"{conn_type!r}"
    )


def _section(request: Request, of: Any, more: Mapping[str, object]) -> dict[str, object]:
    """Return the connector's section: CONN under the key that the connector has for it, and the settings."""
    key = next((key for key in ("conn_id", "path") if key in of.Options.model_fields), None)
    given = {key: request.conn} if key else {}
    return {**given, **more, **request.settings}


def _made(of: Any, section: Mapping[str, object], pipeline_id: str) -> Any:
    try:
        options = of.Options.model_validate(dict(section))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'section'}: {one['msg']}" for one in error.errors()[:5]
        )
        raise ConfigError(f"{problems}: correct it by --set, --schema or the argument CONN") from error
    return of(options, Identity(pipeline_id, "UTC"))


def _scratch_of(made: Any) -> Any:
    scratch = made.scratch()
    if scratch is None:
        raise ConfigError(
            f"{type(made).__qualname__} cannot be certified: it has no scratch place (the method `scratch` of its "
            "class)"
        )
    return scratch


# --- one builder for each kind


def _target(request: Request, of: Any, name: str, resources: ExitStack) -> tuple[list[Case], list[Scratch]]:
    fields = of.Options.model_fields
    if request.schema is None and "table" in fields:
        raise ConfigError("--schema: expected a schema without tables, in which certify may create its own")
    if request.settings.get("external_stage") and request.stage is None:
        raise ConfigError(
            "--stage: expected the path that the external stage reads, such as s3://conn@bucket/folder"
        )
    more: dict[str, object] = {"table": f"{request.schema}.{name}"} if "table" in fields else {}
    if "statement_timeout" in fields:
        more["statement_timeout"] = "5m"
    section = _section(request, of, more)

    def vary(pipeline_id: str, **changes: object) -> Any:
        known = {key: value for key, value in changes.items() if key in fields}
        return _made(of, {**section, **known}, pipeline_id)

    scratch = _scratch_of(resources.enter_context(closing(vary(name))))
    folder = request.stage or resources.enter_context(tempfile.TemporaryDirectory(prefix="certify-"))
    chosen = {"compression": request.compression} if request.compression else {}
    place = {"type": "object_store", "path": f"{folder.rstrip('/')}/{name}", **chosen}
    staged = _made(ObjectStoreStage, place, name)
    resources.enter_context(closing(staged))
    is_sql = isinstance(scratch, SqlScratch)
    lab = target.TargetLab(vary, staged, vary=vary, scratch=scratch if is_sql else None)
    properties = list(target.PROPERTIES)
    if isinstance(scratch, SqlScratch):
        properties = [sql_target.RIGHTS, *properties, *sql_target.properties(scratch)]
    cases = [Case(one, replace(lab, pipeline_id=f"{name}/{n}")) for n, one in enumerate(properties)]
    return cases, [scratch, _scratch_of(staged)]


def _stage(request: Request, of: Any, name: str, resources: ExitStack) -> tuple[list[Case], list[Scratch]]:
    section = _section(request, of, {})
    if "path" in section:
        section["path"] = f"{str(section['path']).rstrip('/')}/{name}"

    def open_stage() -> Any:
        return _made(of, section, name)

    scratch = _scratch_of(resources.enter_context(closing(open_stage())))
    lab = stage.StageLab(open_stage, name, scratch if isinstance(scratch, StageScratch) else None)
    return [Case(one, lab) for one in stage.PROPERTIES], [scratch]


@dataclass(frozen=True)
class OpenState:
    """Opens the store of a section; another process may do so too."""

    type: str
    section: Mapping[str, object]

    def __call__(self, pipeline_id: str, timezone: str) -> State:
        """Open the store for a pipeline."""
        of = connector_class("state", self.type)
        made: State = of(of.Options.model_validate(dict(self.section)), Identity(pipeline_id, timezone))
        return made


def _state(request: Request, of: Any, name: str, resources: ExitStack) -> tuple[list[Case], list[Scratch]]:
    more: dict[str, object] = {"schema": request.schema} if request.schema is not None else {}
    if "table_prefix" in of.Options.model_fields:
        more["table_prefix"] = f"{name}_"
    section = _section(request, of, more)
    scratch = _scratch_of(resources.enter_context(closing(_made(of, section, name))))
    is_embedded = bool(getattr(scratch, "is_embedded", False))
    lab = state.StateLab(OpenState(str(section["type"]), section), is_embedded=is_embedded)
    cases = [Case(one, replace(lab, pipeline_id=f"{name}/{n}")) for n, one in enumerate(state.PROPERTIES)]
    return cases, [scratch]


def _source(request: Request, of: Any, name: str, resources: ExitStack) -> tuple[list[Case], list[Scratch]]:
    section = _section(request, of, {})
    fields = of.Options.model_fields

    def make(**changes: object) -> Any:
        known = {key: value for key, value in changes.items() if key in fields}
        return _made(of, {**section, **known}, name)

    main = resources.enter_context(closing(make()))
    found = main.scratch()
    scratch = found if isinstance(found, SourceScratch) else None
    load, scratches = None, list[Scratch]()
    if request.scratch is not None:
        scratch = _scratch_of(main)
        scratch.name = f"{request.scratch}{name}"
        scratches = [scratch]
        load = _loader(scratch, resources)
    window = request.window or _still_window(main)
    lab = source.SourceLab(make, window, load, scratch)
    return [Case(one, lab) for one in source.properties()], scratches


def _loader(scratch: SourceScratch, resources: ExitStack) -> Callable[[Sequence[KitRow]], Loaded]:
    def load(rows: Sequence[KitRow]) -> Loaded:
        timed = [(row.key, row.event_time, row.text) for row in rows if row.event_time is not None]
        made, expected = scratch.fill(timed)
        resources.callback(made.close)
        return Loaded(made, {key: Expected(*row) for key, row in expected.items()}, scratch.empty)

    return load


def _still_window(main: Any) -> Interval | None:
    """Return a window before the newest event that holds rows, few enough to be read in a minute."""
    newest = main.newest_event_time()
    if newest is None:
        return None
    end = min(newest + timedelta(milliseconds=1), datetime.now(timezone.utc) - _STILL)
    for span in _SPANS:
        if 0 < main.count(Interval(end - span, end)) <= _MOST_ROWS:
            return Interval(end - span, end)
    return None
