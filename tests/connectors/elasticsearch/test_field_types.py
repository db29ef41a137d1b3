"""Types of typed columns that a mapping, or field capabilities, propose."""

# ruff: noqa: E501  (one case a line, whatever its sentence needs)

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.field_types import (
    fields_of,
    fields_of_caps,
    merged,
)

EPOCH = "epoch_millis"
ISO = "strict_date_optional_time"


def shown(fields: Any) -> list[tuple[str, str, str, str | None]]:
    """Each field as (path, type, formats, note)."""
    return [(".".join(f.path), str(f.type), "||".join(f.formats), f.note) for f in fields]


@pytest.mark.parametrize(
    ("field", "kind", "formats", "note"),
    [
        ({"type": "keyword"}, "text", "", None),
        ({"type": "text", "fields": {"keyword": {"type": "keyword"}}}, "text", "", None),
        ({"type": "wildcard"}, "text", "", None),
        ({"type": "ip"}, "text", "", None),
        ({"type": "version"}, "text", "", None),
        ({"type": "semantic_text"}, "text", "", None),
        ({"type": "long"}, "integer", "", None),
        ({"type": "byte", "ignore_malformed": True}, "integer", "", "ignore_malformed: may hold other values"),
        ({"type": "unsigned_long"}, "decimal(20,0)", "", None),
        ({"type": "half_float"}, "double", "", None),
        ({"type": "scaled_float", "scaling_factor": 100}, "decimal(20,2)", "", None),
        ({"type": "scaled_float", "scaling_factor": 100.0}, "decimal(20,2)", "", None),
        ({"type": "scaled_float", "scaling_factor": 1000000}, "decimal(20,6)", "", None),
        ({"type": "scaled_float", "scaling_factor": 250}, "decimal(20,3)", "", None),
        ({"type": "scaled_float", "scaling_factor": 0.1}, "decimal(20,0)", "", None),
        ({"type": "boolean"}, "boolean", "", None),
        ({"type": "date"}, "timestamp", f"{ISO}||{EPOCH}", None),
        ({"type": "date", "format": ISO}, "timestamp", "", None),
        ({"type": "date_nanos"}, "timestamp", f"strict_date_optional_time_nanos||{EPOCH}", None),
        ({"type": "date", "format": "yyyy-MM-dd"}, "date", "yyyy-MM-dd", None),
        ({"type": "date", "format": "yyyy/MM/dd||basic_date"}, "date", "yyyy/MM/dd||basic_date", None),
        ({"type": "date", "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd"}, "timestamp", "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd", None),
        ({"type": "date", "format": "epoch_second"}, "timestamp", "epoch_second", None),
        ({"type": "date", "format": "8yyyy-MM-dd"}, "date", "yyyy-MM-dd", None),
        ({"type": "date", "format": "EEE MMM dd||epoch_millis"}, "timestamp", EPOCH, "values in the format EEE MMM dd are NULL"),
        ({"type": "date", "format": "EEE MMM dd"}, "text", "", "a date of the format EEE MMM dd, which typed columns do not have"),
        ({"type": "object", "enabled": False}, "json", "", "not mapped (enabled: false)"),
        ({"type": "object"}, "json", "", None),
        ({"type": "flattened"}, "json", "", "type flattened"),
        ({"type": "geo_point"}, "json", "", "type geo_point"),
        ({"type": "date_range"}, "json", "", "type date_range"),
        ({"type": "dense_vector", "dims": 3}, "array", "", None),
        ({"type": "binary"}, "text", "", "bytes are a Base64 text"),
        ({"type": "constant_keyword", "value": "a"}, "text", "", "constant_keyword: documents may leave the value to the mapping"),
    ],
)  # fmt: skip
def test_a_mapped_field_has_the_type_that_holds_its_values(
    field: dict[str, Any], kind: str, formats: str, note: str | None
) -> None:
    assert shown(fields_of({"properties": {"x": field}})) == [("x", kind, formats, note)]


def test_fields_that_documents_do_not_hold_are_left_out() -> None:
    properties = {
        "title": {"type": "text", "copy_to": ["all", "deep.all"], "fields": {"raw": {"type": "keyword"}}},
        "all": {"type": "text"},
        "deep": {"properties": {"all": {"type": "text"}, "a": {"type": "long", "copy_to": "sum"}}},
        "sum": {"type": "long"},
        "other": {"type": "alias", "path": "title"},
    }
    mapping = {"properties": properties, "runtime": {"day": {"type": "keyword"}}}
    assert [path for path, *_ in shown(fields_of(mapping))] == ["title", "deep.a"]


def test_paths_follow_objects_and_dots_and_nested_fields_are_rows() -> None:
    properties = {
        "dep": {"properties": {"time": {"type": "date"}, "gate": {"type": "keyword"}}},
        "arr.time": {"type": "date"},
        "legs": {"type": "nested", "properties": {"from": {"type": "keyword"}}},
        "attributes": {"type": "passthrough", "properties": {"host": {"type": "keyword"}}},
    }
    both = f"{ISO}||{EPOCH}"
    found = fields_of({"properties": properties})
    assert shown(found) == [
        ("dep.time", "timestamp", both, None),
        ("dep.gate", "text", "", None),
        ("arr.time", "timestamp", both, None),
        ("legs", "rows", "", None),
        ("legs.from", "text", "", None),
        ("attributes.host", "text", "", None),
    ]
    assert found[2].path == ("arr", "time")


def test_an_index_without_a_mapping_has_no_fields() -> None:
    assert fields_of({}) == []


@pytest.mark.parametrize(
    ("first", "second", "kind", "formats", "note"),
    [
        ({"type": "long"}, {"type": "long"}, "integer", "", None),
        ({"type": "long"}, {"type": "integer"}, "integer", "", None),
        ({"type": "long"}, {"type": "unsigned_long"}, "decimal(20,0)", "", "indices differ: decimal(20,0), integer"),
        ({"type": "unsigned_long"}, {"type": "scaled_float", "scaling_factor": 100}, "decimal(22,2)", "", "indices differ: decimal(20,0), decimal(20,2)"),
        ({"type": "long"}, {"type": "scaled_float", "scaling_factor": 1e20}, "decimal(38,20)", "", "indices differ: decimal(20,20), integer"),
        ({"type": "long"}, {"type": "float"}, "double", "", "indices differ: double, integer"),
        ({"type": "long"}, {"type": "keyword"}, "text", "", "indices differ: integer, text"),
        ({"type": "object"}, {"type": "keyword"}, "json", "", "indices differ: json, text"),
        ({"type": "date", "format": "yyyy-MM-dd"}, {"type": "date", "format": "epoch_millis"}, "timestamp", "yyyy-MM-dd||epoch_millis", "indices differ: date, timestamp"),
        ({"type": "date", "format": "yyyy-MM-dd"}, {"type": "date", "format": "basic_date"}, "date", "yyyy-MM-dd||basic_date", None),
        ({"type": "date"}, {"type": "boolean"}, "text", "", "indices differ: boolean, timestamp"),
        ({"type": "byte", "ignore_malformed": True}, {"type": "geo_point"}, "json", "", "indices differ: integer, json; ignore_malformed: may hold other values; type geo_point"),
    ],
)  # fmt: skip
def test_a_field_that_differs_between_indices_gets_a_type_that_holds_both(
    first: dict[str, Any], second: dict[str, Any], kind: str, formats: str, note: str | None
) -> None:
    both = [fields_of({"properties": {"x": field}}) for field in (first, second)]
    assert shown(merged(both)) == [("x", kind, formats, note)]


def test_fields_of_several_indices_are_sorted_by_path() -> None:
    indices = [{"b": {"type": "long"}}, {"a": {"properties": {"y": {"type": "long"}, "x": {"type": "long"}}}}]
    found = merged(fields_of({"properties": properties}) for properties in indices)
    assert [path for path, *_ in shown(found)] == ["a.x", "a.y", "b"]


def test_field_capabilities_alone_give_types_without_formats() -> None:
    caps = {
        "_id": {"_id": {"metadata_field": True}},
        "_tier": {"keyword": {"metadata_field": True}},
        "title": {"text": {}},
        "title.raw": {"keyword": {}},
        "dep": {"object": {}},
        "dep.time": {"date": {}, "unmapped": {}},
        "legs": {"nested": {}},
        "legs.from": {"keyword": {}},
        "price": {"scaled_float": {}},
        "n": {"long": {}, "keyword": {}},
        "point": {"geo_point": {}},
    }
    alone = "by field capabilities alone: it may be an alias, a runtime field or a target of copy_to"
    assert shown(fields_of_caps(caps)) == [
        ("dep.time", "timestamp", f"{ISO}||{EPOCH}", alone),
        ("legs", "rows", "", None),
        ("legs.from", "text", "", alone),
        ("n", "text", "", "indices differ: integer, text"),
        ("point", "json", "", "type geo_point"),
        ("price", "double", "", alone),
        ("title", "text", "", alone),
    ]
