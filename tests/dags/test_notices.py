"""Failures, blocked windows, drift, late days and broken files call Airflow's notifiers, once each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators import maintenance as operators
from airflow_pipeline_provider.operators import notifiers
from airflow_pipeline_provider.operators.notices import FailureNotices
from airflow_pipeline_provider.phases.runtime import open_runtime
from tests.doubles.notifiers import Failing
from tests.doubles.receiver import Receiver, receiving

from .conftest import Folder
from .test_maintenance import states, with_maintenance

WEBHOOK = "tests.doubles.notifiers.Webhook"
EMPTY = "{on_empty: fail}"
WINDOW = "2013-11-03 [00:00 EDT, 24:00 EST)"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "tests.doubles.notifiers")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/prod")
    with receiving() as made:
        yield made


def hooks(receiver: Receiver, *keys: str, **arguments: str) -> str:
    given = json.dumps({WEBHOOK: {"url": receiver.url, **arguments}})
    return "{retries: 0, " + ", ".join(f"{key}: {given}" for key in keys) + "}"


def empty(folder: Folder, airflow: str, **changes: Any) -> None:
    """Write a pipeline of whole days whose source has no rows, which its audit refuses."""
    folder.sql("DELETE FROM events")
    folder.write(granularity="1d", backlog="wait", audit=EMPTY, airflow=airflow, **changes)


def test_a_failed_window_sends_one_notice_with_the_command_to_run(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    empty(folder, hooks(receiver, "on_failure"))
    run = run_dag(folder.dag())
    assert str(run.state) == "failed"
    (text,) = receiver.texts("failure")
    title, reason, counts, command, link = text.split("\n")
    name = folder.pipeline_id
    assert title == f"{name}, {WINDOW}: load failed"
    assert "the source has no row in this window and audit.on_empty is 'fail'" in reason
    assert counts == "failures: 1 of 5"
    assert command == f"Command: airflow pipelines history {name} {name}.20131103T040000Z-20131104T050000Z"
    assert link == (
        f"Page: https://airflow.example/prod/dags/{name}/plugin/windows"
        "?window=2013-11-03T04:00:00Z/2013-11-04T05:00:00Z"
    )


def test_a_window_of_a_single_task_sends_a_notice_too(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    empty(folder, hooks(receiver, "on_failure").replace("{", "{layout: single_task, ", 1))
    assert str(run_dag(folder.dag()).state) == "failed"
    (text,) = receiver.texts("failure")
    assert text.split("\n")[0] == f"{folder.pipeline_id}, {WINDOW}: move_window failed"


def test_templates_use_the_notice_and_the_connections_of_airflow(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PAGER", '{"conn_type": "http", "password": "of-the-connection"}')
    monkeypatch.setenv("AIRFLOW_VAR_TEAM", "data")
    text = "{{ var.value.team }}: {{ notice.pipeline }} {{ notice.start }} {{ notice.task }} {{ ti.task_id }}"
    empty(folder, hooks(receiver, "on_failure", text=text, token="{{ conn.pager.password }}"))
    run_dag(folder.dag())
    assert receiver.texts("failure") == [f"data: {folder.pipeline_id} 2013-11-03T04:00:00Z load load"]
    assert receiver.tokens == ["Bearer of-the-connection"]


def test_a_blocked_window_sends_one_notice_however_many_runs_fail_on_it(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    empty(folder, hooks(receiver, "on_failure", "on_blocked"), max_attempts=2)
    conf = {"window_start": "2013-11-03T04:00:00Z", "window_end": "2013-11-04T05:00:00Z"}
    for _ in range(3):
        run_dag(folder.dag(), run_conf=conf)
    assert len(receiver.texts("failure")) == 1
    (text,) = receiver.texts("blocked")
    assert f"{WINDOW}: is blocked" in text
    assert "failures: 2 of 2" in text
    assert f"Command: airflow pipelines reprocess {folder.pipeline_id} --from" in text


def test_a_window_that_needs_a_decision_is_blocked_at_once(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    folder.write(granularity="1d", backlog="wait", airflow=hooks(receiver, "on_blocked"))
    run_dag(folder.dag())
    folder.sql("DELETE FROM events WHERE at = '2013-11-03T12:00:00Z'")
    conf = {"window_start": "2013-11-03T04:00:00Z", "window_end": "2013-11-04T05:00:00Z"}
    for _ in range(2):
        run_dag(folder.dag(), run_conf=conf)
    (text,) = receiver.texts("blocked")
    assert f"{WINDOW}: needs a decision" in text
    assert "the source now gives" in text


def test_without_on_blocked_its_notice_goes_to_on_failure(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    empty(folder, hooks(receiver, "on_failure"), max_attempts=1)
    run_dag(folder.dag())
    assert "is blocked" in receiver.texts("blocked")[0]
    assert receiver.texts("failure") == []


# --- a task that fails, without Airflow


def failed(
    folder: Folder, airflow: str, *, error: BaseException | None = None, try_number: int = 1, **changes: Any
) -> None:
    """Call what Airflow calls when `extract` has failed."""
    config = load_pipeline(folder.write(airflow=airflow, **changes), options_model=options_model)
    ti = SimpleNamespace(
        dag_id=config.pipeline_id, run_id="manual", task_id="extract", map_index=0, try_number=try_number
    )
    context: Any = {"ti": ti, "dag": None, "exception": error}
    FailureNotices(config)(context)


def test_mapped_tasks_of_a_window_send_one_notice(folder: Folder, receiver: Receiver) -> None:
    for error in ("first", "second"):
        failed(folder, hooks(receiver, "on_failure"), error=ValueError(error))
    (text,) = receiver.texts("failure")
    assert text.split("\n")[:2] == [f"{folder.pipeline_id}: extract failed", "first"]
    failed(folder, hooks(receiver, "on_failure"), try_number=2)  # cleared, and failed again
    assert "its process was killed" in receiver.texts("failure")[1]


def test_a_notice_is_sent_while_the_state_does_not_answer(
    folder: Folder, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_PIPELINE_STATE", '{"conn_type": "sqlite", "host": "/no/such/folder/state.db"}'
    )
    failed(folder, hooks(receiver, "on_failure"), error=ValueError("no state"))
    assert receiver.texts("failure")[0].split("\n")[1] == "no state"
    assert "the state does not answer" in caplog.text


def test_a_notifier_that_fails_is_logged_and_its_notice_is_sent_by_the_next(
    folder: Folder, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        failed(folder, "{on_failure: {tests.doubles.notifiers.Failing: {}}}", error=ValueError("a"))
    assert (
        "airflow.on_failure: the notifier tests.doubles.notifiers.Failing was not called or failed"
        in caplog.text
    )
    assert f"ConnectionError: no answer about {folder.pipeline_id}" in caplog.text
    failed(folder, hooks(receiver, "on_failure"), error=ValueError("b"))
    assert receiver.texts("failure")[0].split("\n")[1] == "b"


def test_one_notifier_that_fails_does_not_stop_the_others(folder: Folder, receiver: Receiver) -> None:
    both = json.dumps({f"{Failing.__module__}.Failing": None, WEBHOOK: {"url": receiver.url}})
    for _ in range(2):
        failed(folder, f"{{on_failure: {both}}}")
    assert len(receiver.texts("failure")) == 1


def test_passwords_in_an_error_are_masked(folder: Folder, receiver: Receiver) -> None:
    failed(folder, hooks(receiver, "on_failure"), error=ValueError("cannot open https://u:hunter2@host/x"))
    assert "hunter2" not in receiver.texts("failure")[0]


def test_the_record_of_notices_holds_no_argument(folder: Folder, receiver: Receiver) -> None:
    failed(folder, hooks(receiver, "on_failure"))
    config = load_pipeline(folder.write(), options_model=options_model)
    with open_runtime(config) as runtime:
        about = runtime.state.about()
    assert about.notices == (f"failure {folder.pipeline_id}/manual extract 1",)
    assert receiver.url not in about.dump()


def test_a_pipeline_without_notifiers_has_no_callback(folder: Folder) -> None:
    folder.write()
    assert not any(task.on_failure_callback for task in folder.dag().tasks)


# --- what the maintenance DAG finds


def test_drift_sends_one_notice_of_what_is_new(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    folder.write(granularity="1d", backlog="wait", airflow=hooks(receiver, "on_drift"))
    run_dag(folder.dag())
    maintenance = with_maintenance(folder, on_shrink="warn")
    folder.sql("DELETE FROM events WHERE at = '2013-11-03T12:00:00Z'")
    for _ in range(2):
        run_dag(folder.dags()[maintenance])
    (text,) = receiver.texts("drift")
    title, reason, counts, command, link = text.split("\n")
    assert title == f"{folder.pipeline_id}: source and target differ in 1 window"
    assert reason == f"{WINDOW} has 74 rows in the source, 75 in the target"
    assert (counts, command) == ("windows: 1", f"Command: airflow pipelines doctor {folder.pipeline_id}")
    assert link == f"Page: https://airflow.example/prod/dags/{folder.pipeline_id}/plugin/windows"


def test_a_late_day_sends_one_notice(folder: Folder, run_dag: Callable[..., Any], receiver: Receiver) -> None:
    folder.write(
        granularity="1d",
        backlog="wait",
        expect='{day_complete_by: "09:00"}',
        airflow=hooks(receiver, "on_late"),
    )
    maintenance = with_maintenance(folder, schedule=None)
    for _ in range(2):
        run_dag(folder.dags()[maintenance])
    (text,) = receiver.texts("late")
    title, reason, *_ = text.split("\n")
    assert title == f"{folder.pipeline_id}: {reason}"
    assert "2013-11-03 is late: it was due to be complete by" in reason


@pytest.mark.parametrize(
    ("kind", "report", "task"),
    [("late", "report_late", "expectations"), ("drift", "report_drift", "drift")],
)
def test_a_retried_maintenance_task_sends_no_second_notice(
    folder: Folder,
    run_dag: Callable[..., Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    report: str,
    task: str,
) -> None:
    """The process crashes after the notice, so the next try of the same run finds the same."""
    folder.write(
        granularity="13h",
        backlog="wait",
        expect='{day_complete_by: "09:00"}',
        airflow=hooks(receiver, f"on_{kind}").replace("retries: 0", "retries: 1"),
    )
    run_dag(folder.dag())
    folder.sql("DELETE FROM events WHERE at = '2013-11-03T12:00:00Z'")
    maintenance = with_maintenance(folder, on_shrink="warn")
    dag = folder.dags()[maintenance]
    dag.get_task(f"{task}__{folder.pipeline_id}").retry_delay = timedelta(0)
    send, sent = getattr(operators, report), []

    def send_and_crash(*arguments: Any) -> None:
        send(*arguments)
        sent.append(arguments)
        if len(sent) == 1:
            raise RuntimeError("the worker crashed")

    monkeypatch.setattr(operators, report, send_and_crash)
    run_dag(dag)
    assert len(sent) == 2
    assert len(receiver.texts(kind)) == 1


def test_a_broken_file_sends_one_notice_each_time_that_it_breaks(
    folder: Folder, run_dag: Callable[..., Any], receiver: Receiver
) -> None:
    defaults = folder.path / "dags" / "pipelines" / "defaults.yaml"
    defaults.write_text(f"airflow: {hooks(receiver, 'on_failure')}\n")
    folder.write(airflow="{tags: [a]}")
    maintenance = with_maintenance(folder, schedule=None)

    def run(expected: str, notices: int) -> None:
        found = states(run_dag(folder.dags()[maintenance]))["broken_files"]
        assert (found, len(receiver.texts("broken"))) == ([expected], notices)

    run("skipped", 0)
    other = folder.write(f"{folder.pipeline_id}_b", "pipeline_id: [")
    run("success", 1)
    run("skipped", 1)
    other.write_text("pipeline_id: {")  # broken as before, in another way
    run("skipped", 1)
    other.unlink()
    run("skipped", 1)
    other.write_text("pipeline_id: [")
    run("success", 2)
    text = receiver.texts("broken")[0]
    assert text.split("\n")[0] == f"{other.name} cannot be loaded"
    assert "is not valid YAML" in text
    assert "Command: airflow pipelines check " in text
    assert text.endswith("Page: https://airflow.example/prod")


def test_without_a_folder_default_no_task_looks_for_broken_files(folder: Folder) -> None:
    folder.write()
    maintenance = with_maintenance(folder)
    assert "broken_files" not in folder.dags()[maintenance].task_ids


def test_unreadable_defaults_fail_the_task_that_needs_them(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    (folder.path / "dags" / "pipelines" / "defaults.yaml").write_text("airflow: [\n")
    maintenance = with_maintenance(folder, schedule=None)
    assert states(run_dag(folder.dags()[maintenance]))["broken_files"] == ["failed"]


def test_a_pipeline_with_a_wrong_executor_does_not_break_the_maintenance_of_others(folder: Folder) -> None:
    folder.write("good")
    folder.write(airflow="{tasks: {default: {executor: NoExecutor}}}")
    maintenance = with_maintenance(folder)
    tasks = folder.dags()[maintenance].task_ids
    assert "recheck__good" in tasks
    assert f"recheck__{folder.pipeline_id}" not in tasks


# --- notifiers by name


UNKNOWN = {
    "provider not installed": (
        "slack: {channel: a}",
        "airflow.on_failure.slack: needs the package apache-airflow-providers-slack, which is not installed here",
    ),
    "misspelled": ("slak: {}", "slak: no installed provider has a notifier 'slak'; did you mean 'slack'?"),
    "nothing like it": ("zzz: {}", "no installed provider has a notifier 'zzz'; installed: "),
    "module not allowed": ("os.path.join: {}", "module 'os.path' is not allowed: add it or a package above it"),
    "no such module": ("tests.doubles.notifiers.sub.X: {}", "there is no module 'tests.doubles.notifiers.sub'"),
}  # fmt: skip


def test_a_package_that_raises_breaks_its_file_only(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"raising_{folder.pipeline_id}"
    (folder.path / "python" / name).mkdir(parents=True)
    (folder.path / "python" / name / "__init__.py").write_text("raise RuntimeError('no token')\n")
    monkeypatch.syspath_prepend(folder.path / "python")
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", name)
    folder.write("good")
    folder.write(airflow=f"{{on_failure: {{{name}.pager.Pager: {{}}}}}}")
    dags = folder.dags()
    assert "good" in dags
    with pytest.raises(ConfigError, match=rf"{name}\.pager cannot be imported: RuntimeError: no token"):
        dags[f"broken__{folder.pipeline_id}"].get_serialized_fields()


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(("text", "expected"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_notifier_is_an_import_error_of_its_file(folder: Folder, text: str, expected: str) -> None:
    folder.write("good")
    folder.write(airflow=f"{{on_failure: {{{text}}}}}")
    dags = folder.dags()
    assert "good" in dags
    with pytest.raises(ConfigError) as raised:
        dags[f"broken__{folder.pipeline_id}"].get_serialized_fields()
    assert expected in raised.value.message
    assert f"({folder.pipeline_id}.yaml:" in raised.value.message


WRONG = {
    "arguments": (
        "smtp: {from: a}",
        "airflow.on_failure.smtp: SmtpNotifier: missing a required argument: 'to'",
    ),
    "class": (
        f"{Failing.__module__}.Gone: {{}}",
        "tests.doubles.notifiers.Gone cannot be imported: AttributeError",
    ),
    "class of a module that is not allowed": (
        f"{Failing.__module__}.SmtpNotifier: {{to: a}}",
        "module 'airflow.providers.smtp.notifications.smtp' is not allowed",
    ),
    "no notifier": (
        f"{Failing.__module__}.NoNotifier: {{}}",
        "tests.doubles.notifiers.NoNotifier must be a subclass of airflow.sdk.BaseNotifier",
    ),
}


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_check_makes_each_notifier_as_a_failure_would(
    folder: Folder, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    file = folder.write(airflow=f"{{on_failure: {{{text}}}}}")
    assert main(["check", str(file)]) == 1
    assert expected in capsys.readouterr().out


def test_smtp_by_its_short_name_has_a_subject_and_a_body(folder: Folder) -> None:
    config = load_pipeline(
        folder.write(airflow="{on_failure: {smtp: {to: data@example.com}}}"), options_model=options_model
    )
    notifiers.check_names(config)
    (arguments,) = config.airflow.on_failure.values()
    made: Any = notifiers.build("smtp", arguments)
    assert (made.to, made.subject, made.html_content) == (
        "data@example.com",
        "{{ notice.title }}",
        "{{ notice.html }}",
    )


def test_a_short_name_is_that_of_the_providers_module() -> None:
    assert notifiers.class_path("sns") == "airflow.providers.amazon.aws.notifications.sns.SnsNotifier"
    assert notifiers.class_path("http") == "airflow.providers.http.notifications.HttpNotifier"


def test_a_short_name_of_several_providers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "declared", lambda: {"chat": ["a.chat.A", "b.chat.B"]})
    with pytest.raises(ConfigError, match=r"several providers: write one of a\.chat\.A, b\.chat\.B"):
        notifiers.class_path("chat")
    assert notifiers.class_path("b.chat.B") == "b.chat.B"
