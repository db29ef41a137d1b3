"""Map responses of the server to the errors of this package.

On real servers a 429 is back-pressure, a search that timed out or a circuit breaker; a lost point in time is a 404,
or a 503 when its index was deleted.
"""

from __future__ import annotations

import html
import json
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

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
_DEEPEST = 20  # of nested causes that are looked into
# Where gateways put their reason: AWS (message, Message), Elastic Cloud (message), Kibana (error, message),
# OAuth proxies (error_description), problem+json (title, detail).
_GATEWAY_KEYS = ("message", "Message", "error_description", "detail", "title", "error", "errorMessage")
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxdict, _SHOWN.maxstring, _SHOWN.maxother = 3, 8, 100, 100
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class PageTooLargeError(TransientError):
    """The search timed out or a circuit breaker tripped; a smaller page may succeed."""


class AnswerTooLargeError(PageTooLargeError):
    """The response was longer than this client receives at once."""


class UnexpectedAnswerError(TransientError):
    """The response is not one of Elasticsearch or OpenSearch: a login page, a gateway's JSON, a redirect."""

    def __init__(self, what: str, expected: str, body: object) -> None:
        seen = excerpt_of(body if isinstance(body, bytes | str) else _SHOWN.repr(body), 200)
        super().__init__(
            f"{what}: expected {expected}, got {seen}; check that host, port and path of the connection lead to "
            "Elasticsearch or OpenSearch and not to a login page, Kibana or another service"
        )


def redirected(status: int | str, location: str | None, what: str, where: str) -> UnexpectedAnswerError:
    """Return the error of a redirect, which is not followed: the other host would get the credentials.

    Only the host of `location` is shown; its path and query may hold a secret.
    """
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        host = None
    target = f"a redirect to host {host!r}" if host else "a redirect"
    return UnexpectedAnswerError(what, f"an answer from {where}", f"{target} (status {status})")


@dataclass(frozen=True)
class ErrorBody:
    """The content of an error response: every exception type at any depth, the innermost reason, its index.

    With `permanent` the same request will always trip the circuit breaker.
    """

    kinds: frozenset[str]
    reason: str
    index: str
    permanent: bool = False

    @property
    def named(self) -> str:
        """Return the exception types alone: a reason may quote a document."""
        return ", ".join(sorted(self.kinds)) or "no exception type"


def error_of(status: int, body: bytes, what: str, where: str, *, in_snapshot: bool) -> PipelineError:
    """Return the error of any answer but 200; `what` was asked for ("the documents of index x") of server `where`."""
    answer = read_answer(body)
    seen = f"{what}: {where} answered {status} ({answer.reason})"
    error = _error_of(answer, seen, status, what, where, in_snapshot=in_snapshot)
    error.without_content = f"{what}: {where} answered {status} ({answer.named})"
    return error


def _error_of(
    answer: ErrorBody, seen: str, status: int, what: str, where: str, *, in_snapshot: bool
) -> PipelineError:
    known = error_by_kind(answer, seen, what, where, in_snapshot=in_snapshot)
    if known is not None:
        return known
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


def error_by_kind(
    answer: ErrorBody, seen: str, what: str, where: str, *, in_snapshot: bool
) -> PipelineError | None:
    """Return the error that the exception types alone decide, or None; `seen` is what happened, as a sentence."""
    if in_snapshot and answer.kinds & SNAPSHOT_GONE:
        return SnapshotLostError(f"the point in time is gone, so the slice must be read again; {seen}")
    if "index_not_found_exception" in answer.kinds:
        return _missing(answer, what, where)
    if "index_closed_exception" in answer.kinds:
        return FatalError(
            f"{what}: index {answer.index!r} is closed, so its documents cannot be read; open it, or leave it out "
            "of `source.index`"
        )
    if answer.kinds & TOO_MUCH_AT_ONCE:
        if answer.permanent:
            return FatalError(f"{seen}: this can never fit the server's memory; lower `source.page_size`")
        return PageTooLargeError(f"{seen}: lower `source.page_size` if it stays so")
    return None


def _missing(answer: ErrorBody, what: str, where: str) -> PipelineError:
    if "*" in answer.index or answer.index in ("", "_all", "null"):
        # an empty window would hide that a whole pattern is gone
        return DataError(
            f"{what}: no open index on {where} matches it; check the pattern, or create an index first"
        )
    return FatalError(
        f"{what}: {where} has no index {answer.index!r}; check `source.index`, or create it first"
    )


def read_answer(body: bytes) -> ErrorBody:
    """Read the reason of an error body; the page or JSON of a gateway is its own reason."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorBody(frozenset(), text_of_page(body), "")
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if (
        isinstance(error, dict)
        and isinstance(error.get("type"), str)
        and {"reason", "root_cause"} & error.keys()
    ):
        return read_error(error)
    return ErrorBody(frozenset(), _gateway_reason(answer), "")


def read_error(error: dict[str, object]) -> ErrorBody:
    """Read an error as Elasticsearch nests them."""
    found = list(_exceptions(error))
    kind, reason = next(((k, r) for k, r, _ in reversed(found) if r), ("error", "no reason given"))
    index = error.get("resource.id") or error.get("index") or ""
    names = [str(name) for name in (index if isinstance(index, list) else [index])]
    return ErrorBody(
        frozenset(kind for kind, _, _ in found),
        excerpt_of(f"{kind}: {reason}"),
        excerpt_of(",".join(names)) if any(names) else "",
        permanent=any(durability == "PERMANENT" for _, _, durability in found),
    )


def _exceptions(error: object, depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield (type, reason, durability) from the outermost inwards."""
    if not isinstance(error, dict) or depth > _DEEPEST:
        return
    if isinstance(error.get("type"), str):
        yield error["type"], str(error.get("reason") or ""), str(error.get("durability") or "")
    for failed in _list(error.get("failed_shards")):
        yield from _exceptions(failed.get("reason") if isinstance(failed, dict) else None, depth + 1)
    for inner in (*_list(error.get("root_cause")), error.get("caused_by")):
        yield from _exceptions(inner, depth + 1)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _gateway_reason(answer: object) -> str:
    """Return the sentences of a gateway's JSON, or the JSON itself."""
    found = dict.fromkeys(
        value
        for where in (answer, answer.get("error") if isinstance(answer, dict) else None)
        if isinstance(where, dict)
        for key in _GATEWAY_KEYS
        if isinstance(value := where.get(key), str) and value
    )
    return excerpt_of("; ".join(reversed(found)) if found else _SHOWN.repr(answer))


def text_of_page(body: bytes) -> str:
    """Return the title of an HTML page and the beginning of its text; other bodies as they are."""
    text = body.decode(errors="replace")
    if "<html" not in text[:1000].lower() and "<!doctype" not in text[:1000].lower():
        return excerpt_of(body)
    title = _TITLE.search(text)
    words = html.unescape(_TAG.sub(" ", _TITLE.sub(" ", text[:20_000])))
    parts = [html.unescape(title[1]).strip() if title else "", " ".join(words.split())]
    return excerpt_of("; ".join(part for part in parts if part))


def read_json(body: bytes, what: str) -> dict[str, object]:
    """Parse the answer as an object; one that is cut off or of another shape is an error that may pass."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        if not body.lstrip().startswith(b"{"):
            raise UnexpectedAnswerError(what, "JSON", text_of_page(body)) from error
        raise TransientError(f"{what}: the answer is cut off or no JSON ({excerpt_of(body, 100)})") from error
    if not isinstance(answer, dict):
        raise UnexpectedAnswerError(what, "a JSON object", answer)
    return answer


def member(answer: object, path: str, kind: type | tuple[type, ...], what: str) -> Any:
    """Return what the answer holds at `path` ("hits.total.value"), or raise UnexpectedAnswerError."""
    value = answer
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UnexpectedAnswerError(what, f"an answer with {path!r}", answer)
    return value


def object_at(answer: dict[str, object], key: str, what: str) -> dict[str, Any]:
    """Return the object at the key, an empty one where the answer has none."""
    value = answer.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnexpectedAnswerError(what, f"an answer with an object {key!r}", answer)
    return value


def excerpt_of(text: bytes | str, limit: int = 300) -> str:
    """Return a text for a message: without line breaks and secrets, cut to the limit."""
    line = redact_text(" ".join((text.decode(errors="replace") if isinstance(text, bytes) else text).split()))
    return (line if len(line) <= limit else line[: limit - 1] + "…") or "an empty body"
