"""What a search asks of the replay server: a range of documents, and how a hit looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.documents import SAME_TIME, START, START_MILLIS, Lines
from benchmarks.shapes import SEQUENCE_FIELD, TIME_FIELD, USUAL

NO_TIME = {"bool": {"must_not": [{"exists": {"field": TIME_FIELD}}]}}  # matches none: every document has one
_MILLISECOND = timedelta(milliseconds=1)
LARGEST_PAGE = 10_000
UNDERSTOOD = {
    "size", "query", "sort", "search_after", "slice", "pit", "docvalue_fields", "track_total_hits", "aggs", "_source",
    "stored_fields", "version",
}  # fmt: skip


class RefusedError(Exception):
    """A request that this server does not answer; `status` and `kind` as Elasticsearch has them."""

    def __init__(self, reason: str, status: int = 400, kind: str = "illegal_argument_exception") -> None:
        super().__init__(reason)
        self.status, self.kind = status, kind


@dataclass(frozen=True)
class View:
    """What a hit holds beside its document: sort values (`number`, `millis`) and the time's doc value."""

    sort: tuple[str, ...]
    times: bool


@dataclass(frozen=True)
class Search:
    """Documents `first` to `end`, `size` a page, of the `low` to `high` that match (rows, not numbers)."""

    first: int
    end: int
    low: int
    high: int
    size: int
    view: View
    total: bool
    aggregations: dict[str, Any]


class Views:
    """The lines of hits by what they hold, made once."""

    def __init__(self, padding: int = 0, shape: str = USUAL) -> None:
        self._padding, self._shape = padding, shape
        self._made: dict[View, Lines] = {}
        self._lock = threading.Lock()

    def lines(self, view: View) -> Lines:
        with self._lock:
            if view not in self._made:
                self._made[view] = Lines(
                    lambda *parts: _hit(view, *parts), self._shape, padding=self._padding
                )
            return self._made[view]


def _hit(view: View, number: bytes, millis: bytes, source: bytes) -> bytes:
    hit = b'{"_index":"bench","_id":"log-%b","_score":null,"_source":%b' % (number, source)
    if view.times:
        hit += b',"fields":{"%b":["%b"]}' % (TIME_FIELD.encode(), millis)
    if view.sort:
        hit += b',"sort":[%b]' % b",".join(millis if value == "millis" else number for value in view.sort)
    return hit + b"},"


def parse_search(asked: dict[str, Any], params: dict[str, str], docs: int) -> Search:
    """A RefusedError for whatever is not understood."""
    if unknown := set(asked) - UNDERSTOOD:
        raise RefusedError(f"unknown keys {sorted(unknown)}")
    if asked.get("_source", True) not in (True, "*", ["*"]):
        raise RefusedError(f"the whole _source only, not {asked['_source']!r}")
    size = int(asked.get("size", params.get("size", 10)))
    if size > LARGEST_PAGE:
        raise RefusedError(
            f"Result window is too large, must be less than or equal to: [{LARGEST_PAGE}] but was [{size}]"
        )
    low, high = time_range(asked.get("query"), docs)
    first, end = low, high
    if "slice" in asked:
        part, of = int(asked["slice"]["id"]), int(asked["slice"]["max"])
        first, end = (low + (high - low) * n // of for n in (part, part + 1))
    sort = tuple(_sort_value(by) for by in _listed(asked.get("sort", params.get("sort"))))
    if after := asked.get("search_after"):
        if "number" not in sort or len(after) != len(sort):
            raise RefusedError(f"search_after {after!r} does not fit the sort {asked.get('sort')!r}")
        first = max(first, int(after[sort.index("number")]) - START_MILLIS + 1)
    view = View(sort, _wants_times(asked.get("docvalue_fields") or []))
    total = asked.get("track_total_hits", params.get("track_total_hits")) not in (False, "false")
    return Search(first, end, low, high, size, view, total, asked.get("aggs") or {})


def _listed(sort: Any) -> list[Any]:
    return sort.split(",") if isinstance(sort, str) else sort or []


def _sort_value(by: Any) -> str:
    """Every order known here is that of the documents' numbers."""
    field, order = next(iter(by.items())) if isinstance(by, dict) else (by.partition(":")[0], "asc")
    if (order if isinstance(order, str) else order.get("order", "asc")) != "asc":
        raise RefusedError(f"ascending order only, not {by!r}")
    if field in ("_shard_doc", "_doc", SEQUENCE_FIELD):
        return "number"
    if field == TIME_FIELD:
        return "millis"
    raise RefusedError(f"No mapping found for [{field}] in order to sort on")


def _wants_times(fields: list[Any]) -> bool:
    if not fields:
        return False
    if fields == [{"field": TIME_FIELD, "format": "epoch_millis"}]:
        return True
    raise RefusedError(f"the doc values of {TIME_FIELD} as epoch_millis only, not {fields!r}")


def time_range(query: Any, docs: int) -> tuple[int, int]:
    """Rows `low` to `high` match the query: match_all, match_none, NO_TIME, ranges of the time, filters of these.

    Of alternatives (`should`) none may match a row: what asks for rows without a usable time.
    """
    low, high = 0, docs
    for clause in _clauses(query):
        (kind, body) = next(iter(clause.items()))
        if kind == "match_all":
            continue
        if clause in (NO_TIME, {"match_none": {}}):
            return 0, 0
        if kind == "bool" and set(body) == {"should", "minimum_should_match"}:
            ranges = [time_range(one, docs) for one in body["should"]]
            if all(first == end for first, end in ranges):
                return 0, 0
        if kind != "range" or set(body) != {TIME_FIELD} or set(body[TIME_FIELD]) - {"gte", "lt", "format"}:
            raise RefusedError(f"unknown query {clause!r}")
        if "gte" in (bounds := body[TIME_FIELD]):
            low = max(low, _row(bounds["gte"]))
        if "lt" in bounds:
            high = min(high, _row(bounds["lt"]))
    return low, max(low, high)


def _clauses(query: Any) -> list[dict[str, Any]]:
    if not query:
        return []
    if set(query) == {"bool"} and set(query["bool"]) == {"filter"}:
        filters = query["bool"]["filter"]
        return [
            clause
            for one in (filters if isinstance(filters, list) else [filters])
            for clause in _clauses(one)
        ]
    return [query]


def _row(moment: str | int) -> int:
    """The first row whose time, its number floored, is not before the moment (ISO 8601, or epoch milliseconds)."""
    if isinstance(moment, int):
        return max(0, -(-(moment - START_MILLIS) // SAME_TIME) * SAME_TIME)
    millis = -((START - datetime.fromisoformat(moment.replace("Z", "+00:00"))) // _MILLISECOND)
    return max(0, -(-millis // SAME_TIME) * SAME_TIME)
