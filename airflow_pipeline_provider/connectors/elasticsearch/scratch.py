"""An index of its own for `certify source`, and responses that are not whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.connectors.scratch import SourceScratch
from airflow_pipeline_provider.exceptions import DataError, FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.base import Source
    from airflow_pipeline_provider.connectors.elasticsearch.client import Client
    from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource

_PAGE = 50


class ElasticsearchScratch(SourceScratch):
    """An index that is created for each set of rows, and deleted."""

    def __init__(self, source: ElasticsearchSource) -> None:
        self.name = ""
        self._source = source
        self._rows: list[str] = []

    def describe(self) -> str:
        return f"creates and deletes the index {self.name}, of at most 230 documents"

    def foreign(self) -> list[str]:
        return self.remaining()

    def remaining(self) -> list[str]:
        return [f"index {self.name}"] if self._exists() else []

    def remove(self) -> None:
        if self._exists():
            self._ask("DELETE", f"/{self.name}")

    def cost(self) -> str:
        return "not metered"

    def fill(
        self, rows: Sequence[tuple[str, datetime, str]]
    ) -> tuple[Source, dict[str, tuple[datetime, str]]]:
        self.remove()
        field = self._source.options.time_field
        properties = {field: {"type": "date"}, "text": {"type": "keyword", "index": False}}
        self._ask("PUT", f"/{self.name}", {"mappings": {"dynamic": False, "properties": properties}})
        bodies = {
            key: json.dumps(
                {field: at.isoformat(timespec="milliseconds"), "text": text}, separators=(",", ":")
            )
            for key, at, text in rows
        }
        self._rows = list(bodies)
        self._bulk(f'{{"index":{{"_id":"{key}"}}}}\n{body}\n' for key, body in bodies.items())
        options = self._source.options.model_copy(
            update={"index": (self.name,), "query": None, "page_size": _PAGE, "record_id": "id"}
        )
        made = type(self._source)(options, self._source.identity)
        return made, {f"{self.name}/{key}": (at, bodies[key]) for key, at, _ in rows}

    def empty(self) -> None:
        self._bulk(f'{{"delete":{{"_id":"{key}"}}}}\n' for key in self._rows)

    # --- responses that are not whole

    def partial_responses(
        self, source: Source
    ) -> Iterator[tuple[str, Callable[[], AbstractContextManager[None]]]]:
        client: Client = source._client  # type: ignore[attr-defined]
        for name, alter in (
            ("a failed shard", _with_failed_shard),
            ("a time-out", _with_timeout),
            ("half of its bytes", lambda answer: answer[: len(answer) // 2]),
        ):
            yield name, partial(_altered, client, alter)

    # --- requests

    def _exists(self) -> bool:
        try:
            self._ask("GET", f"/{self.name}/_settings")
        except (DataError, FatalError) as error:
            if "has no index" in str(error):
                return False
            raise
        return True

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
        return self._source._client.request(method, path, body, what=f"index {self.name}", read=bytes)

    def _bulk(self, lines: Iterator[str]) -> None:
        """Send lines to the index; they are visible to every reader when this returns."""
        client = self._source._client
        headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
        answer = client._transport.perform_request(
            "POST", f"/{self.name}/_bulk?refresh=true", body="".join(lines).encode(), headers=headers
        )
        found: dict[str, Any] = json.loads(answer.body or b"{}")
        if answer.meta.status != 200 or found.get("errors"):
            raise FatalError(
                f"index {self.name}: the documents could not be written ({str(found)[:300]}): the user needs the "
                "rights create_index, index, delete and delete_index on it"
            )


@contextmanager
def _altered(client: Client, alter: Callable[[bytes | bytearray], bytes | bytearray]) -> Iterator[None]:
    """Let the client read altered responses to searches, and try each request once."""
    original, once = client.request, threading.Event()
    once.set()

    def request(method: str, path: str, *args: Any, **named: Any) -> Any:
        read = named.pop("read")
        if path.endswith("/_search"):
            named["stop"] = once
            return original(method, path, *args, read=lambda answer: read(alter(answer)), **named)
        return original(method, path, *args, read=read, **named)

    client.request = request  # type: ignore[method-assign]
    try:
        yield
    finally:
        with suppress(AttributeError):
            del client.request


def _with_failed_shard(answer: bytes | bytearray) -> bytes | bytearray:
    found = json.loads(answer)
    found["_shards"] = {**found["_shards"], "failed": 1, "total": max(2, found["_shards"]["total"])}
    return json.dumps(found).encode()


def _with_timeout(answer: bytes | bytearray) -> bytes | bytearray:
    return json.dumps({**json.loads(answer), "timed_out": True}).encode()
