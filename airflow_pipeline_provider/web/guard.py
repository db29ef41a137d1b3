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


def check_post(request: Request) -> None:
    """Raise HTTPException for a request that was forged, or that does not state where it came from."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(415, f"expected the content type application/json, got {content_type[:100]!r}")
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


def _own_hosts(request: Request) -> set[str]:
    hosts = {request.headers.get("host", "").lower(), _host(conf.get("api", "base_url", fallback=""))}
    return hosts - {""}


def _host(url: str) -> str:
    """Return host and port; empty for `null` and for what is no URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
