"""Export names from a package without importing the modules that define them.

Airflow imports the provider package before its own configuration is ready, and parses every DAG file again and
again: neither may import a module that is not used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from airflow_pipeline_provider.garbage_collection import relaxed_gc

_ROOT = __name__.partition(".")[0]


def lazy_exports(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package that exports the names listed for each module.

    Module names are relative to this distribution's package: "connectors.base".
    """
    module_of = {name: f"{_ROOT}.{module}" for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with relaxed_gc():
            value = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return load, names
