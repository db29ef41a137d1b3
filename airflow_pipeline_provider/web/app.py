"""Build the FastAPI application that Airflow's api-server mounts at `/airflow-pipelines`.

Airflow does not authenticate the requests of a plugin's application: every route here depends on a signed-in user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.web import actions, read, static_files
from airflow_pipeline_provider.web.answers import invalid_request, pipeline_failed, state_unreachable
from airflow_pipeline_provider.web.stores import StateUnreachable

HEADERS = {
    # for a file or an answer that is opened as a page of its own; Airflow's own pages have Airflow's policy
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def build_app() -> FastAPI:
    """Return the application: static files below `/static`, the JSON API below `/api`."""
    app = FastAPI(
        title="Pipelines",
        dependencies=[Depends(requires_authenticated())],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.add_exception_handler(StateUnreachable, state_unreachable)
    app.add_exception_handler(PipelineError, pipeline_failed)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.include_router(static_files.router)
    app.include_router(read.router)
    app.include_router(read.of_pipeline)
    app.include_router(actions.router)
    return app
