"""Documents out of Elasticsearch into files: ours beside the limit and the peers, on a replayed and a real server.

--set shapes=tiny,nested     only these documents in the races by shape (tiny, usual, nested)
--set shards=1,3             only so many shards in the races by shape, and in the memory race
--set memory_docs=16000000   how many documents the largest of the memory runs moves
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.groups.extract import memory, peers, shapes

TITLE = "Extract"
LISTS_ALL_GOALS = True
_PARTS = (peers, shapes, memory)


def prepare(settings: Settings, opened: ExitStack) -> None:
    """Start only the servers that the chosen races need."""
    for part in _PARTS:
        part.prepare(settings, opened)


def contestants(settings: Settings) -> list[Contestant]:
    return [contestant for part in _PARTS for contestant in part.contestants(settings)]


def goals(results: Results) -> list[Goal]:
    return [goal for part in _PARTS for goal in part.goals(results)]
