"""The contract that sources, stages and targets share; `base` has the rules for every connector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from airflow_pipeline_provider.connectors.datasets import DatasetName, table_dataset
from airflow_pipeline_provider.connectors.probes import Probes
from airflow_pipeline_provider.connectors.values import Identity

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.scratch import Scratch


class Connector(ABC):
    """What sources, stages and targets share."""

    Options: ClassVar[type[BaseModel]]

    def __init__(self, options: Any, identity: Identity) -> None:
        self.options = options
        self.identity = identity

    def dataset(self) -> dict[str, object]:
        """Return the dataset that the pipeline file names (`core.datasets`): JSON, no credentials, no I/O.

        A source includes all options that change its record ids or event times.
        """
        value = {"type": self.options.type}
        if hasattr(self.options, "conn_id"):
            value["conn_id"] = self.options.conn_id
        return value

    def place(self) -> dict[str, object]:
        """Return `server` and `database` that the connection leads to, without credentials; {} when unknown."""
        return {}

    def lineage_dataset(self) -> DatasetName | None:
        """Return the name of the dataset for OpenLineage, without credentials; None when it has none.

        By default it is the option `table` behind the connection.
        """
        conn_id = getattr(self.options, "conn_id", None)
        table = getattr(self.options, "table", None) or getattr(self.options, "name", None)
        return table_dataset(conn_id, table) if conn_id and table else None

    def close(self) -> None:  # noqa: B027  (most have nothing to close)
        """Close all connections; may be called twice."""

    @abstractmethod
    def probes(self) -> Probes:
        """Yield the checks of `check --connect`: a description, and a function that runs it.

        The function returns an `Answer` or raises a PipelineError, and leaves nothing behind in the service.
        """

    def scratch(self) -> Scratch | None:
        """Return the place of `certify` that the options name; None if the connector cannot have one."""
        return None

    def unsafe_settings(self) -> Sequence[str]:
        """Return a sentence for each setting of the connection that lets another machine pose as the server.

        The sentences have no full stop; `doctor` reports them.
        """
        return ()
