"""Keep routine messages of vendor libraries, and of the hooks of Airflow's providers, out of task logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any

# The hooks of Airflow log by structlog, under these names; older ones by the standard library
HOOKS = ("airflow.providers", "airflow.task.hooks.airflow.providers")
VENDORS = ("aiobotocore", "boto3", "botocore", "snowflake.connector", "urllib3", *HOOKS)


@contextmanager
def vendor_warnings_only() -> Iterator[None]:
    """Log only warnings and errors of vendor libraries during the block.

    A level that is set for a library, and debug logging as a whole, take precedence.
    """
    loggers = [logging.getLogger(name) for name in VENDORS]
    root = logging.getLogger()
    changed = [
        one
        for one in loggers
        if one.level == logging.NOTSET and not any(x.isEnabledFor(logging.DEBUG) for x in (root, one))
    ]
    with ExitStack() as stack:
        for one in changed:
            one.setLevel(logging.WARNING)
            stack.callback(one.setLevel, logging.NOTSET)
        stack.enter_context(_structlog_warnings_only(tuple(f"{one.name}." for one in changed)))
        yield


@contextmanager
def _structlog_warnings_only(prefixes: tuple[str, ...]) -> Iterator[None]:
    """Drop routine events of structlog's loggers below these names during the block.

    The list of processors is changed in place, as `structlog.testing.capture_logs` does: loggers keep it from their
    first use on.
    """
    structlog: Any = sys.modules.get("structlog")  # no dependency of this package: Airflow brings it
    processors = structlog.get_config()["processors"] if structlog is not None else ()

    def drop(logger: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        if method in ("debug", "info") and str(getattr(logger, "name", "")).startswith(prefixes):
            raise structlog.DropEvent
        return event

    if not isinstance(processors, list):
        yield
        return
    processors.insert(0, drop)
    try:
        yield
    finally:
        processors[:] = [one for one in processors if one is not drop]
