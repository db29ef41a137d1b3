"""`GenerateWindowOperator`: the next window, or a reason and everything below skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.core.intervals import Interval, parse_instant
from airflow_pipeline_provider.core.planning import Reason
from airflow_pipeline_provider.core.windows import NamedRun, parse_window_id
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError
from airflow_pipeline_provider.operators import asset_events
from airflow_pipeline_provider.operators.base import LABEL, WINDOW_KEY, PipelineOperator, run_of, run_type_of
from airflow_pipeline_provider.operators.ended_runs import release_ended
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Generated, RunKind, RunRequest
from airflow_pipeline_provider.state.about import LONGEST_NAME, is_name
from airflow_pipeline_provider.state.facts import facts_of

if TYPE_CHECKING:
    from airflow.sdk import Context

RESERVED_KEYS = ("openlineage",)  # of Airflow's own tools: a trigger with OpenLineage on adds the parent run
FACTS_KEY = "pipeline_facts"
"""The name of the JSON of `state.facts` in the serialized task."""
CONF_KEYS = (
    "window_start",
    "window_end",
    "exact",
    "reference_time",
    "by",
    "only_drifted",
    "only_incomplete",
    "accept_shrink",
)


class GenerateWindowOperator(PipelineOperator):
    """Plan and lease the run's window.

    Returns the complete record (JSON-safe) and pushes the XCom ``window``.  With nothing to do it pushes ``reason``
    and ``detail`` and skips every task below; the reason is also the task's label on the run's page (Map Index)
    and a rendered field.

    Its success also sends the ``<pipeline id>.days`` events that earlier runs left unsent (`operators.asset_events`).

    :param ignore_downstream_trigger_rules: skip tasks below whatever their trigger rule (default).  False skips the
        direct followers only and leaves the rest to their rules.
    """

    template_fields: Sequence[str] = ("pipeline", "reason", "window")
    inherits_from_skipmixin = True
    overwrite_rtif_after_execution = True  # reason and window are known only then
    ui_color = "#d7e8f7"

    def __init__(
        self, *, pipeline: str | PipelineConfig, ignore_downstream_trigger_rules: bool = True, **kwargs: Any
    ) -> None:
        kwargs.setdefault("map_index_template", LABEL)
        super().__init__(pipeline=pipeline, **kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules
        self._alias = asset_events.alias_of(pipeline)
        self.outlets = [*self.outlets, self._alias]
        self.reason: str | None = None
        self.window: str | None = None

    @property
    def pipeline_facts(self) -> str | None:
        """Return what the page needs of the pipeline; text, since Airflow cannot read a dict back here."""
        return facts_of(self._config).dump_json() if self._config is not None else None

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """Return the fields that travel with the serialized DAG."""
        return frozenset(super().get_serialized_fields() | {FACTS_KEY})  # type: ignore[no-untyped-call]

    def execute(self, context: Context) -> dict[str, Any] | None:
        with self.runtime(context) as runtime:
            request = run_request(context, runtime.config)._replace(
                follows=_starts_follower(context["ti"].task)
            )
            generated = generate_for(runtime, request, context["ti"])
            asset_events.emit_late(context, self._alias, runtime)
            zone = runtime.config.timezone
        if generated.claim is None:
            self._report_nothing(context, generated)
            return None
        self._report_window(context, generated.claim, generated.detail, zone)
        return generated.record

    def _report_window(self, context: Context, claim: Claim, detail: str, zone: str) -> None:
        """Show and pass on the window."""
        ti = context["ti"]
        self.shown_window = ti.dag_id, claim.interval
        self.result_label = self.window = local_window(claim.interval, zone)
        self.log.info("window %s (%s): %s", self.window, claim.window_id, detail)
        ti.xcom_push(key=WINDOW_KEY, value=msgspec.to_builtins(claim))

    def _report_nothing(self, context: Context, generated: Generated) -> None:
        """Show and pass on why there is no window, and skip the tasks below."""
        ti = context["ti"]
        self.reason = generated.reason
        self.result_label = generated.reason or ""
        self.log.info("nothing to do: %s: %s", generated.reason, generated.detail)
        ti.xcom_push(key="reason", value=generated.reason)
        ti.xcom_push(key="detail", value=generated.detail)
        if self.ignore_downstream_trigger_rules:
            self.skip_below(context)
        else:
            self.skip(ti=ti, tasks=ti.task.downstream_list)


def generate_for(runtime: Runtime, request: RunRequest, ti: Any) -> Generated:
    """Generate; a second time if ended runs held what this run needs."""
    from airflow_pipeline_provider.phases.generate import generate

    try:
        generated = generate(runtime, request)
    except LeaseHeldError:
        if not release_ended(runtime, ti):
            raise
        return generate(runtime, request)
    if generated.reason == Reason.LEASED.value and release_ended(runtime, ti):
        return generate(runtime, request)
    return generated


def _starts_follower(task: Any) -> bool:
    """Return whether a run of this DAG looks for another window after its commit."""
    return any(getattr(below, "starts_follower", False) for below in task.get_flat_relatives(upstream=False))


def run_request(context: Context, config: PipelineConfig) -> RunRequest:
    """Build the request of this DAG run, from its type and its Params."""
    dag_run, run = context["dag_run"], run_of(context)
    conf = {} if dag_run.conf is None else dag_run.conf
    if not isinstance(conf, Mapping):
        raise ConfigError(f"conf: expected a JSON object such as {{}}, got {quote(conf)}")
    reference = dag_run.run_after
    if run_type_of(dag_run) == "backfill":
        if config.schedule != "auto":
            raise ConfigError(
                f"schedule: a backfill moves the windows of the day plan, which only `schedule: auto` makes the "
                f"runs' data intervals; this pipeline has {config.schedule!r}. Set schedule: auto, or trigger runs "
                "with the Params window_start and window_end"
            )
        start, end = context["data_interval_start"], context["data_interval_end"]
        window = Interval(start, end)  # type: ignore[arg-type]
        return RunRequest(
            run,
            RunKind.BACKFILL,
            reference,
            window,
            by=_person(conf),
            run_after=reference,
            only_incomplete=_flag(conf, "only_incomplete"),
        )
    declared = set(context["dag"].params)  # the context's params hold whatever came with the conf
    unknown = sorted(set(conf) - set(CONF_KEYS) - set(RESERVED_KEYS) - declared)
    if unknown:
        known = ", ".join(sorted({*CONF_KEYS, *declared}))
        shown = ", ".join(quote(key, 60) for key in unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise ConfigError(f"conf: unknown {shown}; known: {known}")
    if conf.get("reference_time") is not None:
        reference = parse_instant(conf["reference_time"], "reference_time")
    params = {**dict(context["params"]), **conf}
    interval = _params_window(params)
    kind = RunKind.WINDOW if interval else RunKind.LIVE
    return RunRequest(
        run,
        kind,
        reference,
        interval,
        by=_person(conf),
        run_after=dag_run.run_after,
        only_drifted=_flag(conf, "only_drifted"),
        only_incomplete=_flag(conf, "only_incomplete"),
        accept_shrink=_accepted(conf, interval),
        exact=_flag(params, "exact") or _is_started_for(dag_run.run_id, interval),
    )


def _is_started_for(run_id: str, interval: Interval | None) -> bool:
    """Return whether the run's id names the window: one that a command of a version without `exact` started."""
    named = NamedRun.parse(run_id)
    window = parse_window_id(named.window_id) if named else None
    return window is not None and window[1] == interval


def _flag(conf: Mapping[str, Any], key: str) -> bool:
    value = conf.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"conf: expected true or false as {key}, got {quote(value)}")
    return value


def _accepted(conf: Mapping[str, Any], interval: Interval | None) -> int | None:
    """Return how many rows of the named window may go, which the state must confirm (`phases.accept_shrink`)."""
    rows = conf.get("accept_shrink")
    if rows is None:
        return None
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise ConfigError(
            f"conf: expected a whole number of rows as accept_shrink, 1 or more, got {quote(rows)}"
        )
    if interval is None:
        raise ConfigError(
            "accept_shrink: expected window_start and window_end with it: rows of one window go"
        )
    return rows


def _person(conf: Mapping[str, Any]) -> str | None:
    """Return who started the run by hand, as `reprocess` and `recheck` pass it."""
    by = conf.get("by")
    if by is None or (isinstance(by, str) and is_name(by)):
        return by
    raise ConfigError(
        f"conf: expected a name of 1 to {LONGEST_NAME} printable characters as by, got {quote(by)}"
    )


def _params_window(params: Mapping[str, Any]) -> Interval | None:
    start, end = (params.get(name) for name in ("window_start", "window_end"))
    start, end = (None if value == "" else value for value in (start, end))  # a form's empty field
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "window_start" if start is None else "window_end"
        raise ConfigError(
            f"{missing}: expected both window_start and window_end, or neither; this one is missing"
        )
    first, last = parse_instant(start, "window_start"), parse_instant(end, "window_end")
    if last <= first:
        raise ConfigError(f"window_end: expected an instant after window_start {start}, got {end}")
    return Interval(first, last)
