"""What the deployment allows pipeline files to do: Airflow's settings `[pipelines] …`.

No pipeline file changes them.

`allowed_modules`: Python modules whose functions `record_functions` may name; none by default. `stage_roots` and
`target_roots`: where `stage.path` and the path of a file target may be; anywhere by default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.config.airflow_settings import airflow_setting

SECTION = "pipelines"


def setting_name(key: str) -> str:
    """Return how a message names the setting."""
    return f"[{SECTION}] {key} (AIRFLOW__{SECTION.upper()}__{key.upper()})"


def _listed(key: str) -> list[str]:
    return [entry for entry in re.split(r"[,\s]+", airflow_setting(SECTION, key)) if entry]


def module_problem(module: str) -> str | None:
    """Return why functions of the module may not be named, None if they may."""
    allowed = _listed("allowed_modules")
    if any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed):
        return None
    return (
        f"module {module!r} is not allowed: the deployment's {setting_name('allowed_modules')} must name it or a "
        f"package above it, and allows {', '.join(allowed) or 'no module'}"
    )


def function_problem(function: Any, path: str) -> str | None:
    """Return why a resolved function may not be called: an allowed module may have imported it from elsewhere."""
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        return f"{path!r} has no module of its own: define a function in an allowed module"
    return module_problem(module)


def folder_problem(key: str, folder: str) -> str | None:
    """Return why a local folder or file may not be used; links are followed."""
    roots = _listed(key)
    if not roots:
        return None
    real = Path(folder).resolve()
    if any(real.is_relative_to(Path(root).resolve()) for root in roots if root.startswith("/")):
        return None
    return _outside(key, str(real))


def url_problem(key: str, url: str) -> str | None:
    """Return why a location such as s3://bucket/folder may not be used."""
    roots = _listed(key)
    if not roots or any(f"{url.rstrip('/')}/".startswith(f"{root.rstrip('/')}/") for root in roots):
        return None
    return _outside(key, url)


def _outside(key: str, place: str) -> str:
    return f"{place} is outside of the deployment's {setting_name(key)}: {', '.join(_listed(key))}"
