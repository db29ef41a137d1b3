"""Write the typed views of a pipeline as dbt sources, with a staging model for each view."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_pipeline_provider.connectors.values import TypedView
from airflow_pipeline_provider.core.columns import Column, contract_hash, format_path

SOURCES = "sources.yml"
MADE_BY = "made by airflow-pipeline-provider from columns"
_FIRST = re.compile(rf"\S+ {MADE_BY} [0-9a-f]+ of (.+); writing it again replaces it")
_JINJA = re.compile(r"[{}]")


class StagingModel(NamedTuple):
    """A view with its name in dbt, and the columns of the pipeline file that it shows."""

    name: str
    view: TypedView
    columns: Sequence[Column]


def dbt_files(
    pipeline_id: str, place: Sequence[str], views: Sequence[TypedView], columns: Sequence[Column]
) -> dict[str, str]:
    """Return the files of the views by name: `sources.yml`, and `stg_<pipeline>.sql` and others.

    `place` are the parts of the table's name before the last one: database and schema.
    """
    base = re.sub(r"[^A-Za-z0-9_]+", "_", pipeline_id).lower()
    first = f"{MADE_BY} {contract_hash(columns)} of {pipeline_id}; writing it again replaces it"
    rows = [column for column in columns if column.type.kind == "rows" and column.mask != "drop"]
    named = [StagingModel(base, views[0], columns)]
    named += [
        StagingModel(f"{base}_{column.name.lower()}", view, column.columns)
        for column, view in zip(rows, views[1:], strict=True)
    ]
    files = {SOURCES: "".join(f"{line}\n" for line in _sources(base, first, place, named))}
    for one in named:
        files[f"stg_{one.name}.sql"] = _model(base, first, one)
    return files


def is_made_for(pipeline_id: str, text: str) -> bool:
    """Return whether a file was written for this pipeline."""
    match = _FIRST.fullmatch(text.partition("\n")[0].rstrip("\r"))
    return match is not None and match[1] == pipeline_id


def _sources(base: str, first: str, place: Sequence[str], named: Sequence[StagingModel]) -> Iterator[str]:
    yield from (f"# {first}", "version: 2", "", "sources:", f"  - name: {base}")
    if len(place) > 1:
        yield f"    database: {json.dumps(place[-2])}"
    # without a schema in the file the connection decides, as the profile does for dbt
    yield f"    schema: {json.dumps(place[-1] if place else '{{ target.schema }}')}"
    yield "    quoting: {database: true, schema: true, identifier: true}"
    yield "    tables:"
    for name, view, columns in named:
        described = {column.name.casefold(): column for column in columns}
        yield f"      - name: {name}"
        yield f"        identifier: {json.dumps(view.name)}"
        yield "        columns:"
        for column in view.columns:
            yield f"          - name: {json.dumps(column)}"
            yield "            quote: true"
            one = described.get(column.casefold())
            if one is not None:
                yield f"            description: {json.dumps(_description(one))}"
            if column.upper() == "RECORD_ID":  # a required column is NULL in some rows
                yield "            data_tests: [not_null]"


def _description(column: Column) -> str:
    """Return type and path; dbt would read braces in a path as a template."""
    path = format_path(column.path)
    text = str(column.type) if _JINJA.search(path) else f"{column.type}, from {path}"
    return f"{text}, masked: {column.mask}" if column.mask else text


def _model(base: str, first: str, one: StagingModel) -> str:
    selected = ",\n".join(f'    "{column}"' for column in one.view.columns)
    return f"-- {first}\n\nselect\n{selected}\nfrom {{{{ source('{base}', '{one.name}') }}}}\n"
