"""Give the DAG and its tasks the settings of the section `airflow`."""

from __future__ import annotations

import copy
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import RemovedInAirflow4Warning
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiClient, models

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.factory.broken import BrokenPipeline

from .conftest import Folder

POD = """
    extract:
      executor: KubernetesExecutor
      executor_config:
        pod_override:
          metadata: {labels: {team: data}}
          spec:
            nodeSelector: {kubernetes.io/arch: arm64}
            tolerations: [{key: large, operator: Exists}]
            containers:
              - name: base
                resources: {requests: {cpu: 2, memory: 2Gi}}
                env: [{name: MALLOC_ARENA_MAX, value: "2"}]
"""


@pytest.fixture(autouse=True)
def _two_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor,big:acme.executors.Big")


def build(folder: Folder, airflow: str) -> Any:
    folder.write(airflow=airflow)
    return folder.dag()


def test_settings_reach_the_dag_and_its_tasks(folder: Folder) -> None:
    dag = build(
        folder,
        "{retries: 2, pool: etl, owner: data, description: Flights, owner_links: {data: 'https://a.example'},"
        " max_active_tasks: 3, dagrun_timeout: 6h, tasks: {default: {queue: small, execution_timeout: 1h},"
        " extract: {queue: large, pool: es, retries: 7, priority_weight: 9, execution_timeout: 2h}}}",
    )
    assert (dag.description, dag.owner_links) == ("Flights", {"data": "https://a.example"})
    assert (dag.max_active_tasks, dag.dagrun_timeout) == (3, timedelta(hours=6))
    found = {
        task.task_id: (task.queue, task.pool, task.retries, task.priority_weight, task.execution_timeout)
        for task in dag.tasks
    }
    assert found.pop("extract") == ("large", "es", 7, 9, timedelta(hours=2))
    assert set(found.values()) == {("small", "etl", 2, 1, timedelta(hours=1))}


def test_mapped_tasks_have_the_settings_too(folder: Folder) -> None:
    source = (
        "{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], slices: 3, "
        "distribute: tasks}"
    )
    folder.write(airflow="{tasks: {extract: {pool: es, execution_timeout: 2h}}}", source=source)
    extract = folder.dag().get_task("extract")
    assert (extract.pool, extract.execution_timeout) == ("es", timedelta(hours=2))


def test_roles_reach_the_dag_as_fab_reads_them(folder: Folder) -> None:
    with pytest.warns(RemovedInAirflow4Warning):  # Airflow's own: it plans to remove the argument
        dag = build(folder, "{access_control: {Analysts: [can_read], Ops: {DAG Runs: [can_create]}}}")
    assert dag.access_control == {"Analysts": {"DAGs": {"can_read"}}, "Ops": {"DAG Runs": {"can_create"}}}
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).access_control == dag.access_control


def test_tasks_of_the_maintenance_dag_have_the_defaults(folder: Folder) -> None:
    folder.write(airflow="{tasks: {default: {queue: small}, extract: {queue: large}}}")
    (folder.path / "dags" / "pipelines.py").write_text(
        "from airflow_pipeline_provider.factory import load_maintenance\nload_maintenance(globals(), 'pipelines')\n"
    )
    (dag,) = folder.dags().values()
    assert {task.queue for task in dag.tasks if task.task_id != "choose_pipeline"} == {"small"}


def test_a_pod_in_yaml_becomes_what_the_kubernetes_executor_takes(folder: Folder) -> None:
    """Make the pod from the stored DAG, by the functions that the executor calls."""
    dag = build(folder, f"\n  tasks:{POD}")
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("extract")
    assert stored.executor == "KubernetesExecutor"
    override = PodGenerator.from_obj(stored.executor_config)
    assert isinstance(override, models.V1Pod)
    base = models.V1Pod(
        metadata=models.V1ObjectMeta(name="base", labels={"tier": "airflow"}),
        spec=models.V1PodSpec(containers=[models.V1Container(name="base", image="airflow:3", env=[])]),
    )
    pod = PodGenerator.construct_pod(
        dag_id=dag.dag_id, task_id="extract", pod_id="p", try_number=1, kube_image="acme/airflow:3",
        date=datetime(2013, 11, 3, tzinfo=timezone.utc), args=["true"], pod_override_object=override,
        base_worker_pod=base, namespace="airflow", scheduler_job_id="1", run_id="manual",
    )  # fmt: skip
    made = ApiClient().sanitize_for_serialization(pod)
    (container,) = made["spec"]["containers"]
    assert container["image"] == "acme/airflow:3"
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "2Gi"}}
    assert {"name": "MALLOC_ARENA_MAX", "value": "2"} in container["env"]
    assert made["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert made["spec"]["tolerations"] == [{"key": "large", "operator": "Exists"}]
    assert {"team": "data", "tier": "airflow"}.items() <= made["metadata"]["labels"].items()


def test_a_pod_without_containers_keeps_those_of_airflow(folder: Folder) -> None:
    config = "{pod_override: {spec: {priorityClassName: batch}}, pod_template_file: /pods/large.yaml}"
    dag = build(folder, f"{{tasks: {{default: {{executor_config: {config}}}}}}}")
    for task in dag.tasks:
        pod = task.executor_config["pod_override"]
        assert (pod.spec.priority_class_name, [c.name for c in pod.spec.containers]) == ("batch", ["base"])
        assert task.executor_config["pod_template_file"] == "/pods/large.yaml"
    copy.deepcopy(dag)  # as Airflow does; a pod that holds a client's configuration could not be copied


WRONG_PODS = {
    "unknown key": (
        "spec: {tolerations: [{key: a, effort: NoSchedule}]}",
        "spec.tolerations[0].effort: unknown key; did you mean 'effect'?",
    ),
    "bool as text": (
        "spec: {containers: [{name: base, env: [{name: A, value: true}]}]}",
        "spec.containers[0].env[0].value: must be text, got true (put it in quotes)",
    ),
    "text as number": (
        "spec: {terminationGracePeriodSeconds: long}",
        "spec.terminationGracePeriodSeconds: must be a whole number, got 'long'",
    ),
    "mapping as list": ("spec: {containers: {name: base}}", "spec.containers: must be a list, got a mapping"),
    "text as mapping": ("spec: large", "spec: must be a mapping, got 'large'"),
    "mapping as text": ("spec: {nodeName: {a: b}}", "spec.nodeName: must be text, got a mapping"),
    "bool as label": (
        "metadata: {labels: {team: true}}",
        "metadata.labels.team: must be text, got true (put it in quotes)",
    ),
}


@pytest.mark.parametrize(("pod", "expected"), WRONG_PODS.values(), ids=WRONG_PODS)
def test_a_wrong_pod_is_an_import_error_of_its_file_only(folder: Folder, pod: str, expected: str) -> None:
    folder.write("good")
    file = folder.write(airflow=f"\n  tasks:\n    load: {{executor_config: {{pod_override: {{{pod}}}}}}}")
    dags = folder.dags()
    assert set(dags) == {"good", f"broken__{folder.pipeline_id}"}
    broken = dags[f"broken__{folder.pipeline_id}"]
    assert isinstance(broken, BrokenPipeline)
    with pytest.raises(ConfigError) as raised:
        broken.get_serialized_fields()
    path = f"airflow.tasks.load.executor_config.pod_override.{expected}"
    lines = file.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "load:" in text)
    assert str(raised.value.message) == f"{path} ({folder.pipeline_id}.yaml:{line})"


@pytest.mark.parametrize(
    ("executor", "hint"),
    [
        ("KubernetsExecutor", "did you mean 'KubernetesExecutor'?"),
        ("Zzz", "known: Big, KubernetesExecutor, LocalExecutor, acme.executors.Big, big"),
    ],
)
def test_an_unknown_executor_is_an_import_error_of_its_file_only(
    folder: Folder, executor: str, hint: str
) -> None:
    """Airflow's own check would disable every pipeline of the DAG file."""
    folder.write("good")
    folder.write(airflow=f"{{tasks: {{load: {{executor: {executor}}}}}}}")
    dags = folder.dags()
    with pytest.raises(ConfigError, match="this Airflow has no executor") as raised:
        dags[f"broken__{folder.pipeline_id}"].get_serialized_fields()
    assert hint in raised.value.message
    assert "good" in dags


@pytest.mark.parametrize("name", ["LocalExecutor", "big", "acme.executors.Big", "Big"])
def test_an_executor_is_chosen_by_any_of_its_names(folder: Folder, name: str) -> None:
    assert build(folder, f"{{tasks: {{load: {{executor: {name}}}}}}}").get_task("load").executor == name


def test_executors_of_teams_are_known(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor;blue=CeleryExecutor,k:acme.K")
    assert build(folder, "{tasks: {load: {executor: CeleryExecutor}, audit: {executor: k}}}")


@pytest.fixture
def _without_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.cncf.kubernetes.pod_generator", None)


@pytest.mark.usefixtures("_without_kubernetes")
def test_a_pod_without_the_provider_names_the_package(folder: Folder) -> None:
    folder.write(airflow=f"\n  tasks:{POD}")
    with pytest.raises(ConfigError) as raised:
        folder.dags()[f"broken__{folder.pipeline_id}"].get_serialized_fields()
    assert (
        "airflow.tasks.extract.executor_config.pod_override: needs the package "
        "apache-airflow-providers-cncf-kubernetes, which is not installed here: install it, or remove the key"
    ) in raised.value.message


@pytest.mark.usefixtures("_without_kubernetes")
def test_a_task_reads_its_file_without_kubernetes_and_executors(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor has read them before; a worker's image may lack the provider."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    folder.write(airflow=f"\n  tasks:{POD}")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", folder.pipeline_id)
    assert folder.dag().get_task("extract").executor_config == {}


def test_check_reports_wrong_pods(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder.write(
        airflow="{tasks: {load: {executor_config: {pod_override: {spec: {tolerration: []}}}}}}"
    )
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "pod_override.spec.tolerration: unknown key; did you mean 'tolerations'?" in out


@pytest.mark.usefixtures("_without_kubernetes")
def test_check_warns_if_it_cannot_look_at_a_pod(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder.write(airflow=f"\n  tasks:{POD}")
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "warning: airflow.tasks.extract.executor_config.pod_override: needs the package" in out
