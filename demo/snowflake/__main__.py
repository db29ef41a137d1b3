"""python -m demo.snowflake --data-dir DIR [--port N] [--host ADDRESS] [--name HOSTNAME ...]"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from demo.children import announce, die_with_parent


def main() -> None:
    """Serve until the process is ended. DIR keeps the databases and the certificate."""
    parser = argparse.ArgumentParser(prog="python -m demo.snowflake", description=main.__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--name", action="append", default=[], help="further host name for the certificate")
    args = parser.parse_args()
    die_with_parent()
    sys.modules["pandas"] = None  # type: ignore[assignment]  # seconds to import, and optional to what follows

    import pyarrow as pa
    import uvicorn

    from demo.snowflake import tls
    from demo.snowflake.emulator import application, close_abandoned

    with contextlib.suppress(AttributeError):  # it looks for pandas once, and the first number pays for that
        pa.scalar(0)

    certificate = args.data_dir / "tls"
    if not (certificate / "server.pem").exists():
        tls.make(certificate, tuple(args.name))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.abandoned = asyncio.create_task(close_abandoned(self.clients))
            announce(f"https://{args.host}:{listener.getsockname()[1]}")

        def clients(self) -> set[tuple[str, int]]:
            ends = (getattr(protocol, "client", None) for protocol in self.server_state.connections)
            return {end for end in ends if end is not None}

    with socket.create_server((args.host, args.port)) as listener:
        config = uvicorn.Config(
            application(args.data_dir),
            log_level="info",
            http="h11",  # its connections say whose they are
            timeout_keep_alive=3600,  # a session whose connection is gone has lost its client
            timeout_graceful_shutdown=1,  # a client that left its session open does not hold up the end
            ssl_keyfile=str(certificate / "server.key"),
            ssl_certfile=str(certificate / "server.pem"),
        )
        Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
