"""What was written to the shards of an index since a marker: sequence numbers, primary terms, refreshes.

Every write has a number that grows per shard.  Up to a shard's *global checkpoint* every copy has all writes, and
none is ever rolled back.  Two things make "no document above the checkpoint" a proof that nothing changed:

- The shards were refreshed after the checkpoint was asked for and before the view was opened.  A document below it
  that was not searchable yet would be missing from the view and never noticed.
- The primary terms are the same.  A primary that failed may take writes with it that the view showed.

Where the connection's user may do neither, changed documents are counted all the same, and the absence of any proves
nothing (`ChangeMarker.doubt`).  docs/elasticsearch.md has the table of outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_pipeline_provider.connectors.elasticsearch.client import EVERY_INDEX, Client, index_path
from airflow_pipeline_provider.connectors.elasticsearch.completeness import remote_clusters
from airflow_pipeline_provider.connectors.elasticsearch.errors import UnexpectedAnswerError, member, object_at
from airflow_pipeline_provider.core.change_markers import ChangeMarker, Place, joined
from airflow_pipeline_provider.core.datasets import fingerprint
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError

MOST_SHARDS = 500
"""Shards of one marker, which every commit keeps: about 20 bytes each."""

_STATS = (
    "_shards,indices.*.uuid,indices.*.shards.*.routing.primary,indices.*.shards.*.routing.state,"
    "indices.*.shards.*.seq_no.global_checkpoint,indices.*.shards.*.commit.user_data.history_uuid"
)
_STATE = (
    "metadata.indices.*.primary_terms,metadata.indices.*.aliases_version,metadata.indices.*.mappings.*.runtime,"
    "metadata.indices.*.settings.index.disable_sequence_numbers"
)
_STABLE = {
    "bool", "constant_score", "nested", "term", "terms", "range", "exists", "ids", "match", "match_phrase",
    "match_all", "match_none", "prefix", "wildcard", "regexp",
}  # fmt: skip
_NOW = re.compile(r"(^|\W)now($|[+\-/|])", re.IGNORECASE)
_CLAUSES = ("filter", "must", "must_not", "should")


def take_marker(client: Client, indices: Sequence[str], query: object, what: str) -> ChangeMarker:
    """Return the marker of the indices now, and make everything below it searchable."""
    marker = read_marker(client, indices, query, what)
    if marker.unknown is not None:
        return marker
    doubt = refresh(client, indices, what)
    return ChangeMarker(marker.places, doubt=joined([marker.doubt, doubt]))


def refresh(client: Client, indices: Sequence[str], what: str) -> str | None:
    """Make every document searchable; return the reason, without a full stop, if it could not be done."""
    try:
        client.ask("POST", f"/{index_path(list(indices))}/_refresh", params=EVERY_INDEX, what=what)
    except (FatalError, DataError, TransientError):
        return "the index could not be refreshed before it was read (index privilege `maintenance`)"
    return None


def read_marker(client: Client, indices: Sequence[str], query: object, what: str) -> ChangeMarker:
    """Return what the indices have now; `unknown` where the server does not state all of it."""
    why = _cannot_tell(indices, query)
    if why is not None:
        return ChangeMarker(unknown=why)
    states, doubt = _read_states(client, indices, what)
    path, params = f"/{index_path(list(indices))}/_stats/docs", {"level": "shards", "filter_path": _STATS}
    try:
        answer = client.ask("GET", path, params={**params, **EVERY_INDEX}, what=what)
    except (FatalError, DataError) as error:
        reason = "the server does not report the shards of the index (index privilege `monitor`)"
        return ChangeMarker(unknown=f"{reason}: {error.message[:200]}")
    places, doubts = [], [doubt]
    for name, index in sorted(object_at(answer, "indices", what).items()):
        state = states.get(name)
        if state is not None and "true" in str(state.get("settings")):
            return ChangeMarker(unknown=f"index {name} has `index.disable_sequence_numbers`")
        place = _place(name, index, state, what)
        if place is None:
            return ChangeMarker(unknown=f"index {name}: not every primary shard answered")
        places.append(place)
        if place.terms is None and doubt is None:
            doubts.append(f"the cluster's state lacks the primary terms of {name}")
    shards = sum(len(place.checkpoints) for place in places)
    if shards > MOST_SHARDS:
        return ChangeMarker(
            unknown=f"the source has {counted(shards, 'shard')}, a marker at most {MOST_SHARDS}"
        )
    if not places:
        return ChangeMarker(unknown="the server lists no index")
    return ChangeMarker(tuple(places), doubt=joined(doubts))


def _cannot_tell(indices: Sequence[str], query: object) -> str | None:
    if remote_clusters(indices):
        return "the source reads a remote cluster, whose shards cannot be asked for"
    if query is not None and not is_stable(query):
        return "`source.query` may find other documents although none was written (now, scripts, joins, look-ups)"
    return None


def is_stable(query: object) -> bool:
    """Return whether only a write to a document itself can change whether the query finds it.

    Unknown kinds of queries are not stable, nor is date math on `now`, nor `terms` that are looked up in an index.
    """
    return isinstance(query, Mapping) and all(_is_stable_clause(kind, body) for kind, body in query.items())


def _is_stable_clause(kind: str, body: object) -> bool:
    if kind not in _STABLE or not isinstance(body, Mapping):
        return False
    if kind == "bool":
        clauses = [one for key in _CLAUSES for one in _listed(body.get(key, []))]
        return set(body) <= {*_CLAUSES, "minimum_should_match", "boost"} and all(map(is_stable, clauses))
    if kind in ("constant_score", "nested"):
        return is_stable(body.get("filter" if kind == "constant_score" else "query"))
    looked_up = kind == "terms" and any(isinstance(values, Mapping) for values in body.values())
    return not looked_up and not _names_now(body)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _names_now(value: object) -> bool:
    if isinstance(value, str):
        return _NOW.search(value) is not None
    if isinstance(value, Mapping):
        return any(_names_now(one) for one in value.values())
    return isinstance(value, list) and any(_names_now(one) for one in value)


def _read_states(
    client: Client, indices: Sequence[str], what: str
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Return what the cluster's state has of each index, and the reason where it may not be read."""
    path = f"/_cluster/state/metadata/{index_path(list(indices))}"
    try:
        answer = client.ask("GET", path, params={"filter_path": _STATE, **EVERY_INDEX}, what=what)
    except (FatalError, DataError):
        return {}, "the primary terms cannot be read (cluster privilege `monitor`)"
    found = object_at(object_at(answer, "metadata", what), "indices", what)
    if not all(isinstance(state, dict) for state in found.values()):
        raise UnexpectedAnswerError(what, "a cluster state", answer)
    return found, None


def _place(name: str, index: object, state: dict[str, Any] | None, what: str) -> Place | None:
    """Return the index as a place; None unless each primary shard answered."""
    checkpoints, histories = {}, {}
    for number, copies in member(index, "shards", dict, what).items():
        for copy in copies if isinstance(copies, list) else ():
            routing = object_at(copy, "routing", what) if isinstance(copy, dict) else {}
            if routing.get("primary") is True and routing.get("state") in ("STARTED", "RELOCATING"):
                checkpoints[int(number)] = member(copy, "seq_no.global_checkpoint", int, what)
                histories[int(number)] = member(copy, "commit.user_data.history_uuid", str, what)
    terms = {int(number): term for number, term in object_at(state or {}, "primary_terms", what).items()}
    shards = range(max([*checkpoints, *terms], default=-1) + 1)
    if not shards or any(number not in checkpoints for number in shards):
        return None
    uuid = member(index, "uuid", str, what)
    view = None if state is None else fingerprint([state.get("aliases_version"), state.get("mappings")])
    return Place(
        name,
        f"{uuid}/{fingerprint([histories[number] for number in shards])}",
        tuple(checkpoints[number] for number in shards),
        tuple(terms[number] for number in shards) if len(terms) == len(shards) else None,
        view,
    )
