"""List the commands that the page shows to copy: what reads the target, and what can lose data."""

from __future__ import annotations

from msgspec import Struct

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import Words, shell_line


class ShellCommand(Struct, frozen=True):
    """A command, and what it is for."""

    purpose: str
    command: str


def shell_commands(pipeline_id: str) -> tuple[ShellCommand, ...]:
    """Return the commands of a pipeline in a shell that has its file and connections."""
    file = f"{pipeline_id}.jsonl"
    listed: tuple[tuple[str, Words], ...] = (
        ("Show each day with its reason", command_line.status(pipeline_id)),
        ("Compare ledger, stage and target", command_line.doctor(pipeline_id)),
        ("Run the repairs that lose nothing", command_line.doctor(pipeline_id, fix=True)),
        ("Remove leases, live ones too", command_line.unlock(pipeline_id, force=True)),
        ("Move the state: 1. with the DAG paused, export", command_line.export_state(pipeline_id, file)),
        (
            "Move the state: 2. with the new store in the file, import",
            command_line.import_state(pipeline_id, file),
        ),
        ("Write a lost ledger from the target's commit rows", command_line.rebuild_state(pipeline_id)),
    )
    return tuple(ShellCommand(purpose, shell_line(words)) for purpose, words in listed)
