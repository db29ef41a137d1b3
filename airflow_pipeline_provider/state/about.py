"""The record of a pipeline as a whole in a state store: its source and target, and manual changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import shown
from airflow_pipeline_provider.core.datasets import Days
from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc
from airflow_pipeline_provider.exceptions import DataError

KEPT_ACTS = 200  # older ones are dropped
LONGEST_NAME = 200  # characters of `Act.by`


def is_name(text: str) -> bool:
    """Return whether the text may be recorded as the name of who did something."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


@dataclass(frozen=True)
class Act:
    """A manual change; `interval` is None when it concerns the whole pipeline."""

    at: datetime
    what: str
    by: str
    why: str = ""
    interval: Interval | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"at": iso_utc(self.at), "what": self.what, "by": self.by}
        if self.why:
            value["why"] = self.why
        if self.interval is not None:
            value["interval"] = msgspec.to_builtins(self.interval)
        if self.detail:
            value["detail"] = self.detail
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Act:
        interval = value.get("interval")
        return cls(
            parse_utc(value["at"]),
            str(value["what"]),
            str(value["by"]),
            str(value.get("why", "")),
            None if interval is None else msgspec.convert(interval, Interval),
            dict(value.get("detail", {})),
        )


class Task(NamedTuple):
    """A task of a DAG run; `run` is "dag_id/run_id"."""

    run: str
    task_id: str


class DayEvent(NamedTuple):
    """The `.days` event of a complete day, kept until a task that sent it has succeeded.

    `commit` is the task of the newest commit of the day, under `token`.  `first`: the day was not complete before.
    `sender` is the task whose success sends the event, None while no task does.
    """

    day: date
    token: int
    commit: Task
    first: bool
    sender: Task | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "fence": self.token,  # Airflow's pages hide whatever has "token" in its name
            "commit": list(self.commit),
            "first": self.first,
            "sender": self.sender and list(self.sender),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DayEvent:
        sender = value["sender"]
        return cls(
            date.fromisoformat(value["day"]),
            int(value["fence"]),
            Task(*value["commit"]),
            bool(value["first"]),
            None if sender is None else Task(*sender),
        )


@dataclass(frozen=True)
class About:
    """`source` and `target` are the datasets (`core.datasets`) of the loads so far, None before the first one.

    `days` are the pipeline's first and last day as they were registered with the target; `renamed_to` is the new id
    after `state rename`, `renaming_from` the old id while that is not finished; `acts` are oldest first;
    `day_events` are those not known to be sent, by day.
    """

    source: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    days: Days = (None, None)
    renamed_to: str | None = None
    renaming_from: str | None = None
    acts: tuple[Act, ...] = ()
    day_events: tuple[DayEvent, ...] = ()

    def with_act(self, act: Act) -> About:
        return replace(self, acts=(*self.acts, act)[-KEPT_ACTS:])

    def day_event(self, day: date) -> DayEvent | None:
        return next((event for event in self.day_events if event.day == day), None)

    def with_day_event(self, day: date, event: DayEvent | None) -> About:
        """Replace the event of the day; None removes it."""
        others = [other for other in self.day_events if other.day != day]
        return replace(self, day_events=tuple(sorted([*others, event] if event else others)))

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "target": self.target,
            "days": list(self.days),
            "renamed_to": self.renamed_to,
            "renaming_from": self.renaming_from,
            "acts": [act.to_json() for act in self.acts],
            **({"day_events": [event.to_json() for event in self.day_events]} if self.day_events else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> About:
        """Raises ValueError, TypeError, KeyError or AttributeError for anything but what `to_json` gives."""
        first, last = value["days"]
        return cls(
            None if value["source"] is None else dict(value["source"]),
            None if value["target"] is None else dict(value["target"]),
            (first, last),
            value["renamed_to"],
            value["renaming_from"],
            tuple(Act.from_json(act) for act in value["acts"]),
            tuple(DayEvent.from_json(event) for event in value.get("day_events", [])),
        )

    def dump(self) -> str:
        return json.dumps(self.to_json(), separators=(",", ":"), ensure_ascii=False, default=str)


NOTHING = About()


def read_about(text: str | None, where: str) -> About:
    """Parse what `dump` gave; None is a pipeline of which nothing is remembered.

    `where` begins the DataError for anything else.
    """
    if text is None:
        return NOTHING
    try:
        return About.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{where}: expected the pipeline's record (JSON), got {text[:60]!r} ({error}); restore it "
            "from a backup or a `state export`"
        ) from error


def merged(snapshot: About, present: About) -> About:
    """Merge what is imported with what is there: what is there stays, acts and day events of both are kept."""
    acts = sorted({*map(_key, snapshot.acts), *map(_key, present.acts)})
    known = {_key(act): act for act in (*snapshot.acts, *present.acts)}
    both = sorted((*snapshot.day_events, *present.day_events), key=lambda event: event.token)
    events = {event.day: event for event in both}  # the newest of each day
    base = present if present.source is not None or present.target is not None else snapshot
    return replace(
        base,
        renamed_to=present.renamed_to or snapshot.renamed_to,
        renaming_from=present.renaming_from or snapshot.renaming_from,
        acts=tuple(known[key] for key in acts)[-KEPT_ACTS:],
        day_events=tuple(events[day] for day in sorted(events)),
    )


def _key(act: Act) -> tuple[datetime, str]:
    return act.at, json.dumps(act.to_json(), sort_keys=True, default=str)


class Renamed(NamedTuple):
    """A pipeline that was renamed, or whose rename is not finished: no run of it loads."""

    sentence: str  # without a full stop
    remedy: str
    command: tuple[str, ...]


def find_rename(name: str, about: About) -> Renamed | None:
    """Return what `state rename` made of the pipeline, None if it has its own state and rows."""
    if about.renamed_to is not None:
        command = command_line.rename_state(about.renamed_to, name)
        return Renamed(
            f"pipeline {name!r} was renamed to {about.renamed_to!r}, which has its state and rows",
            f"Remove this file, choose another pipeline_id, or take the rename back with `{shown(command)}`",
            command,
        )
    if about.renaming_from is not None:
        command = command_line.rename_state(about.renaming_from, name)
        return Renamed(
            f"the rename of pipeline {about.renaming_from!r} to {name!r} was cut off",
            f"Finish it with `{shown(command)}`",
            command,
        )
    return None
