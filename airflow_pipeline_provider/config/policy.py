"""Enforce what the deployment allows pipeline files to do: Airflow's settings `[pipelines] …`.

No pipeline file can change these settings.

`allowed_modules`: Python modules whose functions `record_functions` and `own_tasks` may name, and whose notifiers
`airflow.on_failure` and its siblings, `./` for Python files next to the pipeline files; none by default.
`stage_roots` and `target_roots`: folders and URLs below which `stage.path` and the path of a file target must be; no
restriction by default.
"""

from __future__ import annotations

import re
from pathlib import Path

from airflow_pipeline_provider.config.airflow_settings import airflow_setting

SECTION = "pipelines"
FILES = "./"
"""The entry of `allowed_modules` for Python files next to the pipeline files."""


def setting_name(key: str) -> str:
    """Return the name of a setting for messages, with its environment variable."""
    return f"[{SECTION}] {key} (AIRFLOW__{SECTION.upper()}__{key.upper()})"


def _setting_list(key: str) -> list[str]:
    return [entry for entry in re.split(r"[,\s]+", airflow_setting(SECTION, key)) if entry]


def module_problem(module: str) -> str | None:
    """Return why functions and classes of the module may not be named, None if they may."""
    allowed = _setting_list("allowed_modules")
    if any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed):
        return None
    return (
        f"module {module!r} is not allowed: add it or a package above it to the deployment's "
        f"{setting_name('allowed_modules')}, which allows {', '.join(allowed) or 'no module'}"
    )


def function_problem(function: object, path: str) -> str | None:
    """Return why an imported function or class may not be called, None if it may.

    An allowed module may have imported the function from a module that is not allowed.
    """
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        return f"{path!r} has no module: define it in an allowed module"
    return module_problem(module)


def file_problem() -> str | None:
    """Return why functions of Python files next to the pipeline files may not be named, None if they may."""
    if FILES in _setting_list("allowed_modules"):
        return None
    return (
        f"Python files next to pipeline files are not allowed: add {FILES} to the deployment's "
        f"{setting_name('allowed_modules')}"
    )


def folder_problem(key: str, folder: str) -> str | None:
    """Return why a local folder or file may not be used, None if it may; links are followed."""
    roots = _setting_list(key)
    if not roots:
        return None
    real = Path(folder).resolve()
    if any(real.is_relative_to(Path(root).resolve()) for root in roots if root.startswith("/")):
        return None
    return _outside_roots(key, str(real))


def url_problem(key: str, url: str) -> str | None:
    """Return why a location such as s3://bucket/folder may not be used, None if it may."""
    roots = _setting_list(key)
    if not roots or any(f"{url.rstrip('/')}/".startswith(f"{root.rstrip('/')}/") for root in roots):
        return None
    return _outside_roots(key, url)


def _outside_roots(key: str, place: str) -> str:
    roots = ", ".join(_setting_list(key))
    return f"{place} is outside the deployment's {setting_name(key)}: choose a place below {roots}"
