"""Turn an exit of the user's code (`sys.exit`) into an error.

Own tasks, record functions and notifiers are called inside a task. An exit would end that task, with code 0 as if it
had done all its work, and no failure would be counted. `os._exit` ends the process, which nothing can catch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Killed(SystemExit):
    """Airflow ended the task.  An exit, so that no `except Exception` counts it as a failure of the window.

    Airflow tries a task that exits again, unless the task or its run has an end already.
    """


class ExitedError(Exception):
    """The user's code exited; `__cause__` is the exit."""


@contextmanager
def exits_as_errors() -> Iterator[None]:
    """Raise ExitedError if the block exits or is cancelled, unless Airflow (`Killed`) or Ctrl-C ends it."""
    try:
        yield
    except Killed:
        raise
    except (SystemExit, GeneratorExit) as error:
        raise ExitedError(_sentence(error)) from error
    except BaseException as error:
        # by its name, since asyncio is slow to import
        if any(kind.__name__ == "CancelledError" for kind in type(error).__mro__):
            raise ExitedError(_sentence(error)) from error
        raise


def _sentence(error: BaseException) -> str:
    what = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else type(error).__name__
    return f"it ended with {what}: return to continue, and raise an exception to fail"
