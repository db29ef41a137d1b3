"""Every query of `observability/` names metrics and labels that are sent, and every metric is in a query."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from airflow_pipeline_provider.cli.main import build_parser
from airflow_pipeline_provider.observability.metrics import METRICS
from docs.reference import prometheus_name
from tests import monitoring_files as files

COMPOSE = yaml.safe_load((files.ROOT / "docker-compose.yaml").read_text())["services"]

# Metrics that no panel shows, with the reason.
NOT_SHOWN: dict[str, str] = {}


def series() -> dict[str, set[str]]:
    """Map each series that Prometheus may have of the metrics to its labels."""
    found = {"up": {"job", "instance"}}
    for name, metric in METRICS.items():
        in_prometheus, labels = prometheus_name(name, metric), set(metric.tags)
        if metric.kind != "timer":
            found[in_prometheus] = labels
            continue
        found |= {f"{in_prometheus}_sum": labels, f"{in_prometheus}_count": labels}
        found |= {f"{in_prometheus}_bucket": labels | {"le"}, f"{in_prometheus}_milliseconds": labels}
    for rule in files.rules():
        if "record" in rule:
            found[rule["record"]] = {"pipeline"}
    return found


SERIES = series()
QUERIES = [*files.rule_queries(), *files.panel_queries()]


@pytest.mark.parametrize("query", QUERIES, ids=[query.place for query in QUERIES])
def test_a_query_names_metrics_and_labels_that_are_sent(query: files.Query) -> None:
    labels: set[str] = set()
    for selector in query.selectors:
        assert selector.name in SERIES, f"no metric is sent as {selector.name}"
        labels |= SERIES[selector.name]
        assert selector.matchers.keys() <= SERIES[selector.name], selector
    assert query.grouping <= labels


@pytest.mark.parametrize("query", QUERIES, ids=[query.place for query in QUERIES])
def test_a_query_leaves_out_the_series_of_all_pipelines(query: files.Query) -> None:
    """StatsD without tags has a series of all pipelines besides that of each: a sum would count twice."""
    for selector in query.selectors:
        if selector.name.startswith("airflow_pipeline_"):
            assert selector.matchers["pipeline"] in {("!=", ""), ("=~", "$pipeline")}, selector


def test_the_variable_pipeline_lists_pipelines_and_never_the_empty_one() -> None:
    (variable,) = [each for each in files.dashboard()["templating"]["list"] if each["name"] == "pipeline"]
    assert variable["allValue"] == ".+"
    (label_values,) = re.findall(
        r'label_values\(\{__name__=~"(.*)", pipeline!=""\}, pipeline\)', variable["definition"]
    )
    assert variable["query"]["query"] == variable["definition"]
    known = [name for name in SERIES if re.fullmatch(label_values, name)]
    assert len(known) == label_values.count("|") + 1


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_shown_or_listed(name: str) -> None:
    in_prometheus = prometheus_name(name, METRICS[name])
    shown = any(
        selector.name.startswith(in_prometheus)
        for query in files.panel_queries()
        for selector in query.selectors
    )
    assert shown != (name in NOT_SHOWN)


@pytest.mark.parametrize("name", METRICS)
def test_statsd_with_and_without_tags_is_mapped_to_one_name(name: str) -> None:
    metric = METRICS[name]
    kind = {"timer": "observer"}.get(metric.kind, metric.kind)
    values = ("flights-1", "load")[: len(metric.tags)]
    for statsd_name in files.statsd_names(name, metric, values):
        found = files.mapped(statsd_name, kind)
        assert found is not None, statsd_name
        in_prometheus, labels, mapping = found
        assert in_prometheus == prometheus_name(name, metric)
        assert labels == dict(zip(metric.tags, values, strict=True))
        assert mapping.get("observer_type") == ("histogram" if metric.kind == "timer" else None)


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((files.FOLDER / "alerts.test.yaml").read_text())["tests"]
    tests = [test for case in cases for test in case["alert_rule_test"]]
    alerts = {rule["alert"] for rule in files.rules() if "alert" in rule}
    assert {test["alertname"] for test in tests if test["exp_alerts"]} == alerts


def test_texts_of_alerts_name_labels_and_commands_that_exist() -> None:
    for rule in files.rules():
        for text in files.texts(rule.get("annotations", {})):
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= {"pipeline", "instance"}, text
            for command in re.findall(r"airflow-pipelines ([a-z -]+) \{\{", text):
                build_parser().parse_args([*command.split(), "flights"])


# --- the compose profile


def monitoring() -> dict[str, Any]:
    return {name: each for name, each in COMPOSE.items() if each.get("profiles") == ["monitoring"]}


def test_the_profile_has_what_the_files_name() -> None:
    assert monitoring().keys() == {"statsd-exporter", "prometheus", "grafana"}
    environment = COMPOSE["airflow-scheduler"]["environment"]
    assert environment["AIRFLOW__METRICS__STATSD_HOST"] == "statsd-exporter"
    (job,) = yaml.safe_load((files.FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["statsd-exporter:9102"]}]
    assert f'up{{job="{job["job_name"]}"}}' in (files.FOLDER / "alerts.yaml").read_text()
    (source,) = yaml.safe_load(
        (files.FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load(
        (files.FOLDER / "grafana/provisioning/dashboards/pipelines.yaml").read_text()
    )["providers"]
    folder = provider["options"]["path"]
    assert (
        f"{folder}/pipelines.json"
        == COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    )
    assert (
        f"./observability/grafana/pipelines.json:{folder}/pipelines.json:ro" in COMPOSE["grafana"]["volumes"]
    )


def test_each_mounted_file_exists_and_each_port_is_on_loopback() -> None:
    for service in monitoring().values():
        for volume in service["volumes"]:
            origin = volume.split(":")[0]
            assert not origin.startswith(".") or (files.ROOT / origin).exists(), volume
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_panel_and_its_targets_ask_the_chosen_data_source() -> None:
    panels = files.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": "${datasource}"}


def test_the_documentation_lists_the_alerts() -> None:
    page = (files.ROOT / "docs/how-to/monitoring.md").read_text()
    listed = re.findall(r"^\| `(Pipeline\w+)` \|", page, re.MULTILINE)
    assert listed == [rule["alert"] for rule in files.rules() if "alert" in rule]
