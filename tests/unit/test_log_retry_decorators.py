"""Time and retry functions of every kind."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging

import pytest

from airflow_pipeline_provider.exceptions import DataError, SnapshotLostError, TransientError
from airflow_pipeline_provider.observability.log_retry_decorators import log_execution, retry

NAME = "test.decorators"
logger = logging.getLogger(NAME)


@pytest.fixture(autouse=True)
def _all_levels(caplog):
    caplog.set_level(logging.DEBUG, logger=NAME)


class Flaky:
    """Raise the given errors one after the other, then return."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, value: int = 1, *, factor: int = 2) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value * factor


def busy(n: int) -> list[Exception]:
    return [TransientError(f"busy {i}") for i in range(n)]


def waits(**keywords):
    """Return a decorator that records its delays instead of sleeping."""
    slept: list[float] = []
    return slept, retry(sleep=slept.append, logger=logger, **keywords)


# --- retry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "attempts", "calls", "outcome"),
    [
        pytest.param(0, 5, 1, 6, id="no error"),
        pytest.param(2, 5, 3, 6, id="two errors"),
        pytest.param(4, 5, 5, 6, id="the last call succeeds"),
        pytest.param(5, 5, 5, "busy 4", id="one error too many"),
        pytest.param(1, 1, 1, "busy 0", id="a single call"),
    ],
)
def test_a_function_is_called_until_it_succeeds_or_attempts_run_out(errors, attempts, calls, outcome):
    flaky = Flaky(*busy(errors))
    slept, decorate = waits(attempts=attempts)
    try:
        result = decorate(flaky)(3, factor=2)
    except TransientError as error:
        result = str(error)
    assert (result, flaky.calls, len(slept)) == (outcome, calls, calls - 1)


@pytest.mark.parametrize(
    ("error", "keywords", "calls"),
    [
        pytest.param(TransientError("x"), {}, 2, id="transient by default"),
        pytest.param(SnapshotLostError("x"), {}, 2, id="a subclass"),
        pytest.param(
            SnapshotLostError("x"), {"unless": SnapshotLostError}, 1, id="a subclass that is spared"
        ),
        pytest.param(DataError("x"), {}, 1, id="another kind"),
        pytest.param(ValueError("x"), {"on": (ValueError, OSError)}, 2, id="named kinds"),
        pytest.param(KeyError("x"), {"on": ValueError}, 1, id="not the named kind"),
    ],
)
def test_only_the_given_errors_are_retried(error, keywords, calls):
    flaky = Flaky(error)
    _, decorate = waits(**keywords)
    if calls == 2:
        assert decorate(flaky)() == 2
    else:
        with pytest.raises(type(error)) as raised:
            decorate(flaky)()
        assert raised.value is error
    assert flaky.calls == calls


def test_the_last_error_is_raised_unchanged():
    errors = busy(3)
    last = errors[-1]
    with pytest.raises(TransientError) as raised:
        waits(attempts=3)[1](Flaky(*errors))()
    assert raised.value is last


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=lambda e: e.__name__)
def test_exit_requests_are_never_retried(error):
    calls = []

    def stop():
        calls.append(1)
        raise error

    with pytest.raises(error):
        waits(on=Exception)[1](stop)()
    assert len(calls) == 1


def test_delays_grow_with_jitter_up_to_a_maximum():
    bounds = [1, 2, 4, 8, 10, 10, 10]
    runs = []
    for _ in range(30):
        slept, decorate = waits(attempts=8, initial_seconds=1, max_seconds=10)
        decorate(Flaky(*busy(7)))()
        assert all(bound / 2 <= wait <= bound for wait, bound in zip(slept, bounds, strict=True))
        runs.append(tuple(slept))
    assert len(set(runs)) == 30
    assert max(run[0] for run in runs) > min(run[0] for run in runs)


def test_every_delay_is_logged_without_secrets(caplog):
    def login():
        raise TransientError("http://u:canary@h is busy")

    with pytest.raises(TransientError):
        waits(attempts=3, initial_seconds=1, max_seconds=1)[1](login)()
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]
    assert "status=retrying call=1/3" in caplog.messages[0]
    assert "status=retrying call=2/3" in caplog.messages[1]
    assert "error=TransientError" in caplog.messages[0]
    assert "wait_seconds=" in caplog.messages[0]
    assert "canary" not in caplog.text


def test_each_call_has_all_its_attempts():
    _, decorate = waits(attempts=2)
    flaky = Flaky(*busy(1))
    function = decorate(flaky)
    assert function() == 2
    flaky.errors = busy(1)
    assert function() == 2


def test_coroutine_functions_are_awaited_between_calls():
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    flaky = Flaky(*busy(2))

    @retry(sleep=sleep, logger=logger)
    async def fetch(value: int) -> int:
        """Get it."""
        return flaky(value)

    assert inspect.iscoroutinefunction(fetch)
    assert asyncio.run(fetch(4)) == 8
    assert (flaky.calls, len(slept)) == (3, 2)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"attempts": 0}, ValueError, "attempts: expected a whole number of 1 or more, got 0"),
        ({"attempts": True}, ValueError, "attempts"),
        ({"attempts": 2.0}, ValueError, "attempts"),
        ({"initial_seconds": -1}, ValueError, "initial_seconds"),
        ({"max_seconds": float("inf")}, ValueError, "max_seconds"),
        ({"initial_seconds": 5, "max_seconds": 1}, ValueError, "max_seconds: expected 5"),
        ({"on": ()}, ValueError, "on: expected at least one"),
        ({"on": "TransientError"}, TypeError, "on: expected exception classes, got 'TransientError'"),
        ({"on": KeyboardInterrupt}, TypeError, "KeyboardInterrupt"),
        ({"unless": (int,)}, TypeError, "unless"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(keywords, error, message):
    with pytest.raises(error, match=message):
        retry(**keywords)


def test_generators_cannot_be_retried():
    def rows():
        yield 1

    async def rows_later():
        yield 1

    for function in (rows, rows_later):
        with pytest.raises(TypeError, match="is a generator, and a retry would repeat rows"):
            retry()(function)
    with pytest.raises(TypeError, match="asynchronous generator"):
        log_execution(rows_later)


# --- any function -------------------------------------------------------------------------------------------------

DECORATORS = [
    pytest.param(retry(sleep=lambda seconds: None), id="retry"),
    pytest.param(log_execution, id="log_execution bare"),
    pytest.param(log_execution(name="it"), id="log_execution with keywords"),
]


@pytest.mark.parametrize("decorate", DECORATORS)
def test_the_signature_is_preserved(decorate):
    def function(a: int, /, b: str = "x", *rest: int, c: float, **more: bool) -> list[int]:
        """What it does."""
        return [a, len(b), len(rest), len(more)]

    decorated = decorate(function)
    assert inspect.signature(decorated) == inspect.signature(function)
    assert (decorated.__name__, decorated.__doc__, decorated.__module__) == (
        "function",
        "What it does.",
        __name__,
    )
    assert decorated.__annotations__ == function.__annotations__
    assert decorated(1, "yy", 3, c=1.0, d=True) == [1, 2, 1, 1]
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument"):
        decorated(1)


@pytest.mark.parametrize("decorate", DECORATORS)
def test_methods_of_every_kind(decorate):
    class Thing:
        @decorate
        def method(self, x):
            return type(self).__name__, x

        @decorate
        @classmethod
        def above_classmethod(cls, x):
            return cls.__name__, x

        @classmethod
        @decorate
        def below_classmethod(cls, x):
            return cls.__name__, x

        @decorate
        @staticmethod
        def above_staticmethod(x):
            return "Thing", x

        @property
        @decorate
        def value(self):
            return "Thing", 5

    for result in (
        Thing().method(5),
        Thing.above_classmethod(5),
        Thing.below_classmethod(5),
        Thing.above_staticmethod(5),
        Thing().value,
    ):
        assert result == ("Thing", 5)


@pytest.mark.parametrize("decorate", DECORATORS)
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(functools.partial(pow, 2), 8, id="partial"),
        pytest.param(abs, 3, id="built-in"),
        pytest.param(Flaky(), 6, id="callable object"),
        pytest.param(lambda x: x + 1, 4, id="lambda"),
    ],
)
def test_callable_objects_are_supported(decorate, function, expected):
    assert decorate(function)(3) == expected


# --- timing -------------------------------------------------------------------------------------------------------


def timed(function):
    ticks = iter((1.0, 3.5))
    return log_execution(name="work", logger=logger, monotonic=lambda: next(ticks))(function)


def test_the_duration_of_a_call_is_logged(caplog):
    assert timed(lambda password: password)("canary") == "canary"
    assert caplog.messages[0] == "function=work status=ok seconds=2.5"
    assert "canary" not in caplog.text


def test_an_error_is_logged_and_raised_unchanged(caplog):
    error = DataError("counts differ")
    with pytest.raises(DataError) as raised:
        timed(Flaky(error))()
    assert raised.value is error
    assert caplog.records[0].levelname == "WARNING"
    assert (
        'function=work status=failed seconds=2.5 error=DataError message="counts differ"'
        in caplog.messages[0]
    )


def test_a_generator_is_timed_until_its_last_value(caplog):
    def rows():
        yield 1
        yield 2
        return 3

    decorated = timed(rows)
    assert inspect.isgeneratorfunction(decorated)
    iterator = decorated()
    assert next(iterator) == 1
    assert caplog.messages == []
    assert list(iterator) == [2]
    assert "status=ok seconds=2.5" in caplog.messages[0]


def test_a_generator_that_is_left_early_has_not_failed(caplog):
    def rows():
        yield 1
        yield 2

    iterator = timed(rows)()
    next(iterator)
    iterator.close()
    assert "status=ok" in caplog.messages[0]


def test_a_coroutine_is_timed_while_it_is_awaited(caplog):
    async def fetch():
        return 5

    coroutine = timed(fetch)()
    assert caplog.messages == []
    assert asyncio.run(coroutine) == 5
    assert "status=ok seconds=2.5" in caplog.messages[0]


def test_without_keywords_the_function_names_itself_and_its_module_s_logger(caplog):
    @log_execution
    def something():
        return 1

    with caplog.at_level(logging.INFO, logger=__name__):
        something()
    assert caplog.records[0].name == __name__
    assert "function=" in caplog.messages[0]
    assert "something status=ok" in caplog.messages[0]
