"""Airflow connections for hooks that run outside of Airflow's own processes.

A hook resolves its connection through `airflow.sdk`, which in a plain process stops at the environment and never asks
the metadata database.  So the connections that a pipeline names are looked up once, and put where every hook finds
them: into this process's environment, the form that Airflow documents (`AIRFLOW_CONN_<ID>`).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.exceptions import PipelineError

logger = logging.getLogger(__name__)

_CONN_ID_OF_URL = re.compile(r"[a-z][a-z0-9+.\-]*://([A-Za-z0-9_.\-]+)@", re.IGNORECASE)
SECTIONS = ("source", "stage", "target", "state")


def connection_ids(config: PipelineConfig, sections: Iterable[str] = SECTIONS) -> list[str]:
    """Ids in the options `conn_id` and `…_conn_id`, and before the `@` of object-storage paths."""
    found: dict[str, None] = {}
    for section in sections:
        options: BaseModel = getattr(config, section)
        for name, value in _texts(options.model_dump()):
            if name == "conn_id" or name.endswith("_conn_id"):
                found[value] = None
            elif match := _CONN_ID_OF_URL.match(value):
                found[match[1]] = None
    return list(found)


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, name)


@contextmanager
def visible_connections(config: PipelineConfig, sections: Iterable[str] = SECTIONS) -> Iterator[None]:
    """Hooks see the pipeline's connections during the block.

    One that is nowhere defined is left to the connector, which says so itself, or needs none (`aws_default`).
    """
    added = []
    for conn_id in connection_ids(config, sections):
        name = f"AIRFLOW_CONN_{conn_id.upper()}"
        if name in os.environ:
            continue
        try:
            os.environ[name] = _as_json(get_connection(conn_id))
        except PipelineError as error:
            logger.debug("connection %s is left to its connector: %s", conn_id, error)
            continue
        added.append(name)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _as_json(connection: Any) -> str:
    text: str = connection.as_json()
    return text
