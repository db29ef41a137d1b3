"""Check that the time field puts each document into a window, and count documents that it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import accumulate

from airflow_pipeline_provider.connectors.elasticsearch.client import EVERY_INDEX, Client, index_path
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.errors import member, object_at
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.exceptions import DataError, FatalError

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MILLISECOND = timedelta(milliseconds=1)
_NANOS_END = datetime(2262, 4, 11, tzinfo=timezone.utc)  # signed 64 bits of nanoseconds end that day
_YEAR_1, _YEAR_10000 = (
    -62_135_596_800_000,
    253_402_300_800_000,
)  # milliseconds; Python's calendar lies between
_SHOWN = 5


def untimed(time_field: str, kinds: frozenset[str]) -> dict[str, object]:
    """Return the query for the documents that are in no window."""
    unusable: list[dict[str, object]] = [{"bool": {"must_not": [{"exists": {"field": time_field}}]}}]
    if "date" in kinds:  # a date_nanos ends in 2262
        far = ({"lt": _YEAR_1}, {"gte": _YEAR_10000})
        unusable += [{"range": {time_field: {**bound, "format": "epoch_millis"}}} for bound in far]
    return {"bool": {"should": unusable, "minimum_should_match": 1}}


def time_field_caps(client: Client, indices: Sequence[str], time_field: str, what: str) -> dict[str, object]:
    """Return the response of `_field_caps` for the time field and the objects that hold it."""
    return client.ask(
        "GET",
        f"/{index_path(list(indices))}/_field_caps",
        params={
            "fields": ",".join([time_field, *_parents(time_field)]),
            "include_unmapped": "true",
            **EVERY_INDEX,
        },
        what=what,
        clusters=remote_clusters(indices),
    )


def _parents(time_field: str) -> list[str]:
    return list(accumulate(time_field.split("."), lambda path, step: f"{path}.{step}"))[:-1]


def check_time_field(
    answer: dict[str, object], time_field: str, what: str, holds_any: Callable[[], bool]
) -> None:
    """Raise FatalError for a field that searches cannot see; log the indices that lack the field.

    `answer` is the result of `time_field_caps`.  `holds_any` returns whether any document has the field nevertheless
    (`include_in_root`): below a `nested` object each value belongs to a hidden document of its own.
    """
    parents = _parents(time_field)
    fields = member(answer, "fields", dict, what)
    nested = [parent for parent in parents if "nested" in object_at(fields, parent, what)]
    if nested and not holds_any():
        raise FatalError(
            f"{what}: field {time_field!r} is below {nested[0]!r}, which is mapped as nested, so no search finds its "
            "dates and every window would be empty: copy the date to a field of the document itself, or set "
            "`include_in_root` on the nested field, and index the documents again"
        )
    for kind, sees in (("nested", nested), ("unmapped", [time_field])):
        for name in sees:
            inside = object_at(object_at(fields, name, what), kind, what).get("indices") or []
            if inside:
                more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
                logger.warning(
                    "%s is %s in %s%s: documents there have no event time and are not moved",
                    name,
                    kind,
                    ", ".join(map(str, inside[:_SHOWN])),
                    more,
                )


def time_range(time_field: str, kinds: frozenset[str], interval: Interval, what: str) -> dict[str, object]:
    """Return the query for exactly the documents of the interval.

    A `date` keeps milliseconds and the server truncates finer bounds, so they are rounded up: the same documents are
    behind them.  A `date_nanos` starts in 1970, and an earlier bound is an error there.
    """
    start, end = interval.start, interval.end
    if "date" in kinds:
        rounded = [-((EPOCH - bound) // MILLISECOND) * MILLISECOND + EPOCH for bound in (start, end)]
        if "date_nanos" in kinds and rounded != [start, end]:
            raise DataError(
                f"{what}: {time_field!r} is a date in some indices and a date_nanos in others, so a window must "
                f"begin and end at whole milliseconds; got {interval}"
            )
        start, end = rounded
    else:
        start, end = max(start, EPOCH), min(end, _NANOS_END)
    if start >= end:
        return {"match_none": {}}
    bounds = {"gte": iso_utc(start), "lt": iso_utc(end), "format": "strict_date_optional_time_nanos"}
    return {"range": {time_field: bounds}}
