"""Source `elasticsearch`: windows of documents from Elasticsearch 8 and 9 or OpenSearch 2 and 3.

One point in time serves all readers of a slice; each reads its server-side slice of it in pages, in the order that
costs the server least.  Documents are copied byte for byte; an incomplete page is an error.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.base import (
    Body,
    BodyReport,
    FieldType,
    Identity,
    RecordIdForm,
    Slice,
    Source,
)
from airflow_pipeline_provider.connectors.datasets import DatasetName, authority, place_of
from airflow_pipeline_provider.connectors.elasticsearch.changed_documents import (
    SequenceCounter,
    find_changes,
)
from airflow_pipeline_provider.connectors.elasticsearch.changes import read_marker, refresh, take_marker
from airflow_pipeline_provider.connectors.elasticsearch.client import (
    EVERY_INDEX,
    Client,
    index_path,
)
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.connection import unverified
from airflow_pipeline_provider.connectors.elasticsearch.credentials import signer_of
from airflow_pipeline_provider.connectors.elasticsearch.errors import UnexpectedAnswerError, member
from airflow_pipeline_provider.connectors.elasticsearch.field_types import read_field_types
from airflow_pipeline_provider.connectors.elasticsearch.fields import (
    Documents,
    explain_repeated,
    read_documents,
)
from airflow_pipeline_provider.connectors.elasticsearch.options import ElasticsearchOptions
from airflow_pipeline_provider.connectors.elasticsearch.pages import read_pages
from airflow_pipeline_provider.connectors.elasticsearch.sizes import (
    MOST_READERS,
    PageSizes,
    readers_for,
)
from airflow_pipeline_provider.connectors.elasticsearch.snapshot import PointInTime
from airflow_pipeline_provider.connectors.elasticsearch.times import (
    EPOCH,
    MILLISECOND,
    check_time_field,
    time_field_caps,
    time_range,
    untimed,
)
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, WindowChanges
from airflow_pipeline_provider.core.datasets import fingerprint
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_pipeline_provider.connectors.elasticsearch.scratch import ElasticsearchScratch


class ElasticsearchSource(Source):
    """Documents of one or more indices."""

    Options = ElasticsearchOptions
    options: ElasticsearchOptions
    # The server refuses to index a key twice, even escaped or in an object that is not mapped; anything else that is
    # not JSON (a comment, half a surrogate pair) fails when its page is decoded.
    gives_strict_json = True

    def __init__(self, options: ElasticsearchOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self._indices = list(options.index)
        self._clusters = remote_clusters(options.index)
        self._what = f"index {','.join(options.index)}"
        self._made: Client | None = None
        self._kinds: frozenset[str] | None = None
        self._documents: Documents | None = None
        self._shards = 1  # by the last count
        self._lock = threading.Lock()

    def dataset(self) -> dict[str, object]:
        return {
            **super().dataset(),
            "index": sorted(self.options.index),
            "query": fingerprint(self.options.query),
            "time_field": self.options.time_field,
        }

    def lineage_dataset(self) -> DatasetName:
        connection = get_connection(self.options.conn_id)
        return DatasetName(f"elasticsearch://{authority(connection)}", ",".join(self.options.index))

    def place(self) -> dict[str, object]:
        return {"server": place_of(self.options.conn_id)["server"]}

    @property
    def _client(self) -> Client:
        with self._lock:
            if self._made is None:
                self._made = Client(
                    self.options.conn_id,
                    get_connection(self.options.conn_id),
                    timeout=self.options.request_timeout,
                    compress=self.options.compress,
                    threads=MOST_READERS if self.options.slices == "auto" else self.options.slices,
                    signer=signer_of(self.options.aws_conn_id, self.options.aws_service),
                    quotes=not self.options.redact,
                )
            return self._made

    def close(self) -> None:
        with self._lock:
            client, self._made = self._made, None
        if client is not None:
            client.close()

    def scratch(self) -> ElasticsearchScratch:
        from airflow_pipeline_provider.connectors.elasticsearch.scratch import ElasticsearchScratch

        return ElasticsearchScratch(self)

    def unsafe_settings(self) -> list[str]:
        conn_id = self.options.conn_id
        return [
            f"connection {conn_id!r} has verify_certs: false, so any machine may pose as {url} and take its "
            "credentials: give ca_certs, or ssl_assert_fingerprint"
            for url in unverified(conn_id, get_connection(conn_id))
        ]

    # --- checks and counts

    def check(self) -> None:
        """Check the index, the type of the time field and the query on the server."""
        self._kinds = self._documents = None
        answer = time_field_caps(self._client, self._indices, self.options.time_field, self._what)
        self._kinds = self._kinds_in(answer)
        self._count(self._filter(None))  # the query is understood
        check_time_field(
            answer,
            self.options.time_field,
            self._what,
            holds_any=lambda: self._count({"exists": {"field": self.options.time_field}}) > 0,
        )
        body = self.body_report()
        if body.kind is Body.FILTERED and self.options.on_filtered_source == "fail":
            raise FatalError(
                f"{self._what}: documents come without some of their fields ({'; '.join(body.reasons)}); change the "
                "mapping and index them again, leave the index out of `source.index`, or set "
                "`source.on_filtered_source: warn` to move what is left"
            )

    def body_report(self) -> BodyReport:
        if self._documents is None:
            self._documents = read_documents(self._client, self._indices, self._what)
        return self._documents.body

    def field_types(self) -> list[FieldType]:
        return read_field_types(self._client, self._indices, self._what)

    def count(self, interval: Interval) -> int:
        if interval.is_empty:
            return 0
        return self._count(self._filter(interval))

    def record_id_form(self) -> RecordIdForm:
        if self.options.record_id is not None:
            return RecordIdForm(
                None if self.options.record_id == "id" else self.options.record_id, is_set=True
            )
        self.body_report()
        required = self._documents.routing_required if self._documents else ()
        if not required:
            return RecordIdForm(None)
        return RecordIdForm("id_routing", why=f"the mapping of index {required[0]} requires a routing")

    def explain_repeated(self, record_ids: Sequence[str]) -> str | None:
        return explain_repeated(self._client, record_ids, self._what)

    def count_untimed(self) -> int:
        """Count documents whose time field is missing, invalid, or outside the years 1 to 9999."""
        return self._count(self._filter(None, untimed(self.options.time_field, self._time_kinds())))

    def newest_event_time(self) -> datetime | None:
        """Return the newest event time by the `max` aggregation, floored to a millisecond."""
        answer = self._aggregate(self._filter(None), {"max": {"field": self.options.time_field}})
        if answer.get("value") is None:
            return None
        found = member(answer, "value", (int, float), self._what)
        try:
            newest: datetime = EPOCH + math.floor(found) * MILLISECOND
            return newest
        except OverflowError:  # a date field takes years up to 292 million
            return (
                datetime.max.replace(tzinfo=timezone.utc)
                if found > 0
                else datetime.min.replace(tzinfo=timezone.utc)
            )

    def best_slices(self, rows: int) -> int:
        if self.options.distribute == "tasks":
            return super().best_slices(rows)
        return readers_for(rows, self._shards)

    def plan_slices(self, interval: Interval, n: int) -> list[Slice]:
        """Return sub-ranges of about equal count, cut at whole milliseconds by percentiles of the time field."""
        if n <= 1 or interval.is_empty:
            return [Slice(0, 1, interval)]
        percentiles = {
            "field": self.options.time_field,
            "percents": [100 * i / n for i in range(1, n)],
            "keyed": False,
        }
        answer = self._aggregate(self._filter(interval), {"percentiles": percentiles})
        values = [
            member(entry, "value", (int, float, type(None)), self._what)
            for entry in member(answer, "values", list, self._what)
        ]
        cuts = {EPOCH + int(value) * MILLISECOND for value in values if value is not None}
        bounds = [
            interval.start,
            *sorted(cut for cut in cuts if interval.holds(cut) and cut > interval.start),
        ]
        bounds.append(interval.end)
        pieces = [Interval(start, end) for start, end in itertools.pairwise(bounds)]
        return [Slice(i, len(pieces), piece) for i, piece in enumerate(pieces)]

    # --- changes

    def change_marker(self) -> ChangeMarker:
        return take_marker(self._client, self._indices, self.options.query, self._what)

    def changes(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        client, what = self._client, self._what
        return find_changes(
            windows,
            lambda: read_marker(client, self._indices, self.options.query, what),
            SequenceCounter(client, self._indices, what).count,
            self._filter,
            lambda: refresh(client, self._indices, what),
        )

    # --- reading

    def open(
        self, slice_: Slice, readers: int = 1
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open one point in time; each of several readers takes one of the server's slices of it."""
        return self._open(slice_, readers, with_source=True)

    def open_ids(
        self, slice_: Slice, readers: int = 1
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open one point in time as `open` does; the server does not read `_source`."""
        return self._open(slice_, readers, with_source=False)

    @contextmanager
    def _open(
        self, slice_: Slice, readers: int, *, with_source: bool
    ) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:
        if slice_.interval.is_empty:
            yield [iter(()) for _ in range(readers)]
            return
        snapshot = PointInTime(
            self._client,
            self._indices,
            self._filter(slice_.interval),
            time_field=self.options.time_field,
            keep_alive=f"{self.options.keep_alive}s",
            what=self._what,
            with_source=with_source,
            fields=self.options.fields,
        )
        sizes = PageSizes(self.options.page_size, readers)
        with ThreadPoolExecutor(readers, thread_name_prefix="elasticsearch-page") as prefetch:
            try:
                yield [
                    read_pages(
                        snapshot.fetcher(reader, readers),
                        self.options.time_field,
                        sizes,
                        prefetch,
                        with_routing=slice_.record_id == "id_routing",
                        with_source=with_source,
                    )
                    for reader in range(readers)
                ]
                self._check_names()
            finally:
                snapshot.stop.set()  # ends the pauses between tries
                prefetch.shutdown(wait=True, cancel_futures=True)
                snapshot.close()

    # --- requests

    def _time_kinds(self) -> frozenset[str]:
        """Return `date`, `date_nanos` or both (a pattern over several indices); anything else is an error."""
        if self._kinds is None:
            answer = time_field_caps(self._client, self._indices, self.options.time_field, self._what)
            self._kinds = self._kinds_in(answer)
        return self._kinds

    def _kinds_in(self, answer: dict[str, object]) -> frozenset[str]:
        name = self.options.time_field
        found = member(answer, "fields", dict, self._what).get(name, {})
        if not isinstance(found, dict) or not all(isinstance(caps, dict) for caps in found.values()):
            raise UnexpectedAnswerError(self._what, "field capabilities", answer)
        types = {kind: caps for kind, caps in found.items() if kind != "unmapped"}
        if not types:
            if not answer.get("indices"):
                self._count({"match_all": {}})  # its error names the index that is closed or missing
            raise FatalError(f"{self._what}: no field {name!r} in its mapping; check `source.time_field`")
        for kind, caps in types.items():
            held_by = f" (in {', '.join(caps['indices'][:5])})" if caps.get("indices") else ""
            if kind not in ("date", "date_nanos"):
                raise FatalError(
                    f"{self._what}: field {name!r} has the type {kind}{held_by}; expected date or date_nanos, "
                    "check `source.time_field`"
                )
            if not (caps.get("searchable") and caps.get("aggregatable")):
                raise FatalError(
                    f"{self._what}: field {name!r} is mapped without index or doc_values{held_by}; "
                    "both are needed to read it by time"
                )
        return frozenset(types)

    def _filter(self, interval: Interval | None, *more: dict[str, object]) -> dict[str, object]:
        kinds = self._time_kinds()
        clauses = list(more)
        if interval is not None:
            clauses.append(time_range(self.options.time_field, kinds, interval, self._what))
        if self.options.query:
            clauses.append(self.options.query)
        return {"bool": {"filter": clauses}}

    def _count(self, query: dict[str, object]) -> int:
        """Count by `_search`: `_count` silently leaves out what a remote cluster did not answer."""
        answer = self._search({"query": query})
        if member(answer, "hits.total.relation", str, self._what) != "eq":
            raise UnexpectedAnswerError(self._what, "an exact count", answer)
        count: int = member(answer, "hits.total.value", int, self._what)
        return count

    def _aggregate(self, query: dict[str, object], aggregation: dict[str, object]) -> dict[str, object]:
        answer = self._search({"query": query, "aggs": {"found": aggregation}})
        found: dict[str, object] = member(answer, "aggregations.found", dict, self._what)
        return found

    def _search(self, body: dict[str, object]) -> dict[str, object]:
        """Search for totals or aggregations, without hits."""
        answer = self._client.ask(
            "POST",
            f"/{index_path(self._indices)}/_search",
            {"size": 0, "track_total_hits": True, **body},
            params={"allow_partial_search_results": "false", **EVERY_INDEX},
            what=self._what,
            clusters=self._clusters,
        )
        self._shards = member(answer, "_shards.total", int, self._what)
        return answer

    def _check_names(self) -> None:
        """Raise unless every named index still exists on its cluster."""
        self._search({"query": {"match_none": {}}})
