"""Probe every service of a pipeline; nothing that stays is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from airflow_pipeline_provider.connectors.probes import Answer
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.runtime import Runtime


class Probed(NamedTuple):
    """One answer; `section` is source, stage, target or state, `error` the class of what was raised."""

    section: str
    what: str
    answer: Answer
    error: type[PipelineError] | None = None


def probe_services(runtime: Runtime) -> Iterator[Probed]:
    """Ask each question of source, stage, target and state; an error is an answer and ends nothing."""
    broken = False
    for section in ("source", "stage", "target", "state"):
        shown: set[str] = set()
        try:
            for what, ask in getattr(runtime, section).probes():
                probed = _asked(section, what, ask)
                if probed.error is not None and probed.answer.detail in shown:
                    continue  # the same missing connection, once
                shown.add(probed.answer.detail)
                broken |= probed.error is not None and section in ("stage", "target")
                yield probed
        except PipelineError as error:  # the questions themselves could not be made
            yield _failed(section, "connect", error)
    if not broken:
        yield _asked("target", "reads the stage", lambda: _reads_stage(runtime))


def _reads_stage(runtime: Runtime) -> Answer:
    runtime.target.check_stage(runtime.stage, None)
    return Answer("ok", "as its options say")


def _asked(section: str, what: str, ask: Callable[[], Answer]) -> Probed:
    try:
        return Probed(section, what, ask())
    except PipelineError as error:
        return _failed(section, what, error)


def _failed(section: str, what: str, error: PipelineError) -> Probed:
    return Probed(section, what, Answer("error", redact_values(error.message)), type(error))
