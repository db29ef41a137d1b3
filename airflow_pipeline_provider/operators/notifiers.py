"""Find Airflow notifiers by the names that pipeline files use, and call them.

A short name is the last module of a notifier that an installed provider declares (``notifications`` of its
``get_provider_info``), or the one above ``notifications``: ``slack`` is
``airflow.providers.slack.notifications.slack.SlackNotifier``, ``http`` is that of
``airflow.providers.http.notifications``.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.config.loader import located
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.policy import function_problem, module_problem
from airflow_pipeline_provider.config.problems import Problem
from airflow_pipeline_provider.core.notices import Notice
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.exits import exits_as_errors
from airflow_pipeline_provider.observability.redaction import redact_text
from airflow_pipeline_provider.operators.executor_config import Path, TaskSettingError
from airflow_pipeline_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context

logger = logging.getLogger(__name__)

MESSAGES: dict[str, dict[str, str]] = {
    "apprise": {"title": "{{ notice.title }}", "body": "{{ notice.text }}"},
    "discord": {"text": "{{ notice.text }}"},
    "slack": {"text": "{{ notice.text }}"},
    "slack_webhook": {"text": "{{ notice.text }}"},
    "smtp": {"subject": "{{ notice.title }}", "html_content": "{{ notice.html }}"},
}
"""Message of each notifier if the pipeline file has none; other notifiers need their message in the file."""
PACKAGES = {
    "apprise": "apprise",
    "chime": "amazon",
    "discord": "discord",
    "opsgenie": "opsgenie",
    "pagerduty": "pagerduty",
    "pagerduty_events": "pagerduty",
    "ses": "amazon",
    "slack": "slack",
    "slack_webhook": "slack",
    "smtp": "smtp",
    "sns": "amazon",
    "sqs": "amazon",
}
"""Provider package of notifiers that may not be installed."""


@lru_cache(maxsize=1)
def declared() -> dict[str, list[str]]:
    """Return the classes that the installed providers declare, by short name."""
    found: dict[str, list[str]] = {}
    for entry_point in entry_points(group="apache_airflow_provider"):
        try:
            classes = entry_point.load()().get("notifications") or ()
        except Exception as error:  # noqa: BLE001  a broken provider must not break the pipelines
            logger.warning("the provider %s cannot be read: %s", entry_point.value, error)
            continue
        for path in classes:
            found.setdefault(_short_name(path), []).append(path)
    return found


def _short_name(path: str) -> str:
    *_, above, module, _ = path.split(".")
    return above if module == "notifications" else module


def class_path(name: str) -> str:
    """Return the dotted path of a notifier's class.

    Raise ConfigError if no installed provider has the short name, several have it, or the module is not allowed.
    """
    known = declared()
    if "." in name:
        module = name.rpartition(".")[0]
        if not _is_declared(name) and (problem := module_problem(module)):
            raise ConfigError(problem)
        return name
    paths = known.get(name, [])
    if len(paths) > 1:
        raise ConfigError(f"{name!r} is a notifier of several providers: write one of {', '.join(paths)}")
    if paths:
        return paths[0]
    if name in PACKAGES:
        package = f"apache-airflow-providers-{PACKAGES[name]}"
        raise ConfigError(f"needs the package {package}, which is not installed here: install it")
    hint = did_you_mean(name, {*known, *PACKAGES}) or f"installed: {', '.join(sorted(known)) or 'none'}"
    raise ConfigError(f"no installed provider has a notifier {name!r}; {hint}")


def _is_declared(path: str) -> bool:
    return any(path in paths for paths in declared().values())


def notifier_class(name: str) -> type[BaseNotifier]:
    """Import the class of a notifier; raise ConfigError if it cannot be imported or is not a notifier."""
    from airflow.sdk import BaseNotifier

    path = class_path(name)
    module, _, attribute = path.rpartition(".")
    try:
        with exits_as_errors():
            found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001  whatever a module raises when it is imported
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    if not isinstance(found, type) or not issubclass(found, BaseNotifier):
        raise ConfigError(f"{path} must be a subclass of airflow.sdk.BaseNotifier")
    if not _is_declared(path) and (problem := function_problem(found, path)):
        raise ConfigError(problem)
    return found


def build(name: str, arguments: dict[str, Any]) -> BaseNotifier:
    """Make the notifier; raise ConfigError for arguments that it does not take."""
    found = notifier_class(name)
    given = {**MESSAGES.get(name, {}), **arguments}
    try:
        inspect.signature(found).bind(**given)
    except TypeError as error:
        raise ConfigError(f"{found.__name__}: {error}") from None
    return found(**given)


def check_names(config: PipelineConfig) -> None:
    """Raise TaskSettingError for the first notifier that is not there; its module is not imported."""
    for path, name, _ in _notifiers(config):
        try:
            module = class_path(name).rpartition(".")[0]
            if _is_missing(module):
                raise ConfigError(f"there is no module {module!r} on the path")
        except ConfigError as error:
            raise TaskSettingError(path, error.message) from None


def notifier_problems(config: PipelineConfig, file: FilePath) -> list[Problem]:
    """Return the problem of each notifier that cannot be imported, or does not take its arguments."""
    problems = []
    for path, name, arguments in _notifiers(config):
        try:
            build(name, arguments)
        except ConfigError as error:
            problems.append(located(file, config, path, error.message))
        except Exception as error:  # noqa: BLE001  the notifier's own check of its arguments
            problems.append(located(file, config, path, f"{type(error).__name__}: {error}"))
    return problems


def send(key: str, notifiers: dict[str, dict[str, Any]], notice: Notice, context: Context) -> bool:
    """Call each notifier with the notice in Airflow's context; return whether one of them succeeded.

    An error is logged, and the others are called.
    """
    sent = False
    for name, arguments in notifiers.items():
        try:
            with exits_as_errors():
                notifier = build(name, arguments)
                notifier({**context, "notice": notice})
        except Exception as error:  # noqa: BLE001  whatever a notifier raises
            what = redact_text(f"{type(error).__name__}: {error}")
            logger.error("airflow.%s: the notifier %s was not called or failed: %s", key, name, what)
        else:
            sent = True
            logger.info("airflow.%s: %s sent %r", key, name, notice.title)
    return sent


def _notifiers(config: PipelineConfig) -> list[tuple[Path, str, dict[str, Any]]]:
    return [
        (("airflow", key, name), name, arguments)
        for key, notifiers in config.airflow.notices().items()
        for name, arguments in notifiers.items()
    ]


def _is_missing(module: str) -> bool:
    """Return whether there is no such module; raise ConfigError if that cannot be found out.

    The packages above it are imported, and a file that raises there must not break the other pipelines.
    """
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # a package above it
        return True
    except Exception as error:  # noqa: BLE001  whatever a package raises when it is imported
        raise ConfigError(f"{module} cannot be imported: {type(error).__name__}: {error}") from None
