"""Check that a response covers everything that was asked for; no other module decides that.

A server can leave rows out and still return status 200: shards that failed, a remote cluster with `skip_unavailable`
(the default) that is down or has no such index, a search that ended early.  Doubt is an error, never fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from airflow_pipeline_provider.connectors.elasticsearch.errors import (
    ErrorBody,
    PageTooLargeError,
    UnexpectedAnswerError,
    error_by_kind,
    member,
    object_at,
    read_error,
)
from airflow_pipeline_provider.core.field_patterns import glob_matches
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError

LOCAL = "(local)"


def remote_clusters(indices: Sequence[str]) -> tuple[str, ...]:
    """Return the remote clusters that the index expressions name, as they name them (`far`, `eu-*`)."""
    found = []
    for position, name in enumerate(indices):
        if name.startswith("<") or (position and name.startswith("-")):  # date math; an exclusion
            continue
        cluster, colon, _ = name.partition("::")[0].partition(":")  # `index::failures` has a selector
        if colon:
            found.append(cluster)
    return tuple(dict.fromkeys(found))


def check_complete(
    answer: dict[str, object],
    what: str,
    where: str,
    *,
    clusters: Sequence[str] = (),
    in_snapshot: bool = False,
) -> None:
    """Raise an error unless the response is complete.

    `clusters` are the remote clusters that must have answered, as `remote_clusters` returns them; pass none for an
    API that lists neither clusters nor indices.  With `in_snapshot` a missing index means that the point in time is
    lost.
    """
    if answer.get("timed_out"):
        raise PageTooLargeError(
            f"{what}: the search timed out, so its answer is not whole; lower `source.page_size` if it stays so"
        )
    if answer.get("terminated_early"):
        raise FatalError(
            f"{what}: {where} ended the search early, so its answer is not whole; remove what sets "
            "`terminate_after` for it (a search pipeline, a gateway)"
        )
    for place, failure in _failures(answer, what):
        raise _error_of(place or where, failure, what, in_snapshot)
    _check_counters(answer, what)
    _check_clusters(answer, clusters, what, where)


def _error_of(place: str, failure: ErrorBody, what: str, in_snapshot: bool) -> PipelineError:
    seen = f"{what}: {place} did not answer whole ({failure.reason}), so rows would be missing"
    error = _failure_error(failure, seen, what, place, in_snapshot)
    error.without_content = (
        f"{what}: {place} did not answer whole ({failure.named}), so rows would be missing"
    )
    return error


def _failure_error(failure: ErrorBody, seen: str, what: str, place: str, in_snapshot: bool) -> PipelineError:
    known = error_by_kind(failure, seen, what, place, in_snapshot=in_snapshot)
    if known is not None:
        return known
    if "security_exception" in failure.kinds:
        return FatalError(f"{seen}: the connection's user needs the right to read there too")
    return TransientError(f"{seen}: check that it runs and can be reached")


def _failures(answer: dict[str, object], what: str) -> Iterator[tuple[str, ErrorBody]]:
    """Yield (place or "", failure) of every list of failures that a response may have."""
    for failure in _list(answer, "failures", what):  # field capabilities
        inner = failure.get("failure", failure)
        inner = inner.get("error", inner) if isinstance(inner, dict) else {}
        indices = failure.get("indices")
        yield _place_of(indices[0] if isinstance(indices, list) and indices else ""), _read(inner)
    for failure in _list(answer.get("_shards"), "failures", what):
        yield _place_of(failure.get("index")), _read(failure.get("reason"))
    details = object_at(object_at(answer, "_clusters", what), "details", what)
    for alias in details:
        place = "the local cluster" if alias == LOCAL else f"cluster {alias!r}"
        seen = object_at(details, alias, what)
        for failure in _list(seen, "failures", what):
            yield place, _read(failure.get("reason"))
        if seen.get("status") not in ("successful", None) or seen.get("timed_out"):
            yield place, ErrorBody(frozenset(), f"status {seen.get('status')}", "")


def _list(answer: object, key: str, what: str) -> list[dict[str, object]]:
    value = answer.get(key) if isinstance(answer, dict) else None
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UnexpectedAnswerError(what, f"an answer with a list of {key}", answer)
    return value


def _read(reason: object) -> ErrorBody:
    return read_error(reason if isinstance(reason, dict) else {"type": "failure", "reason": str(reason)})


def _place_of(index: object) -> str:
    """Return `cluster:index` of a remote failure; the caller names the server of others."""
    cluster, colon, _ = str(index or "").partition(":")
    return f"cluster {cluster!r}" if colon else ""


def _check_counters(answer: dict[str, object], what: str) -> None:
    counters = object_at(answer, "_clusters", what)
    if counters:
        total = member(answer, "_clusters.total", int, what)
        left = {key: counters.get(key) or 0 for key in ("skipped", "partial", "failed", "running")}
        if any(left.values()) or member(answer, "_clusters.successful", int, what) < total:
            seen = (
                ", ".join(f"{count} {key}" for key, count in left.items() if count)
                or "some without an answer"
            )
            raise TransientError(
                f"{what}: of {counted(total, 'cluster')} {seen}, so rows would be missing: check the remote clusters "
                "(GET /_remote/info), and that each has the indices"
            )
    if answer.get("failed_indices"):
        raise TransientError(
            f"{what}: not every index answered ({answer['failed_indices']} did not), so rows would be missing"
        )
    if answer.get("_shards") is not None:
        total, failed = (member(answer, f"_shards.{key}", int, what) for key in ("total", "failed"))
        if failed:
            raise TransientError(
                f"{what}: {failed} of {counted(total, 'shard')} failed, so the answer is not whole"
            )
        if not total:
            raise DataError(
                f"{what}: no shard was searched, so no rows does not mean an empty window; check the index"
            )


def _check_clusters(answer: dict[str, Any], clusters: Sequence[str], what: str, where: str) -> None:
    """Raise unless every remote cluster answered.

    A pattern that finds no remote cluster is dropped by the server, or even read as all of its own indices.
    """
    if not clusters:
        return
    counters = object_at(answer, "_clusters", what)
    answered: Iterable[str] | None = counters.get("details")
    if isinstance(answer.get("indices"), list):  # field capabilities
        answered = {
            alias for name in answer["indices"] for alias, colon, _ in [str(name).partition(":")] if colon
        }
    if answered is None and counters:  # an older server: counters only, which cannot vouch for a pattern
        patterns = [cluster for cluster in clusters if "*" in cluster]
        if patterns:
            raise FatalError(
                f"{what}: {where} does not list the clusters that answered, so {patterns[0]!r} cannot be checked; "
                "name each cluster in `source.index` instead of a pattern"
            )
        if counters["total"] < len(clusters):
            raise TransientError(
                f"{what}: {counters['total']} of the remote clusters {', '.join(clusters)} answered, so rows would "
                "be missing: check the remote clusters (GET /_remote/info)"
            )
        return
    for cluster in clusters:
        if not any(glob_matches(cluster, alias) for alias in answered or () if alias != LOCAL):
            raise FatalError(
                f"{what}: no remote cluster of {where} that matches {cluster!r} answered; check `source.index` "
                "against GET /_remote/info"
            )
