"""Write answers: JSON with an ETag, and errors as one sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from airflow_pipeline_provider.core.intervals import iso_utc, parse_instant
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.web.stores import StateUnreachable

MOST_PROBLEMS = 3
HEADERS = {"Cache-Control": "private, no-cache"}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Validator(NamedTuple):
    """What an ETag of one pipeline is made of: the state's mark, everything else, and until when both suffice."""

    mark: str
    other: str
    until: int

    def etag(self) -> str:
        """Return the ETag."""
        return f'"{self.mark}.{self.other}.{self.until}"'


def known_mark(request: Request, other: str, at: datetime) -> str | None:
    """Return the mark in the request's ETag, None if it is outdated whatever the state says."""
    for text in request.headers.get("If-None-Match", "").split(","):
        parts = text.strip().removeprefix("W/").strip('"').split(".")
        if len(parts) == 3 and parts[1] == other and parts[2].isdecimal() and int(parts[2]) > at.timestamp():
            return parts[0]
    return None


def digest(*values: object) -> str:
    """Return a short hash of the values."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def answer(payload: dict[str, Any], etag: str) -> Response:
    """Return the payload as JSON."""
    return Response(
        _ENCODER.encode(payload), media_type="application/json", headers={**HEADERS, "ETag": etag}
    )


def written(payload: dict[str, Any], status: int = 200) -> Response:
    """Return the payload of an answer that no browser may keep."""
    body = _ENCODER.encode(payload)
    headers = {"Cache-Control": "no-store"}
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def answer_by_content(request: Request, payload: dict[str, Any], at: datetime) -> Response:
    """Return the payload and the time, or 304 where the browser has the same payload."""
    etag = f'"{hashlib.sha256(_ENCODER.encode(payload)).hexdigest()[:32]}"'
    if etag in [
        text.strip().removeprefix("W/") for text in request.headers.get("If-None-Match", "").split(",")
    ]:
        return unchanged(etag)
    return answer({"at": at, **payload}, etag)


def unchanged(etag: str) -> Response:
    """Return 304."""
    return Response(status_code=304, headers={**HEADERS, "ETag": etag})


def not_found(dag_id: str) -> HTTPException:
    """Return the error for a DAG that is no pipeline, or that Airflow does not know."""
    return HTTPException(404, f"DAG {dag_id!r} is not a pipeline")


def instant(text: str, name: str) -> datetime:
    """Parse an instant with an offset; 422 for anything else."""
    try:
        return parse_instant(text, name)
    except ConfigError as error:
        raise HTTPException(422, error.message) from None


@contextmanager
def adding(done_before: Callable[[], str]) -> Iterator[None]:
    """Append to an error of the block what was written before it and stays; "" is nothing."""
    try:
        yield
    except HTTPException as error:
        more = done_before()
        if not more:
            raise
        raise HTTPException(error.status_code, f"{error.detail}; {more}") from error
    except PipelineError as error:
        failure = _as_http(error)
        more = done_before()
        raise HTTPException(
            failure.status_code, f"{failure.detail}; {more}" if more else failure.detail
        ) from error


def _as_http(error: PipelineError) -> HTTPException:
    """Return the answer to an error that no route maps: 503 if the same request may succeed later, else 409."""
    status = 503 if isinstance(error, TransientError) else 409
    return HTTPException(status, redact_values(error.message))


async def pipeline_failed(_request: Request, error: Exception) -> Response:
    """Return the message of an error that no route maps."""
    assert isinstance(error, PipelineError)  # noqa: S101  (registered for this class)
    failure = _as_http(error)
    return JSONResponse(
        {"detail": failure.detail}, status_code=failure.status_code, headers={"Cache-Control": "no-store"}
    )


async def invalid_request(_request: Request, error: Exception) -> Response:
    """Return 422 with one sentence about each problem of a body or a parameter, without the values."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for this class)
    problems = []
    for one in error.errors()[:MOST_PROBLEMS]:
        where = ".".join(str(part) for part in one["loc"][1:])[:100]
        message = str(one["msg"]).removeprefix("Value error, ")
        problems.append(f"{where}: {message}" if where else message)
    return JSONResponse(
        {"detail": "; ".join(problems)}, status_code=422, headers={"Cache-Control": "no-store"}
    )


async def state_unreachable(_request: Request, error: Exception) -> Response:
    """Return 503 with the connection and the time of the last good answer."""
    assert isinstance(error, StateUnreachable)  # noqa: S101  (registered for this class)
    return JSONResponse(unreachable_json(error), status_code=503, headers={"Cache-Control": "no-store"})


def unreachable_json(error: StateUnreachable) -> dict[str, Any]:
    """Return `{"detail", "conn_id", "last_good_at"}`."""
    last = error.last_good_at
    return {
        "detail": error.message,
        "conn_id": error.conn_id,
        "last_good_at": iso_utc(last.replace(microsecond=0)) if last is not None else None,
    }
