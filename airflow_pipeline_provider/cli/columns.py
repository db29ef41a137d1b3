"""Run `columns`, which proposes, compares, applies and prints typed columns."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module

from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.exceptions import ConfigError

_ACTIONS = {  # action -> module:function, and its own options
    "infer": ("columns_infer:infer", ("days", "write")),
    "diff": ("columns_diff:diff", ("days",)),
    "apply": ("columns_sql:apply", ("dry_run",)),
    "sql": ("columns_sql:sql", ("dbt", "into")),
}


def columns(args: Namespace, screen: Screen) -> int:
    """Propose typed columns for a pipeline, compare them, apply them to the target, or print their SQL.

    `columns infer` prints the key `columns` as YAML, or with `--write` adds it to the pipeline file. A comment says
    where a type was guessed. Fields that a column of the file holds are left out. `columns diff` compares the
    columns of the file with the types of the source, with sampled documents of recent windows, and with the views
    in the target. A side that could not be asked is listed with the reason, and never counts as equal.

    `columns apply` creates the views, or replaces those that follow other columns; so does each load. It also drops
    the views of columns that are gone, adds columns with `physical: true` to a table that has rows, and fills them
    for the past, one window in a transaction. After an interruption, run it again: it continues from the first window
    that is not filled.

    `columns sql` prints the statements of the views; with `--dbt` it prints or writes `sources.yml` and a staging
    model for each view, without asking the target. A file that it did not write for the pipeline is never replaced.

    Exit code 1 when `infer` finds no field, or when `diff` finds a difference. Without a difference, an error of a
    side that `diff` asked gives the exit code.
    """
    place, own = _ACTIONS[args.action]
    for option in {name for _, names in _ACTIONS.values() for name in names} - set(own):
        if getattr(args, option) not in (None, False):
            users = " and ".join(
                f"columns {action}" for action, (_, names) in _ACTIONS.items() if option in names
            )
            raise ConfigError(f"--{option.replace('_', '-')}: only works with {users}: remove it")
    module, _, function = place.partition(":")
    code: int = getattr(import_module(f"airflow_pipeline_provider.cli.{module}"), function)(args, screen)
    return code
