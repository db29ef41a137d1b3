"""Run `connectors`: list the installed connectors, and whether each can be used."""

from __future__ import annotations

from argparse import Namespace

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.connectors.registry import Installed, installed, options_model
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError


class InstalledConnector(Struct, frozen=True):
    """Connector for `type` in the section `kind`; `error` is why it cannot be used.

    `package` and `version` are null if this process registered the connector.
    """

    kind: str
    type: str
    path: str
    package: str | None
    version: str | None
    error: str | None


class InstalledConnectors(Struct, frozen=True):
    """Every source, stage, target and state store that a pipeline file can name."""

    connectors: tuple[InstalledConnector, ...]


def connectors(_args: Namespace, screen: Screen) -> int:
    """List the installed connectors; return 1 if one cannot be used."""
    found = tuple(
        InstalledConnector(
            one.kind, one.type, one.path, one.package or None, one.version or None, _error(one)
        )
        for one in installed()
    )
    screen.print_result(InstalledConnectors(found), _print)
    return exit_codes.CHECK_FAILED if any(one.error for one in found) else exit_codes.OK


def _error(one: Installed) -> str | None:
    try:
        options_model(one.kind, one.type)
    except ConfigError as error:
        return str(error)
    return None


def _print(result: InstalledConnectors, screen: Screen) -> None:
    rows = [
        (one.kind, one.type, f"{one.package or '-'} {one.version or ''}".rstrip(), one.path)
        for one in result.connectors
    ]
    broken = [one for one in result.connectors if one.error]
    screen.print_table(("KIND", "TYPE", "PACKAGE", "CLASS"), rows)
    for error in sorted({one.error for one in broken if one.error}):
        screen.print_line(error)
    what = f"{counted(len(broken), 'connector')} cannot be used" if broken else "all can be used"
    screen.print_line(f"{counted(len(rows), 'connector')}, {what}")
