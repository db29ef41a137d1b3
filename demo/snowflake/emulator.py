"""The server: fakesnow's routes, with a checked login, closed sessions rolled back and errors as SQL errors.

Environment: S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION (external stages),
SNOWFLAKE_USER and SNOWFLAKE_PASSWORD (the one login), SNOWFLAKE_PUBLIC_KEY_FILE (optional: key-pair login).
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import duckdb
import fakesnow.server as stock
import jwt
from fakesnow.instance import FakeSnow
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.snowflake import dialect, documents, stages

# statements that are accepted and do nothing
NO_OPERATION = [
    r"\s*ALTER SESSION (SET|UNSET) (QUERY_TAG|TIMEZONE|STATEMENT_TIMEOUT)",
    r"\s*(GRANT|REVOKE)\b",
]

# As Snowflake: a statement that does not compile leaves the transaction open (DuckDB 2), and 1/0 is an error.
SETTINGS = {
    "default_transaction_invalidation_policy": "'SYNTACTIC_ERRORS_DO_NOT_INVALIDATE'",
    "ieee_floating_point_ops": "false",
}


ABANDONED_SECONDS = 3.0  # a session without a connection for so long has lost its client

Address = tuple[str, int]
_last_seen_at: dict[str, Address] = {}  # session's token: the client's end of the connection it came by last


class Recent(OrderedDict[Any, Any]):
    """The newest 200 of something; without a bound the server would keep all."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > 200:
            self.popitem(last=False)


_answers = Recent()  # (session, request id) -> the task that executes it


def failure(code: str, message: str, sqlstate: str) -> JSONResponse:
    return JSONResponse(
        {
            "success": False,
            "code": code,
            "message": message,
            "data": {"errorCode": code, "sqlState": sqlstate},
        }
    )


def authenticated(login: dict[str, Any]) -> bool:
    if login.get("LOGIN_NAME", "").upper() != os.environ["SNOWFLAKE_USER"].upper():
        return False
    if login.get("AUTHENTICATOR", "").upper() != "SNOWFLAKE_JWT":
        return login.get("PASSWORD") == os.environ["SNOWFLAKE_PASSWORD"]
    try:
        key = Path(os.environ["SNOWFLAKE_PUBLIC_KEY_FILE"]).read_text()
        jwt.decode(login["TOKEN"], key, algorithms=["RS256"])
    except (KeyError, OSError, jwt.PyJWTError):
        return False
    return True


async def login_request(request: Request) -> JSONResponse:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if not authenticated(json.loads(body)["data"]):
        return failure("390100", "Incorrect username or password was specified.", "08001")
    reply = json.loads((await stock.login_request(request)).body)
    reply["data"]["masterToken"] = reply["data"][
        "token"
    ]  # without it the connector never reports a closed session
    _seen(reply["data"]["token"], request)
    return JSONResponse(reply)


async def query_request(request: Request) -> Response:
    """A request that its client sends again, since it lost the answer, is not executed again."""
    with contextlib.suppress(stock.ServerError):  # a request without a session: answered below
        _seen(stock.to_token(request), request)
    await request.body()  # all of it, before anything is executed
    key = (request.headers.get("Authorization"), request.query_params.get("requestId") or object())
    if key not in _answers:
        _answers[key] = asyncio.create_task(_execute(request))
    try:  # executed to its end, whether its client waits or not
        body, status = await asyncio.shield(_answers[key])
    except Exception:  # of the stand-in itself: nothing was answered, so a repetition is another try
        _answers.pop(key, None)
        raise
    return Response(body, status, media_type="application/json")


async def _execute(request: Request) -> tuple[bytes, int]:
    reply = await stock.query_request(request)
    if reply.status_code >= 500:
        reply = failure("100000", json.loads(reply.body)["message"], "XX000")
    return bytes(reply.body), reply.status_code


async def session(request: Request) -> JSONResponse:
    """Closing a session rolls its open transaction back."""
    if (connection := stock.sessions.get(stock.to_token(request))) is None:
        return failure(
            "390111", "Session no longer exists. New login required to access the service.", "08001"
        )
    reply = await stock.session(request)
    if request.query_params.get("delete"):
        _last_seen_at.pop(stock.to_token(request), None)
        _close(connection)
    return reply


def _seen(token: str, request: Request) -> None:
    if request.client is not None:
        _last_seen_at[token] = (request.client.host, request.client.port)


def _close(connection: Any) -> None:
    with contextlib.suppress(duckdb.Error):  # no transaction is open
        connection._duck_conn.rollback()
    connection._duck_conn.close()


async def close_abandoned(connected: Callable[[], Container[Address]]) -> None:
    """Close the sessions of clients that died, for ever; `connected` gives the addresses that are connected now.

    Snowflake rolls a dead client's transaction back as well, five minutes after it began to block another one.
    """
    gone_since: dict[str, float] = {}
    while True:
        await asyncio.sleep(0.5)
        now, there = time.monotonic(), connected()
        for token, address in list(_last_seen_at.items()):
            if address in there:
                gone_since.pop(token, None)
            elif now - gone_since.setdefault(token, now) > ABANDONED_SECONDS:
                del _last_seen_at[token], gone_since[token]
                if connection := stock.sessions.pop(token, None):
                    connection._duck_conn.interrupt()
                    await run_in_threadpool(_close, connection)


async def abort_request(request: Request) -> JSONResponse:
    if connection := stock.sessions.get(stock.to_token(request)):
        connection._duck_conn.interrupt()
    return JSONResponse({"success": True})


async def telemetry(_: Request) -> JSONResponse:
    return JSONResponse({"success": True, "data": "Log Received"})


def application(data_dir: Path) -> Starlette:
    """The server's routes; databases are DuckDB files in DATA_DIR/db. To be called once a process."""
    env = os.environ
    s3 = stages.S3(
        env["S3_ENDPOINT_URL"],
        env["AWS_ACCESS_KEY_ID"],
        env["AWS_SECRET_ACCESS_KEY"],
        env.get("AWS_DEFAULT_REGION", "us-east-1"),
    )
    dialect.install()
    documents.install()
    stages.install(s3)
    databases = data_dir / "db"
    databases.mkdir(parents=True, exist_ok=True)
    stock.shared_fs = FakeSnow(db_path=databases, nop_regexes=NO_OPERATION)
    stock.shared_fs.results_cache = Recent()  # what RESULT_SCAN may ask for
    duck = stock.shared_fs.duck_conn
    known = {name for (name,) in duck.execute("SELECT name FROM duckdb_settings()").fetchall()}
    for name, value in SETTINGS.items():
        if name in known:
            duck.execute(f"SET GLOBAL {name} = {value}")
    duck.register_filesystem(s3.filesystem())
    own = {
        "/session/v1/login-request": login_request,
        "/queries/v1/query-request": query_request,
        "/queries/v1/abort-request": abort_request,
        "/session": session,
    }
    routes = [Route(r.path, own.get(r.path, r.endpoint), methods=list(r.methods)) for r in stock.routes]
    return Starlette(routes=[*routes, Route("/telemetry/send", telemetry, methods=["POST"])])
