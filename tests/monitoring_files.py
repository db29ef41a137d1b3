"""The files of `observability/` as tests read them: queries, their metrics and labels, and the StatsD mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from airflow_pipeline_provider.observability.metrics import Metric

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "observability"

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*\(|[\w:])")
_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*')
_WORDS = {"and", "or", "unless", "bool", "offset"}


class Selector(NamedTuple):
    """A metric in a query; `matchers` maps labels to (operator, value)."""

    name: str
    matchers: dict[str, tuple[str, str]]


class Query(NamedTuple):
    """A query of PromQL; `place` is the panel or the rule, `grouping` the labels of `by (...)` and `on (...)`."""

    place: str
    expr: str
    selectors: tuple[Selector, ...]
    grouping: frozenset[str]


def query(place: str, expr: str) -> Query:
    """Find the selectors and the labels of a query."""
    grouping = {label.strip() for found in _GROUPING.findall(expr) for label in found.split(",")}
    rest = re.sub(r"\[[^\]]*\]|\boffset\s+[$\w]+|(?<![\w:{])\d[\w.]*", " ", _GROUPING.sub(" ", expr))
    selectors = []
    for name, inside in _SELECTOR.findall(rest):
        if name in _WORDS:
            continue
        matchers = _MATCHER.findall(inside)
        assert len(matchers) == len([part for part in inside.split(",") if part]), f"{place}: {inside}"
        selectors.append(Selector(name, {label: (how, value) for label, how, value in matchers}))
    assert selectors, f"{place}: no metric in {expr}"
    return Query(place, expr, tuple(selectors), frozenset(grouping))


def rules() -> list[dict[str, Any]]:
    """Return the recording and alert rules."""
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts_of_a_pipeline() -> set[tuple[str, str]]:
    """Return the alerts about a single pipeline, with their state when their condition has just become true."""
    return {
        (rule["alert"], "pending" if "for" in rule else "firing")
        for rule in rules()
        if "alert" in rule and "$labels.pipeline" in rule["annotations"]["summary"]
    }


def rule_queries() -> list[Query]:
    return [query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana/pipelines.json").read_text())
    return found


def panel_queries() -> list[Query]:
    return [
        query(panel["title"], target["expr"])
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    ]


# --- StatsD


def statsd_names(name: str, metric: Metric, values: tuple[str, ...]) -> tuple[str, str]:
    """Return what a StatsD server receives for a metric: with tags as InfluxDB writes them, and without tags."""
    tags = "".join(f",{tag}={value}" for tag, value in zip(metric.tags, values, strict=True))
    return f"airflow.{name}{tags}", f"airflow.{name}." + ".".join(
        value.replace(".", "__") for value in values
    )


def mapped(statsd_name: str, kind: str) -> tuple[str, dict[str, str], dict[str, Any]] | None:
    """Return Prometheus's name, labels and the mapping of a StatsD name, as statsd_exporter would; None: no match."""
    base, *tags = statsd_name.split(",")
    for mapping in yaml.safe_load((FOLDER / "statsd-mapping.yaml").read_text())["mappings"]:
        if mapping.get("match_metric_type", kind) != kind:
            continue
        pattern = re.escape(mapping["match"]).replace(r"\*", "([^.]*)")
        if match := re.fullmatch(pattern, base):

            def filled(template: str, levels: tuple[str, ...] = match.groups()) -> str:
                return re.sub(r"\$\{?(\d)\}?", lambda number: levels[int(number[1]) - 1], template)

            labels = dict(tag.split("=", 1) for tag in tags)
            labels |= {label: filled(value) for label, value in mapping.get("labels", {}).items()}
            return filled(mapping["name"]), labels, mapping
    return None


def texts(value: object) -> Iterator[str]:
    """Yield each text in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
