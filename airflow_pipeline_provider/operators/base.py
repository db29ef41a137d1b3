"""What all operators of a pipeline share: the configuration, the runtime, the mapping of errors to Airflow's."""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from airflow_pipeline_provider.config.loader import load_pipeline, split_name
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import (
    LeaseHeldError,
    PipelineError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.exits import Killed
from airflow_pipeline_provider.garbage_collection import freeze_imports
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.observability.vendor_logs import vendor_warnings_only
from airflow_pipeline_provider.operators.airflow_stats import airflow_stats, report_failure
from airflow_pipeline_provider.operators.installation import installation_of
from airflow_pipeline_provider.operators.links import WindowLink
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.phases.values import Claim
from airflow_pipeline_provider.state.owners import Execution

if TYPE_CHECKING:
    from airflow.sdk import Context

LOOK_AGAIN_SECONDS = (10.0, 20.0)  # between these, so that runs that wait together do not come together
LABEL = "{{ task.result_label }}"  # map_index_template of operators that set it; Airflow shows nothing for ""
WINDOW_KEY = "window"
VERDICT_KEY = "verdict"
# (task, key) of each XCom that the operators push, under the tasks' default names
XCOMS = {
    ("generate_window", "return_value"): "the window record, as JSON",
    ("generate_window", "window"): "the claim that the tasks below read: window, run and kind of run",
    ("generate_window", "reason"): "only if there is nothing to do: the reason",
    ("generate_window", "detail"): "only if there is nothing to do: the reason as a sentence",
    (
        "validate",
        "return_value",
    ): "the slices; one `extract` task is mapped over each with `distribute: tasks`",
    (
        "validate",
        "verdict",
    ): "`run`, `already_loaded`, `skip` or `superseded`, with attempt, detail and source rows",
    ("extract", "return_value"): "paths of the receipts, one for each slice",
    ("stage", "return_value"): "path and SHA-256 of the manifest, fencing token, rows and quarantined rows",
    ("load", "return_value"): "rows, distinct ids, and whether the manifest was already loaded",
    (
        "each task",
        "_link_WindowLink",
    ): "path of the task's window on the page; Airflow shows it as the link *Window*",
    ("audit", "return_value"): "the four counts, quarantined rows and the fencing token",
    (
        "move_window",
        "audit",
    ): "`layout: single_task`: what `audit` returns; the other XComs are those of `generate_window`, and `verdict`",
    ("recheck", "return_value"): "maintenance DAG: windows that grew, as `[start, end]`",
    ("recheck", "drift"): "maintenance DAG: windows that shrank, as sentences",
    (
        "recheck",
        "shrunk",
    ): "maintenance DAG, with `airflow.decide_shrinkage`: the windows that the form asks about",
    ("recheck", "new_drift"): "maintenance DAG: number of windows newly found to differ, and sentences",
    (
        "broken_files",
        "return_value",
    ): "maintenance DAG: names of the pipeline files of which a notice was sent",
    ("decide", "return_value"): "`<id>.shrinkage`: the windows to change, `[]` for later",
    ("decide", "asked"): "`<id>.shrinkage`: the windows of the form, with their counts",
    ("decide", "answer"): "`<id>.shrinkage`: choice, by, reason and at",
    (
        "cleanup",
        "return_value",
    ): "maintenance DAG: number of removed attempts, files, unfinished uploads and leases",
}


def run_of(context: Context) -> str:
    """Return the name of this DAG run in the state store: `dag_id/run_id`."""
    dag_run = context["dag_run"]
    return f"{dag_run.dag_id}/{dag_run.run_id}"


def run_type_of(dag_run: Any) -> str:
    """Return the type of a DAG run, such as `scheduled`; Airflow passes it as an enumeration or as text."""
    return str(getattr(dag_run.run_type, "value", dag_run.run_type))


def is_last_try(ti: Any) -> bool:
    """Return whether Airflow does not retry the task after this try."""
    return bool(ti.try_number > ti.max_tries)


def read_pipeline(pipeline: str, dag_file: str | None) -> PipelineConfig:
    """Load the configuration at a path that is absolute, or relative to the DAG's own file."""
    name, pipeline_id = split_name(pipeline)
    path = Path(name)
    if not path.is_absolute() and dag_file:
        path = Path(dag_file).parent / path
    return load_pipeline(path, options_model=options_model, pipeline_id=pipeline_id)


class PipelineOperator(BaseOperator, SkipMixin):
    """Base class of the operators.

    :param pipeline: path of a pipeline's YAML file, absolute or relative to the DAG's own file (templated), with
        ``::`` and the id for a file of several pipelines; or a configuration that is already loaded.
    :param generate_task_id: the task whose window this one works on (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "generate_task_id")
    operator_extra_links: Collection[BaseOperatorLink] = (WindowLink(),)
    shown_window: tuple[str, Interval | None] | None = None
    """DAG and window that `WindowLink` links to."""
    ui_color = "#e4f0e8"
    result_label = ""
    """Result of the task in a few words, which Airflow shows as Map Index; empty until there is one."""
    _installation: str | None = None
    _killed = False
    _may_raise = False

    def __init__(
        self, *, pipeline: str | PipelineConfig, generate_task_id: str = "generate_window", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._config = pipeline if isinstance(pipeline, PipelineConfig) else None
        self.pipeline = pipeline if isinstance(pipeline, str) else pipeline.pipeline_id
        self.generate_task_id = generate_task_id

    def load_config(self) -> PipelineConfig:
        """Return the configuration; a path is read when the task runs, not when the DAG is parsed."""
        return self._config or read_pipeline(self.pipeline, self.dag.fileloc)

    @contextmanager
    def runtime(self, context: Context) -> Iterator[Runtime]:
        """Open the pipeline's connectors for the block; map its errors to what Airflow should do about them."""
        from airflow_pipeline_provider.phases.leases import release_all

        freeze_imports()
        try:
            with airflow_stats(), vendor_warnings_only(), self._open(context["ti"]) as runtime:
                try:
                    with self._killable():
                        yield runtime
                except (SystemExit, KeyboardInterrupt):
                    release_all(runtime, run_of(context))
                    raise
                except AirflowTaskTimeout:
                    if is_last_try(context["ti"]):  # else the next try works under the lease
                        release_all(runtime, run_of(context))
                    raise
                except (SupersededError, LeaseHeldError):
                    raise
                except TransientError:
                    if is_last_try(context["ti"]):
                        release_all(runtime, run_of(context))
                        report_failure(runtime, run_of(context))
                    raise
                except PipelineError:
                    report_failure(runtime, run_of(context))
                    raise
                except Exception:
                    if is_last_try(context["ti"]):
                        report_failure(runtime, run_of(context))
                    raise
        except SupersededError as error:
            self.result_label = "superseded"
            raise AirflowSkipException(f"superseded: {error}") from None
        except LeaseHeldError as error:
            self.wait_for_lease(error)
        except TransientError:
            raise  # the task's own retries, with backoff
        except PipelineError as error:
            raise AirflowFailException(redact_values(str(error))) from None

    def on_kill(self) -> None:
        """End what the task does, so that `runtime` releases its lease.

        Airflow calls this in the handler of SIGTERM: when the task or its run is marked as failed or success, or is
        cleared, and when the worker ends.  Otherwise the task would continue until SIGKILL, 5 seconds later.
        """
        self._killed = True
        if self._may_raise:
            self._may_raise = False  # a second signal must not interrupt the release
            raise Killed("Airflow ended this task")

    @contextmanager
    def _killable(self) -> Iterator[None]:
        """Let `on_kill` raise `Killed` inside of the block."""
        self._may_raise = True
        try:
            if self._killed:  # while the parts were opened
                raise Killed("Airflow ended this task")
            yield
        finally:
            self._may_raise = False

    def _open(self, ti: Any) -> AbstractContextManager[Runtime]:
        """Open the pipeline's parts, with the identity of this task's process among those on a run of the same id."""
        config = self.load_config()
        execution = Execution(f"{ti.task_id} {ti.map_index}", ti.try_number, uuid.uuid4().hex[:16])
        installation = self._installation or installation_of(config)
        return open_runtime(config, installation=installation, execution=execution)

    def wait_for_lease(self, error: LeaseHeldError) -> NoReturn:
        """Give the worker up and look again in a moment; no retry is used up, however long the lease is held."""
        seconds = random.uniform(*LOOK_AGAIN_SECONDS)  # noqa: S311  (spread, no secret)
        self.log.info("%s; this task looks again in %.0f seconds", error.message, seconds)
        at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        raise AirflowRescheduleException(at)  # type: ignore[no-untyped-call]

    def claim(self, context: Context) -> Claim:
        """Return the window that the generate task of this run claimed.

        A `runtime` after it uses the lease for the installation that took it, whatever the Variable holds since.
        """
        value = context["ti"].xcom_pull(task_ids=self.generate_task_id, key=WINDOW_KEY)
        claim = msgspec.convert(self.one(value, self.generate_task_id, "window"), Claim)
        if claim.run != run_of(context):
            raise AirflowFailException(
                f"expected the window of {run_of(context)}, task {self.generate_task_id!r} gave that of {claim.run}: "
                "clear this run's generate task"
            )
        self.shown_window = context["dag_run"].dag_id, claim.interval
        self._installation = claim.installation
        return claim

    @staticmethod
    def one(value: Any, task_id: str, what: str) -> Any:
        """Return an XCom that must be there; without it the run cannot continue and no retry helps."""
        if value is None:
            raise AirflowFailException(
                f"task {task_id!r} left no {what} in this run: draw it upstream of this task, or clear it first"
            )
        return value

    def skip_below(self, context: Context) -> None:
        """Skip every task below, whatever its trigger rule, and stay skipped when one is cleared alone.

        Airflow carries this out by an exception: push XComs before, and do nothing after.
        """
        task = context["ti"].task
        self.skip(ti=context["ti"], tasks=list(task.get_flat_relatives(upstream=False)))
