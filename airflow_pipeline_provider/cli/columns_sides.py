"""Print which sides `columns infer` and `columns diff` could ask."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.cli.arguments import read_count
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.phases.columns_infer import Looked

_DEFAULT_DAYS = "7"


class LookedAt(Struct, frozen=True):
    """A place that was asked; with `looked_at` false, `detail` is why it could not be."""

    side: str
    looked_at: bool
    detail: str


def read_days(args: Namespace) -> int:
    """Parse `--days`: how many local days of windows are sampled."""
    return read_count(args.days or _DEFAULT_DAYS, "--days", least=1, most=10_000)


def looked_at(one: Looked[Any]) -> LookedAt:
    """Return the side for the command's JSON."""
    return LookedAt(one.side, one.error is None and not one.is_silent, one.detail)


def print_silent(sides: Iterable[Looked[Any]], screen: Screen, *, as_errors: bool = False) -> None:
    """Print why a side was not looked at; with `as_errors` one that did not answer is an error."""
    for one in sides:
        text = f"not looked at: {one.side}: {one.detail}"
        if one.error is not None and as_errors:
            screen.print_error(text)
        elif one.error is not None or one.is_silent:
            screen.print_note(text, "yellow")
