"""Define the exit codes and map exceptions to them; `commands.EXIT_CODES` describes them for users."""

from __future__ import annotations

from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    PipelineError,
    TransientError,
)

OK = 0
CHECK_FAILED = 1  # the command worked and found problems
USAGE = 2
TRANSIENT = 3
DATA = 4
FATAL = 5
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

_BY_ERROR: tuple[tuple[type[PipelineError], int], ...] = (
    (ConfigError, USAGE),
    (TransientError, TRANSIENT),
    (DataError, DATA),
    (FatalError, FATAL),
)


def code_of(error: BaseException) -> int:
    """Return the exit code for an exception; an unexpected one counts as a permanent failure."""
    return code_of_class(type(error))


def code_of_class(error: type[BaseException]) -> int:
    """Return the exit code for an exception class."""
    return next((code for kind, code in _BY_ERROR if issubclass(error, kind)), FATAL)
