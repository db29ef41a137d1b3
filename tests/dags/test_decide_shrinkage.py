"""A shrinkage that the maintenance DAG finds is decided in Airflow's human-in-the-loop form."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG, timezone
from airflow.utils.session import create_session
from sqlalchemy import select, update

from airflow_pipeline_provider.cli.catalog import load_all
from airflow_pipeline_provider.cli.checked_files import check_catalog
from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators import hitl
from airflow_pipeline_provider.phases.decide_shrinkage import find_shrunk
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.state.about import Act

from .conftest import Folder, run, stored_runs, sync
from .test_maintenance import states, with_maintenance

FORM = "{retries: 0, decide_shrinkage: {}}"
GONE = "2013-11-03T20:00:00Z"
REFERENCE = parse_utc("2013-11-06T12:00:00Z")
WINDOW = Interval(parse_utc("2013-11-03T17:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
WINDOW_LABEL = "2013-11-03 [12:00, 24:00) EST"


class Shrunk(NamedTuple):
    """A pipeline with one committed window that shrank, and the run of the form's DAG to start."""

    folder: Folder
    conf: dict[str, Any]

    @property
    def form_id(self) -> str:
        return f"{self.folder.pipeline_id}.shrinkage"

    def form(self) -> DAG:
        return self.folder.dags()[self.form_id]

    def answer(
        self, choice: str | None, *, meanwhile: Callable[[], None] = lambda: None, **params: Any
    ) -> Any:
        """Run the form's DAG and answer as ann; None lets the form time out."""
        with answering(self.form_id, choice, params, meanwhile):
            return run(self.form(), run_conf=self.conf)

    def entries(self) -> list[Entry]:
        with self._runtime() as runtime:
            return runtime.state.entries()

    def acts(self) -> tuple[Act, ...]:
        with self._runtime() as runtime:
            return runtime.state.about().acts

    def _runtime(self) -> Any:
        file = self.folder.path / "dags" / "pipelines" / f"{self.folder.pipeline_id}.yaml"
        return open_runtime(load_pipeline(file, options_model=options_model))


@contextmanager
def answering(
    form_id: str, choice: str | None, params: dict[str, Any], meanwhile: Callable[[], None]
) -> Iterator[None]:
    """Answer the newest form of the DAG in another thread, as Airflow's REST API does.

    None: no answer in time; the scheduler resumes the task with the defaults.
    """
    stop = threading.Event()
    failures: list[BaseException] = []

    def answer() -> None:
        # again if the task still waits: `dag.test` may store "awaiting_input" over what the answer has stored
        change = [meanwhile]
        while not stop.is_set():
            ti_id = waiting_task(form_id)
            if ti_id is not None:
                for once in change:
                    once()
                change.clear()
                respond(ti_id, choice, params)
            time.sleep(0.3)

    def guarded() -> None:
        try:
            answer()
        except BaseException as error:  # noqa: BLE001  raised again in the test's own thread
            failures.append(error)
            end_waiting(form_id)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def waiting_task(form_id: str) -> Any:
    """Return the id of the task that waits for an answer."""
    with create_session(scoped=False) as session:
        return session.scalar(
            select(TaskInstance.id).where(
                TaskInstance.dag_id == form_id, TaskInstance.state.in_(["awaiting_input", "deferred"])
            )
        )


def respond(ti_id: Any, choice: str | None, params: dict[str, Any]) -> None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent

    with create_session(scoped=False) as session:
        ti, form = session.get(TaskInstance, ti_id), session.get(HITLDetail, ti_id)
        assert form.options == ["accept", "keep", "later"]
        assert WINDOW_LABEL in form.body
        form.responded_at, form.params_input = timezone.utcnow(), params
        form.responded_by = {"id": "7", "name": "ann"} if choice else None
        form.chosen_options = [choice] if choice else form.defaults
        if ti.state == "awaiting_input":  # Airflow 3.2: the trigger looks for the answer
            payload = form.as_resume_event_payload(timedout=choice is None)
            handle_event_submit(TriggerEvent(payload), task_instance=ti, session=session)


def end_waiting(form_id: str) -> None:
    """Fail the form's task, for which `dag.test` would wait for ever."""
    with create_session(scoped=False) as session:
        session.execute(update(TaskInstance).where(TaskInstance.dag_id == form_id).values(state="failed"))


@pytest.fixture
def shrunk(folder: Folder, run_dag: Callable[..., Any]) -> Shrunk:
    """Two windows of the day are committed; then the source lost one row of the second one."""
    folder.write(granularity="13h", backlog="wait", airflow=FORM)
    with_maintenance(folder)
    found = Shrunk(folder, {})
    with found._runtime() as runtime:
        for number in range(2):
            request = RunRequest(f"{folder.pipeline_id}/{number}", RunKind.LIVE, REFERENCE)
            assert run_window(runtime, request).audited is not None
        folder.sql("DELETE FROM events WHERE at = ?", GONE)
        recheck(runtime, 1, REFERENCE)
        asked = find_shrunk(runtime.state.entries(WINDOW), WINDOW)
    assert asked is not None
    return found._replace(conf={"shrunk": [msgspec.to_builtins(asked)]})


def test_a_shrinkage_is_asked_about_once_until_it_is_answered(
    shrunk: Shrunk, run_dag: Callable[..., Any]
) -> None:
    """The maintenance run ends; the form waits in a run of its own."""
    folder = shrunk.folder
    maintenance = f"maintenance_of_{folder.pipeline_id}"
    sync(shrunk.form())  # as Airflow does before a run can start
    for expected in ("success", "skipped"):
        found = run_dag(folder.dags()[maintenance])
        assert (states(found)["ask"], states(found)["drift"]) == ([expected], ["failed"])
        (started,) = stored_runs(shrunk.form_id)
        assert (started.run_id, started.conf) == ("recheck__20131106T120000Z", shrunk.conf)
    assert shrunk.form().max_active_runs == 1
    assert shrunk.form().is_paused_upon_creation is False


def test_nothing_is_asked_if_nothing_shrank(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(granularity="1d", backlog="wait", airflow=FORM)
    maintenance = with_maintenance(folder)
    found = run_dag(folder.dags()[maintenance])
    assert states(found)["ask"] == ["skipped"]
    assert str(found.state) == "success"


def test_accept_deletes_the_rows_by_a_run_of_the_pipelines_own_dag(
    shrunk: Shrunk, run_dag: Callable[..., Any]
) -> None:
    folder = shrunk.folder
    sync(folder.dag())
    before = folder.target()
    ended = shrunk.answer("accept", reason="they were\ntest flights")
    assert (str(ended.state), states(ended)) == ("success", {"decide": ["success"], "apply": ["success"]})
    assert folder.target() == before
    (started,) = [one for one in stored_runs(folder.pipeline_id) if one.run_id.startswith("accept_shrink__")]
    assert started.conf == {
        "window_start": "2013-11-03T17:00:00Z",
        "window_end": "2013-11-04T05:00:00Z",
        "exact": True,
        "by": "ann",
        "accept_shrink": 1,
    }
    with shrunk._runtime() as runtime:
        request = RunRequest(
            f"{folder.pipeline_id}/{started.run_id}",
            RunKind.WINDOW,
            REFERENCE,
            WINDOW,
            by="ann",
            exact=True,
            accept_shrink=1,
        )
        assert run_window(runtime, request).audited is not None
        (act,) = runtime.state.about().acts
    assert (act.what, act.by, act.why) == ("accept shrink", "ann", "they were test flights")
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")
    (attempt,) = [one for one in shrunk.entries() if one.kind is Kind.ATTEMPT and "by" in one.detail]
    assert (attempt.detail["by"], attempt.run) == ("ann", f"{folder.pipeline_id}/{started.run_id}")

    again = run(shrunk.form(), run_conf=shrunk.conf)  # the same question, after it was carried out
    assert states(again) == {"decide": ["skipped"], "apply": ["skipped"]}


def test_keep_waives_the_window_with_name_and_reason(shrunk: Shrunk, run_dag: Callable[..., Any]) -> None:
    before = shrunk.folder.target()
    ended = shrunk.answer("keep")
    assert (str(ended.state), states(ended)) == ("success", {"decide": ["success"], "apply": ["success"]})
    newest = shrunk.entries()[-1]
    assert (newest.kind, newest.interval, newest.detail) == (
        Kind.WAIVED,
        WINDOW,
        {"by": "ann", "reason": "keep in Airflow's form"},
    )
    assert shrunk.folder.target() == before
    assert str(ended.get_task_instance("decide").rendered_map_index) == "keep by ann"


@pytest.mark.parametrize(
    ("choice", "params", "label"),
    [
        pytest.param("later", {}, "later by ann", id="later"),
        pytest.param(None, {}, "later: no answer in time", id="no answer in time"),
        pytest.param("accept", {"windows": []}, "accept by ann", id="no window chosen"),
    ],
)
def test_later_changes_nothing(
    shrunk: Shrunk, run_dag: Callable[..., Any], choice: str | None, params: dict[str, Any], label: str
) -> None:
    entries, about = shrunk.entries(), shrunk.acts()
    ended = shrunk.answer(choice, **params)
    assert (str(ended.state), states(ended)) == ("success", {"decide": ["success"], "apply": ["skipped"]})
    assert str(ended.get_task_instance("decide").rendered_map_index) == label
    assert (shrunk.entries(), shrunk.acts()) == (entries, about)


def test_an_answer_after_the_window_changed_changes_nothing(
    shrunk: Shrunk, run_dag: Callable[..., Any]
) -> None:
    def grow() -> None:
        for second in range(5):
            shrunk.folder.sql("INSERT INTO events (at) VALUES (?)", f"2013-11-03T18:00:0{second}Z")
        with shrunk._runtime() as runtime:
            recheck(runtime, 1, REFERENCE)

    ended = shrunk.answer("accept", meanwhile=grow)
    assert (str(ended.state), states(ended)) == ("success", {"decide": ["success"], "apply": ["skipped"]})
    assert shrunk.acts() == ()
    assert stored_runs(shrunk.folder.pipeline_id) == []


def test_a_window_that_the_form_does_not_have_is_refused(shrunk: Shrunk, run_dag: Callable[..., Any]) -> None:
    ended = shrunk.answer("accept", windows=["2013-11-03 [00:00 EDT, 12:00 EST)"])
    assert states(ended) == {"decide": ["failed"], "apply": ["upstream_failed"]}
    assert shrunk.acts() == ()


@pytest.mark.parametrize("conf", [{}, {"shrunk": [["2013-11-03", 1]]}])
def test_the_form_is_not_started_by_hand(
    shrunk: Shrunk, run_dag: Callable[..., Any], conf: dict[str, Any]
) -> None:
    ended = run(shrunk.form(), run_conf=conf)
    assert states(ended) == {"decide": ["failed"], "apply": ["upstream_failed"]}


@pytest.mark.filterwarnings("ignore:The airflow.security.permissions module is deprecated")
def test_the_form_has_the_settings_of_its_pipeline(folder: Folder, airflow_db: object) -> None:
    folder.write(
        airflow="{retries: 2, pool: etl, tags: [a], tasks: {default: {execution_timeout: 1h, queue: q}}, "
        "access_control: {Ops: [can_edit]}, decide_shrinkage: {timeout: 2h, assigned_users: ['7']}}"
    )
    with_maintenance(folder)
    form = folder.dags()[f"{folder.pipeline_id}.shrinkage"]
    decide, apply = form.get_task("decide"), form.get_task("apply")
    assert (decide.response_timeout, decide.execution_timeout) == (timedelta(hours=2), None)
    assert decide.assigned_users == [{"id": "7", "name": "7"}]
    assert (decide.options, decide.defaults) == (["accept", "keep", "later"], ["later"])
    assert (decide.retries, decide.pool, decide.queue, apply.queue) == (2, "etl", "q", "q")
    assert (form.tags, set(form.access_control)) == ({"a"}, {"Ops"})


def test_only_the_form_that_airflow_requests_is_built(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(airflow=FORM)
    other = f"{folder.pipeline_id}.z"
    folder.write(other)
    maintenance = with_maintenance(folder)
    form = f"{folder.pipeline_id}.shrinkage"
    assert set(folder.dags()) == {folder.pipeline_id, other, maintenance, form}
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", form)
    assert list(folder.dags()) == [form]
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"{other}.shrinkage")
    assert list(folder.dags()) == []


def test_a_pipeline_with_the_id_of_a_form_is_reported(folder: Folder) -> None:
    folder.write(airflow=FORM)
    folder.write(f"{folder.pipeline_id}.shrinkage")
    with_maintenance(folder)
    with pytest.raises(ConfigError, match=r"\.shrinkage is the id of the DAG that decides about "):
        folder.dags()


class FirstVersion:
    """The operator of a provider that has no `response_timeout` yet."""

    def __init__(self, *, subject: str, options: list[str]) -> None: ...


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(None, id="no operators"),
        pytest.param(SimpleNamespace(HITLOperator=FirstVersion), id="old operators"),
    ],
)
def test_an_airflow_without_forms_is_reported_for_the_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    file = folder.write(airflow=FORM)
    other = f"{folder.pipeline_id}.z"
    folder.write(other)
    maintenance = with_maintenance(folder)
    monkeypatch.setitem(sys.modules, "provider_of_another_version", module)  # None: an ImportError
    monkeypatch.setattr(hitl, "MODULE", "provider_of_another_version")
    dags = folder.dags()
    assert set(dags) == {f"broken__{file.stem}", other, maintenance}
    assert not [task for task in dags[maintenance].task_ids if task.endswith(folder.pipeline_id)]
    sentence = "airflow.decide_shrinkage: needs apache-airflow-providers-standard 1.12.2 or newer"
    with pytest.raises(ConfigError, match=sentence):
        dags[f"broken__{file.stem}"].get_serialized_fields()
    catalog = load_all(str(file.parent))
    (checked,) = [one for one in check_catalog(catalog) if one.file == file]
    assert sentence in str(checked.problems[0])
