"""Run `columns apply` and `columns sql`: create the typed views, or print their statements or dbt files."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, PipelineError
from airflow_pipeline_provider.phases.columns_apply import apply_columns
from airflow_pipeline_provider.phases.columns_dbt import dbt_files, is_made_for
from airflow_pipeline_provider.phases.columns_diff import no_columns
from airflow_pipeline_provider.phases.runtime import open_runtime


class AppliedColumns(Struct, frozen=True):
    """The statements that were executed, or with `--dry-run` would be; none where the views follow the columns."""

    pipeline_id: str
    dry_run: bool
    statements: tuple[str, ...]


class ColumnsSql(Struct, frozen=True):
    """The statements that create the typed views, or with `--dbt` the content of each file by its name.

    `written` are the files that were written with `--into`.
    """

    pipeline_id: str
    statements: tuple[str, ...]
    files: dict[str, str]
    written: tuple[str, ...]


def apply(args: Namespace, screen: Screen) -> int:
    """Create or replace the typed views that do not follow the columns."""
    config = _with_columns(args)
    with open_runtime(config) as runtime:
        try:
            statements = apply_columns(runtime, dry_run=args.dry_run)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, columns apply")
            raise
    screen.print_result(AppliedColumns(config.pipeline_id, args.dry_run, tuple(statements)), _print_applied)
    return exit_codes.OK


def _print_applied(result: AppliedColumns, screen: Screen) -> None:
    if not result.statements:
        screen.print_line(f"{result.pipeline_id}: the views follow the columns", "green")
        return
    for statement in result.statements:
        screen.print_raw(_ended(statement))
    done = "would be executed" if result.dry_run else "executed"
    screen.print_note(f"{result.pipeline_id}: {counted(len(result.statements), 'statement')} {done}")


def sql(args: Namespace, screen: Screen) -> int:
    """Print the statements of the typed views, or dbt files for them."""
    config = _with_columns(args)
    if args.into is not None and not args.dbt:
        raise ConfigError("--into: only works with --dbt: add --dbt")
    statements: tuple[str, ...] = ()
    files: dict[str, str] = {}
    with open_runtime(config) as runtime:
        target = runtime.target
        if args.dbt:
            *place, _ = str(target.dataset()["table"]).split(".")  # a name on a SQL target holds no dot
            files = dbt_files(config.pipeline_id, place, target.expected_views(), config.columns)
        else:
            statements = tuple(target.typed_statements())
    written = () if args.into is None else _write(Path(args.into), files, config.pipeline_id)
    screen.print_result(ColumnsSql(config.pipeline_id, statements, files, written), _print_sql)
    return exit_codes.OK


def _with_columns(args: Namespace) -> PipelineConfig:
    config = load_one(args.pipeline, args.folder).config
    if not config.columns:
        raise no_columns(config.pipeline_id)
    return config


def _print_sql(result: ColumnsSql, screen: Screen) -> None:
    for statement in result.statements:
        screen.print_raw(_ended(statement))
    for path in result.written:
        screen.print_line(f"wrote {path}", "green")
    if result.written:
        return
    for name, text in result.files.items():
        screen.print_raw(f"{'--' if name.endswith('.sql') else '#'} file {name}")
        screen.print_raw(text)


def _ended(statement: str) -> str:
    return statement.rstrip().rstrip(";") + ";"


def _write(folder: Path, files: dict[str, str], pipeline_id: str) -> tuple[str, ...]:
    """Write the files; one that this command did not write for the pipeline is kept, and nothing is written then."""
    paths = [(folder / name, text) for name, text in files.items()]
    try:
        for path, _ in paths:
            if path.exists() and not is_made_for(pipeline_id, path.read_text(encoding="utf-8")):
                raise ConfigError(
                    f"--into: {path} was not written by this command for {pipeline_id}: name another folder, or "
                    "remove the file"
                )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths:
            path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"--into: {folder} cannot be written ({error}): choose another folder") from None
    return tuple(str(path) for path, _ in paths)
