"""Report which committed windows of some days have no part files any more (`stage.keep`)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from msgspec import Struct

from airflow_pipeline_provider.core.days import day_of, in_zone, zone_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.wording import counted


class FilesRemoved(Struct, frozen=True):
    """Windows whose part files `stage.keep` removed: how many, of which days, and when the last ones."""

    windows: int
    first: date
    last: date
    at: datetime
    timezone: str

    @property
    def sentence(self) -> str:
        """Return the sentence without a full stop."""
        days = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        when = f"{in_zone(self.at, zone_of(self.timezone)):%Y-%m-%d}"
        return (
            f"{counted(self.windows, 'window')} of {days}: the files were removed on {when} by stage.keep, so moving "
            "them again reads the source"
        )


def files_removed(entries: Iterable[Entry], timezone: str) -> FilesRemoved | None:
    """Return the removals among the entries, None without any; a window that was committed since has files again."""
    removed: dict[Interval, Entry] = {}
    for entry in entries:
        if entry.kind is Kind.FILES_REMOVED:
            removed[entry.interval] = entry
        elif entry.kind is Kind.COMMITTED:
            removed.pop(entry.interval, None)
    if not removed:
        return None
    days = [day_of(window.start, timezone) for window in removed]
    at = max(entry.at for entry in removed.values())
    return FilesRemoved(len(removed), min(days), max(days), at.replace(microsecond=0), timezone)
