"""Run `certify`: test that a service has the properties on which the promise rests."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Literal

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.certify_runs import Request, Run, build, read_settings, read_window
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.connectors.scratch import Scratch
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.suggestions import did_you_mean
from airflow_pipeline_provider.testing.properties.judging import PropertyResult, is_certified, judge, untested

_STYLES = {"passed": "green", "failed": "red", "not tested": "yellow", "not applicable": None}
_LEFT_OUT = "left out by --without"


class TestedProperty(Struct, frozen=True):
    """Property of the service; `detail` is what was seen, or why it failed, was not tested or does not apply."""

    name: str
    proves: str
    result: Literal["passed", "failed", "not tested", "not applicable"]
    detail: str
    seconds: float


class Certification(Struct, frozen=True):
    """Result of `certify`; `certified` only if everything that applies was tested and passed, and nothing is left.

    `created` says what is created, `left_behind` what could not be removed again; with `--dry-run` nothing is run.
    """

    kind: str
    type: str
    conn: str
    certified: bool
    properties: tuple[TestedProperty, ...]
    created: tuple[str, ...]
    left_behind: tuple[str, ...]
    cost: str


def certify(args: Namespace, screen: Screen) -> int:
    """Test a service in a scratch place of its own, print what was seen, and remove everything that was created.

    A property that could not be tested is listed with the reason, and never counts as passed. Before anything is
    created, the command prints what will be; it refuses a schema with objects of others. It removes what it created
    also when it is interrupted, and asks the service's catalogue whether anything is left.

    Exit code 0 if every property that applies was tested and passed, or was left out by `--without`. Exit code 1 if
    one failed or could not be tested, or if something is left behind.
    """
    request = Request(
        args.kind,
        args.conn,
        args.type,
        args.schema,
        args.scratch,
        args.stage,
        read_settings(args.settings),
        read_window(args.first, args.last),
        args.compression,
    )
    _check_options(request)
    with ExitStack() as resources:
        run = build(request, resources)
        left_out = _left_out(run, args.without)
        for scratch in run.scratches:
            screen.print_note(f"certify {scratch.describe()}")
        if args.dry_run:
            outcomes = [untested(case.property, "--dry-run") for case in run.cases]
            return _print_and_judge(
                _result(request, run, outcomes, (), "none: nothing was run"), screen, True
            )
        _refuse_foreign(run.scratches)
        outcomes, left, cost = _run(run, left_out, screen)
    return _print_and_judge(_result(request, run, outcomes, left, cost), screen, False)


def _check_options(request: Request) -> None:
    for option, value, kinds in (
        ("--schema", request.schema, ("target", "state")),
        ("--scratch", request.scratch, ("source",)),
        ("--stage", request.stage, ("target",)),
        ("--compression", request.compression, ("target",)),
        ("--from", request.window, ("source",)),
    ):
        if value is not None and request.kind not in kinds:
            raise ConfigError(f"{option}: only works with certify {' and '.join(kinds)}: remove it")


def _left_out(run: Run, names: Sequence[str] | None) -> set[str]:
    known = [case.property.name for case in run.cases]
    for name in names or ():
        if name not in known:
            raise ConfigError(
                f"--without: unknown property {name!r}; {did_you_mean(name, known) or 'known: ' + ', '.join(known)}"
            )
    return set(names or ())


def _refuse_foreign(scratches: Sequence[Scratch]) -> None:
    for scratch in scratches:
        if foreign := scratch.foreign():
            shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
            raise ConfigError(
                f"the scratch place holds {shown}, which certify did not create: name an empty one (objects whose "
                "names begin with certify_ are of a run that was killed: drop them)"
            )


def _run(run: Run, left_out: set[str], screen: Screen) -> tuple[list[PropertyResult], tuple[str, ...], str]:
    """Run the properties; remove what was created in any case."""
    outcomes: list[PropertyResult] = []
    with _ending_by_signals():
        try:
            for case in run.cases:
                if case.property.name in left_out:
                    outcomes.append(untested(case.property, _LEFT_OUT))
                    continue
                outcomes.append(judge(case.property, case.lab))
                screen.print_note(f"{case.property.name}: {outcomes[-1].verdict}")
            cost = "; ".join(dict.fromkeys(scratch.cost() for scratch in run.scratches)) or "none"
        finally:
            left = _empty(run.scratches, screen)
    return outcomes, left, cost


def _empty(scratches: Sequence[Scratch], screen: Screen) -> tuple[str, ...]:
    """Remove what was created; return what the catalogue still lists, or that it could not be asked."""
    left: list[str] = []
    for scratch in scratches:
        try:
            scratch.remove()
            left += scratch.remaining()
        except PipelineError as error:
            left.append(f"objects whose names begin with {scratch.name} ({redact_values(str(error))})")
    if left:
        screen.print_note(f"left behind: {', '.join(left)}: remove it by hand")
    return tuple(left)


@contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was created is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(exit_codes.TERMINATED if number == signal.SIGTERM else 128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the result


def _result(
    request: Request, run: Run, outcomes: Sequence[PropertyResult], left: tuple[str, ...], cost: str
) -> Certification:
    return Certification(
        kind=request.kind,
        type=run.type,
        conn=redact_values(request.conn),
        certified=is_certified(outcomes) and not left,
        properties=tuple(
            TestedProperty(one.name, one.proves, one.verdict, one.detail, one.seconds) for one in outcomes
        ),
        created=tuple(scratch.describe() for scratch in run.scratches),
        left_behind=left,
        cost=cost,
    )


def _print_and_judge(result: Certification, screen: Screen, dry_run: bool) -> int:
    screen.print_result(result, _print_dry_run if dry_run else _print)
    if dry_run:
        return exit_codes.OK
    bad = [
        one for one in result.properties if one.result in ("failed", "not tested") and one.detail != _LEFT_OUT
    ]
    passed = any(one.result == "passed" for one in result.properties)
    return exit_codes.OK if passed and not bad and not result.left_behind else exit_codes.CHECK_FAILED


def _print_dry_run(result: Certification, screen: Screen) -> None:
    screen.print_table(("PROPERTY", "WHAT IT PROVES"), [(one.name, one.proves) for one in result.properties])
    screen.print_line(f"{counted(len(result.properties), 'property')} would be tested; nothing was created")


def _print(result: Certification, screen: Screen) -> None:
    rows = [(one.name, one.result, f"{one.seconds:.1f}", one.detail) for one in result.properties]
    styles = [_STYLES[one.result] for one in result.properties]
    screen.print_table(
        ("PROPERTY", "RESULT", "SECONDS", "WHAT WAS SEEN"), rows, right=("SECONDS",), styles=styles
    )
    for one in result.properties:
        if one.result == "failed":
            screen.print_line(f"failed: {one.name} ({one.proves}): {one.detail}", "red")
    screen.print_line(f"cost: {result.cost}")
    left = f"left behind: {', '.join(result.left_behind)}" if result.left_behind else "nothing is left behind"
    screen.print_line(left, "red" if result.left_behind else None)
    service = f"{result.kind} {result.conn} ({result.type})"
    numbers = {word: sum(one.result == word for one in result.properties) for word in _STYLES}
    tally = ", ".join(f"{number} {word}" for word, number in numbers.items() if number)
    verdict = "certified" if result.certified else "not certified"
    screen.print_line(f"{verdict}: {service}: {tally}", "bold green" if result.certified else "bold red")
