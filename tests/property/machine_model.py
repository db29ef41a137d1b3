"""What must be true of target and ledger, worked out from what the processes were seen to read and write.

The model knows from each `open` of the source which rows an execution saw, from the receipt which of them it wrote
down, and from the receipts that were read which rows a manifest stands for.  From the order of the target's commit
rows follows, row by row, what the target must hold: nothing else may ever be in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from airflow_pipeline_provider.connectors.base import CommitRow, Slice
from airflow_pipeline_provider.core.intervals import Interval, merge, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.state.base import Snapshot
from tests.doubles.memory_source import MemoryTable
from tests.property.machine_process import Observer, Process

Rows = dict[str, tuple[datetime, str]]  # record id -> (event time, body)


class View(NamedTuple):
    """What one reading of a slice saw, and when, counted in readings."""

    interval: Interval
    rows: Rows
    moment: int


class Version(NamedTuple):
    """What a manifest stands for; `moment` is that of its oldest reading."""

    interval: Interval
    rows: Rows
    moment: int


def inside(rows: Rows, interval: Interval) -> Rows:
    return {name: row for name, row in rows.items() if interval.holds(row[0])}


class Model(Observer):
    """`observe` compares the world with what the model knows; AssertionError says what is not as promised."""

    def __init__(
        self, source: MemoryTable, read_ledger: Callable[[], list[Entry]], *, keeps_history: bool = False
    ) -> None:
        self.source = source
        self.read_ledger = read_ledger
        self.keeps_history = keeps_history
        self.moment = 0
        self.receipts: dict[str, View] = {}
        self.versions: dict[str, Version] = {}  # by the manifest's sha
        self.newest_token = 0  # minted since the state was begun
        self.target: Rows = {}
        self.commits: list[CommitRow] = []
        self.ledger: list[Entry] = []
        self.committed: list[Interval] = []  # ever, and by a ledger that was lost too
        self.first_day: date | None = None
        self.state_was_lost = False  # or fell back to an older copy
        self.fallbacks = 0

    # --- what processes do

    def viewed(self, process: Process, slice_: Slice) -> None:
        self.moment += 1
        rows = {row.record_id: (row.event_time, row.body) for row in self.source.within(slice_.interval)}
        process.view = View(slice_.interval, rows, self.moment)  # type: ignore[arg-type]

    def writes(self, process: Process, path: str, data: bytes) -> None:
        name = path.rpartition("/")[2]
        if name.startswith("receipt-"):
            self.receipts[path] = process.view
        elif name.startswith("manifest-"):
            manifest = Manifest.from_bytes(data)
            self.versions[manifest.sha256] = self._version(manifest.interval, process.receipts_read)
            process.receipts_read = []

    def reads(self, process: Process, path: str) -> None:
        if path.rpartition("/")[2].startswith("receipt-"):
            process.receipts_read.append(path)

    def _version(self, interval: Interval, receipts: Iterable[str]) -> Version:
        views = [self.receipts[path] for path in receipts]
        tiles = [view.interval for view in views]
        assert merge(tiles) == [interval], f"a manifest of {interval} is made of {tiles}"
        assert sum(tile.seconds for tile in tiles) == interval.seconds, f"the slices {tiles} overlap"
        rows = {name: row for view in views for name, row in view.rows.items()}
        return Version(interval, rows, min(view.moment for view in views))

    def compares_tokens(self, process: Process) -> None:
        process.compared_at = self.fallbacks

    def minted(self, process: Process, token: int) -> None:
        """A token is greater than each token of the state, and than each loaded token.

        No store compares state and target in one step.  If the state falls back after a process compared them and
        before it mints, the token may repeat a loaded one that the older copy lacks.  `_observe_target` still
        requires that no window is loaded over the same or a newer token.
        """
        fell_back_since = process.compared_at not in (None, self.fallbacks)
        loaded = [] if fell_back_since else [row.token for row in self.commits]
        newest = max([self.newest_token, *loaded])
        assert token > newest, f"{process.name} got the token {token} after {newest}"
        self.newest_token = token

    def deletes(self, process: Process, paths: Sequence[str]) -> None:
        """What it wrote itself, or files of attempts that a later commit made useless."""
        entries = self.read_ledger()
        for path in set(paths) - process.files:
            attempt = path.split("/")[2]
            known = [n for n, entry in enumerate(entries) if entry.attempt == attempt]
            useless = any(
                e.kind is Kind.COMMITTED and e.attempt != attempt and e.interval.overlaps(entries[n].interval)
                for n in known[:1]
                for e in entries[n:]
            )
            assert useless, f"{process.name} deletes {path}, whose attempt no commit has made useless"

    def state_is_lost(self) -> None:
        self.newest_token, self.ledger, self.state_was_lost = 0, [], True
        self.first_day = None

    def state_falls_back(self, copy: Snapshot) -> None:
        """Nobody can tell from the copy that what it calls loaded was committed, so such rows may go."""
        known = {entry.token for entry in copy.entries if entry.kind is Kind.REPLACING}
        forgotten = [
            entry.interval
            for entry in self.ledger
            if entry.kind is Kind.COMMITTED and entry not in copy.entries and entry.token in known
        ]
        self.committed = [left for piece in self.committed for left in subtract([piece], forgotten)]
        self.newest_token, self.ledger, self.state_was_lost = copy.token, list(copy.entries), True
        self.first_day = copy.first_day
        self.fallbacks += 1

    # --- what is there

    def observe(
        self,
        rows: Sequence[tuple[str, datetime, str]],
        commits: Sequence[CommitRow],
        entries: Sequence[Entry],
        *,
        now: datetime,
        may_shrink: bool,
    ) -> None:
        """`rows`: (record id, event time, body) in the target; `commits`, where intervals overlap, in the order in
        which they were made; `now` by a clock that is right."""
        self._observe_target(rows, list(commits), may_shrink=may_shrink)
        assert list(entries[: len(self.ledger)]) == self.ledger, "the ledger is append-only"
        new = list(entries[len(self.ledger) :])
        self.ledger = list(entries)
        for entry in new:
            if entry.kind is Kind.COMMITTED:
                assert entry.interval.end <= now, f"{entry.interval} is committed, and it is {now}"
                self._observe_commit(entry)
        self._observe_coverage()

    def observe_first_day(self, day: date | None, target: date) -> None:
        """It is never later than the target day of when it was first remembered, and only moves earlier."""
        bound = target if self.first_day is None else self.first_day
        assert day is None or day <= bound, f"the first day is {day}, days from {bound} on are lost"
        self.first_day = day

    def _observe_target(
        self, rows: Sequence[tuple[str, datetime, str]], commits: list[CommitRow], *, may_shrink: bool
    ) -> None:
        before = self.target
        assert all(row in commits for row in self.commits), "the target's commit rows are append-only"
        assert len(set(commits)) == len(commits), "a load is in the target twice"
        for row in [row for row in commits if row not in self.commits]:
            for older in self.commits:
                if older.interval.overlaps(row.interval):
                    assert older.token < row.token, f"{row} was loaded over {older}"
            version = self.versions[row.manifest_sha]
            assert version.interval == row.interval
            for entry in self.ledger:
                if entry.kind is Kind.COMMITTED and entry.interval.overlaps(row.interval) and entry.manifest:
                    newer = self.versions[entry.manifest]
                    assert newer.moment <= version.moment, (
                        f"{row} holds older readings than what is committed"
                    )
            kept = self.target
            if not self.keeps_history:
                kept = {n: r for n, r in self.target.items() if not row.interval.holds(r[0])}
            # A record that moved between windows stands in both: it is keyed by its time too.
            self.target = kept | {_key(n, r): r for n, r in version.rows.items()}
            self.commits.append(row)
        held = {_key(name, (at, body)): (at, body) for name, at, body in rows}
        assert len(held) == len(rows), f"a row is doubled among {sorted(rows)}"
        assert held == self.target, "the target holds what no load brought, or lacks what one did"
        if not may_shrink:
            for piece in self.committed:
                was, now = len(inside(before, piece)), len(inside(self.target, piece))
                assert now >= was, f"committed {piece} had {was} rows and has {now}, and nobody accepted that"

    def _observe_commit(self, entry: Entry) -> None:
        assert entry.manifest is not None
        row = CommitRow(entry.interval, entry.token or 0, entry.manifest, entry.rows or 0)
        assert row in self.commits, f"{entry.interval} is committed under {row.token}, which was never loaded"
        # Disjoint pieces, each what one commit still speaks for: rows are compared piece by piece.
        left = [piece for known in self.committed for piece in subtract([known], [entry.interval])]
        self.committed = sorted([entry.interval, *left])

    def _observe_coverage(self) -> None:
        """A committed interval that nobody is replacing holds what was extracted for it.

        After a fallback the target may hold a newer load there, of which the ledger does not know.
        """
        known = {entry.token for entry in self.ledger}
        unknown = [row.interval for row in self.commits if self.state_was_lost and row.token not in known]
        ruling = [(left, e) for piece, e in rulers(self.ledger) for left in subtract([piece], unknown)]
        for piece, entry in ruling:
            if entry.kind is Kind.COMMITTED and entry.manifest is not None:
                wanted = inside(self.versions[entry.manifest].rows, piece)
                held = inside(self.target, piece)
                keyed = {_key(n, r): r for n, r in wanted.items()}
                assert keyed.items() <= held.items() if self.keeps_history else held == keyed, (
                    f"{piece} is committed under token {entry.token} and does not hold what was extracted for it"
                )

    def continuation(self, day: Interval) -> datetime | None:
        """End of the committed or waived prefix, by walking."""
        end = day.start
        for entry in sorted(self.ledger, key=lambda e: e.interval):
            if entry.kind in (Kind.COMMITTED, Kind.WAIVED) and entry.interval.start <= end:
                end = max(end, entry.interval.end)
        return min(end, day.end) if end > day.start else None

    def latest(self) -> Rows:
        """The newest version of each record, by its time."""
        newest: Rows = {}
        for key, row in sorted(self.target.items(), key=lambda item: item[1][0]):
            newest[key.rpartition(" at ")[0]] = row
        return newest

    def source_rows(self, days: Iterable[Interval]) -> Rows:
        return {
            _key(row.record_id, (row.event_time, row.body)): (row.event_time, row.body)
            for day in days
            for row in self.source.within(day)
            if row.event_time is not None
        }


def _key(name: str, row: tuple[datetime, str]) -> str:
    return f"{name} at {row[0].isoformat()}"


def rulers(entries: Iterable[Entry]) -> list[tuple[Interval, Entry]]:
    """Which replacing or committed entry speaks for which piece: the newest token, and of one token the commit."""
    painted: list[tuple[Interval, Entry]] = []
    fenced = [e for e in entries if e.kind in (Kind.REPLACING, Kind.COMMITTED)]
    for entry in sorted(fenced, key=lambda e: (e.token or 0, e.kind is Kind.COMMITTED)):
        painted = [(left, e) for piece, e in painted for left in subtract([piece], [entry.interval])]
        painted.append((entry.interval, entry))
    return painted
