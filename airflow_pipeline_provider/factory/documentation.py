"""Describe a pipeline for Airflow's pages: one line, and Markdown with its YAML file."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from airflow_pipeline_provider.config.matrix import OfFile
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.options import Options
from airflow_pipeline_provider.core.time_utils import seconds_to_time_string
from airflow_pipeline_provider.observability.redaction import redact_yaml

NAMES = (
    "index",
    "table",
    "path",
    "name",
)  # keys of a source or target that name its data, the first one that it has
LONGEST_NAME, LONGEST_FILE = 80, 20_000  # characters; the rest is cut


def describe(config: PipelineConfig) -> str:
    """Return `elasticsearch flights-* → snowflake ANALYTICS.RAW.FLIGHTS, windows of 2h in America/New_York`."""
    source, target = (f"{each.type} {_name(each)}".strip() for each in (config.source, config.target))
    longer = (
        f" (up to {config.backlog_granularity} where a day lies back)" if config.backlog_granularity else ""
    )
    text = f"{source} → {target}, windows of {config.granularity}{longer} in {config.timezone}"
    return redact_yaml(text)


def document(config: PipelineConfig, description: str, file: Path | None) -> str:
    """Return the documentation of the DAG; secrets in the file are masked as in logs, its comments are kept."""
    return "\n".join(
        [
            f"**{_escaped(description)}**",
            "",
            f"- stage `{config.stage.type}`, state in `{config.state.type}`",
            f"- `x_time_back` `{config.x_time_back}`, "
            f"`settle` `{seconds_to_time_string(config.rules.settle_seconds)}`",
            f"- first day `{config.start_day or 'the first day planned'}`, last day `{config.end_day or 'none'}`",
            "",
            "A run without Params moves the earliest gap. A run with `window_start` and `window_end` moves exactly "
            "that window, even if it is committed already. A backfill moves the windows of the chosen days again.",
            *(_file(file, config.variant) if file is not None else ()),
        ]
    )


def _name(options: Options) -> str:
    """Return the name of the data, "" if it has none (a query, say)."""
    value = next((value for name in NAMES if (value := getattr(options, name, None))), "")
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _escaped(text: str) -> str:
    """Return the text for Markdown, which would read `flights-*` and `a_b_c` as emphasis."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)


def _file(path: Path, variant: OfFile | None) -> list[str]:
    """Return the lines that show the file; none if it was removed meanwhile."""
    try:
        stat = path.stat()
        text = _text(path, stat.st_mtime_ns, stat.st_size, variant.lines if variant is not None else None)
    except (OSError, UnicodeDecodeError):
        return []
    if variant is not None:  # the others would make a new version of this DAG whenever one of them changes
        text = text.replace(_MATRIX, f"matrix: [{{{variant.variant}}}]", 1)
    text = redact_yaml(text)
    if len(text) > LONGEST_FILE:
        text = f"{text[:LONGEST_FILE].rpartition(chr(10))[0]}\n# … the rest of the file is left out"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [
        "",
        f"`{path.name}` (`defaults.yaml` next to it adds to it):",
        "",
        f"{fence}yaml",
        text.rstrip(),
        fence,
    ]


_MATRIX = "\0matrix"


@lru_cache(maxsize=4)
def _text(path: Path, _modified: int, _size: int, matrix: tuple[int, int | None] | None) -> str:
    """Return a file, with a mark in place of the lines of `matrix`."""
    text = path.read_text(encoding="utf-8-sig")
    if matrix is None:
        return text
    lines = text.splitlines(keepends=True)
    first, following = matrix[0] - 1, (matrix[1] or len(lines) + 1) - 1
    return "".join([*lines[:first], f"{_MATRIX}\n", *lines[following:]])
