"""The contract of targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ClassVar

from airflow_pipeline_provider.connectors.connector import Connector
from airflow_pipeline_provider.connectors.probes import Probes, target_probes
from airflow_pipeline_provider.connectors.stage_contract import Stage
from airflow_pipeline_provider.connectors.values import (
    CommitRow,
    LoadResult,
    QuarantinedCount,
    QuarantinedRow,
    TargetCounts,
    TypedView,
)
from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.canonical_json import Digest, digest_of_bytes
from airflow_pipeline_provider.envelope.limits import NO_LIMITS, TargetLimits
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest


class Target(Connector):
    """A table that windows are loaded into.

    Deletes and counts are always by `PIPELINE_ID = ? AND EVENT_TIME >= ? AND EVENT_TIME < ?`.  With
    `identity.keeps_history` a row is one version of a record, identified by record id and event time: a load replaces
    the versions that its manifest holds, and keeps all others under the tokens that loaded them.
    """

    limits: TargetLimits = NO_LIMITS  # what it cannot store; extract checks it before anything is loaded
    can_keep_history: ClassVar[bool] = False  # whether `identity.keeps_history` is supported

    def probes(self) -> Probes:
        return target_probes(self)

    @abstractmethod
    def prepare(self) -> None:
        """Create the table, its `_LATEST` view, the commit table and the fence row if they are missing.

        It runs outside any load transaction, and may run in two workers at once.

        Raises:
            FatalError: A table has another shape; the message names the columns.
        """

    @abstractmethod
    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        """Replace the manifest's window in one transaction.

        It takes the fence row, reads the newest token of any overlapping interval, deletes `manifest.interval`,
        copies exactly the manifest's parts, counts rows and distinct ids, and writes the commit row.  With
        `identity.keeps_history` it deletes only what the manifest holds again (id and time), and counts the token's
        own rows.  If the interval has a commit row with this token and SHA-256, nothing changes.  A target with a
        table of quarantined rows replaces those of the interval by the manifest's, in the same transaction.

        Raises:
            SupersededError: A newer token, or this one with another SHA-256, overlaps the interval.
            DataError: The counts differ from the manifest's; the transaction was rolled back.
        """

    @abstractmethod
    def count(self, interval: Interval) -> TargetCounts:
        """Count rows and distinct record ids of this pipeline in the interval."""

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:  # noqa: ARG002
        """Count rows and distinct record ids of this pipeline in the interval for each token."""
        raise ConfigError(self._no_history())

    def count_newest(self, interval: Interval, token: int) -> int:  # noqa: ARG002
        """Count the token's rows in the interval whose record has no version with a later time."""
        raise ConfigError(self._no_history())

    def _no_history(self) -> str:
        kind = self.options.type
        return f"source.history: target {kind!r} cannot keep the history of changing records; use history: events"

    @abstractmethod
    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        """Return the pipeline's commit rows that overlap `within` (default: all), oldest token first.

        Without a table there are none.
        """

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let this thread's operations in the block share one connection or open file; keep the block short.

        Each operation remains a transaction of its own.  By default each opens what it needs.
        """
        yield

    # --- records, for `diff`

    def records(
        self,
        interval: Interval,  # noqa: ARG002
        *,
        content: bool = False,  # noqa: ARG002
    ) -> AbstractContextManager[Iterator[Sequence[Row]]]:
        """Open one consistent view of this pipeline's rows in the interval, in portions that fit into memory.

        Without `content` the digests are None; with it they are those of `digest`.  Without a table there are none.
        """
        raise ConfigError(
            f"target {self.options.type!r} cannot list its records, so `diff` cannot compare them"
        )

    def digest(self, body: bytes) -> Digest:
        """Return the digest that `records` returns for a row that was loaded with this BODY.

        A target that does not keep BODY byte for byte returns one of its content.
        """
        return digest_of_bytes(body)

    # --- the table of quarantined rows

    def quarantine_table(self) -> str | None:
        """Return the name of the table that holds the quarantined rows of loads; None if the target keeps none."""
        return None

    def quarantined(self, within: Interval | None = None) -> list[QuarantinedCount] | None:  # noqa: ARG002
        """Count the pipeline's quarantined rows by load, in order of time; None if there is no such table.

        With `within` only rows in this interval are counted.
        """
        return None

    def quarantined_rows(self, token: int, most: int) -> list[QuarantinedRow]:  # noqa: ARG002
        """Return up to `most` quarantined rows of a load, in order of time."""
        return []

    def restore_quarantine(self, manifest: Manifest, stage: Stage) -> int:  # noqa: ARG002
        """Write the quarantined rows of a loaded manifest again, where no newer load replaced it; return how many.

        It is one transaction, which changes nothing else.  If the table is missing, it is created.
        """
        raise FatalError(f"target {self.options.type!r} has no table of quarantined rows")

    # --- typed views of `identity.columns`

    def apply_columns(self, *, dry_run: bool = False) -> list[str]:  # noqa: ARG002
        """Make the typed views and physical columns follow the columns; return the statements.

        It may take long; after an interruption, another call continues where it stopped.
        """
        return []

    def typed_statements(self) -> list[str]:
        """Return the statements that create the typed views."""
        return []

    def expected_views(self) -> tuple[TypedView, ...]:
        """Return the typed views of the columns, the main one first; the target is not asked."""
        return ()

    def typed_views(self) -> tuple[TypedView, ...] | None:
        """Return the typed views that exist, the main one first; None if the target has none."""
        return None

    def unfilled_columns(self) -> dict[str, str]:
        """Return the physical columns that the views do not read yet, and why."""
        return {}

    def count_uncastable(
        self,
        interval: Interval,  # noqa: ARG002
        token: int | None = None,  # noqa: ARG002
    ) -> dict[str, tuple[int, int]]:
        """Count for each column the values in the interval, and those that do not cast to its type.

        With `token`, only rows of that load are counted.
        """
        return {}

    def check_stage(self, stage: Stage, sample: str | None) -> None:
        """Raise ConfigError or FatalError unless the target can read the stage's files by its options.

        `sample` is the path of an existing file, None while there is none.  By default the target streams the files
        and checks nothing.
        """

    def pipelines(self) -> dict[str, dict[str, object]]:
        """Return what each pipeline of this table registered; {} without a table.

        A target that keeps no registrations returns {}, and does not notice two pipelines with one source.
        """
        return {}

    def register(
        self,
        entry: dict[str, object],  # noqa: ARG002
        check: Callable[[dict[str, dict[str, object]]], None],
    ) -> None:
        """Store `entry` (JSON) for this pipeline in a prepared table, in one transaction with `check`.

        `check` gets the entries of the other pipelines, and raises to refuse.
        """
        check({})

    def rename_pipeline(self, old: str) -> int:
        """Move rows, commit rows and entry of pipeline `old` to this one in a transaction; return the rows.

        If it was done before, nothing changes, and 0 is returned.

        Raises:
            DataError: Both pipelines have commit rows.
        """
        raise FatalError(f"target {self.options.type!r} cannot rename the pipeline {old!r} in its rows")

    def newest_token(self) -> int:
        """Return the newest token of the pipeline in the target, 0 without one; the next must be greater."""
        return max((row.token for row in self.commits()), default=0)

    def newest_commit(self, interval: Interval) -> CommitRow | None:
        """Return the newest commit row that overlaps the interval."""
        return max(self.commits(interval), key=lambda row: row.token, default=None)
