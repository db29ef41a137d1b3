"""Read pages of one point in time into batches of the envelope; most of the time is spent here.

No part of a document is decoded: `_source` stays the bytes that were indexed.  The event time comes from the doc
values of its field, as the server parsed it, whatever the date format of the document.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_pipeline_provider.connectors.elasticsearch.completeness import check_complete
from airflow_pipeline_provider.connectors.elasticsearch.deep_documents import lift_deep_sources
from airflow_pipeline_provider.connectors.elasticsearch.errors import (
    AnswerTooLargeError,
    PageTooLargeError,
    UnexpectedAnswerError,
    excerpt_of,
)
from airflow_pipeline_provider.connectors.elasticsearch.sizes import PageSizes
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

_HIT = re.compile(r'"_index":"([^"]*)","_id":"((?:[^"\\]|\\.)*)"')

# fetch(size, search_after) -> (page, bytes of the answer)
FetchPage = Callable[[int, "list[Any] | None"], "tuple[Any, int]"]


@cache
def page_decoder() -> Any:
    """Return the decoder of responses to `_search` that ask for `docvalue_fields` of the time field.

    It makes no list or dict per hit: thousands of them per page would trigger Python's garbage collector, which then
    visits everything that Airflow has imported.
    """
    from msgspec import Raw, defstruct, field
    from msgspec.json import Decoder

    hit = defstruct(
        "Hit",
        [
            ("index", str, field(name="_index")),
            ("id", str, field(name="_id")),
            ("sort", Raw),
            ("routing", str, field(name="_routing", default="")),
            ("fields", Raw, field(default=Raw(b""))),
            ("source", Raw, field(name="_source", default=Raw(b""))),
        ],
        gc=False,
    )
    hits = defstruct("Hits", [("hits", list[hit])])  # type: ignore[valid-type]
    page = defstruct(
        "Page",
        [
            ("timed_out", bool),
            ("shards", dict, field(name="_shards")),
            ("hits", hits),
            ("clusters", dict | None, field(name="_clusters", default=None)),
            ("terminated_early", bool | None, None),
            ("pit_id", str | None, None),
        ],
    )
    return Decoder(page)


def decode_page(
    body: bytes | bytearray, what: str, where: str = "the server", clusters: Sequence[str] = ()
) -> object:
    """Return the page if it is complete, also from each of the remote `clusters`."""
    import msgspec

    try:
        try:
            page = page_decoder().decode(body)
        except RecursionError:
            page = _decode_deep(bytes(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(bytes(body), error, what) from error
    judged = {
        "timed_out": page.timed_out,
        "terminated_early": page.terminated_early,
        "_shards": page.shards,
        "_clusters": page.clusters,
    }
    check_complete(judged, what, where, clusters=clusters, in_snapshot=True)
    return page


def _decode_deep(body: bytes) -> object:
    from msgspec import Raw

    shallow, lifted = lift_deep_sources(body)
    page = page_decoder().decode(shallow)
    for number, source in lifted.items():
        page.hits.hits[number].source = Raw(source)
    return page


def _unreadable(body: bytes, error: Exception, what: str) -> PipelineError:
    """Return the error of a page that cannot be decoded.

    A page of the right shape holds a document that cannot be read: a DataError, which names it if it can be found.
    Any other response is not from Elasticsearch: an UnexpectedAnswerError, as for every other request.
    """
    if not body.lstrip().startswith(b"{") or isinstance(error, RecursionError):  # outside of any document
        return UnexpectedAnswerError(what, "a page of documents", body)
    if not body.rstrip().endswith(b"}"):
        return TransientError(f"{what}: the answer is cut off ({error})")
    text = body.decode("utf-8", "surrogateescape")
    try:
        # Python's own parser accepts what the fast one refuses, or reports where it fails
        answer = json.loads(text)
    except json.JSONDecodeError as failure:
        # Elasticsearch accepts comments and a byte order mark, and returns them
        *_, last = (None, *_HIT.finditer(text, 0, failure.pos))
        if last is None:
            return UnexpectedAnswerError(what, "a page of documents", body)
        return _refused(
            f"document {last[1]}/{last[2]}",
            f" is not valid JSON ({failure.msg}), which no target could read; correct it, or leave it out by "
            "`source.query`",
        )
    if not _is_page(answer):
        return UnexpectedAnswerError(what, "a page of documents", answer)
    for hit in answer["hits"]["hits"]:
        try:
            json.dumps(hit, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return _refused(
                f"document {hit['_index']}/{hit['_id']}",
                " holds half a surrogate pair (\\ud800 alone, say), which is no text to any target; correct it, or "
                "leave it out by `source.query`",
            )
    return DataError(f"{what}: a page of documents cannot be read ({error})")


def _is_page(answer: object) -> bool:
    """Return whether the answer has every member that a page has, and each hit what names a document."""
    if not isinstance(answer, dict) or not isinstance(answer.get("timed_out"), bool):
        return False
    hits = answer.get("hits")
    if not isinstance(answer.get("_shards"), dict) or not isinstance(hits, dict):
        return False
    listed = hits.get("hits")
    return isinstance(listed, list) and all(
        isinstance(hit, dict)
        and "sort" in hit
        and all(isinstance(hit.get(key), str) for key in ("_index", "_id"))
        for hit in listed
    )


def read_pages(
    fetch: FetchPage,
    time_field: str,
    sizes: PageSizes,
    prefetch: Executor,
    *,
    with_routing: bool = False,
    with_source: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Yield batches until the end; the server works on the next page while the caller uses this one."""
    make = to_batch if with_source else to_ids
    coming = prefetch.submit(_next_page, fetch, sizes, None)
    last = False
    while not last:
        page, last = coming.result()
        hits = page.hits.hits
        if not last:
            coming = prefetch.submit(_next_page, fetch, sizes, json.loads(bytes(hits[-1].sort)))
        if hits:
            batch = make(hits, time_field, with_routing=with_routing)
            del page, hits  # frees the response before the caller uses the batch
            yield batch


def _next_page(fetch: FetchPage, sizes: PageSizes, after: list[object] | None) -> tuple[Any, bool]:
    """Return the next page, and whether it is the last."""
    while True:
        size = sizes.next()
        try:
            page, bytes_read = fetch(size, after)
        except PageTooLargeError as error:
            for_server = not isinstance(error, AnswerTooLargeError)
            if size == 1 and not for_server:
                raise DataError(
                    f"{error.message}: a single document is that large, and no target accepts it; exclude it by "
                    "`source.query`"
                ) from error
            if size == 1:
                raise
            sizes.too_large(size, for_server=for_server)
            level = logging.WARNING if for_server else logging.INFO
            logger.log(level, "going on with %d documents a page: %s", sizes.next(), error)
            continue
        found = len(page.hits.hits)
        sizes.record(found, bytes_read)
        return page, found < size


def to_batch(hits: list[Any], time_field: str, *, with_routing: bool = False) -> pa.RecordBatch:
    """Return hits as one batch of the envelope; an invalid document is a DataError that names it.

    The record id is `index/_id`; `with_routing` it ends with `?routing=` and the routing, percent-encoded, even if
    that is empty, so that no two documents of an index share one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from airflow_pipeline_provider.envelope.schema import ENVELOPE, utf8

    try:
        documents = utf8([hit.source for hit in hits])
        if not pc.all(pc.starts_with(documents, b"{")).as_py():  # a hit without _source is empty
            _refuse_document(hits, time_field)
        indices = _indices(hits)
        names = _names(hits, indices, with_routing=with_routing)
        return pa.record_batch([names, _times(hits, time_field), indices, documents], schema=ENVELOPE)
    except (pa.ArrowInvalid, UnicodeError, ValueError, OverflowError) as error:
        _refuse_document(hits, time_field)
        raise DataError(f"a page of documents does not fit the envelope: {error}") from error


def to_ids(hits: list[Any], time_field: str, *, with_routing: bool = False) -> pa.RecordBatch:
    """Return the record ids and event times of hits that came without `_source`, as `to_batch` does."""
    import pyarrow as pa

    from airflow_pipeline_provider.envelope.schema import IDS

    try:
        names = _names(hits, _indices(hits), with_routing=with_routing)
        return pa.record_batch([names, _times(hits, time_field, with_source=False)], schema=IDS)
    except (pa.ArrowInvalid, UnicodeError, ValueError, OverflowError) as error:
        raise DataError(f"a page of documents does not fit the envelope: {error}") from error


def _indices(hits: list[Any]) -> pa.StringArray:
    import pyarrow as pa

    from airflow_pipeline_provider.envelope.schema import text

    indices = [hit.index for hit in hits]
    first = indices[0]
    if indices.count(first) == len(indices):
        return pa.repeat(text([first])[0], len(indices))
    return text(indices)


def _names(hits: list[Any], indices: pa.StringArray, *, with_routing: bool) -> pa.Array:
    import pyarrow.compute as pc

    from airflow_pipeline_provider.envelope.schema import text

    if with_routing:
        ids = [f"{hit.id}?routing={quote(hit.routing, safe='')}" for hit in hits]
    else:
        ids = [hit.id for hit in hits]
    return pc.binary_join_element_wise(indices, text(ids), text(["/"])[0])


def _times(hits: list[Any], time_field: str, *, with_source: bool = True) -> pa.Array:
    """Parse `fields` as the server writes them, `{"<time_field>":["1383436800001"]}`, by column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from airflow_pipeline_provider.envelope.schema import binary, instants

    before, after = f'{{{json.dumps(time_field, ensure_ascii=False)}:["'.encode(), b'"]}'
    fields = binary([hit.fields for hit in hits])
    if pc.all(pc.and_(pc.starts_with(fields, before), pc.ends_with(fields, after))).as_py():
        with suppress(pa.ArrowInvalid):  # fractions of a date_nanos, or several dates
            millis = pc.binary_slice(fields, len(before), -len(after)).cast(pa.string()).cast(pa.int64())
            return millis.cast(pa.timestamp("ms", tz="UTC")).cast(pa.timestamp("us", tz="UTC"))
    texts = [_times_of(hit, time_field) for hit in hits]
    if any(len(dates) != 1 for dates in texts):
        _refuse_document(hits, time_field, with_source=with_source)
    return instants(to_micros(dates[0]) for dates in texts)


def _times_of(hit: Any, time_field: str) -> list[str]:
    fields = json.loads(bytes(hit.fields) or b"{}")
    times = fields.get(time_field, []) if isinstance(fields, dict) else None
    if not isinstance(times, list):
        raise DataError(
            f"document {hit.index}/{hit.id}: expected a list of {time_field}, got {bytes(hit.fields)!r}"
        )
    return [str(time) for time in times]


def to_micros(epoch_millis: str) -> int:
    """Parse doc values in the format epoch_millis to microseconds since 1970, floored.

    They are "1383436800001" for a date, "1383436800001.000023" (without trailing zeros) for date_nanos.
    """
    millis, _, fraction = epoch_millis.partition(".")
    micros = int(millis) * 1000
    return micros + int(f"{fraction:0<3.3}") if fraction else micros


def _refuse_document(hits: list[Any], time_field: str, *, with_source: bool = True) -> None:
    """Raise a DataError for the first document that the envelope cannot hold."""
    for hit in hits:
        name, times = f"document {hit.index}/{hit.id}", _times_of(hit, time_field)
        if len(times) > 1:
            raise _refused(
                name,
                f": {time_field} holds {len(times)} dates, so it belongs to several windows; expected one date",
            )
        if not times:
            raise _refused(
                name, f": {time_field} has no doc value, so its event time is not known; expected one date"
            )
        if not with_source:
            continue
        body = bytes(hit.source)
        if not body:
            raise _refused(
                name,
                " comes without _source; the index must store it (mapping `_source.enabled`)",
                FatalError,
            )
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise _refused(
                name, f" is not UTF-8 ({error.reason} at byte {error.start}), which JSON must be"
            ) from error
        if not body.lstrip(b" \t\r\n").startswith(b"{"):
            raise _refused(name, " is not a JSON object", got=f"; got {excerpt_of(body, 100)}")
        try:
            to_micros(times[0])
        except ValueError:
            raise _refused(
                name, f": expected {time_field} as milliseconds since 1970", got=f", got {times[0]!r}"
            ) from None


def _refused(name: str, what: str, kind: type[PipelineError] = DataError, *, got: str = "") -> PipelineError:
    """Return the error of a document; without content it has neither the document's name nor what it holds."""
    error = kind(f"{name}{what}{got}")
    error.without_content = f"a document{what}"
    return error
