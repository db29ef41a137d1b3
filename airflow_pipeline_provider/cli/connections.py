"""The Airflow connections that a pipeline names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from airflow_pipeline_provider.config.model import PipelineConfig

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
