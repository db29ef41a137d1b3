"""Find what typed columns hold of a document, in each spelling of their paths: `_REST` is the document without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from typing import NamedTuple

from airflow_pipeline_provider.core.columns import Column

MOST_SPELLINGS = 16  # of a path's keys as {"a": {"b": 1}} and {"a.b": 1}

Tree = dict[str, "Tree"]


class HeldObject(NamedTuple):
    """An object of a document, of which columns hold the `keys` whole, and parts of the objects `below`."""

    path: tuple[str, ...]
    keys: tuple[str, ...]
    below: tuple[HeldObject, ...]
    is_masked: bool

    def inner(self) -> Iterator[HeldObject]:
        """Yield the objects below this one, the deepest first."""
        for node in self.below:
            yield from node.inner()
            yield node


def spellings(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the ways to write a path in a document, nested first: (a, b) and (a.b,)."""
    if len(path) == 1:
        return [path]
    found = list(islice(_joined(path), MOST_SPELLINGS - 1))
    whole = (".".join(path),)
    return found if whole in found else [*found, whole]


def _joined(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path with none of its dots inside of a key, then with one, two, ..., the last ones first."""
    for number in range(len(path)):
        for dots in reversed(list(combinations(range(1, len(path)), number))):
            keys = [path[0]]
            for at, key in enumerate(path[1:], start=1):
                if at in dots:
                    keys[-1] += f".{key}"
                else:
                    keys.append(key)
            yield tuple(keys)


def held_keys(columns: Iterable[Column]) -> HeldObject:
    """Return what columns hold of a document, in all spellings; a path below another one is a part of it."""
    columns = list(columns)
    tree: Tree = {}
    for path in sorted((way for column in columns for way in spellings(column.path)), key=len):
        node = tree
        for i, key in enumerate(path):
            if key in node and not node[key]:
                break  # held whole
            node = node.setdefault(key, {})
            if i == len(path) - 1:
                node.clear()
    masked = {
        way[:i]
        for column in columns
        if column.mask or any(part.mask for part in column.columns)
        for way in spellings(column.path)
        for i in range(len(way))
    }
    return _node((), tree, masked)


def _node(path: tuple[str, ...], tree: Tree, masked: set[tuple[str, ...]]) -> HeldObject:
    keys = tuple(key for key, below in tree.items() if not below)
    inner = tuple(_node((*path, key), below, masked) for key, below in tree.items() if below)
    return HeldObject(path, keys, inner, path in masked)
