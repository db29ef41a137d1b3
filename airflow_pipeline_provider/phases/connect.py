"""Probe every service of a pipeline; nothing that stays is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from airflow_pipeline_provider.connectors.probes import Answer
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.identity import check_identity
from airflow_pipeline_provider.phases.runtime import Runtime


class Probed(NamedTuple):
    """One answer; `section` is source, stage, target or state, `error` the class of what was raised."""

    section: str
    what: str
    answer: Answer
    error: type[PipelineError] | None = None


def probe_services(runtime: Runtime) -> Iterator[Probed]:
    """Ask each question of source, stage, target and state; an error is an answer and ends nothing."""
    broken: set[str] = set()
    for section in ("source", "stage", "target", "state"):
        shown: set[str] = set()
        try:
            for what, ask in getattr(runtime, section).probes():
                probed = _asked(section, what, ask)
                if probed.error is not None and probed.answer.detail in shown:
                    continue  # the same missing connection, once
                shown.add(probed.answer.detail)
                if probed.error is not None:
                    broken.add(section)
                yield probed
        except PipelineError as error:  # the questions themselves could not be made
            broken.add(section)
            yield _failed(section, "connect", error)
    if not broken & {"stage", "target"}:
        yield _asked("target", "reads the stage", lambda: _reads_stage(runtime))
    if not broken & {"target", "state"}:
        yield _asked("state", "pipeline", lambda: _is_unchanged(runtime))


def _reads_stage(runtime: Runtime) -> Answer:
    runtime.target.check_stage(runtime.stage, None)
    return Answer("ok", "as its options say")


def _is_unchanged(runtime: Runtime) -> Answer:
    about = runtime.state.peek_about()
    if about is None:
        return Answer("unknown", "it is read after the first run has upgraded the tables of the state")
    check_identity(runtime, about)
    if about.source is None:
        return Answer("ok", "the state records no source and target yet")
    return Answer("ok", "source and target are those of the loads so far")


def _asked(section: str, what: str, ask: Callable[[], Answer]) -> Probed:
    try:
        return Probed(section, what, ask())
    except PipelineError as error:
        return _failed(section, what, error)


def _failed(section: str, what: str, error: PipelineError) -> Probed:
    return Probed(section, what, Answer("error", redact_values(error.message)), type(error))
