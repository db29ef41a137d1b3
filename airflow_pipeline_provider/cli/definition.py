"""Define the same commands for Airflow's own command line, `airflow pipelines` (provider key `cli`)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_pipeline_provider.cli.command import Command
from airflow_pipeline_provider.cli.commands import COMMANDS, EXIT_CODES, GROUP, GROUP_HELP

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


def get_pipelines_cli_commands() -> list[CLICommand]:
    """Return the command group `pipelines`.

    Airflow calls this each time its command line starts, so it imports almost nothing.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    return [
        GroupCommand(
            name=GROUP,
            help=GROUP_HELP,
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description,
                    epilog=EXIT_CODES,
                    func=_function(command),
                    args=[
                        Arg(flags=argument.flags, **argument.options)  # type: ignore[no-untyped-call]
                        for argument in command.arguments
                    ],
                )
                for command in COMMANDS
            ],
        )
    ]


def _function(command: Command) -> Callable[[Namespace], None]:
    """Return the function that Airflow calls for the command."""

    def run(args: Namespace) -> None:
        from airflow_pipeline_provider.cli.main import dispatch

        args.in_airflow = True  # the metadata database is available: DAG runs can be started
        sys.exit(dispatch(command, args))

    run.__name__ = f"pipelines_{command.name}"
    return run
