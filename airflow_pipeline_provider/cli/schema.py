"""Run `schema`: print or write the JSON Schema of pipeline files."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.exceptions import ConfigError


def schema(args: Namespace, screen: Screen) -> int:
    """Print the JSON Schema of pipeline files, including installed connectors.

    JSON: the schema itself, with and without `-o json`.
    """
    from airflow_pipeline_provider.config.json_schema import pipeline_schema
    from airflow_pipeline_provider.connectors.registry import KINDS, known, options_model

    options = {kind: {name: options_model(kind, name) for name in known(kind)} for kind in KINDS}
    document = pipeline_schema(options)
    if args.write is None:
        screen.print_json(document)
        return exit_codes.OK
    path = Path(args.write)
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--write: {args.write!r} cannot be written: {error.strerror or error}") from error
    screen.print_note(f"wrote {path}")
    return exit_codes.OK
