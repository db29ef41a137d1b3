"""Run a property and judge it: passed, failed, not tested, or not applicable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Generic, Literal, NamedTuple, TypeVar

from airflow_pipeline_provider.exceptions import PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import redact_text, redact_values
from airflow_pipeline_provider.testing.faults import Crash

Lab = TypeVar("Lab")
Verdict = Literal["passed", "failed", "not tested", "not applicable"]


class NotMetError(AssertionError):
    """The service does not have the property; the message names what was expected and what was seen."""


class NotTestedError(Exception):
    """The property could not be tested; the message is the reason."""


class NotApplicableError(Exception):
    """The connector declares that the property has no meaning for it; the message is the reason."""


class Property(NamedTuple, Generic[Lab]):
    """A property of a service.

    `run` tests it with a lab (where the service is, and rows for it) and returns what was seen. It raises one of the
    errors above, or the connector's own.
    """

    name: str
    proves: str
    run: Callable[[Lab], str]


class PropertyResult(NamedTuple):
    """What came of one property."""

    name: str
    proves: str
    verdict: Verdict
    detail: str
    seconds: float


def expect(what: str, seen: object, expected: object) -> None:
    """Raise NotMetError unless both are equal."""
    if seen != expected:
        raise NotMetError(f"{what}: expected {expected}, got {seen}")


def judge(of: Property[Lab], lab: Lab) -> PropertyResult:
    """Run one property. An error that may pass (no answer, a lock) leaves it untested; any other one fails it."""
    start = time.monotonic()
    verdict, detail = _run(of, lab)
    return PropertyResult(
        of.name, of.proves, verdict, " ".join(detail.split()), round(time.monotonic() - start, 3)
    )


def _run(of: Property[Lab], lab: Lab) -> tuple[Verdict, str]:
    try:
        return "passed", of.run(lab)
    except NotTestedError as error:
        return "not tested", redact_values(str(error))
    except NotApplicableError as error:
        return "not applicable", str(error)
    except NotMetError as error:
        return "failed", redact_values(str(error))
    except TransientError as error:
        return "not tested", f"no answer: {redact_values(str(error))}"
    except PipelineError as error:
        return "failed", f"{type(error).__name__}: {redact_values(str(error))}"
    except Crash:
        return "failed", "the simulated crash of the load went through to the caller"
    except Exception as error:  # noqa: BLE001  (a connector of one's own may raise anything)
        return "failed", f"{type(error).__name__}: {redact_text(str(error))}"


def untested(of: Property[Lab], reason: str) -> PropertyResult:
    """Return the outcome of a property that is not run."""
    return PropertyResult(of.name, of.proves, "not tested", reason, 0.0)


def is_certified(outcomes: Iterable[PropertyResult]) -> bool:
    """Return whether something passed, and everything that applies did."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return "passed" in verdicts and verdicts <= {"passed", "not applicable"}
