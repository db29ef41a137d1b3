"""Which server answers, and how servers differ."""

from __future__ import annotations

import json
from typing import NamedTuple

from airflow_pipeline_provider.connectors.elasticsearch.errors import UnexpectedAnswerError, text_of_page
from airflow_pipeline_provider.exceptions import FatalError


class ServerVersion(NamedTuple):
    """A server's product and version; `certain` is False if the login may not read the version."""

    name: str
    version: tuple[int, int]
    is_serverless: bool = False
    certain: bool = True

    @property
    def is_opensearch(self) -> bool:
        return self.name == "OpenSearch"

    @property
    def page_order(self) -> list[dict[str, str]]:
        """Return the cheapest sort that is unique inside one point in time."""
        if not self.is_opensearch:
            return [{"_shard_doc": "asc"}]
        if self.version >= (3, 3):
            # OpenSearch counts shards from 0 in each index, so _shard_doc alone repeats itself behind a pattern
            return [{"_shard_doc": "asc"}, {"_index": "asc"}]
        return [{"_doc": "asc"}, {"_index": "asc"}, {"_id": "asc"}]


def read_version(body: bytes, where: str) -> ServerVersion:
    """Read the response to `GET /` of the server `where`; FatalError for an unsupported version."""
    try:
        info = json.loads(body)
        version = info["version"]
        major, minor = (int(part) for part in version["number"].split(".")[:2])
        lucene = int(version.get("lucene_version", "9").split(".")[0])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnexpectedAnswerError(where, "the version of the server", text_of_page(body)) from None
    compatible = "distribution" not in version and "opensearch" in str(info.get("tagline")).lower()
    if compatible:  # OpenSearch that reports 7.10 for old clients; Lucene distinguishes 1 and 2
        major, minor = (2, 4) if lucene >= 9 else (1, 0)
    opensearch = compatible or version.get("distribution") == "opensearch"
    name, oldest = ("OpenSearch", (2, 4)) if opensearch else ("Elasticsearch", (8, 0))
    if (major, minor) < oldest:
        reported = f"1 (it reports {version['number']})" if compatible else version["number"]
        raise FatalError(f"{where} is {name} {reported}: expected {oldest[0]}.{oldest[1]} or newer")
    return ServerVersion(name, (major, minor), version.get("build_flavor") == "serverless")
