"""What SQL targets share: preparing, loading, counting, registering and renaming.

A new one is a `TargetDialect`, a session, and the abstract methods of `SqlHooks`; its methods under "may change" have
a default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.connectors import registrations
from airflow_pipeline_provider.connectors.base import CommitRow, LoadResult, Stage, TargetCounts
from airflow_pipeline_provider.connectors.load_protocol import Copy, LoadProtocol, micros_of
from airflow_pipeline_provider.connectors.physical_target import PhysicalTarget
from airflow_pipeline_provider.connectors.probes import Answer, Probes
from airflow_pipeline_provider.connectors.quarantine import QuarantineTable
from airflow_pipeline_provider.connectors.quarantine_target import QuarantineTarget
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import S
from airflow_pipeline_provider.connectors.sql_tables import (
    FENCE_COLUMNS,
    TargetTables,
    check_shape,
    check_sharing,
)
from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.canonical_json import Digest, digest_of_json
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest


class SqlTarget(QuarantineTarget[S], PhysicalTarget[S]):
    """A table in a SQL database; `Options` has the key `table`, and `conn_id` unless it overrides `place`."""

    can_keep_history = True

    def probes(self) -> Probes:
        yield from super().probes()
        yield "tables and rights", self._probe_rights

    def _probe_rights(self) -> Answer:
        def attempt() -> Answer:
            with self.open_session("check") as session:
                tables = self.find_tables(session)
                if missing := self.missing_tables(session, tables.names):
                    return self.describe_missing(session, missing)
                for table in tables.names:
                    check_shape(f"table {table}", tables.types(table), self.column_types(session, table))
                more = [tables.quarantine] if self.has_quarantine(session, tables) else []
                with session.transaction():
                    self.protocol(session, tables).try_rights(more)
                    session.execute("ROLLBACK")
                return Answer("ok", f"{self.options.table} exists and may be changed")

        return self.retry(attempt)

    def prepare(self) -> None:
        def attempt() -> None:
            with self.open_session("prepare") as session:
                self.create_missing(session, self.find_tables(session))

        self.retry(attempt)
        self.refresh_columns()

    def create_missing(self, session: S, tables: TargetTables) -> None:
        """Create what is missing, and nothing else: a role without CREATE can load into prepared tables."""
        self.create_schema(session, tables)
        for table in self.missing_tables(session, tables.names):
            self.create_table(session, tables, table)
        for table in tables.names:
            seen = self.column_types(session, table)
            for column in FENCE_COLUMNS:
                if table == tables.fence and column not in seen:
                    session.execute(tables.add_to_fence(column))
            check_shape(f"table {table}", tables.types(table), seen)
        definition = self.view_definition(session, tables.latest)
        if definition is None:
            if not self.missing_tables(session, [tables.latest]):
                raise FatalError(
                    f"{tables.latest} exists and is not a view: drop it, or give target.table another name"
                )
            self.create_view(session, tables, replace=False)
            return
        if tables.follows_other_rule(definition):
            others = self.protocol(session, tables).other_pipelines()
            check_sharing(str(tables.latest), self.identity, others)
        elif not self.is_outdated_view(definition):
            return
        self.create_view(session, tables, replace=True)

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        self.prepare_quarantine(manifest)

        def attempt() -> LoadResult:
            with self.open_session("load", manifest.interval) as session:
                protocol = self.protocol(session, self.find_tables(session))
                self.require_tables(session, protocol.tables)
                copy = self.prepare_copy(session, protocol, manifest, stage)
                keep = partial(self.replace_quarantined, session, protocol, manifest, stage)
                return self.retry_transaction(partial(self._replace, session, protocol, manifest, copy, keep))

        return self.retry(attempt)

    def _replace(
        self,
        session: S,
        protocol: LoadProtocol,
        manifest: Manifest,
        copy: Copy,
        keep: Callable[[bool], None],
    ) -> LoadResult:
        with session.transaction():
            result = protocol.replace_window(manifest, copy, keep)
            if result.already:
                session.execute("ROLLBACK")
            else:
                self.commit_load(session, manifest)
        return result

    def count(self, interval: Interval) -> TargetCounts:
        nothing = TargetCounts(0, 0)
        return self.read("count", lambda _, p: p.read_counts(interval), nothing, _data, interval)

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        return self.read("count", lambda _, p: p.read_counts_by_token(interval), {}, _data, interval)

    def count_newest(self, interval: Interval, token: int) -> int:
        return self.read("count", lambda _, p: p.count_newest(interval, token), 0, _data, interval)

    @contextmanager
    def records(self, interval: Interval, *, content: bool = False) -> Iterator[Iterator[Sequence[Row]]]:
        with ExitStack() as stack:
            session = self.retry(lambda: stack.enter_context(self.open_session("list records", interval)))
            tables = self.find_tables(session)
            if self.missing_tables(session, [tables.data]):
                yield iter(())
                return
            statement, parameters = self.protocol(session, tables).list_records(interval, content=content)
            portions = stack.enter_context(
                closing(self.stream(session, statement, parameters, content=content))
            )
            yield ([self._record(*row) for row in portion] for portion in portions)

    def _record(self, record_id: Any, time: Any, content: Any = None) -> Row:
        if content is None:
            return record_id, micros_of(time), None, False
        if self.dialect.body_json:
            return record_id, micros_of(time), *digest_of_json(content)
        if self.dialect.body_hash:
            return record_id, micros_of(time), bytes.fromhex(content), True
        return record_id, micros_of(time), hashlib.sha256(content.encode()).digest(), True

    def digest(self, body: bytes) -> Digest:
        return digest_of_json(body) if self.dialect.body_json else super().digest(body)

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        return self.read("read commits", lambda _, p: p.read_commits(within), [], _commits, within)

    def newest_token(self) -> int:
        return self.read("read newest token", lambda _, p: p.read_newest_token(), 0, _commits)

    def pipelines(self) -> registrations.Pipelines:
        def read(session: S, protocol: LoadProtocol) -> registrations.Pipelines:
            if registrations.COLUMN not in self.column_types(session, protocol.tables.fence):
                return {}
            return registrations.read_pipelines(protocol)

        return self.read("read pipelines", read, {}, lambda tables: tables.fence)

    def register(self, entry: dict[str, object], check: registrations.Check) -> None:
        self.change("register pipeline", lambda protocol: registrations.register(protocol, entry, check))

    def rename_pipeline(self, old: str) -> int:
        def rename(session: S, protocol: LoadProtocol) -> int:
            rows = registrations.rename(protocol, old)
            if self.has_quarantine(session, protocol.tables):
                QuarantineTable(protocol).rename(old)
            return rows

        return self.transact(f"rename pipeline {old}", rename, is_long=True)


def _data(tables: TargetTables) -> ObjectName:
    return tables.data


def _commits(tables: TargetTables) -> ObjectName:
    return tables.commits
