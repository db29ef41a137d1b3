"""A point in time on the server: what all readers of a slice see."""

from __future__ import annotations

import threading
from typing import Any

from airflow_pipeline_provider.config.field_control import FieldsOptions
from airflow_pipeline_provider.connectors.elasticsearch.client import Answer, Client
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.fields import source_request
from airflow_pipeline_provider.connectors.elasticsearch.pages import FetchPage, decode_page
from airflow_pipeline_provider.connectors.elasticsearch.sizes import (
    LARGEST_DOCUMENT_BYTES,
    LARGEST_PAGE_BYTES,
)


class PointInTime:
    """One point in time on the server, shared by the readers of a slice."""

    def __init__(
        self,
        client: Client,
        indices: list[str],
        query: dict[str, object],
        *,
        time_field: str,
        keep_alive: str,
        what: str,
        with_source: bool = True,
        fields: FieldsOptions | None = None,
    ) -> None:
        self._client, self._what, self._keep_alive = client, what, keep_alive
        self._clusters = remote_clusters(indices)
        self._search: dict[str, object] = {
            "query": query,
            "sort": client.server.page_order,
            "track_total_hits": False,
            "docvalue_fields": [{"field": time_field, "format": "epoch_millis"}],
            **(source_request(client, indices, what, fields) if with_source else {"_source": False}),
        }
        self._pit_id = client.open_point_in_time(indices, keep_alive, what)
        self.stop = threading.Event()

    def fetcher(self, reader: int, readers: int) -> FetchPage:
        """Return the function that fetches the pages of one reader."""
        search = dict(self._search)
        if readers > 1:
            search["slice"] = {"id": reader, "max": readers}

        def read(body: Answer) -> tuple[Any, int]:
            return decode_page(body, self._what, where=self._client.where, clusters=self._clusters), len(body)

        def fetch(size: int, after: list[object] | None) -> tuple[object, int]:
            page, bytes_read = self._client.request(
                "POST",
                "/_search",
                {
                    **search,
                    "size": size,
                    "pit": {"id": self._pit_id, "keep_alive": self._keep_alive},
                    **({"search_after": after} if after else {}),
                },
                params={"allow_partial_search_results": "false"},
                what=self._what,
                read=read,
                in_snapshot=True,
                stop=self.stop,
                most_bytes=LARGEST_PAGE_BYTES if size > 1 else LARGEST_DOCUMENT_BYTES,
            )
            self._pit_id = page.pit_id or self._pit_id  # any page may come with a new one
            return page, bytes_read

        return fetch

    def close(self) -> None:
        self._client.close_point_in_time(self._pit_id, self._what)
