"""Refuse changes that another site could make a signed-in user's browser send.

Airflow has no CSRF tokens, and its cookie knows no ports.  So a change is a POST with a JSON body and a header that a
form cannot send, and what the browser reports about where the request came from must name this Airflow.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.configuration import conf
from fastapi import HTTPException, Request

HEADER = "X-Airflow-Pipelines"
HEADER_VALUE = "1"
JSON = "application/json"
"""Exactly: Airflow's audit log leaves out a body whose type is written otherwise."""
AUDIT_COLUMNS = frozenset({"dag_id", "task_id", "dag_run_id"})
LONGEST_RUN_ID = 250  # of Airflow's columns; the audit log has one, too


async def check_post(request: Request) -> None:
    """Raise HTTPException for a request that was forged, or that does not state where it came from."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != JSON:
        raise HTTPException(
            415, f"expected the content type {JSON}, in lower case, got {content_type[:100]!r}"
        )
    if request.headers.get(HEADER) != HEADER_VALUE:
        raise HTTPException(403, f"expected the header {HEADER}: {HEADER_VALUE}, which the page sends")
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise HTTPException(403, f"expected a request of Airflow's own page, got one that is {site[:100]!r}")
    if origin is not None and _host(origin) not in _own_hosts(request):
        raise HTTPException(
            403,
            f"expected a request of Airflow's own page, got one from {origin[:200]!r}; behind a proxy that changes "
            "the Host header, set [api] base_url",
        )
    if site is None and origin is None and "authorization" not in request.headers:
        raise HTTPException(
            403, "expected an Origin or Sec-Fetch-Site header with a cookie: send a token instead"
        )
    await _check_audited(request)


async def _check_audited(request: Request) -> None:
    """Raise HTTPException for what would make Airflow's audit log record the change of another DAG or task.

    `action_logging` reads the body before it is validated, and prefers its keys to the path's.
    """
    if request.url.query:
        raise HTTPException(422, "expected no query parameters: send the values in the body")
    try:
        body = await request.json()
    except ValueError:  # which the route refuses
        return
    if not isinstance(body, dict):
        return
    if named := sorted(AUDIT_COLUMNS & body.keys()):
        raise HTTPException(422, f"{', '.join(named)}: not a key of this body: the path names the DAG")
    if len(str(body.get("run_id") or "")) > LONGEST_RUN_ID:
        raise HTTPException(422, f"run_id: expected at most {LONGEST_RUN_ID} characters")


def _own_hosts(request: Request) -> set[str]:
    hosts = {request.headers.get("host", "").lower(), _host(conf.get("api", "base_url", fallback=""))}
    return hosts - {""}


def _host(url: str) -> str:
    """Return host and port; empty for `null` and for what is no URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
