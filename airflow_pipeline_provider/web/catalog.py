"""List the pipelines that Airflow's own database knows: serialized DAGs, tags, and files that do not load.

The facts of a pipeline (`state.facts`) are in its serialized DAG, which is read once for each of its versions. The
list itself is read again when it is older than `FRESH_SECONDS`: Airflow parses DAG files no more often than that.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from airflow.models.dag import DagModel, DagTag
from airflow.models.errors import ParseImportError
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from msgspec import Struct

from airflow_pipeline_provider.observability.redaction import redact_text
from airflow_pipeline_provider.state.facts import PipelineFacts, read_facts

logger = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
FACTS_KEY = "pipeline_facts"  # as `GenerateWindowOperator` serializes it
_CHUNK = 200  # serialized DAGs a query
_SUFFIXES = (".yaml", ".yml")
_PLACE = re.compile(r"\((?P<file>[^()\n]+?\.ya?ml)(?::(?P<line>\d+))?\)")
_WORD = re.compile(r"[A-Za-z0-9](?:\.?[A-Za-z0-9_\-])*")  # a pipeline id
_RAISED = re.compile(r"^[\w.]*Error: (?:Failed to serialize DAG '[^'\n]*': )?", re.MULTILINE)
_LONGEST_MESSAGE = 4000


class ListedPipeline(NamedTuple):
    """A DAG with a pipeline; `stale`: its file is gone or does not load, `parsed_at` is when it last did."""

    dag_id: str
    facts: PipelineFacts
    paused: bool
    stale: bool
    tags: tuple[str, ...]
    parsed_at: datetime | None
    version: str
    bundle: str | None


class BrokenFile(NamedTuple):
    """A pipeline file that does not load; `since` is when it last did, None if it never did.

    `dag_id` is the pipeline that the file held then, None if that is not certain.
    """

    file: str
    line: int | None
    message: str
    since: datetime | None
    dag_id: str | None
    bundle: str | None


@dataclass(frozen=True)
class Listing:
    """What Airflow's database knows, read at `read_at` of `time.monotonic`."""

    pipelines: dict[str, ListedPipeline] = field(default_factory=dict)
    broken: tuple[BrokenFile, ...] = ()
    read_at: float = float("-inf")

    def problem_of(self, dag_id: str) -> BrokenFile | None:
        """Return the file that holds this pipeline, if it does not load now."""
        return next((file for file in self.broken if file.dag_id == dag_id), None)


class _Listings:
    """The newest catalog of this process, and the facts of each version of a DAG."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = Listing()
        self._facts: dict[tuple[str, str], PipelineFacts | None] = {}

    def get(self, max_age: float) -> Listing:
        with self._lock:
            if time.monotonic() - self._newest.read_at > max_age:
                self._newest = self._read()
            return self._newest

    def forget(self) -> None:
        with self._lock:
            self._newest, self._facts = Listing(), {}

    def _read(self) -> Listing:
        at = time.monotonic()
        with create_session(scoped=False) as session:
            rows = session.execute(_newest_versions()).all()
            versions = {(row.dag_id, row.dag_hash): row.id for row in rows}
            for version in self._facts.keys() - versions.keys():
                del self._facts[version]
            unknown = [id_ for version, id_ in versions.items() if version not in self._facts]
            found = dict(_read_facts(session, unknown))
            for version in versions.keys() - self._facts.keys():
                self._facts[version] = found.get(version)
            tags = _read_tags(session)
            listed = {}
            for row in rows:
                facts = self._facts[row.dag_id, row.dag_hash]
                if facts is not None:
                    listed[row.dag_id] = ListedPipeline(
                        row.dag_id,
                        facts,
                        bool(row.is_paused),
                        bool(row.is_stale),
                        tags.get(row.dag_id, ()),
                        row.last_parsed_time,
                        row.dag_hash,
                        row.bundle_name,
                    )
            return Listing(listed, tuple(_broken_files(_import_errors(session), listed)), at)


_catalogs = _Listings()


def catalog(max_age: float = FRESH_SECONDS) -> Listing:
    """Return the catalog, read again if it is older than `max_age` seconds."""
    return _catalogs.get(max_age)


def forget_catalog() -> None:
    """Read everything again at the next request; for tests."""
    _catalogs.forget()


def find_pipeline(dag_id: str) -> ListedPipeline | None:
    """Return the pipeline of a DAG; None for a DAG that is none, or is unknown."""
    found = catalog().pipelines.get(dag_id)
    return found if found is not None else catalog(1.0).pipelines.get(dag_id)


def _newest_versions() -> sa.Select[Any]:
    """Select each DAG with the id and hash of its newest serialized version."""
    numbered = sa.select(
        SerializedDagModel.dag_id,
        SerializedDagModel.id,
        SerializedDagModel.dag_hash,
        sa.func.row_number()
        .over(partition_by=SerializedDagModel.dag_id, order_by=SerializedDagModel.created_at.desc())
        .label("age"),
    ).subquery()
    return (
        sa.select(
            DagModel.dag_id,
            DagModel.is_paused,
            DagModel.is_stale,
            DagModel.last_parsed_time,
            DagModel.bundle_name,
            numbered.c.id,
            numbered.c.dag_hash,
        )
        .join(numbered, numbered.c.dag_id == DagModel.dag_id)
        .where(numbered.c.age == 1)
    )


def _read_facts(session: Any, ids: list[Any]) -> Iterator[tuple[tuple[str, str], PipelineFacts]]:
    """Yield the facts of the versions that have any; other DAGs are left out by the database."""
    text, packed = sa.cast(SerializedDagModel._data, sa.Text), SerializedDagModel._data_compressed
    for first in range(0, len(ids), _CHUNK):
        statement = sa.select(SerializedDagModel.dag_id, SerializedDagModel.dag_hash, text, packed).where(
            SerializedDagModel.id.in_(ids[first : first + _CHUNK]),
            sa.or_(packed.is_not(None), text.contains(FACTS_KEY, autoescape=True)),
        )
        for dag_id, version, plain, compressed in session.execute(statement):
            try:
                facts = facts_in(zlib.decompress(compressed) if compressed else plain)
            except ValueError as error:  # written by another version of this package
                logger.warning("the facts of DAG %r cannot be read: %s", dag_id, error)
                continue
            if facts is not None:
                yield (dag_id, version), facts


class _Fields(Struct):
    pipeline_facts: str | None = None


class _Task(Struct):
    fields: _Fields = msgspec.field(name="__var", default_factory=_Fields)


class _Dag(Struct):
    tasks: list[_Task] = []


class _Serialized(Struct):
    """The part of a serialized DAG that is read; parsing all of it takes most of the first answer's time."""

    dag: _Dag


_decode = msgspec.json.Decoder(_Serialized).decode


def facts_in(serialized: str | bytes) -> PipelineFacts | None:
    """Return the facts of the first pipeline in a serialized DAG; raise ValueError for what cannot be read."""
    found = (task.fields.pipeline_facts for task in _decode(serialized).dag.tasks)
    stored = next((facts for facts in found if facts is not None), None)
    return read_facts(stored) if stored is not None else None


def _read_tags(session: Any) -> dict[str, tuple[str, ...]]:
    tags: dict[str, list[str]] = {}
    for dag_id, name in session.execute(sa.select(DagTag.dag_id, DagTag.name).order_by(DagTag.name)):
        tags.setdefault(dag_id, []).append(name)
    return {dag_id: tuple(names) for dag_id, names in tags.items()}


def _import_errors(session: Any) -> Sequence[Any]:
    """Return file, stack trace and bundle of Airflow's import errors of pipeline files (`factory.broken`)."""
    error = ParseImportError
    of_files = sa.or_(*(error.filename.endswith(suffix) for suffix in _SUFFIXES))
    columns = sa.select(error.filename, error.stacktrace, error.bundle_name)
    rows: Sequence[Any] = session.execute(columns.where(of_files).order_by(error.filename)).all()
    return rows


def _broken_files(rows: Sequence[Any], listed: Mapping[str, ListedPipeline]) -> Iterator[BrokenFile]:
    """Yield the files that do not load.

    A pipeline's facts hold the name of its file, not the folder. So an error is only attributed to a pipeline of the
    same DAG bundle that is stale, if no other pipeline and no other error there have this name: a bundle is of one
    team, and a DAG that was parsed after the error has another file.  Of several pipelines of a file with `matrix` it
    is attributed to the stale ones that it names.
    """
    held: dict[tuple[str | None, str | None], list[ListedPipeline]] = defaultdict(list)
    for one in listed.values():
        held[one.bundle, one.facts.file].append(one)
    places = [(bundle, _name(filename)) for filename, _, bundle in rows]
    for (filename, stacktrace, bundle), place in zip(rows, places, strict=True):
        message = _RAISED.split(stacktrace or "")[-1].strip()[:_LONGEST_MESSAGE]
        lines = [int(at["line"]) for at in _PLACE.finditer(message) if at["line"]]
        line = min(lines, default=None)
        found = held[place]
        before: list[ListedPipeline | None] = [None]
        if len(found) == places.count(place) == 1 and found[0].stale:
            before = [found[0]]
        elif len(found) > 1:
            named = set(_WORD.findall(message))
            before = [one for one in found if one.stale and one.dag_id in named] or [None]
        for stale in before:
            yield BrokenFile(
                filename,
                line,
                redact_text(message),
                stale.parsed_at if stale else None,
                stale.dag_id if stale else None,
                bundle,
            )


def _name(filename: str) -> str:
    return filename.rpartition("/")[2]
