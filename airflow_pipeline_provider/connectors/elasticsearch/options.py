"""The section `source` of type `elasticsearch` in a pipeline file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_pipeline_provider.config.options import ConnId, DurationSeconds, SourceOptions, printable

_FORBIDDEN_IN_INDEX = re.compile(r"[\s\\/?\"<>|,#]")
_DATE_MATH = re.compile(
    r"""([^\s:<>]+:)?<[^\s<>"\\?*,]+>(::\w+)?"""
)  # <logs-{now/d}>, of a remote cluster, a selector


def _indices(value: object) -> object:
    """Check a name, a pattern, or a list of them; `-name` removes one from the patterns before it."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise ValueError(
            f"must be an index name, a pattern such as flights-*, or a list of them, got {value!r}"
        )
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"must hold index names, got {name!r}")
        bare = name[1:] if position and name.startswith("-") else name
        if bare[:1] in ("-", "_", "+") or bare in ("", ".", ".."):
            raise ValueError(f"must not start with '-', '_' or '+', got {name!r}")
        printable(bare)
        if _DATE_MATH.fullmatch(bare):
            continue
        found = _FORBIDDEN_IN_INDEX.search(bare)
        if found and found[0] in "<>":
            raise ValueError(
                f"must be date math such as <logs-{{now/d}}> where it has {found[0]!r}, got {name!r}"
            )
        if found:
            hint = "; write several names as a list" if found[0] == "," else ""
            raise ValueError(f"must not contain {found[0]!r}, got {name!r}{hint}")
    return tuple(names)


def _time_field(value: str) -> str:
    found = re.search(r"[*,]", printable(value))
    if found:  # several fields to the server
        raise ValueError(f"must not contain {found[0]!r}, got {value!r}")
    return value


class ElasticsearchOptions(SourceOptions):
    """The section `source` of type elasticsearch."""

    takes_fields = True

    type: Literal["elasticsearch"] = Field("elasticsearch", description="Name of the connector.")
    conn_id: ConnId = Field(
        "elasticsearch_default", min_length=1, description="Airflow connection to the cluster."
    )
    aws_conn_id: ConnId | None = Field(
        None,
        min_length=1,
        description="Airflow connection of type aws that signs requests to OpenSearch on AWS (SigV4).",
    )
    aws_service: Literal["es", "aoss"] = Field(
        "es", description="Service to sign for: es, an OpenSearch domain; aoss, OpenSearch Serverless."
    )
    index: Annotated[tuple[str, ...], BeforeValidator(_indices, json_schema_input_type=str | list[str])] = (
        Field(description="Index, alias, data stream or pattern (flights-*), or a list of them.")
    )
    time_field: Annotated[str, AfterValidator(_time_field)] = Field(
        "@timestamp",
        min_length=1,
        pattern=r"^[^*,]*[^*,\s][^*,]*$",
        description="Field of type date or date_nanos that decides to which window a document belongs.",
    )
    query: dict[str, Any] | None = Field(
        None, description="Query in the server's query DSL that a document must also match."
    )
    page_size: int = Field(
        5000, ge=1, le=10_000, strict=True, description="Largest number of documents of one request."
    )
    keep_alive: DurationSeconds = Field(
        300, ge=1, description="Time that the server keeps a point in time between two pages, such as 5m."
    )
    request_timeout: DurationSeconds = Field(
        60, ge=1, description="Time limit of one request, after which it is tried again, such as 1m."
    )
    compress: bool = Field(
        False, strict=True, description="Request gzip; it costs CPU and pays off only over a slow network."
    )
    record_id: Literal["id", "id_routing"] | None = Field(
        None,
        description="RECORD_ID: id (index/_id), or id_routing (with the custom routing, which lets one _id exist "
        "several times); null: id_routing for a new pipeline whose mapping requires a routing.",
    )
    on_filtered_source: Literal["fail", "warn"] = Field(
        "fail",
        description="When an index stores documents without some of their fields: fail, or warn and move the rest.",
    )
