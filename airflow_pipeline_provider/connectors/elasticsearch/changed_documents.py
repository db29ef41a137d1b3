"""Count the documents of many windows that were written since their markers, with one request per shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from airflow_pipeline_provider.connectors.elasticsearch.client import EVERY_INDEX, Client, index_path
from airflow_pipeline_provider.connectors.elasticsearch.errors import (
    PageTooLargeError,
    UnexpectedAnswerError,
    member,
)
from airflow_pipeline_provider.core.change_markers import (
    ChangeMarker,
    Comparison,
    MarkedWindow,
    Seen,
    WindowChanges,
    compare,
    joined,
)
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError

Filter = Callable[..., dict[str, object]]

MOST_FILTERS = 1000
"""Filters of one request; the server refuses more clauses than it has memory for."""


def find_changes(
    windows: Sequence[MarkedWindow],
    read_now: Callable[[], ChangeMarker],
    count: Callable[[list[dict[str, object]], int | None], list[int]],
    in_window: Filter,
    refresh: Callable[[], str | None],
) -> list[WindowChanges]:
    """Return the answer for each window.

    `count` returns the documents that each query finds, in one shard number of all indices or in all of them (None).
    What was written may not be searchable yet, so `refresh` is called before the counts; it returns why it failed.
    """
    now = read_now()
    comparisons = [_compared(window.marker, now) for window in windows]
    changed = [0] * len(windows)
    known = [number for number, one in enumerate(comparisons) if one.unknown is None]
    moved = [number for number in known if not comparisons[number].proves_unchanged]
    if moved and (not_searchable := refresh()) is not None:
        for number in moved:
            doubt = joined([comparisons[number].doubt, not_searchable])
            comparisons[number] = comparisons[number]._replace(doubt=doubt)
    try:
        for shard, asked in _questions(comparisons).items():
            queries = [in_window(windows[number].interval, *clauses) for number, clauses in asked]
            for (number, _), found in zip(asked, count(queries, shard), strict=True):
                changed[number] += found
        counts = count([in_window(windows[number].interval) for number in moved], None)
    except (FatalError, DataError, PageTooLargeError) as error:
        reason = f"the documents cannot be counted by sequence number: {error.message[:200]}"
        for number in moved:
            comparisons[number] = Comparison(unknown=reason)
        return [_answer(comparison, 0, None) for comparison in comparisons]
    rows = dict(zip(moved, counts, strict=True))
    return [
        _answer(comparison, changed[number], rows.get(number))
        for number, comparison in enumerate(comparisons)
    ]


def _compared(marker: ChangeMarker | None, now: ChangeMarker) -> Comparison:
    return compare(marker or ChangeMarker(unknown="the window has no marker"), now)


def _questions(
    comparisons: Sequence[Comparison],
) -> dict[int | None, list[tuple[int, tuple[dict[str, object], ...]]]]:
    """Map each shard number, and None for all shards, to (window, clauses) of what is to be counted there."""
    questions: dict[int | None, list[tuple[int, tuple[dict[str, object], ...]]]] = defaultdict(list)
    for number, comparison in enumerate(comparisons):
        for place, shard, checkpoint in comparison.written:
            clauses: tuple[dict[str, object], ...] = (
                _of_index([place]),
                {"range": {"_seq_no": {"gt": checkpoint}}},
            )
            questions[shard].append((number, clauses))
        if comparison.new:
            questions[None].append((number, (_of_index(comparison.new),)))
    return questions


def _of_index(names: Sequence[str]) -> dict[str, object]:
    return {"terms": {"_index": list(names)}}


def _answer(comparison: Comparison, changed: int, rows: int | None) -> WindowChanges:
    if comparison.proves_unchanged:
        return WindowChanges(Seen.UNCHANGED)
    if not changed and (reason := joined([comparison.unknown, comparison.doubt])):
        return WindowChanges(Seen.UNKNOWN, rows=rows, reason=reason)
    return WindowChanges(Seen.COUNTED, changed, rows)


class SequenceCounter:
    """Counts documents by several queries at once, and checks that the server can search by sequence number."""

    def __init__(self, client: Client, indices: Sequence[str], what: str) -> None:
        self._client, self._path, self._what = client, f"/{index_path(list(indices))}/_search", what

    def count(self, queries: list[dict[str, object]], shard: int | None) -> list[int]:
        """Return the number of documents of each query, in this shard of every index (None: in all shards)."""
        found: list[int] = []
        for chunk in _chunks(queries, MOST_FILTERS):
            found += self._count(chunk, shard)
        return found

    def _count(self, queries: list[dict[str, object]], shard: int | None) -> list[int]:
        filters = {str(number): query for number, query in enumerate(queries)}
        if shard is not None:
            filters |= {"all": {"match_all": {}}, "numbered": {"range": {"_seq_no": {"gte": 0}}}}
        body = {"size": 0, "track_total_hits": False, "aggs": {"found": {"filters": {"filters": filters}}}}
        where = {} if shard is None else {"preference": f"_shards:{shard}"}
        params = {"allow_partial_search_results": "false", **where, **EVERY_INDEX}
        answer = self._client.ask("POST", self._path, body, params=params, what=self._what)
        buckets = member(answer, "aggregations.found.buckets", dict, self._what)
        if set(buckets) != set(filters):
            raise UnexpectedAnswerError(self._what, "a count for each filter", answer)
        counts = {key: member(bucket, "doc_count", int, self._what) for key, bucket in buckets.items()}
        if shard is not None and counts["all"] != counts["numbered"]:
            missing = counted(counts["all"] - counts["numbered"], "document")
            raise FatalError(f"{self._what}: no sequence number to search by in {missing} of shard {shard}")
        return [counts[str(number)] for number in range(len(queries))]


def _chunks(queries: list[dict[str, object]], size: int) -> Iterator[list[dict[str, object]]]:
    left = iter(queries)
    while chunk := list(islice(left, size)):
        yield chunk
