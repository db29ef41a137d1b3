"""Turn `executor_config` of a pipeline file into what Airflow's executors take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from airflow_pipeline_provider.config.loader import located
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.problems import Problem, dotted, format_value
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.suggestions import did_you_mean

POD = "pod_override"
PROVIDER = "apache-airflow-providers-cncf-kubernetes"
MISSING = f"needs the package {PROVIDER}, which is not installed here: install it, or remove the key"
# as the releases of the Kubernetes client write the types of a model's attributes
_OPTIONAL = re.compile(r"Optional\[(.+)\]")
_LIST = re.compile(r"(?:list|List)\[(.+)\]")
_MAPPING = re.compile(r"(?:dict|Dict)[(\[]str, (.+)[)\]]")
_SCALARS = {
    "str": ((str,), "text"),
    "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"),
    "float": ((int, float), "a number"),
}


Path = tuple[str | int, ...]


class TaskSettingError(ConfigError):
    """A setting of tasks that only a deployment can judge; `path` is that of the value in the pipeline file."""

    def __init__(self, path: Path, reason: str, *, severity: str = "error") -> None:
        super().__init__(f"{dotted(path)}: {reason}")
        self.path = path
        self.reason = reason
        self.severity = severity


def executor_config(value: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return `executor_config` with `pod_override` as a `V1Pod`, other values as they are.

    :param path: of the value in the pipeline file, for errors.
    :raises TaskSettingError: the pod has unknown keys or wrong values, or Airflow's Kubernetes provider is missing.
    """
    if POD not in value:
        return dict(value)
    return {**value, POD: _pod(value[POD], (*path, POD))}


def pod_problems(config: PipelineConfig, file: FilePath) -> list[Problem]:
    """Return the problem of each `pod_override` of the pipeline; a warning if the provider is missing."""
    problems = []
    for path, value in config.airflow.tasks.executor_configs():
        try:
            executor_config(value, path)
        except TaskSettingError as error:
            problems.append(located(file, config, error.path, error.reason)._replace(severity=error.severity))
    return problems


def _pod(value: Mapping[str, Any], path: Path) -> Any:
    try:
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
        from kubernetes.client import models
    except ImportError:
        raise TaskSettingError(path, MISSING, severity="warning") from None
    for where, problem in _problems(value, "V1Pod", path, models):
        raise TaskSettingError(where, problem)
    pod = dict(value)
    if isinstance(pod.get("spec"), dict):  # a pod needs a container; without one, Airflow's stays as it is
        pod["spec"] = {"containers": [{"name": "base"}], **pod["spec"]}
    try:
        return PodGenerator.deserialize_model_dict(pod)
    except (TypeError, ValueError, AttributeError) as error:  # the client's own checks, as of a missing key
        raise TaskSettingError(path, f"is not a pod: {error}") from None


def _problems(value: Any, kind: str, path: Path, models: Any) -> Iterator[tuple[Path, str]]:
    """Compare a value with a type of the Kubernetes client, which ignores keys that it does not know."""
    if match := _OPTIONAL.fullmatch(kind):
        kind = match[1]
    if value is None:
        return
    if match := _LIST.fullmatch(kind):
        if not isinstance(value, list):
            yield path, f"must be a list, got {format_value(value)}"
            return
        for number, item in enumerate(value):
            yield from _problems(item, match[1], (*path, number), models)
        return
    if not isinstance(value, dict):
        yield from _scalar_problems(value, kind, path, is_model=hasattr(models, kind))
        return
    if kind in _SCALARS:
        yield path, f"must be {_SCALARS[kind][1]}, got a mapping"
        return
    if match := _MAPPING.fullmatch(kind):  # such as labels, and quantities such as `cpu: 2`
        for key, item in value.items():
            if match[1] != "str" or isinstance(item, bool | dict | list):
                yield from _problems(item, match[1], (*path, key), models)
        return
    model = getattr(models, kind, None)
    if model is None:  # any value, such as of an `object`
        return
    known = {written: model.openapi_types[name] for name, written in model.attribute_map.items()}
    for key, item in value.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"known: {', '.join(sorted(known))}"
            yield (*path, key), f"unknown key; {hint}"
        else:
            yield from _problems(item, known[key], (*path, key), models)


def _scalar_problems(value: Any, kind: str, path: Path, *, is_model: bool) -> Iterator[tuple[Path, str]]:
    if kind not in _SCALARS and not is_model:
        return
    types, words = _SCALARS.get(kind, ((), "a mapping"))
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        quotes = " (put it in quotes)" if kind == "str" and isinstance(value, bool | int | float) else ""
        yield path, f"must be {words}, got {format_value(value)}{quotes}"
