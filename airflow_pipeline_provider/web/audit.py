"""Write Airflow's audit log of a change, in a row that each database of Airflow can hold."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import HTTPException, Request

from airflow_pipeline_provider.web.moving import MOST_RUNS

MOST_BYTES = 60_000
"""Of a body in the log: MySQL's TEXT holds 65,535, and refuses more."""


def audited(event: str) -> Callable[..., Awaitable[None]]:
    """Return the dependency that logs a request with its body, of which neighbouring windows are joined."""
    write = action_logging(event=event)

    async def log(request: Request, session: SessionDep, user: GetUserDep) -> None:
        try:
            body = shortened(await request.json())
        except ValueError:  # which the route refuses
            body = None
        text = json.dumps(body)
        if len(text) > MOST_BYTES:
            raise HTTPException(
                422, f"expected a body of at most {MOST_BYTES:,} bytes without its windows: shorten it"
            )

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": text.encode(), "more_body": False}

        await write(Request(request.scope, receive), session, user)

    return log


def shortened(body: Any) -> Any:
    """Return the body with its windows as spans, as many as there can be, and with their number.

    More spans are refused later: Airflow would need a run for each. The seen states are left out.
    """
    windows = body.get("windows") if isinstance(body, dict) else None
    if not isinstance(windows, list):
        return body
    bounds = [(one.get("start"), one.get("end")) for one in windows if isinstance(one, dict)]
    spans: list[dict[str, Any]] = []
    for start, end in sorted(bounds, key=str):
        if spans and spans[-1]["end"] == start:
            spans[-1]["end"] = end
        else:
            spans.append({"start": start, "end": end})
    return {**body, "windows": spans[:MOST_RUNS], "number_of_windows": len(windows)}
