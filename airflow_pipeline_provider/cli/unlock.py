"""`unlock PIPELINE [--window WINDOW] [--force]`: remove leases that nobody renews any more.

Expired leases only, unless `--force`: a planner passes a live lease over and a run takes an expired one by itself, so
a lease is in nobody's way once it has expired.

JSON: `{"pipeline_id", "timezone", "leases": [piece + {"owner", "installation" | null, "since", "until",
"status"}]}`; `status` is unlocked (it had expired), forced (it had not) or held (left alone).  Exit code 1 when a
live lease was left alone.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_day, read_instant, read_person
from airflow_pipeline_provider.cli.find import load_one
from airflow_pipeline_provider.cli.localtime import whole_second
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.spans import piece_json
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import parse_window_id
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.owners import Owner

FORCED = (
    "a run that still lives takes its lease again at its next sign of life, unless another run is faster; then it "
    "ends as superseded. The target stays right either way: a load with an older token than another one's is refused "
    "there. What may be lost is the work of one of the two"
)
_STYLES = {"unlocked": "green", "forced": "yellow", "held": "red"}


def unlock(args: Namespace, screen: Screen) -> int:
    """The command."""
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    within = None if args.window is None else read_window(args.window, config)
    with open_runtime(config) as runtime:
        try:
            leases = _unlock(runtime, within, force=args.force)
            for lease, status in leases:
                if status != "held":
                    runtime.state.record_act(
                        "unlock", by, interval=lease.interval, owner=lease.holder, status=status
                    )
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, unlock")
            raise
    _report(config, leases, screen)
    if any(status == "forced" for _, status in leases):
        screen.note(FORCED, "yellow")
    held = [lease for lease, status in leases if status == "held"]
    for lease in held:
        zone = config.timezone
        screen.error(
            f"{local_window(lease.interval, zone)} is held by {lease.holder} since "
            f"{whole_second(lease.since, zone)}; its lease ends at {whole_second(lease.until, zone)} unless it is "
            "renewed: wait, or use --force"
        )
    return exits.NO if held else exits.OK


def _unlock(runtime: Runtime, within: Interval | None, *, force: bool) -> list[tuple[Lease, str]]:
    done = [(lease, "unlocked") for lease in runtime.state.drop_expired(within)]
    for lease in runtime.state.leases():
        if within is not None and not lease.interval.overlaps(within):
            continue
        if force:
            runtime.state.release(lease.interval, Owner(lease.owner, lease.installation))
        done.append((lease, "forced" if force else "held"))
    return sorted(done, key=lambda pair: (pair[0].interval, pair[0].owner))


def read_window(text: str, config: PipelineConfig) -> Interval:
    """A window id, a local day, or two instants with a slash between them."""
    found = parse_window_id(text)
    if found is not None:
        if found[0] != config.pipeline_id:
            raise ConfigError(
                f"--window: expected a window of {config.pipeline_id!r}, got {text!r}, which is one of {found[0]!r}"
            )
        return found[1]
    first, slash, second = text.partition("/")
    if slash:
        start, end = read_instant(first, "--window"), read_instant(second, "--window")
        if end <= start:
            raise ConfigError(f"--window: expected an end after its start, got {text!r}")
        return Interval(start, end)
    try:
        return day_interval(read_day(text, "--window"), config.timezone)
    except ConfigError:
        raise ConfigError(
            "--window: expected a window id, a day such as 2013-11-03, or two instants with offsets and a slash "
            f"between them, got {text!r}"
        ) from None


def _report(config: PipelineConfig, leases: list[tuple[Lease, str]], screen: Screen) -> None:
    zone = config.timezone
    if screen.as_json:
        screen.answer(
            {
                "pipeline_id": config.pipeline_id,
                "timezone": zone,
                "leases": [_json(lease, status, zone) for lease, status in leases],
            }
        )
    elif not leases:
        screen.say("no lease to unlock")
    else:
        rows = [
            (
                local_window(lease.interval, zone),
                lease.holder,
                whole_second(lease.since, zone),
                whole_second(lease.until, zone),
                status,
            )
            for lease, status in leases
        ]
        styles = [_STYLES[status] for _, status in leases]
        screen.table(("window", "held by", "since", "until", "status"), rows, styles=styles)


def _json(lease: Lease, status: str, zone: str) -> dict[str, Any]:
    return {
        **piece_json(lease.interval, zone),
        "owner": lease.owner,
        "installation": lease.installation,
        "since": iso_utc(lease.since),
        "until": iso_utc(lease.until),
        "status": status,
    }
