"""Define the exit codes, and print errors and map them to codes; `commands.EXIT_CODES` describes them for users."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from airflow_pipeline_provider.cli.output import ReaderLeftError, Screen, one_line
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    PipelineError,
    TransientError,
)
from airflow_pipeline_provider.observability.redaction import redact_text, redact_values

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


def report_errors(screen: Screen, command: Callable[[], int]) -> int:
    """Run the command and return its exit code; print an error as one message on standard error."""
    try:
        code = command()
        screen.flush()
        return code
    except ReaderLeftError:
        # the interpreter flushes standard output again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        screen.print_error("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the last place that can turn an error into a message)
        if screen.verbose:
            sys.stderr.write(redact_text(traceback.format_exc(), cut=False))
        screen.print_error(_message(error, screen.verbose))
        return code_of(error)


def _message(error: Exception, verbose: bool) -> str:
    if isinstance(error, PipelineError):
        return redact_values(str(error))
    more = "" if verbose else "; --verbose shows where it happened"
    return f"{type(error).__name__}: {one_line(redact_text(str(error)))}{more}"
