"""Record of a pipeline in a state store: its source and target, manual changes, events to send."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import shell_line
from airflow_pipeline_provider.core.datasets import Days
from airflow_pipeline_provider.core.intervals import Instant, Interval
from airflow_pipeline_provider.exceptions import DataError

KEPT_ACTS = 200  # older ones are dropped
KEPT_NOTICES = 200  # of each pipeline; older ones are forgotten
LONGEST_NAME = 200  # characters of `Act.by`


def is_name(text: str) -> bool:
    """Return whether the text may be recorded as the author of a manual change."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def author_name(name: str, user_id: object) -> str:
    """Return the name of a user of Airflow as it is recorded; one that cannot be recorded becomes `user ID`."""
    shown = " ".join(str(name).split())[:LONGEST_NAME]
    return shown if is_name(shown) else f"user {user_id}"[:LONGEST_NAME]


class Act(Struct, frozen=True, omit_defaults=True):
    """Manual change; `interval` is None when it concerns the whole pipeline."""

    at: Instant
    what: str
    by: str
    why: str = ""
    interval: Interval | None = None
    detail: dict[str, Any] = {}


class Task(NamedTuple):
    """A task of a DAG run; `run` is "dag_id/run_id"."""

    run: str
    task_id: str


class DayEvent(Struct, frozen=True, order=True, rename={"token": "fence"}):
    """The `.days` event of a complete day, kept until a task that sent it has succeeded.

    `commit` is the task of the newest commit of the day, under `token` (in JSON `fence`: Airflow's pages hide values
    with "token" in the name).  `first`: the day was not complete before.  `sender` is the task whose success sends
    the event, None while no task does.
    """

    day: date
    token: int
    commit: Task
    first: bool
    sender: Task | None = None


class About(Struct, frozen=True, omit_defaults=True):
    """`source` and `target` are the datasets (`core.datasets`) of the loads so far, None before the first one.

    `days` are the pipeline's first and last day as they were registered with the target; `renamed_to` is the new id
    after `state rename`, `renaming_from` the old id while that is not finished; `acts` are oldest first; `facts`
    (`state.facts`) are those of the newest load; `notices` are the keys of the notices that were sent, oldest first.
    """

    source: dict[str, Any] | None
    target: dict[str, Any] | None
    days: Days
    renamed_to: str | None
    renaming_from: str | None
    acts: tuple[Act, ...]
    day_events: tuple[DayEvent, ...] = ()
    facts: dict[str, Any] | None = None
    notices: tuple[str, ...] = ()

    def with_notice(self, key: str) -> About:
        """Return the record with one more notice that was sent."""
        return replace(self, notices=(*self.notices, key)[-KEPT_NOTICES:])

    def without_notice(self, key: str) -> About:
        """Return the record without a notice that could not be sent."""
        return replace(self, notices=tuple(one for one in self.notices if one != key))

    def with_act(self, act: Act) -> About:
        """Return the record with one more manual change; the oldest beyond `KEPT_ACTS` are dropped."""
        return replace(self, acts=(*self.acts, act)[-KEPT_ACTS:])

    def day_event(self, day: date) -> DayEvent | None:
        """Return the event of the day, if one is due."""
        return next((event for event in self.day_events if event.day == day), None)

    def with_day_event(self, day: date, event: DayEvent | None) -> About:
        """Return the record with another event of the day; None removes it."""
        others = [other for other in self.day_events if other.day != day]
        return replace(self, day_events=tuple(sorted([*others, event] if event else others)))

    def dump(self) -> str:
        """Return the record as JSON."""
        return msgspec.json.encode(self, enc_hook=str).decode()


NOTHING = About(None, None, (None, None), None, None, ())


def read_about(text: str | None, where: str) -> About:
    """Parse what `dump` returned; None is a pipeline without a record.

    `where` begins the DataError for anything else.
    """
    if text is None:
        return NOTHING
    try:
        return msgspec.json.decode(text, type=About)
    except ValueError as error:
        raise DataError(
            f"{where}: expected the pipeline's record (JSON), got {text[:60]!r} ({error}); restore it "
            "from a backup or a `state export`"
        ) from error


def merged(snapshot: About, present: About) -> About:
    """Merge an imported record with the present one, which wins; acts and day events of both are kept."""
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
        notices=tuple(dict.fromkeys((*snapshot.notices, *present.notices)))[-KEPT_NOTICES:],
    )


def _key(act: Act) -> tuple[datetime, str]:
    return act.at, msgspec.json.encode(act, order="sorted", enc_hook=str).decode()


class RenameNotice(NamedTuple):
    """A pipeline that was renamed, or whose rename is not finished: no run of it loads."""

    sentence: str  # without a full stop
    remedy: str
    command: tuple[str, ...]


def find_rename(name: str, about: About) -> RenameNotice | None:
    """Return what `state rename` made of the pipeline, None if it has its own state and rows."""
    if about.renamed_to is not None:
        command = command_line.rename_state(about.renamed_to, name)
        return RenameNotice(
            f"pipeline {name!r} was renamed to {about.renamed_to!r}, which has its state and rows",
            f"Remove this file, choose another pipeline_id, or take the rename back with `{shell_line(command)}`",
            command,
        )
    if about.renaming_from is not None:
        command = command_line.rename_state(about.renaming_from, name)
        return RenameNotice(
            f"the rename of pipeline {about.renaming_from!r} to {name!r} was cut off",
            f"Finish it with `{shell_line(command)}`",
            command,
        )
    return None
