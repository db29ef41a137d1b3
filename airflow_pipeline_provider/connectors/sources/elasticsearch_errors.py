"""The one map from the server's answers to our errors, by what to do about them.

What the servers answer when was seen on real ones: a 429 may be back-pressure, a search that timed out or a circuit
breaker; a point in time that is gone is a 404, or a 503 when its index was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_pipeline_provider.exceptions import (
    DataError,
    FatalError,
    PipelineError,
    SnapshotLostError,
    TransientError,
)
from airflow_pipeline_provider.observability.redaction import redact_text

SNAPSHOT_GONE = {
    "search_context_missing_exception",
    "no_shard_available_action_exception",
    "index_not_found_exception",
    "index_closed_exception",
}
TOO_MUCH_AT_ONCE = {"search_timeout_exception", "circuit_breaking_exception"}
REJECTED = {"es_rejected_execution_exception", "open_search_rejected_execution_exception"}


class PageTooLargeError(TransientError):
    """A smaller page may be answered: the search timed out, or a circuit breaker tripped for the moment."""


class AnswerTooLargeError(PageTooLargeError):
    """The answer was longer than this side takes at once."""


@dataclass(frozen=True)
class Answer:
    """What an answer says: every exception type at any depth, the innermost reason, the index it is about."""

    kinds: frozenset[str]
    reason: str
    index: str


def error_of(status: int, body: bytes, what: str, where: str, *, in_snapshot: bool) -> PipelineError:
    """The error of any answer but 200; `what` was asked for ("the documents of index x"), `where` is the server."""
    answer = read_answer(body)
    seen = f"{what}: {where} answered {status} ({answer.reason})"
    if in_snapshot and answer.kinds & SNAPSHOT_GONE:
        return SnapshotLostError(f"the point in time is gone, so the slice must be read anew; {seen}")
    if "index_not_found_exception" in answer.kinds:
        return _missing(answer, what, where)
    if "index_closed_exception" in answer.kinds:
        return FatalError(
            f"{what}: index {answer.index!r} is closed, so its documents cannot be read; open it, or leave it out "
            "of `source.index`"
        )
    if answer.kinds & TOO_MUCH_AT_ONCE:
        if b'"PERMANENT"' in body:
            return FatalError(f"{seen}: this can never fit the server's memory; lower `source.page_size`")
        return PageTooLargeError(f"{seen}: lower `source.page_size` if it stays so")
    if status in (408, 429) or status >= 500 or answer.kinds & REJECTED:
        return TransientError(seen)
    if status == 401:
        return FatalError(f"{seen}: login, password or api_key of the connection are wrong or missing")
    if status == 403:
        return FatalError(
            f"{seen}: the connection's user needs the right to read it, and nothing may block reads"
        )
    return FatalError(
        f"{seen}: the server refuses the request; check `source.query`, `source.index` and page_size"
    )


def _missing(answer: Answer, what: str, where: str) -> PipelineError:
    if "*" in answer.index or answer.index in ("", "_all", "null"):
        # an empty window would hide that a whole pattern is gone
        return DataError(
            f"{what}: no open index on {where} matches it; check the pattern, or create an index first"
        )
    return FatalError(
        f"{what}: {where} has no index {answer.index!r}; check `source.index`, or create it first"
    )


def read_answer(body: bytes) -> Answer:
    """Never fails: a body that is not the server's JSON (a proxy's page) is its own reason."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Answer(frozenset(), one_line(body), "")
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return Answer(frozenset(), one_line(str(error)), "")
    found = list(_exceptions(error))
    kind, reason = next(((k, r) for k, r in reversed(found) if r), ("error", "no reason given"))
    index = str(error.get("resource.id") or error.get("index") or "")
    return Answer(frozenset(kind for kind, _ in found), one_line(f"{kind}: {reason}"), index)


def _exceptions(error: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(type, reason) from the outermost inwards."""
    if isinstance(error.get("type"), str):
        yield error["type"], str(error.get("reason") or "")
    shards = [failed.get("reason") for failed in error.get("failed_shards") or [] if isinstance(failed, dict)]
    for inner in (*(error.get("root_cause") or []), *shards, error.get("caused_by")):
        if isinstance(inner, dict):
            yield from _exceptions(inner)


def read_json(body: bytes, what: str) -> dict[str, Any]:
    """The answer as an object; one that is cut off is asked for again."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise TransientError(f"{what}: the answer is cut off or no JSON ({one_line(body, 100)})") from error
    if not isinstance(answer, dict):
        raise TransientError(f"{what}: expected a JSON object, got {one_line(body, 100)}")
    return answer


def check_shards(answer: dict[str, Any], what: str) -> None:
    """Refuse what only a part of the shards answered, and what no shard stands behind."""
    shards = answer.get("_shards")
    if answer.get("timed_out"):
        raise PageTooLargeError(f"{what}: the search timed out, so its answer is not whole")
    if shards and shards["failed"]:
        raise TransientError(
            f"{what}: {shards['failed']} of {shards['total']} shards failed, so the answer is not whole"
        )
    if shards and not shards["total"]:
        raise DataError(
            f"{what}: no shard stands behind it, which must not pass for an empty window; check the index"
        )


def one_line(text: bytes | str, limit: int = 300) -> str:
    """Fit for a message: no line breaks, no secrets, cut to the limit."""
    line = redact_text(" ".join((text.decode(errors="replace") if isinstance(text, bytes) else text).split()))
    return (line if len(line) <= limit else line[: limit - 1] + "…") or "an empty body"
