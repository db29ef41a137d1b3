"""Propose types of typed columns from the mapping of the indices, or from field capabilities alone.

Fields that documents do not hold are left out: multi-fields, targets of `copy_to`, runtime fields and aliases. Field
capabilities do not show the last three, nor formats, so they only serve where no mapping can be read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_pipeline_provider.connectors.elasticsearch.client import EVERY_INDEX, Client, index_path
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.errors import member, object_at
from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.columns import (
    DATE_FORMATS,
    DEFAULT_FORMATS,
    ISO,
    MILLISECONDS,
    MOST_DIGITS,
    SECONDS,
    ColumnType,
    Kind,
)
from airflow_pipeline_provider.exceptions import DataError, FatalError

logger = logging.getLogger(__name__)

_MAPPING = {"filter_path": "*.mappings.properties"}
_UNSIGNED = ColumnType("decimal", 20, 0)
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("byte", "short", "integer", "long", "token_count"), "integer"),
    **dict.fromkeys(("float", "half_float", "double", "rank_feature"), "double"),
    "boolean": "boolean",
    **dict.fromkeys(
        (
            "keyword",
            "constant_keyword",
            "wildcard",
            "text",
            "match_only_text",
            "search_as_you_type",
            "annotated_text",
            "semantic_text",
            "ip",
            "version",
            "binary",
            "counted_keyword",
            "icu_collation_keyword",
        ),
        "text",
    ),
    **dict.fromkeys(("dense_vector", "rank_vectors", "knn_vector"), "array"),
}
_NOTES = {
    "constant_keyword": "constant_keyword: documents may leave the value to the mapping",
    "binary": "bytes are a Base64 text",
}
_DEFAULT_FORMATS = {
    "date": "strict_date_optional_time||epoch_millis",
    "date_nanos": "strict_date_optional_time_nanos||epoch_millis",
}
_DAYS = {"strict_date", "date", "basic_date"}  # and patterns without a time
_OBJECTS = {"object", "passthrough"}
_NO_VALUES = {"alias", "murmur3"}  # never in a document
_CAPS_ONLY = "by field capabilities alone: it may be an alias, a runtime field or a target of copy_to"
_SHOWN = 3


def read_field_types(client: Client, indices: Sequence[str], what: str) -> list[FieldType]:
    """Return the fields of every index behind the names by path, by their mapping where it may be read."""
    if not remote_clusters(indices):
        try:
            mappings = client.ask(
                "GET",
                f"/{index_path(list(indices))}/_mapping",
                params={**_MAPPING, **EVERY_INDEX},
                what=what,
                by_index=True,
            )
        except (FatalError, DataError) as error:  # the login may not read mappings, or the error is of both
            logger.warning("types come from field capabilities alone: %s", error.message)
        else:
            return merged(
                fields_of(object_at(object_at(mappings, index, what), "mappings", what))
                for index in sorted(mappings)
            )
    caps = client.ask(
        "GET",
        f"/{index_path(list(indices))}/_field_caps",
        params={"fields": "*", "include_unmapped": "false", **EVERY_INDEX},
        what=what,
        clusters=remote_clusters(indices),
    )
    return fields_of_caps(member(caps, "fields", dict, what))


def fields_of(mapping: Mapping[str, Any]) -> list[FieldType]:
    """Return the fields that documents of one index hold, by its mapping."""
    properties = mapping.get("properties", {})
    copies = set(_copies(properties))
    return [field for field in _fields(properties, ()) if ".".join(field.path) not in copies]


def _copies(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield the full names of the fields that `copy_to` fills."""
    for field in properties.values():
        targets = field.get("copy_to", ())
        yield from [targets] if isinstance(targets, str) else targets
        yield from _copies(field.get("properties", {}))


def _fields(properties: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[FieldType]:
    for name, field in properties.items():
        path = (*above, *name.split("."))
        inner = field.get("properties", {})
        kind = field.get("type", "object")
        if kind == "nested":
            yield FieldType(path, ColumnType("rows"))
        elif kind in _OBJECTS and not inner:
            note = "not mapped (enabled: false)" if field.get("enabled") in (False, "false") else None
            yield FieldType(path, ColumnType("json"), note=note)
        elif kind not in _OBJECTS | _NO_VALUES:
            yield _field(path, kind, field)
        yield from _fields(inner, path)


def _field(path: tuple[str, ...], kind: str, field: Mapping[str, Any]) -> FieldType:
    """Return one field that is not an object."""
    if kind in _DEFAULT_FORMATS:
        return _date(path, kind, str(field.get("format", _DEFAULT_FORMATS[kind])))
    if kind == "unsigned_long":
        return FieldType(path, _UNSIGNED)
    if kind == "scaled_float":
        factor = float(field.get("scaling_factor", 1))
        scale = min(20, max(0, math.ceil(math.log10(factor) - 1e-9))) if factor > 0 else 0
        return FieldType(path, ColumnType("decimal", 20, scale))
    if kind in _KINDS:
        malformed = (
            "ignore_malformed: may hold other values"
            if field.get("ignore_malformed") in (True, "true")
            else None
        )
        return FieldType(path, ColumnType(_KINDS[kind]), note=_NOTES.get(kind, malformed))
    return FieldType(path, ColumnType("json"), note=f"type {kind}")


def _date(path: tuple[str, ...], kind: str, text: str) -> FieldType:
    """Return a date or timestamp; the formats that typed columns do not have are named in the note."""
    names = [name.removeprefix("8") for name in text.split("||")]
    known = tuple(dict.fromkeys(name for name in names if name in DATE_FORMATS))
    unknown = [name for name in names if name not in DATE_FORMATS]
    note = f"values in the format {' or '.join(unknown)} are NULL" if unknown else None
    if not known:
        return FieldType(
            path, ColumnType("text"), note=f"a {kind} of the format {text}, which typed columns do not have"
        )
    days = kind == "date" and not unknown and all(_is_day(name) for name in known)
    formats = () if known == DEFAULT_FORMATS else known
    return FieldType(path, ColumnType("date" if days else "timestamp"), formats, note)


def _is_day(name: str) -> bool:
    layout = DATE_FORMATS[name]
    return name in _DAYS or (layout not in (ISO, MILLISECONDS, SECONDS) and "H" not in layout)


def fields_of_caps(caps: Mapping[str, Any]) -> list[FieldType]:
    """Return the fields of an answer of `_field_caps`, without multi-fields and metadata."""
    found = []
    for name in sorted(caps):
        kinds = {kind: each for kind, each in caps[name].items() if kind != "unmapped"}
        if name.startswith("_") or any(each.get("metadata_field") for each in kinds.values()):
            continue
        path = tuple(name.split("."))
        parents = [caps.get(".".join(path[:i]), {}) for i in range(1, len(path))]
        if any(set(parent) - _OBJECTS - {"nested", "unmapped"} for parent in parents):
            continue  # below a field with a value: a multi-field
        proposals = [
            FieldType(path, ColumnType("rows")) if kind == "nested" else _field(path, kind, {})
            for kind in sorted(kinds)
            if kind not in _OBJECTS | _NO_VALUES | {"scaled_float"}
        ]
        if "scaled_float" in kinds:
            proposals.append(FieldType(path, ColumnType("double")))
        if proposals:
            field = _one(proposals)
            found.append(
                field if field.type.kind == "rows" else field._replace(note=field.note or _CAPS_ONLY)
            )
    return found


def merged(indices: Iterable[Iterable[FieldType]]) -> list[FieldType]:
    """Return the fields of several indices by path; one that differs between them gets a type that holds both."""
    found: dict[tuple[str, ...], dict[FieldType, None]] = {}
    for fields in indices:
        for field in fields:
            found.setdefault(field.path, {})[field] = None
    return [_one(list(found[path])) for path in sorted(found)]


def _one(proposals: Sequence[FieldType]) -> FieldType:
    """Return one field for all proposals for a path."""
    first, *others = proposals
    if not others:
        return first
    types = list(dict.fromkeys(proposal.type for proposal in proposals))
    formats = tuple(dict.fromkeys(name for each in proposals for name in _all_formats(each)))
    notes = list(dict.fromkeys(each.note for each in proposals if each.note))
    kind = _wider(types)
    if len(types) > 1:
        shown = ", ".join(sorted(map(str, types))[:_SHOWN])
        notes.insert(0, f"indices differ: {shown}")
    if kind.kind not in ("date", "timestamp") or formats == DEFAULT_FORMATS:
        formats = ()
    return FieldType(first.path, kind, formats, "; ".join(notes) or None)


def _all_formats(field: FieldType) -> tuple[str, ...]:
    return (field.formats or DEFAULT_FORMATS) if field.type.kind in ("date", "timestamp") else ()


def _wider(types: Sequence[ColumnType]) -> ColumnType:
    """Return a type whose values include those of all types: text for scalars, json for anything."""
    kinds = {each.kind for each in types}
    if len(types) == 1:
        return types[0]
    if kinds <= {"integer", "decimal"}:
        scale = max(each.scale or 0 for each in types)
        digits = max(
            (each.precision or 20) - (each.scale or 0) for each in types
        )  # before the point; a long has 19
        return ColumnType("decimal", min(MOST_DIGITS, digits + scale), scale)
    if kinds <= {"integer", "decimal", "double"}:
        return ColumnType("double")
    if kinds <= {"date", "timestamp"}:
        return ColumnType("timestamp")
    return ColumnType("json" if kinds & {"json", "array", "rows"} else "text")
