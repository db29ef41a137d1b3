"""Send the notices of `airflow.on_failure`, `on_blocked`, `on_drift` and `on_late`.

Nothing here fails a task: a notice that cannot be sent is logged as an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import structs

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import IN_AIRFLOW, check, doctor, shell_line, status
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.notices import Notice, NoticeKind
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.escaping import visible
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability.redaction import redact_text
from airflow_pipeline_provider.operators.links import page_url, window_path
from airflow_pipeline_provider.operators.notifiers import send
from airflow_pipeline_provider.phases.notices import (
    claim_notice,
    failure_notice,
    failure_without_window,
    forget_notice,
)
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)
LONGEST_REASON = 2000
NO_ERROR = (
    "the task ended without an error of its own: its process was killed, or Airflow lost contact with it"
)


class FailureNotices:
    """The `on_failure_callback` of each task of a pipeline's DAG; Airflow calls it after the last try."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config

    def __call__(self, context: Context) -> None:
        """Send one notice of the failure."""
        with errors_logged():
            ti, config = context["ti"], self.config
            reason = _reason(context.get("exception"))
            _deliver(
                config,
                context,
                lambda runtime: failure_notice(
                    runtime, f"{ti.dag_id}/{ti.run_id}", ti.task_id, ti.try_number, reason
                ),
                failure_without_window(config.pipeline_id, ti.task_id, reason),
            )


def report_drift(config: PipelineConfig, sentences: Sequence[str], number: int, context: Context) -> None:
    """Send one notice of what a maintenance run found to differ."""
    title = f"{config.pipeline_id}: source and target differ in {counted(number, 'window')}"
    command = shell_line(doctor(config.pipeline_id), program=IN_AIRFLOW)
    _report(config, NoticeKind.DRIFT, title, sentences, f"windows: {number}", command, context)


def report_late(config: PipelineConfig, sentences: Sequence[str], number: int, context: Context) -> None:
    """Send one notice of what a maintenance run found not to be as expected."""
    what = sentences[0] if number == 1 else f"{counted(number, 'expectation')} not met"
    title = f"{config.pipeline_id}: {what}"
    command = shell_line(status(config.pipeline_id), program=IN_AIRFLOW)
    counts = f"days or windows: {number}"
    _report(config, NoticeKind.LATE, title, sentences, counts, command, context)


def report_broken(
    notifiers: dict[str, dict[str, Any]], errors: Mapping[str, str], folder: str, context: Context
) -> bool:
    """Send one notice of pipeline files, by name, that cannot be loaded; return whether a notifier took it."""
    names = ", ".join(errors)
    what = (
        f"{names} cannot be loaded"
        if len(errors) == 1
        else f"{counted(len(errors), 'pipeline file')} cannot be loaded"
    )
    notice = Notice(
        kind=NoticeKind.BROKEN.value,
        pipeline=names,
        title=what,
        reason=_cut("\n".join(errors.values())),
        counts=f"files: {len(errors)}",
        run=context["ti"].run_id,
        command=shell_line(check(folder), program=IN_AIRFLOW),
        link=page_url(),
    )
    return send("on_failure", notifiers, notice, context)


@contextmanager
def errors_logged() -> Iterator[None]:
    """Log an error of the block, and continue."""
    try:
        yield
    except Exception:
        logger.exception("a notice could not be sent")


def _report(
    config: PipelineConfig,
    kind: NoticeKind,
    title: str,
    sentences: Sequence[str],
    counts: str,
    command: str,
    context: Context,
) -> None:
    notice = Notice(
        kind=kind.value,
        pipeline=config.pipeline_id,
        title=visible(title),
        reason=_cut("\n".join(map(visible, sentences))),
        counts=counts,
        command=command,
    )
    key = f"{kind.value} {context['ti'].dag_id}/{context['ti'].run_id}"
    with errors_logged():
        _deliver(config, context, lambda _: (key, notice), notice)


def _deliver(
    config: PipelineConfig,
    context: Context,
    decide: Callable[[Runtime], tuple[str, Notice]],
    otherwise: Notice,
) -> None:
    """Record the notice and send it; `otherwise` if the state, which may be what failed, does not answer."""
    key = None
    try:
        with open_runtime(config) as runtime:
            key, notice = decide(runtime)
            if not claim_notice(runtime.state, key):
                logger.info("this notice was sent before: %s", key)
                return
    except PipelineError as error:
        logger.warning("the state does not answer, so the notice is not recorded in it: %s", error)
        key, notice = None, otherwise
    except Exception:
        logger.exception("the notice could not be made or recorded; it is sent without its window")
        key, notice = None, otherwise
    notifiers = config.airflow.notices()
    name = f"on_{notice.kind}"
    if name == "on_blocked" and name not in notifiers:
        name = "on_failure"
    if name not in notifiers:
        return
    window = Interval(parse_utc(notice.start), parse_utc(notice.end)) if notice.start else None
    link = page_url(window_path(config.pipeline_id, window))
    notice = structs.replace(notice, link=link, run=context["ti"].run_id)
    if not send(name, notifiers[name], notice, context) and key is not None:
        with open_runtime(config) as runtime:  # another task of the run may still send it
            forget_notice(runtime.state, key)


def _reason(error: object) -> str:
    if not isinstance(error, BaseException):
        return NO_ERROR
    return _cut(visible(redact_text(str(error) or type(error).__name__)))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"
