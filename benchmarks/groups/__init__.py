"""What is raced, one module a group; benchmarks/contract.py says what a group is."""

from __future__ import annotations

import pkgutil


def names() -> list[str]:
    """Of all groups: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
