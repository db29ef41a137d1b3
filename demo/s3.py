"""An S3 server in memory: moto.   python -m demo.s3 [PORT]

Its limits: every credential is accepted, nothing outlives the process, and requests share one interpreter.
"""

from __future__ import annotations

import sys
import threading

from demo.children import announce, die_with_parent


def main(port: int) -> None:
    """Serve until the process is ended; PORT 0 takes a free one."""
    die_with_parent()
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    announce("http://{}:{}".format(*server.get_host_and_port()))
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
