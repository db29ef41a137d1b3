"""Find out what `_source` is: the document as it was indexed, rebuilt, or with fields left out.

Three places decide: the mapping (`_source`), the settings of each index (synthetic source, logsdb, time series,
vectors that are kept out of `_source`) and the search request (`exclude_vectors`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from airflow_pipeline_provider.config.field_control import FieldsOptions
from airflow_pipeline_provider.connectors.base import Body, BodyReport
from airflow_pipeline_provider.connectors.elasticsearch.client import EVERY_INDEX, Client, index_path
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.errors import member, object_at
from airflow_pipeline_provider.exceptions import DataError, FatalError

_VECTORS = "dense_vector,sparse_vector,rank_vectors"
_MAPPING = {"filter_path": "*.mappings._source,*.mappings._routing"}
_SETTINGS = {
    "include_defaults": "true",
    "filter_path": ",".join(
        f"*.*.index.{name}"
        for name in (
            "mode",
            "mapping.source.mode",
            "mapping.exclude_source_vectors",
            "knn*",
            "derived_source*",
            "search.default_pipeline",
        )
    ),
}
_KEEPS_SOURCE = ("standard", "lookup")  # values of `index.mode`
_SHOWN = 5  # names in a sentence


class Documents(NamedTuple):
    """The effect of mapping and settings; `routing_required` lists the indices that require a custom routing."""

    body: BodyReport
    routing_required: tuple[str, ...] = ()


def read_documents(client: Client, indices: Sequence[str], what: str) -> Documents:
    """Read mapping, settings and vector fields of every index behind the names.

    What may not be read, or cannot be (an index of a remote cluster), is reported as unknown.
    """
    reasons: dict[Body, list[str]] = {kind: [] for kind in Body}
    routing: list[str] = []
    local, remote = _by_cluster(indices)
    if remote:
        reasons[Body.UNKNOWN].append(
            f"the mapping and settings of {_some(remote)} cannot be read from this cluster"
        )
    vectors = vector_fields(client, indices, what)
    if local:
        try:
            mappings, settings = (
                client.ask(
                    "GET",
                    f"/{index_path(local)}/{kind}",
                    params={**asked, **EVERY_INDEX},
                    what=what,
                    by_index=True,
                )
                for kind, asked in (("_mapping", _MAPPING), ("_settings", _SETTINGS))
            )
        except (FatalError, DataError) as error:
            reasons[Body.UNKNOWN].append(
                f"mapping and settings cannot be read, so fields may be left out unseen; grant the privilege "
                f"view_index_metadata ({error.message})"
            )
        else:
            for name in sorted({*mappings, *settings}):
                mapping = object_at(object_at(mappings, name, what), "mappings", what)
                if _true(object_at(mapping, "_routing", what).get("required")):
                    routing.append(name)
                layers = _Settings(object_at(settings, name, what))
                for kind, reason in _reasons(object_at(mapping, "_source", what), layers, vectors):
                    reasons[kind].append(f"index {name}: {reason}")
    for kind in (Body.FILTERED, Body.UNKNOWN, Body.REBUILT):
        if reasons[kind]:
            return Documents(BodyReport(kind, _joined(reasons[kind])), tuple(routing))
    return Documents(BodyReport(Body.AS_INDEXED), tuple(routing))


def source_request(
    client: Client, indices: Sequence[str], what: str, fields: FieldsOptions | None = None
) -> dict[str, object]:
    """Return the search option for `_source`: none for all of it, the vectors that newer servers omit, `fields`."""
    wanted: dict[str, object] = {}
    if fields is not None:
        wanted = {"includes": list(fields.include), "excludes": list(fields.exclude)}
    if vector_fields(client, indices, what):
        wanted["exclude_vectors"] = False
    return {"_source": wanted} if wanted else {}


def vector_fields(client: Client, indices: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the fields that the server may keep out of `_source`; none if it does not know `exclude_vectors`.

    The option is sent only if there are any, since it also adds the embeddings of semantic_text fields.
    """
    if not client.knows_exclude_vectors(indices, what):
        return ()
    answer = client.ask(
        "GET",
        f"/{index_path(list(indices))}/_field_caps",
        params={"fields": "*", "types": _VECTORS, "include_unmapped": "false", **EVERY_INDEX},
        what=what,
        clusters=remote_clusters(indices),
    )
    kinds = set(_VECTORS.split(","))
    fields = member(answer, "fields", dict, what)
    return tuple(sorted(name for name in fields if kinds & set(object_at(fields, name, what))))


def explain_repeated(client: Client, record_ids: Sequence[str], what: str) -> str | None:
    """Name the routings of documents that share a record id `index/_id`; return None if none do."""
    for record_id in record_ids:
        index, _, name = record_id.partition("/")
        answer = client.ask(
            "POST",
            f"/{index_path([index])}/_search",
            {"size": 100, "query": {"ids": {"values": [name]}}, "_source": False},
            params=EVERY_INDEX,
            what=what,
            clusters=remote_clusters([index]),
        )
        hits = [hit for hit in member(answer, "hits.hits", list, what) if isinstance(hit, dict)]
        found = [str(hit.get("_routing", "none")) for hit in hits]
        if len(set(found)) > 1:
            return (
                f"{what}: document {record_id} exists {len(found)} times, under the routings "
                f"{_some(sorted(set(found)))}, so its record id is not unique: set `source.record_id: id_routing`, "
                "which makes the routing a part of it, and reprocess the days that are committed"
            )
    return None


class _Settings:
    """Settings of an index, the explicit ones before the defaults; values are texts."""

    def __init__(self, answer: dict[str, object]) -> None:
        self._layers = [answer.get(layer) for layer in ("settings", "defaults")]

    def get(self, *path: str) -> str | None:
        """Return the value at the path, in lower case."""
        for layer in self._layers:
            value: object = layer
            for step in ("index", *path):
                value = value.get(step) if isinstance(value, dict) else None
            if isinstance(value, str):
                return value.lower()
        return None


def _reasons(
    source: dict[str, Any], settings: _Settings, vectors: Sequence[str]
) -> Iterator[tuple[Body, str]]:
    """Yield each reason why `_source` of one index is not the indexed text."""
    mode = settings.get("mapping", "source", "mode") or str(source.get("mode", "")).lower()
    index_mode = settings.get("mode")
    includes, excludes = source.get("includes", []), source.get("excludes", [])
    if source.get("enabled") in (False, "false") or mode == "disabled":
        yield Body.FILTERED, "its mapping stores no _source"
    if excludes:
        yield Body.FILTERED, f"its mapping leaves {_some(excludes)} out of _source"
    if includes == ["*"]:
        yield Body.REBUILT, "its mapping filters _source (includes: *), so documents are written again"
    elif includes:
        yield Body.FILTERED, f"its mapping keeps only {_some(includes)} in _source"
    if mode == "synthetic" or str(source.get("mode", "")).lower() == "synthetic":
        yield (
            Body.REBUILT,
            "synthetic _source is rebuilt from the fields (order, arrays and formats may differ)",
        )
    elif index_mode not in (None, *_KEEPS_SOURCE) and mode != "stored":
        yield Body.REBUILT, f"index.mode {index_mode} rebuilds _source (order, arrays and formats may differ)"
    if vectors and settings.get("mapping", "exclude_source_vectors") == "true":
        yield Body.REBUILT, f"the vectors {_some(vectors)} are put back into _source, which is written again"
    pipeline = settings.get("search", "default_pipeline")
    if pipeline not in (None, "_none"):
        yield Body.UNKNOWN, f"its default search pipeline {pipeline} may change documents"
    derived = settings.get("derived_source", "enabled") == "true"
    knn = settings.get("knn") == "true" and settings.get("knn.derived_source", "enabled") == "true"
    if derived or knn:
        yield Body.REBUILT, "derived source is rebuilt from the fields (order, arrays and formats may differ)"


def _by_cluster(indices: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split names into those of this cluster and of remote ones; exclusions alone name nothing."""
    remote = [name for name in indices if remote_clusters([name])]
    local = [name for name in indices if name not in remote]
    return ([] if all(name.startswith("-") for name in local) else local), remote


def _true(value: object) -> bool:
    return value in (True, "true")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def _joined(reasons: list[str]) -> tuple[str, ...]:
    """Return the first reasons and the number of others: those of a data stream's backing indices are alike."""
    more = len(reasons) - _SHOWN
    return (*reasons[:_SHOWN], *((f"and {more} more",) if more > 0 else ()))
