"""Run `columns diff`: compare the columns of a pipeline file with source, documents and target."""

from __future__ import annotations

from argparse import Namespace

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.columns_sides import LookedAt, looked_at, print_silent, read_days
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import shell_line
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.columns_diff import PHYSICAL, Change, diff_columns
from airflow_pipeline_provider.phases.runtime import open_runtime

_STYLES = {Change.NEW_FIELD: None, Change.NOT_APPLIED: "yellow"}


class ColumnDifference(Struct, frozen=True):
    """A difference and the side where it was seen; `path` or `column` is null where there is none."""

    change: Change
    side: str
    path: str | None
    column: str | None
    detail: str


class ColumnsDiff(Struct, frozen=True):
    """The differences of the columns to each side; `contract` is the hash of the columns in the file."""

    pipeline_id: str
    contract: str
    looked_at: tuple[LookedAt, ...]
    differences: tuple[ColumnDifference, ...]


def diff(args: Namespace, screen: Screen) -> int:
    """Compare the columns with source, recent documents and target."""
    config = load_one(args.pipeline, args.folder).config
    days = read_days(args)
    with open_runtime(config) as runtime:
        try:
            compared = diff_columns(runtime, days)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, columns diff")
            raise
    result = ColumnsDiff(
        config.pipeline_id,
        compared.contract,
        tuple(map(looked_at, compared.looked)),
        tuple(
            ColumnDifference(one.change, one.side, one.path or None, one.column, one.detail)
            for one in compared.differences
        ),
    )
    screen.print_result(result, _print)
    print_silent(compared.looked, screen, as_errors=True)
    if result.differences:
        return exit_codes.CHECK_FAILED
    errors = [one.error for one in compared.looked if one.error is not None]
    return max(map(exit_codes.code_of, errors), default=exit_codes.OK)


def _print(result: ColumnsDiff, screen: Screen) -> None:
    if result.differences:
        rows = [
            (one.change.value, one.side, one.path or "", one.column or "", one.detail)
            for one in result.differences
        ]
        styles = [_STYLES.get(one.change, "red") for one in result.differences]
        screen.print_table(("change", "side", "path", "column", "detail"), rows, styles=styles)
        not_applied = [one for one in result.differences if one.change is Change.NOT_APPLIED]
        if not_applied:
            name = command_line.name_of(result.pipeline_id)
            only_physical = all(one.detail.startswith(PHYSICAL) for one in not_applied)
            what = "this fills them" if only_physical else "the next load creates the views, and so does"
            screen.print_line(f"{what}: {shell_line(command_line.apply_columns(name))}")
        return
    sides = [f"{one.side} ({one.detail})" for one in result.looked_at if one.looked_at]
    if sides:
        screen.print_line(
            f"{result.pipeline_id}: no difference in {counted(len(sides), 'side')}: {', '.join(sides)}"
        )
