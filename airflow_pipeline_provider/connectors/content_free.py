"""Errors of a source whose rows hold values that must not be shown: the same error, without any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow_pipeline_provider.exceptions import PipelineError

P = ParamSpec("P")
T = TypeVar("T")

_ADVICE = (
    "its message is not shown, since it may quote values that source.redact hides; the log of the source's own "
    "server may have it"
)


def content_free(error: Exception) -> Exception:
    """Return an error of the same class without content of rows, also not in a cause; of another class for others."""
    if not isinstance(error, PipelineError):
        return RuntimeError(f"the source raised {type(error).__name__}; {_ADVICE}")
    hidden = error.__class__.__new__(error.__class__)
    hidden.__dict__.update(error.__dict__)
    hidden.message = error.without_content or f"the source failed with {type(error).__name__}; {_ADVICE}"
    hidden.args = (hidden.message,)
    hidden.detail = {}
    return hidden.quotes_nothing()


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function; raise its errors free of content.

    They are raised outside of the handler: a traceback would otherwise show the first error too.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  any error may quote a row
        hidden = content_free(error)
    raise hidden
