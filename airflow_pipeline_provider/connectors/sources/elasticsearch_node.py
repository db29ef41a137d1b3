"""`elastic_transport`'s node with a deadline for the whole of an answer.

Its own time-out bounds each wait for the next bytes; an answer that trickles would be waited for without end.
"""

from __future__ import annotations

import threading
from typing import Any

from elastic_transport import NodeConfig, TransportError, Urllib3HttpNode

from airflow_pipeline_provider.connectors.deadlines import Watch

SLACK = 1.5  # a silence is noticed after `request_timeout` by the library, which says more about it
_here = threading.local()  # .watch: of the request that this thread makes


class TooSlowError(TransportError):
    """The answer was not whole when its time was over."""


class BoundedNode(Urllib3HttpNode):
    """`request_timeout` of the configuration bounds the whole request."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._seconds = (config.request_timeout or 60) * SLACK
        self.pool.ConnectionCls = _watched(self.pool.ConnectionCls)

    def perform_request(self, *args: Any, **named: Any) -> Any:
        _here.watch = watch = Watch(None, self._seconds)
        watch.start()
        try:
            answer = super().perform_request(*args, **named)
            if watch.fired:  # an answer that was cut in its headers passes for one without a body
                raise TooSlowError("the answer was too slow")
            return answer
        except TooSlowError:
            raise
        except TransportError as error:
            if watch.fired:
                raise TooSlowError("the answer was too slow", errors=(error,)) from error
            raise
        finally:
            watch.stop()
            _here.watch = None


def _watched(connection_class: Any) -> Any:
    class Watched(connection_class):  # type: ignore[misc]
        """Shows its socket to the watch of the thread that uses it."""

        def request(self, *args: Any, **named: Any) -> Any:
            super().request(*args, **named)
            watch: Watch | None = getattr(_here, "watch", None)
            if watch is not None:
                watch.connection = self.sock

    return Watched
