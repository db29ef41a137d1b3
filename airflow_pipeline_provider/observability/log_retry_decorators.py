"""Decorate functions to log their duration, or to retry after certain errors.

Both decorators keep the function's signature, name, docstring and kind (a coroutine function stays one). They work on
functions, methods, static and class methods, `functools.partial` and callable objects.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

import tenacity

from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.observability.log_generator import log_event

__all__ = ["log_execution", "retry"]

P = ParamSpec("P")
R = TypeVar("R")
_default_logger = logging.getLogger("airflow_pipeline_provider")


# --- timing -------------------------------------------------------------------------------------------------------


@overload
def log_execution(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def log_execution(
    *,
    name: str | None = ...,
    logger: logging.Logger | None = ...,
    level: int = ...,
    monotonic: Callable[[], float] = ...,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def log_execution(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    logger: logging.Logger | None = None,
    level: int = logging.INFO,
    monotonic: Callable[[], float] = time.monotonic,
) -> Any:
    """Log one line when the function ends: its name, `status` ok or failed, `seconds`; errors are raised unchanged.

    Arguments and results are never logged. A generator function is timed until its last value. Raise TypeError for an
    asynchronous generator function. Use it bare (`@log_execution`) or with keywords.
    """

    def decorate(target: Any) -> Any:
        if isinstance(target, staticmethod | classmethod):
            return type(target)(decorate(target.__func__))
        label = name or _name_of(target)
        destination = logger or _logger_of(target)

        def log_end(begun: float, error: BaseException | None) -> None:
            fields: dict[str, Any] = {"function": label, "status": "failed" if error is not None else "ok"}
            fields["seconds"] = monotonic() - begun
            if error is not None:
                fields |= {"error": type(error).__name__, "message": str(error)}
            log_event(destination, fields, level=level if error is None else max(level, logging.WARNING))

        return _timed(target, log_end, monotonic)

    return decorate if function is None else decorate(function)


def _timed(
    target: Any, log_end: Callable[[float, BaseException | None], None], monotonic: Callable[[], float]
) -> Any:
    if _is(inspect.isasyncgenfunction, target):
        raise TypeError(
            f"log_execution: {_name_of(target)} is an asynchronous generator: decorate the function that reads it"
        )
    if _is(inspect.iscoroutinefunction, target):

        @functools.wraps(target)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            begun = monotonic()
            try:
                result = await target(*args, **kwargs)
            except BaseException as error:
                log_end(begun, error)
                raise
            log_end(begun, None)
            return result

        return asynchronous
    if _is(inspect.isgeneratorfunction, target):

        @functools.wraps(target)
        def generator(*args: Any, **kwargs: Any) -> Any:
            begun = monotonic()
            try:
                result = yield from target(*args, **kwargs)
            except GeneratorExit:  # closed by its reader, which is not a failure
                log_end(begun, None)
                raise
            except BaseException as error:
                log_end(begun, error)
                raise
            log_end(begun, None)
            return result

        return generator

    @functools.wraps(target)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        begun = monotonic()
        try:
            result = target(*args, **kwargs)
        except BaseException as error:
            log_end(begun, error)
            raise
        log_end(begun, None)
        return result

    return synchronous


# --- retry --------------------------------------------------------------------------------------------------------


def retry(
    on: type[Exception] | tuple[type[Exception], ...] = (TransientError,),
    *,
    unless: type[Exception] | tuple[type[Exception], ...] = (),
    attempts: int = 5,
    initial_seconds: float = 0.5,
    max_seconds: float = 30.0,
    logger: logging.Logger | None = None,
    sleep: Callable[[float], Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Retry the function after an error of the classes `on` (or a subclass, except those of `unless`).

    There are at most `attempts` calls. The delay before call n + 1 is random, between half and all of
    `min(initial_seconds * 2**(n - 1), max_seconds)`, so that many callers do not retry at the same time. Each delay
    is logged. The last error is raised unchanged, and so are errors of other classes. `sleep` replaces `time.sleep`
    (for a coroutine function `asyncio.sleep`; it may return an awaitable).

    Raise TypeError for a generator function: a retry would repeat rows that it has already yielded.
    """
    kinds, excluded = _kinds("on", on), _kinds("unless", unless, may_be_empty=True)
    _check_numbers(attempts, initial_seconds, max_seconds)

    def wait(state: tenacity.RetryCallState) -> float:
        doublings = min(state.attempt_number - 1, 60)
        return min(initial_seconds * 2.0**doublings, max_seconds) * random.uniform(0.5, 1.0)  # noqa: S311  jitter

    def decorate(target: Any) -> Any:
        if isinstance(target, staticmethod | classmethod):
            return type(target)(decorate(target.__func__))
        if _is(inspect.isgeneratorfunction, target) or _is(inspect.isasyncgenfunction, target):
            raise TypeError(
                f"retry: {_name_of(target)} is a generator, and a retry would repeat rows that it has yielded: "
                "decorate the function that reads one page"
            )
        policy: dict[str, Any] = {
            "retry": tenacity.retry_if_exception(
                lambda e: isinstance(e, kinds) and not isinstance(e, excluded)
            ),
            "stop": tenacity.stop_after_attempt(attempts),
            "wait": wait,
            "before_sleep": _retry_logger(target, attempts, logger or _logger_of(target)),
            "reraise": True,
        }
        return _retried(target, policy, sleep)

    return cast("Callable[[Callable[P, R]], Callable[P, R]]", decorate)


def _retried(target: Any, policy: dict[str, Any], sleep: Callable[[float], Any] | None) -> Any:
    """Wrap the function; each call has its own tenacity object, so that concurrent calls share no state."""
    if _is(inspect.iscoroutinefunction, target):

        async def pause(seconds: float) -> None:
            done = (sleep or asyncio.sleep)(seconds)
            if inspect.isawaitable(done):
                await cast("Awaitable[Any]", done)

        @functools.wraps(target)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            return await tenacity.AsyncRetrying(sleep=pause, **policy)(target, *args, **kwargs)

        return asynchronous

    @functools.wraps(target)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        return tenacity.Retrying(sleep=sleep or time.sleep, **policy)(target, *args, **kwargs)

    return synchronous


def _retry_logger(
    target: Any, attempts: int, logger: logging.Logger
) -> Callable[[tenacity.RetryCallState], None]:
    def log_retry(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        fields = {
            "function": _name_of(target),
            "status": "retrying",
            "call": f"{state.attempt_number}/{attempts}",
            "wait_seconds": float(state.upcoming_sleep),
            "error": type(error).__name__,
            "message": str(error),
        }
        log_event(logger, fields, level=logging.WARNING)

    return log_retry


def _kinds(name: str, given: Any, *, may_be_empty: bool = False) -> tuple[type[Exception], ...]:
    kinds = given if isinstance(given, tuple) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"{name}: expected exception classes, got {kind!r}")
    if not kinds and not may_be_empty:
        raise ValueError(f"{name}: expected at least one exception class, got none")
    return kinds


def _check_numbers(attempts: Any, initial_seconds: Any, max_seconds: Any) -> None:
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise ValueError(f"attempts: expected a whole number of 1 or more, got {attempts!r}")
    for name, value in (("initial_seconds", initial_seconds), ("max_seconds", max_seconds)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{name}: expected a number of seconds of 0 or more, got {value!r}")
    if max_seconds < initial_seconds:
        raise ValueError(
            f"max_seconds: expected {initial_seconds} (initial_seconds) or more, got {max_seconds}"
        )


def _is(predicate: Callable[[Any], bool], target: Any) -> bool:
    """Return whether the predicate holds for a function, or for the `__call__` method of an object."""
    return predicate(target) or (not inspect.isclass(target) and predicate(getattr(target, "__call__", None)))  # noqa: B004


def _name_of(target: Any) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    return getattr(target, "__qualname__", None) or type(target).__qualname__


def _logger_of(target: Any) -> logging.Logger:
    module = getattr(target, "__module__", None)
    return logging.getLogger(module) if module else _default_logger
