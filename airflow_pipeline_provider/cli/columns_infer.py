"""Run `columns infer`: propose typed columns, and add them to the pipeline file."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.catalog import PipelineFile, load_one
from airflow_pipeline_provider.cli.columns_sides import LookedAt, looked_at, print_silent, read_days
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.columns_file import add_columns
from airflow_pipeline_provider.config.columns_text import Commented, column_lines
from airflow_pipeline_provider.config.loader import load_file
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.columns import format_path
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.columns_infer import Inferred, infer_columns
from airflow_pipeline_provider.phases.columns_propose import Proposal
from airflow_pipeline_provider.phases.runtime import open_runtime


class ProposedElementColumn(Struct, frozen=True):
    """A proposed column of an array's elements; `guessed` where the source does not declare its type.

    `present` counts the sampled documents, or elements, that have a value.
    """

    name: str
    path: str
    type: str
    formats: tuple[str, ...]
    guessed: bool
    present: int
    note: str | None


class ProposedColumn(ProposedElementColumn, frozen=True):
    """A proposed column; `columns` are those of type rows, and their paths start at one element."""

    columns: tuple[ProposedElementColumn, ...]


class NotProposed(Struct, frozen=True):
    """A field without a proposal; the view shows it in `_REST`."""

    path: str
    why: str


class InferredColumns(Struct, frozen=True):
    """Columns for the fields that no column of the file holds; `written` is the file that `--write` changed."""

    pipeline_id: str
    written: str | None
    looked_at: tuple[LookedAt, ...]
    documents: int
    columns: tuple[ProposedColumn, ...]
    left_out: tuple[NotProposed, ...]


def infer(args: Namespace, screen: Screen) -> int:
    """Propose columns for the fields that no column of the pipeline file holds, and with `--write` add them."""
    found = load_one(args.pipeline, args.folder)
    days = read_days(args)
    with open_runtime(found.config) as runtime:
        try:
            inferred = infer_columns(runtime, days)
        except PipelineError as error:
            error.add_context(f"pipeline {found.config.pipeline_id}, columns infer")
            raise
    lines = _lines(inferred)
    written = _write(found, lines) if args.write and inferred.proposals.columns else None
    result = InferredColumns(
        found.config.pipeline_id,
        None if written is None else str(written),
        tuple(map(looked_at, inferred.looked)),
        inferred.sample.documents,
        tuple(map(_proposed, inferred.proposals.columns)),
        tuple(NotProposed(one.path, one.why) for one in inferred.proposals.left_out),
    )
    screen.print_result(result, lambda shown, screen: _print(shown, lines, screen))
    print_silent(inferred.looked, screen)
    if result.columns:
        return exit_codes.OK
    if found.config.columns:
        screen.print_line(f"{result.pipeline_id}: no field was found without a column", "green")
        return exit_codes.OK
    why = "; ".join(one.detail for one in result.looked_at)
    screen.print_error(f"{result.pipeline_id}: no field to propose a column for: {why}")
    return exit_codes.CHECK_FAILED


def _write(pipeline: PipelineFile, lines: list[str]) -> Path:
    """Add the columns to the pipeline's file, and return the file that was changed."""

    def check(path: Path) -> None:
        loaded = load_file(path, options_model=options_model)
        if loaded.error is not None:
            raise loaded.error

    return add_columns(pipeline.file, lines, check, inherits=bool(pipeline.config.columns))


def _proposed(one: Proposal) -> ProposedColumn:
    inner = (ProposedElementColumn(**_fields(column)) for column in one.columns)
    return ProposedColumn(**_fields(one), columns=tuple(inner))


def _fields(one: Proposal) -> dict[str, Any]:
    return {
        "name": one.column.name,
        "path": format_path(one.column.path),
        "type": str(one.column.type),
        "formats": one.column.formats,
        "guessed": one.guessed,
        "present": one.present,
        "note": one.note,
    }


def _lines(inferred: Inferred) -> list[str]:
    """Return the items of the list, after a comment on what they are based on."""
    based = "; ".join(one.found for one in inferred.looked if one.found)
    return [
        f"# proposed on this basis: {based}",
        *column_lines([_commented(one) for one in inferred.proposals.columns]),
        *(f"# not proposed: {why}" for why in _reasons(inferred)),
    ]


def _commented(one: Proposal) -> Commented:
    return Commented(one.column, one.note, tuple(map(_commented, one.columns)))


def _reasons(inferred: Inferred) -> Iterable[str]:
    """Return each reason of a field that was left out, with the number of fields."""
    reasons = [one.why for one in inferred.proposals.left_out]
    return [f"{counted(reasons.count(why), 'field')}: {why}" for why in dict.fromkeys(reasons)]


def _print(result: InferredColumns, lines: list[str], screen: Screen) -> None:
    if not result.columns:
        return
    if result.written is None:
        screen.print_raw("columns:")
        for line in lines:
            screen.print_raw(f"  {line}")
        return
    guessed = sum(one.guessed for one in result.columns)
    more = f"; the types of {guessed:,} are guessed, read their comments" if guessed else ""
    screen.print_line(f"added {counted(len(result.columns), 'column')} to {result.written}{more}", "green")
