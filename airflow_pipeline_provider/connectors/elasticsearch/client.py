"""Send requests to Elasticsearch 8 and 9 and OpenSearch 2 and 3, with retries.

`elastic_transport` is used directly with plain JSON: the `elasticsearch` client refuses servers of another major
version, and OpenSearch.  Bodies stay bytes, and the caller decodes what it needs.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from airflow_pipeline_provider.connectors.content_free import content_free
from airflow_pipeline_provider.connectors.elasticsearch.completeness import check_complete
from airflow_pipeline_provider.connectors.elasticsearch.connection import node_configs, url_of
from airflow_pipeline_provider.connectors.elasticsearch.credentials import SIGN, AwsSigner
from airflow_pipeline_provider.connectors.elasticsearch.errors import (
    AnswerTooLargeError,
    PageTooLargeError,
    error_of,
    excerpt_of,
    member,
    read_json,
    redirected,
)
from airflow_pipeline_provider.connectors.elasticsearch.server import ServerVersion, read_version
from airflow_pipeline_provider.connectors.elasticsearch.sizes import LARGEST_ANSWER_BYTES
from airflow_pipeline_provider.exceptions import (
    FatalError,
    PipelineError,
    SnapshotLostError,
    TransientError,
)

if TYPE_CHECKING:
    from elastic_transport import Transport


logger = logging.getLogger(__name__)

T = TypeVar("T")
Answer = bytes | bytearray  # an uncompressed one is a bytearray, which was received in one piece
ATTEMPTS = 6
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0

# Closed indices are included so that the server refuses them; otherwise their rows would be missing unnoticed.
EVERY_INDEX = {"allow_no_indices": "false", "ignore_unavailable": "false", "expand_wildcards": "open,closed"}


class Client:
    """A client of one cluster, for several threads.

    `timeout` is that of a request, in seconds; `compress` asks for gzip, which only pays off over a slow network;
    `signer` signs requests to OpenSearch on AWS; `quotes`: errors and log lines may quote the server's answers.
    """

    def __init__(
        self,
        conn_id: str,
        connection: object,
        *,
        timeout: int,
        compress: bool,
        threads: int,
        signer: AwsSigner | None = None,
        quotes: bool = True,
    ) -> None:
        nodes = node_configs(conn_id, connection, timeout=timeout, compress=compress, threads=threads)
        if signer is not None:
            if any("authorization" in node.headers for node in nodes):
                raise FatalError(
                    f"connection {conn_id!r} has a login or api_key, and `source.aws_conn_id` is set: expected one "
                    "of them"
                )
            nodes = [node.replace(_extras={**node._extras, SIGN: signer}) for node in nodes]
        self._signer, self._quotes = signer, quotes
        self.where = ", ".join(url_of(node.scheme, node.host, node.port, node.path_prefix) for node in nodes)
        self._transport, self._timeout = _transport(nodes), timeout
        self._server: ServerVersion | None = None
        self._knows_exclude_vectors: bool | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._transport.close()

    @property
    def server(self) -> ServerVersion:
        """Return which server answers; it is asked only once."""
        with self._lock:
            if self._server is None:
                self._server = self._find_server()
            return self._server

    def _find_server(self) -> ServerVersion:
        try:
            return self.request(
                "GET",
                "/",
                what="the server's version",
                read=lambda body: read_version(bytes(body), self.where),
            )
        except _ForbiddenError as error:
            # this login may read indices but not ask for the version, or the service has no such page (OpenSearch
            # Serverless); only Elasticsearch names its product
            if error.is_elasticsearch:
                return ServerVersion("Elasticsearch", (8, 0), certain=False)
            return ServerVersion("OpenSearch", (2, 4), certain=False)

    def knows_exclude_vectors(self, indices: Sequence[str], what: str) -> bool:
        """Return whether the server has `_source.exclude_vectors`, which older ones refuse."""
        server = self.server
        if server.is_opensearch:
            return False
        if server.certain:
            return server.is_serverless or server.version >= (9, 1) or (8, 19) <= server.version < (9, 0)
        if self._knows_exclude_vectors is None:
            self._knows_exclude_vectors = self._accepts(
                {"_source": {"exclude_vectors": False}}, indices, what
            )
        return self._knows_exclude_vectors

    def _accepts(self, search: dict[str, object], indices: Sequence[str], what: str) -> bool:
        """Return whether the server accepts a search with these keys; unknown ones are a 400."""
        path = f"/{index_path(list(indices))}/_search"
        try:
            self.request("POST", path, {"size": 0, **search}, params=EVERY_INDEX, what=what, read=bytes)
        except FatalError as error:
            logger.info("the server does not accept %s: %s", search, error.message)
            return False
        return True

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        *,
        params: dict[str, str] | None = None,
        what: str,
        read: Callable[[Answer], T],
        in_snapshot: bool = False,
        stop: threading.Event | None = None,
        most_bytes: int = LARGEST_ANSWER_BYTES,
    ) -> T:
        """Send a request, and return what `read` makes of the body of a 200.

        Temporary errors, also those of `read`, are retried after jittered pauses, until `stop` is set.  A lost point
        in time and a page that is too large, for the server or with more than `most_bytes` for this client, are
        raised at once: they need another request.
        """
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_attempt,
            stop_when_event_set,
            wait_random_exponential,
        )

        stop = stop or threading.Event()
        # a space as %20: signatures know no "+"
        target = f"{path}?{urlencode(params, quote_via=quote, safe='')}" if params else path
        data = None if body is None else json.dumps(body).encode()
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(stop),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
            sleep=sleep_using_event(stop),
            before_sleep=_log_retry,
            reraise=True,
        )
        for attempt in retrying:  # called as a function it would keep the answer until garbage is collected
            with attempt:
                answer = self._read(read, method, target, data, what, in_snapshot, most_bytes)
        return answer

    def _read(self, read: Callable[[Answer], T], *asked: Any) -> T:
        try:
            return read(self._once(*asked))
        except PipelineError as error:
            if self._quotes:
                raise
            hidden = content_free(error)
        raise hidden  # outside of the handler, so that it has no context

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        *,
        params: dict[str, str] | None = None,
        what: str,
        clusters: Sequence[str] = (),
        by_index: bool = False,
    ) -> dict[str, object]:
        """Return a response that covers everything asked for; `clusters` as in `check_complete`.

        With `by_index` the keys of the response are names of indices (`_mapping`, `_settings`), and one may be
        "failures".
        """

        def read(answer: Answer) -> dict[str, object]:
            found = read_json(bytes(answer), what)
            if by_index:
                return found
            if found.get("terminated_early") and self.server.is_opensearch:
                # there it is also set where it counts without reading documents
                del found["terminated_early"]
            check_complete(found, what, self.where, clusters=clusters)
            return found

        return self.request(method, path, body, params=params, what=what, read=read)

    def _once(
        self,
        method: str,
        target: str,
        data: bytes | None,
        what: str,
        in_snapshot: bool,
        most_bytes: int = LARGEST_ANSWER_BYTES,
    ) -> Answer:
        from elastic_transport import TlsError, TransportError
        from urllib3.exceptions import LocationParseError

        from airflow_pipeline_provider.connectors.elasticsearch.node import (
            TooLongError,
            TooSlowError,
            at_most,
        )

        headers = {"accept": "application/json"}
        if data is not None:
            headers["content-type"] = "application/json"
        try:
            with at_most(most_bytes):
                response = self._transport.perform_request(method, target, body=data, headers=headers)
        except TooLongError as error:
            large: type[PipelineError] = AnswerTooLargeError if in_snapshot else FatalError
            raise large(
                f"{what}: the answer has more than {most_bytes:,} bytes, more than is held in memory at once"
            ).quotes_nothing() from error
        except TooSlowError as error:
            slow = PageTooLargeError if in_snapshot else TransientError
            raise slow(
                f"{what}: {self.where} did not answer whole within {self._timeout} s; if it stays so, look at the "
                "network, lower `source.page_size`, or raise `source.request_timeout`"
            ).quotes_nothing() from error
        except LocationParseError:  # of a redirect; the error quotes the location, which may hold a secret
            raise redirected("3xx", None, what, self.where).quotes_nothing() from None
        except TlsError as error:
            raise FatalError(
                f"{what}: TLS with {self.where} failed ({excerpt_of(_innermost(error))}); give the "
                "connection's extra ca_certs, or verify_certs false for a server with a self-signed certificate, or "
                "the schema http for one that speaks no TLS"
            ).quotes_nothing() from error
        except TransportError as error:
            raise TransientError(
                f"{what}: {self.where} cannot be reached ({excerpt_of(_innermost(error))}); check host, port and "
                "schema of the connection, and that the server runs"
            ).quotes_nothing() from error
        body = response.body
        answer = body if isinstance(body, bytes | bytearray) else str(body or "").encode()
        if response.meta.status == 200:
            return answer
        if 300 <= response.meta.status < 400:
            raise redirected(response.meta.status, response.meta.headers.get("location"), what, self.where)
        if response.meta.status in (403, 404) and target == "/":
            raise _ForbiddenError("x-elastic-product" in response.meta.headers)
        refused = error_of(response.meta.status, bytes(answer), what, self.where, in_snapshot=in_snapshot)
        if self._signer is not None and self._signer.has_expired(response.meta.status, refused.message):
            raise TransientError(refused.message)
        raise refused

    def open_point_in_time(self, indices: list[str], keep_alive: str, what: str) -> str:
        """Open a point in time over all shards, and return its id."""
        opensearch = self.server.is_opensearch
        params = {"keep_alive": keep_alive, **EVERY_INDEX}
        if opensearch:
            params["allow_partial_pit_creation"] = "false"
        path = f"/{index_path(indices)}/{'_search/point_in_time' if opensearch else '_pit'}"
        answer = self.ask("POST", path, params=params, what=what)
        return str(member(answer, "pit_id" if opensearch else "id", str, what))

    def close_point_in_time(self, pit_id: str, what: str) -> None:
        """Close a point in time if the server answers; otherwise it ends with its keep-alive."""
        path, body = "/_pit", {"id": pit_id}
        if self.server.is_opensearch:
            path, body = "/_search/point_in_time", {"pit_id": [pit_id]}  # type: ignore[dict-item]
        try:
            answer = read_json(bytes(self._once("DELETE", path, json.dumps(body).encode(), what, True)), what)
            logger.debug("the point in time is closed: %s", answer)
        except SnapshotLostError:
            logger.debug("the point in time was gone already")
        except PipelineError as error:
            logger.warning("the point in time stays open until its keep_alive ends: %s", error)


class _ForbiddenError(Exception):
    """The server refused `GET /`."""

    def __init__(self, is_elasticsearch: bool) -> None:
        super().__init__(is_elasticsearch)
        self.is_elasticsearch = is_elasticsearch

    def __str__(self) -> str:
        return "GET / is forbidden"


def _transport(nodes: list[Any]) -> Transport:
    from elastic_transport import Serializer, SerializerCollection, Transport

    from airflow_pipeline_provider.connectors.elasticsearch.node import BoundedNode

    class Verbatim(Serializer):
        """Leave bodies as they are."""

        mimetype = "application/json"

        def loads(self, data: bytes) -> bytes:
            return data

        def dumps(self, data: Any) -> bytes:
            return bytes(data)

    class AnyMimetype(SerializerCollection):
        """Accept the response of a proxy or another server, so that its status decides."""

        def get_serializer(self, mimetype: str | None) -> Serializer:  # noqa: ARG002
            return self.default_serializer

    # A line per page would flood the task's log, and `_log_retry` reports a node that does not answer.
    for name, level in (("transport", logging.WARNING), ("node_pool", logging.ERROR)):
        log = logging.getLogger(f"elastic_transport.{name}")
        if log.level == logging.NOTSET:
            log.setLevel(level)
    transport = Transport(
        nodes, node_class=BoundedNode, serializers={Verbatim.mimetype: Verbatim()}, max_retries=0
    )
    transport.serializers = AnyMimetype({Verbatim.mimetype: Verbatim()})
    return transport


def _innermost(error: BaseException) -> str:
    """Return the system's own message ("Connection refused"), which the library replaces by a general one."""
    seen = {id(error)}
    while True:
        inner = next(iter(getattr(error, "errors", ())), None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return str(error)
        if not str(inner):
            return str(error)
        seen.add(id(inner))
        error = inner


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TransientError) and not isinstance(error, SnapshotLostError | PageTooLargeError)


def _log_retry(state: Any) -> None:
    pause = state.next_action.sleep if state.next_action else 0
    logger.warning(
        "try %d of %d again in %.1f s: %s", state.attempt_number, ATTEMPTS, pause, state.outcome.exception()
    )


def index_path(indices: list[str]) -> str:
    """Return the index expressions as one segment of a path."""
    return quote(",".join(indices), safe="*,:")
