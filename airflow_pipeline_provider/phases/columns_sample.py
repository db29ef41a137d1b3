"""Sample the documents of committed windows from the part files that the stage still holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from airflow_pipeline_provider.core.days import FIRST_DAY, LAST_DAY, day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, effective
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.sampling import evenly, sample_bodies
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.columns_fields import Tree, decode_document
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest

MOST_DOCUMENTS = 10_000
MOST_WINDOWS = 48
MOST_PARTS = 8  # of one window
MOST_VALUES = 2_000_000  # about five seconds
MOST_BYTES = 256 * 2**20
_ALWAYS = Interval(
    *(datetime.combine(day, datetime.min.time(), timezone.utc) for day in (FIRST_DAY, LAST_DAY))
)


@dataclass
class Sample:
    """What the sampled documents hold.

    `windows` were read, newest first; `gone` are committed windows whose files the stage no longer holds.
    `of_windows` and `of_documents` are how many the days have.
    """

    tree: Tree = field(default_factory=Tree)
    windows: list[Interval] = field(default_factory=list)
    gone: list[Interval] = field(default_factory=list)
    of_windows: int = 0
    of_documents: int = 0
    not_json: int = 0
    cut_short: bool = False

    @property
    def newest(self) -> Interval | None:
        """Return the newest committed window with rows."""
        return max([*self.windows, *self.gone], default=None)

    @property
    def documents(self) -> int:
        """Return the number of documents that were counted."""
        return self.tree.of


def sample_documents(runtime: Runtime, days: int) -> Sample:
    """Count the fields of documents in windows of the `days` local days up to the newest one that is done.

    Each window gives about as many documents as any other, from parts and row groups at even distances.

    Raises:
        DataError: A part or a manifest is not readable.
        TransientError: The state or the stage does not answer.
    """
    sample, values, size = Sample(), 0, 0
    commits = _commits(runtime, days)
    sample.of_windows, sample.of_documents = len(commits), sum(entry.rows or 0 for entry in commits)
    chosen = [commits[n] for n in evenly(len(commits), MOST_WINDOWS)]
    for number, entry in enumerate(reversed(chosen)):
        left = len(chosen) - number
        wanted = max(1, (MOST_DOCUMENTS - sample.documents) // left)
        parts = _parts(runtime, entry, min(MOST_PARTS, wanted))
        if not parts:
            sample.gone.append(entry.interval)
            continue
        sample.windows.append(entry.interval)
        most_values, most_bytes = values + (MOST_VALUES - values) // left, size + (MOST_BYTES - size) // left
        for body in _bodies(runtime, parts, wanted, entry.interval):
            if values > most_values or size > most_bytes:
                sample.cut_short = True
                break
            document = decode_document(body)
            size += len(body)
            if document is None:
                sample.not_json += 1
            else:
                values += sample.tree.add(document)
    return sample


def _commits(runtime: Runtime, days: int) -> list[Entry]:
    """Return the effective commits with rows of the `days` local days up to the newest one, in order of time."""
    done = runtime.state.coverage(_ALWAYS).done
    if not done:
        return []
    zone, end = runtime.config.timezone, done[-1].end
    last = day_of(end - timedelta(microseconds=1), zone)
    first = day_interval(last - timedelta(days=days - 1), zone).start
    found = effective(runtime.state.entries(Interval(first, end)))
    return list({number: entry for _, entry, number in found if entry.rows != 0}.values())


def _parts(runtime: Runtime, entry: Entry, most: int) -> list[Part]:
    """Return up to `most` parts of a commit that the stage still holds, none where its manifest is gone."""
    if entry.manifest is None:
        return []
    found = find_manifest(runtime, runtime.window(entry.interval), entry.manifest)
    parts = () if found is None else found[1].parts
    chosen = [parts[n] for n in evenly(len(parts), most)]
    return [part for part in chosen if runtime.stage.size(part.path) is not None]


def _bodies(runtime: Runtime, parts: Sequence[Part], wanted: int, interval: Interval) -> Iterator[bytes]:
    for number, part in enumerate(parts):
        share = wanted * (number + 1) // len(parts) - wanted * number // len(parts)
        try:
            with runtime.stage.open_read(part.path) as file:
                yield from sample_bodies(file, share)
        except DataError as error:
            error.add_context(f"window {local_window(interval, runtime.config.timezone)}")
            raise
