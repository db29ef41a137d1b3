"""Infer columns: ask the source for its types, sample committed documents, and propose columns from both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.datasets import table_parts
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.columns_names import LONGEST_NAME
from airflow_pipeline_provider.phases.columns_propose import Lengths, Proposals, propose
from airflow_pipeline_provider.phases.columns_sample import Sample, sample_documents
from airflow_pipeline_provider.phases.identity import datasets_of, refuse_changed
from airflow_pipeline_provider.phases.runtime import Runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Looked(Generic[T]):
    """One side of a comparison: its answer, and what was found in words; with `error` it was not looked at.

    `is_silent`: it answered, and has nothing to compare with.
    """

    side: str
    value: T | None
    found: str
    error: PipelineError | None = None
    is_silent: bool = False

    @property
    def detail(self) -> str:
        """Return what was found, or why nothing was."""
        return self.found if self.error is None else str(self.error)


@dataclass(frozen=True)
class Inferred:
    """The proposals, and what they are based on."""

    proposals: Proposals
    sample: Sample
    looked: tuple[Looked[Any], ...]


def infer_columns(runtime: Runtime, days: int) -> Inferred:
    """Propose columns for the fields that no column of the pipeline file holds.

    Where one of source and stage does not answer, the other is enough.

    Raises:
        PipelineError: One of them does not answer, and nothing can be proposed from the other.
    """
    source, stage = look_at_source(runtime), look_at_documents(runtime, days)
    sample = stage.value or Sample()
    proposals = propose(sample.tree, source.value or [], runtime.config.columns, _lengths(runtime))
    errors = [one.error for one in (source, stage) if one.error is not None]
    if errors and not proposals.columns:
        raise errors[0]
    return Inferred(proposals, sample, (source, stage))


def look(
    side: str, ask: Callable[[], T], describe: Callable[[T], str], is_silent: Callable[[T], bool]
) -> Looked[T]:
    """Ask one side; an error that it raises becomes its answer."""
    try:
        value = ask()
    except PipelineError as error:
        return Looked(side, None, "", error)
    return Looked(side, value, describe(value), is_silent=is_silent(value))


def look_at_source(runtime: Runtime) -> Looked[list[FieldType] | None]:
    """Ask the source for its types."""
    return look("source", runtime.source.field_types, _types_found, lambda types: not types)


def look_at_documents(runtime: Runtime, days: int) -> Looked[Sample]:
    """Sample documents, unless the pipeline file names another source or target than that of the ledger."""

    def ask() -> Sample:
        refuse_changed(runtime.config.pipeline_id, runtime.state.about(), datasets_of(runtime))
        return sample_documents(runtime, days)

    return look("documents", ask, _sample_found, lambda sample: not sample.documents)


def _lengths(runtime: Runtime) -> Lengths:
    """Return how long names can be on the target, whose views are named `<table>_<NAME>`."""
    longest = min(runtime.config.target.longest_column or LONGEST_NAME, LONGEST_NAME)
    table = getattr(runtime.config.target, "table", "")
    ending = longest - len(table_parts(table)[-1]) - 1 if table else longest
    return Lengths(longest, max(8, ending))


def _types_found(types: list[FieldType] | None) -> str:
    return f"the source declares {counted(len(types), 'field')}" if types else "the source declares no types"


def _sample_found(sample: Sample) -> str:
    if not sample.windows:
        gone = counted(len(sample.gone), "committed window")
        return f"the stage holds no part file of {gone}" if sample.gone else "no window is committed yet"
    text = (
        f"a sample of {sample.documents:,} of {counted(sample.of_documents, 'document')} in "
        f"{len(sample.windows):,} of {counted(sample.of_windows, 'window')}"
    )
    if sample.not_json:
        text += f", and {sample.not_json:,} that are not JSON objects were left out"
    if sample.gone:
        text += f"; the stage no longer holds the files of {counted(len(sample.gone), 'window')}"
    if sample.cut_short:
        text += "; the documents are large, so each window gave fewer"
    return text
