"""S3 in this process (moto), behind rules that play what real stores refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage


class Asked(NamedTuple):
    """A request; the names of `headers` are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


Rule = Callable[[Asked], tuple[int, str, str] | None]
"""(status, code, message) of the refusal, or None to let the request through."""


class Store:
    """`rule` may be changed at any time; `asked` holds every request, refused or not."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: Any) -> None:
                """Silent."""

        self.rule: Rule = lambda asked: None
        self.asked: list[Asked] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], headers)
        self.asked.append(asked)
        refusal = self.rule(asked)
        if refusal is None:
            return self.serve(asked, environ, start_response)
        status, code, message = refusal
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        if asked.method == "HEAD":
            body = b""  # S3 sends no reason
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(
            f"{status} refused", [("content-type", "application/xml"), ("content-length", str(len(body)))]
        )
        return [body]

    def serve(self, asked: Asked, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request that the rule lets through."""
        return self._app(environ, start_response)

    def client(self) -> Any:
        import boto3

        keys = {"aws_access_key_id": "kit", "aws_secret_access_key": "kit-secret", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.url, **keys)

    def connection(self, **extra: Any) -> str:
        """The JSON of an Airflow connection to it."""
        fields = {"conn_type": "aws", "login": "kit-key", "password": "kit-secret"}
        return json.dumps(
            {**fields, "extra": {"endpoint_url": self.url, "region_name": "us-east-1", **extra}}
        )


@contextmanager
def serve() -> Iterator[Store]:
    with serving(Store()) as store:
        yield store


S = TypeVar("S", bound=Store)


@contextmanager
def serving(store: S) -> Iterator[S]:
    thread = threading.Thread(target=store.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        store.server.shutdown()
        thread.join()
        store.server.server_close()


def stage_at(path: str, **options: Any) -> ObjectStoreStage:
    given = ObjectStoreStage.Options.model_validate({"type": "object_store", "path": path, **options})
    return ObjectStoreStage(given, Identity("flights", "UTC"))
