"""Describe a command, and declare the arguments that several commands share.

This module imports nothing of the package, so that `--help` is fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument: `flags` and `options` as `argparse.ArgumentParser.add_argument` takes them."""

    flags: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    `handler` is "module:function"; the function takes the parsed arguments and an `output.Screen`, and returns the
    exit code. `results` are "module:class" of the msgspec Structs that it prints as JSON, by what they are of.
    """

    name: str
    help: str
    description: str
    handler: str
    arguments: tuple[Argument, ...]
    results: dict[str, str] = field(default_factory=dict)


def argument(*flags: str, **options: object) -> Argument:
    """Return an argument."""
    return Argument(flags, options)


def option(
    name: str, metavar: str, help_text: str, default: str | None = None, **options: object
) -> Argument:
    """Return an option that takes a value."""
    return Argument((name,), {"metavar": metavar, "help": help_text, "default": default, **options})


def flag(name: str, help_text: str) -> Argument:
    """Return an option without a value."""
    return Argument((name,), {"action": "store_true", "help": help_text})


FOLDER = option(
    "--folder", "DIR", "look for pipeline files in and below DIR (default: Airflow's DAGs folder)"
)
OUTPUT = argument(
    "-o",
    "--output",
    choices=("table", "json"),
    default="table",
    help="print a table, or one JSON document on standard output (default: %(default)s)",
)
VERBOSE = argument(
    "-v",
    "--verbose",
    action="store_true",
    help="log every phase, and print the traceback of an error",
)
COMMON = (FOLDER, OUTPUT, VERBOSE)
REFERENCE_TIME = option(
    "--reference-time",
    "T",
    "act as if it were this instant, ISO 8601 with an offset, such as 2013-11-05T02:00:00-05:00 "
    "(default: now)",
)
PIPELINE = argument(
    "pipeline", metavar="PIPELINE", help="select the pipeline by its id or the path of its YAML file"
)
SOME_PIPELINE = argument(
    "pipeline",
    metavar="PIPELINE",
    nargs="?",
    default=None,
    help="select one pipeline by its id or the path of its YAML file (default: all)",
)
DAYS = option(
    "--days", "N", "look at the last N days up to the target day (default: %(default)s)", default="7"
)
SPAN = (
    option(
        "--from",
        "T",
        "start with this local day, such as 2013-11-03, or instant, such as 2013-11-03T01:00:00-04:00",
        dest="first",
        required=True,
    ),
    option(
        "--to",
        "T",
        "end with this local day, included, or at this instant, excluded",
        dest="last",
        required=True,
    ),
)
OPTIONAL_SPAN = tuple(
    replace(bound, options={**bound.options, "required": False, "default": None}) for bound in SPAN
)
BY = option(
    "--by",
    "NAME",
    "record this name as the author in the ledger (default: the effective user of the operating system)",
)
WAIT = option(
    "--wait",
    "DURATION",
    "wait this long for windows that another process holds, such as 30s or 2h (default: %(default)s)",
    default="10m",
)
RETRIES = option(
    "--retries",
    "N",
    "retry a window this often after a temporary failure (default: %(default)s)",
    default="3",
)
HERE = flag("--here", "move the windows in this process (default: start a run of the DAG for each)")
ACCEPT_SHRINK = flag(
    "--accept-shrink", "also delete target rows that no longer exist in the source; requires --here"
)
ACCEPT_CHANGES = flag(
    "--accept-changes",
    "also commit windows whose documents changed, as if `contract` were warn; requires --here",
)
ACCEPT_UNUSUAL = flag(
    "--accept-unusual",
    "also commit windows with other rows than `expect.rows`, and report them no longer; requires --here",
)
