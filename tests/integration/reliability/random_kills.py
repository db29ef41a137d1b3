"""Kill processes by signal 9 at random times, until every window is moved.

`airflow-pipelines run PIPELINE --until-done` is started repeatedly; each process runs for a random time, usually
about as long as a window takes.  When everything is moved and there were not enough kills yet, committed windows are
moved again under the same kills.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, gaps, iso_utc
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from demo import nyc

from .child import Command, Ended, ForkServers

KILLED = -9
REFERENCE_TIME = "2013-12-10T12:00:00Z"  # all of November is ready
LEASE_SECONDS = 3
PATIENCE = 8  # processes in which no window was committed; then they run for longer

Record = tuple[datetime, str]
"""Event time and body, the body as JSON with sorted keys."""


@dataclass
class Campaign:
    """Processes of one pipeline that are killed.

    `config` is its pipeline file, `read_target` gives (record id, event time, body) of every row of its table.
    """

    config: dict[str, Any]
    environment: dict[str, str]
    documents: list[nyc.Document]
    span: Interval
    read_target: Callable[[], list[tuple[str, datetime, str]]]
    servers: ForkServers
    folder: Path
    rng: random.Random
    mean_seconds: float
    kills: int = 0
    finished: int = 0
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.name = str(self.config["pipeline_id"])
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = self.folder / f"{self.name}.log"
        (self.folder / f"{self.name}.yaml").write_text(yaml.safe_dump(self.config))

    # --- kills

    def run(self, least_kills: int) -> None:
        """Run until everything is moved, and at least so many processes were killed."""
        self._until_it_ends(["--until-done"])
        while (
            self.kills < least_kills
        ):  # each time another window, so no process waits for the lease of a killed one
            self._once(self._named(self.rng.choice(self.commits())))
        for window in self._unfinished():
            self._until_it_ends(self._named(window))
        # a run that was killed after its commit leaves a lease, and nothing to do
        self._until_it_ends(["--until-done"])

    def move(self, window: Interval) -> None:
        """Move this window, under the same kills."""
        self._until_it_ends(self._named(window))

    def _named(self, window: Interval) -> list[str]:
        return ["--window-start", iso_utc(window.start), "--window-end", iso_utc(window.end)]

    def _unfinished(self) -> list[Interval]:
        """Return the windows whose replacement was begun and not committed."""
        with self.opened() as runtime:
            doubtful = ledger.unverified(runtime.state.entries())
        return [window for window in self.commits() if any(d.overlaps(window) for d in doubtful)]

    def _until_it_ends(self, arguments: list[str]) -> None:
        known = self._newest_token()
        for tries in count(1):
            if tries % PATIENCE == 0:  # a slow machine: no process runs long enough to finish a window
                newest = self._newest_token()
                self.mean_seconds *= 1 if newest > known else 2
                known = newest
            if self._once(arguments):
                return

    def _once(self, arguments: list[str]) -> bool:
        """Run one process; return True if it ended by itself and succeeded."""
        ended = self._process(arguments, self.rng.expovariate(1 / self.mean_seconds))
        if ended.exit_code == 0:
            self.finished += 1
            return True
        if ended.exit_code != KILLED:
            log = self._log.read_text()[-2000:]
            raise AssertionError(f"{self.name}: a run ended by itself with {ended.exit_code}:\n{log}")
        self.kills += 1
        return False

    def _process(self, arguments: list[str], kill_after: float) -> Ended:
        reference = ["--reference-time", REFERENCE_TIME, "--folder", str(self.folder)]
        command = ["run", self.name, *reference, *arguments]
        return self.servers.run(Command(command, self.environment, str(self._log), kill_after))

    # --- afterwards

    def problems(self) -> list[str]:
        """Compare the target row by row, the ledger and the leases with what they must be."""
        found = []
        rows = self.read_target()
        missing, extra = self.differences(rows)
        if missing or extra:
            found.append(
                f"{missing.total()} documents are missing in the target, {extra.total()} rows are too many"
            )
        if len({record_id for record_id, _, _ in rows}) != len(rows):
            found.append("a record id is in the target twice")
        with self.opened() as runtime:
            entries = runtime.state.entries()
            left = gaps(self.span, ledger.committed(entries))
            leases = [lease for lease in runtime.state.leases() if not self._expires(runtime, lease.until)]
            doubtful = ledger.unverified(entries)
            commits = {row.interval: row for row in runtime.target.commits()}
        found += [f"not committed: {interval}" for interval in left]
        found += [f"begun and not committed: {interval}" for interval in doubtful]
        found += [f"a lease is left: {lease}" for lease in leases]
        for window, entry, _ in ledger.effective(entries):
            row = commits.get(window)
            if row is None or (row.token, row.rows) != (entry.token, entry.rows):
                found.append(f"{window}: token {entry.token} in the ledger, {row} in the target")
        counted = sum(entry.rows or 0 for _, entry, _ in ledger.effective(entries))
        if counted != len(self.documents):
            found.append(f"the ledger counts {counted} rows, the source has {len(self.documents)}")
        return found

    def _expires(self, runtime: Runtime, until: datetime) -> bool:
        """Return whether a lease expires soon; a process that was killed between commit and release leaves one."""
        return (until - runtime.state.now()).total_seconds() <= LEASE_SECONDS

    def differences(self, rows: list[tuple[str, datetime, str]]) -> tuple[Counter[Record], Counter[Record]]:
        """Return (documents that the target lacks, rows that are not a document), by instant and body."""
        source = Counter((document.time_hour, canonical(document.body)) for document in self.documents)
        target = Counter((at, canonical(body)) for _, at, body in rows)
        return source - target, target - source

    def _newest_token(self) -> int:
        with self.opened() as runtime:
            return ledger.committed_token(runtime.state.entries(), self.span) or 0

    def commits(self) -> list[Interval]:
        with self.opened() as runtime:
            return [piece for piece, _, _ in ledger.effective(runtime.state.entries())]

    @contextmanager
    def opened(self) -> Iterator[Runtime]:
        with open_runtime(parse_pipeline(self.config, options_model=options_model)) as runtime:
            yield runtime

    def summary(self, backends: str, seed: int) -> tuple[str, ...]:
        """Return a row of the report's table."""
        missing, extra = self.differences(self.read_target())
        counts = (len(self.commits()), len(self.documents), self.kills, self.finished)
        return (
            backends,
            self.name,
            *(f"{count:,}" for count in counts),
            str(missing.total() + extra.total()),
            str(seed),
        )


def canonical(body: str) -> str:
    return json.dumps(json.loads(body), sort_keys=True)
