"""Leave out of a document what columns hold, where a database can delete a nested key in place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from airflow_pipeline_provider.connectors.typed_rest import HeldObject
from airflow_pipeline_provider.connectors.typed_sql import TypedSql


class PatchingSql(TypedSql):
    """What such databases call differently."""

    @abstractmethod
    def drop_keys(self, document: str, keys: Sequence[str]) -> str:
        """Return an object without these keys."""

    @abstractmethod
    def drop_below(self, document: str, node: HeldObject, *, is_object: str, is_removed: str) -> str:
        """Return a document without the node if `is_removed`, and else without its keys if it `is_object`."""

    @abstractmethod
    def has_only(self, value: str, keys: Sequence[str]) -> str:
        """Return whether an object has no other keys than these expressions, of which some may be NULL."""

    def without(self, document: str, held: HeldObject) -> str:
        rest = self.drop_keys(document, held.keys)
        for node in held.inner():
            is_object = self.is_kind(self.field(document, node.path), "object")
            rest = self.drop_below(rest, node, is_object=is_object, is_removed=self._removed(document, node))
        other = "NULL" if held.is_masked else document
        return f"CASE WHEN {self.is_kind(document, 'object')} THEN {rest} ELSE {other} END"

    def _removed(self, document: str, node: HeldObject) -> str:
        value = self.field(document, node.path)
        is_object = self.is_kind(value, "object")
        keys = [self.literal(key) for key in node.keys]
        keys += [
            f"CASE WHEN {self._removed(document, inner)} THEN {self.literal(inner.path[-1])} END"
            for inner in node.below
        ]
        other = f"{value} IS NOT NULL" if node.is_masked else "FALSE"
        return f"CASE WHEN {is_object} THEN {self.has_only(value, keys)} ELSE {other} END"
