"""Keep routine messages of vendor libraries out of task logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

VENDORS = ("aiobotocore", "boto3", "botocore", "snowflake.connector", "urllib3")


@contextmanager
def vendor_warnings_only() -> Iterator[None]:
    """Log only warnings and errors of vendor libraries during the block.

    A level that is set for a library, and debug logging as a whole, take precedence.
    """
    loggers = [logging.getLogger(name) for name in VENDORS]
    changed = [one for one in loggers if one.level == logging.NOTSET and not one.isEnabledFor(logging.DEBUG)]
    for one in changed:
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one in changed:
            one.setLevel(logging.NOTSET)
