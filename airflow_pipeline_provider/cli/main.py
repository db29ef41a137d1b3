"""Run the console script `airflow-pipelines`; dispatch a command and turn errors into exit codes."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NoReturn

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.command import Command
from airflow_pipeline_provider.cli.commands import COMMANDS, EXIT_CODES, GROUP_HELP
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.core.command_line import IN_AIRFLOW, PROGRAM, Invocation, invoked_as


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code (`commands.EXIT_CODES`)."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    return dispatch(args.command, args)


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports a usage error in one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line instead of the whole usage, and exit."""
        self.exit(exit_codes.USAGE, f"error: {message} (see `{self.prog} --help`)\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser of the console script from the command table."""
    from airflow_pipeline_provider import __version__

    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=PROGRAM, description=GROUP_HELP + ".", epilog=EXIT_CODES, formatter_class=layout)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=EXIT_CODES,
            formatter_class=layout,
        )
        sub.set_defaults(command=command)
        for argument in command.arguments:
            sub.add_argument(*argument.flags, **argument.options)
    return parser


def dispatch(command: Command, args: argparse.Namespace) -> int:
    """Run the command and return its exit code; print an error as one message on standard error.

    Standard output is kept for the command's result: whatever libraries print goes to standard error.
    """
    screen = Screen(sys.stdout, sys.stderr, as_json=args.output == "json", verbose=args.verbose)

    def run() -> int:
        with (
            contextlib.redirect_stdout(sys.stderr),
            _quiet_libraries(args.verbose),
            invoked_as(_called(args)),
        ):
            module, _, function = command.handler.partition(":")
            code: int = getattr(import_module(module), function)(args, screen)
            return code

    return exit_codes.report_errors(screen, run)


def _called(args: argparse.Namespace) -> Invocation:
    program = IN_AIRFLOW if getattr(args, "in_airflow", False) else PROGRAM
    return Invocation(program, getattr(args, "folder", None), getattr(args, "pipeline", None))


@contextlib.contextmanager
def _quiet_libraries(verbose: bool) -> Iterator[None]:
    """Hide log lines of libraries below WARNING inside the block, unless `verbose`."""
    root = logging.getLogger()
    level = root.level
    if not verbose:
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")  # if Airflow is imported later
        root.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        root.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
