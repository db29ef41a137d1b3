# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted)
"""Properties of a SQL target that depend on the database: rights, DDL, lost connections, names, sizes, times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow_pipeline_provider.connectors.base import LoadResult, TargetCounts
from airflow_pipeline_provider.connectors.scratch import LoadWay
from airflow_pipeline_provider.connectors.sql_scratch import SqlScratch
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import DataError, PipelineError, TransientError
from airflow_pipeline_provider.testing.properties.cut_connections import Lost, cutting, open_connections
from airflow_pipeline_provider.testing.properties.judging import (
    NotApplicableError,
    NotMetError,
    NotTestedError,
    Property,
    expect,
)
from airflow_pipeline_provider.testing.properties.target import WINDOW, TargetLab
from airflow_pipeline_provider.testing.sample_rows import MICRO, MIDNIGHT, Row, rows

MIB = 2**20
_DDL = ("CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "GRANT", "COMMENT")
_LATEST = 20.0  # seconds after which a statement with a limit of 3 seconds must have ended
_ZONES = ("UTC", "Pacific/Kiritimati", "America/New_York")
_INSTANTS = (
    "1900-01-01T00:00:00.000001",
    "1969-12-31T23:59:59.999999",
    "2013-11-03T05:30:00",  # New York repeats this hour
    "2013-11-03T06:30:00",
    "2038-01-19T03:14:08",
    "2262-04-11T23:47:16.854776",
    "9999-12-30T23:59:59.999998",
)
_END = datetime(9999, 12, 31, tzinfo=timezone.utc)
OnStatement = Callable[[str], AbstractContextManager[None]]


class _WatchedSession:
    """A session whose statements run inside what `see` returns for them."""

    def __init__(self, session: Any, see: OnStatement) -> None:
        self._session, self._see = session, see

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._see(statement):
            found: list[tuple[Any, ...]] = self._session.execute(statement, parameters)
            return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def watch(target: SqlTarget[Any], see: OnStatement) -> None:
    """Let each statement of the target's sessions run inside what `see` returns."""
    original = target.open_session

    @contextmanager
    def open_session(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with original(*args, **kwargs) as session:
            yield _WatchedSession(session, see)

    target.open_session = open_session  # type: ignore[method-assign]


def _sql(lab: TargetLab) -> SqlScratch:
    if lab.scratch is None:
        raise NotTestedError("the target has no scratch schema")
    return lab.scratch


# --- rights


def has_rights(lab: TargetLab) -> str:
    """Run every kind of statement that preparing and loading need."""
    scratch, refused, untried = _sql(lab), [], []
    rights, missing = scratch.rights(), False
    scratch.create_schema()
    for right in rights:
        if missing:
            untried.append(right.what)
            continue
        try:
            scratch.run(right.statement)
        except TransientError:
            raise
        except PipelineError as error:
            refused.append(f"{right.what} was refused: {right.grant} ({str(error)[:200]})")
            missing = right.what == "CREATE TABLE"  # what follows needs it
    if refused:
        rest = f"; not tried without it: {', '.join(dict.fromkeys(untried))}" if untried else ""
        raise NotMetError("; ".join(refused) + rest)
    return ", ".join(dict.fromkeys(right.what for right in rights))


# --- statements of a load


def keeps_ddl_out(lab: TargetLab) -> str:
    """Record a load's statements, and see what a CREATE TABLE does to an open transaction."""
    recorded: list[str] = []

    def see(statement: str) -> AbstractContextManager[None]:
        recorded.append(statement)
        return nullcontext()

    with lab.target() as target:
        assert isinstance(target, SqlTarget)
        watch(target, see)
        target.load(lab.stage_rows(WINDOW, rows(WINDOW, 5), token=1), lab.stage)
        words = [statement.split()[0].upper() for statement in recorded]
        if "COMMIT" not in words or "UPDATE" not in words:
            raise NotTestedError(f"no UPDATE of the fence row and COMMIT among {', '.join(words)}")
        inside = words[words.index("UPDATE") : words.index("COMMIT")]
        if found := [word for word in inside if word in _DDL]:
            raise NotMetError(f"the load runs {', '.join(found)} between the fence row and COMMIT")
        commits = _ddl_commits(target, _sql(lab))
        declared = target.dialect.ddl_commits
        if commits and not declared:
            raise NotMetError(
                "CREATE TABLE committed the open transaction, and the dialect does not say so (ddl_commits)"
            )
    effect = "commits an open transaction here" if commits else "is part of a transaction here"
    return f"{len(inside)} statements from fence to COMMIT, none of them DDL; CREATE TABLE {effect}"


def _ddl_commits(target: SqlTarget[Any], scratch: SqlScratch) -> bool:
    """Return whether a row that was inserted before CREATE TABLE is there after ROLLBACK."""
    data, more = (scratch.table.sibling(f"_DDL_{n}") for n in (1, 2))
    kind = target.dialect.integer
    scratch.run(f"CREATE TABLE {data} (N {kind})")
    with target.open_session("certify") as session, session.transaction():
        session.execute(f"INSERT INTO {data} SELECT 1")
        session.execute(f"CREATE TABLE {more} (N {kind})")
        session.execute("ROLLBACK")
    with target.open_session("certify") as session:
        [(count,)] = session.execute(f"SELECT COUNT(*) FROM {data}")
    return bool(count)


# --- lost connections


def survives_lost(lab: TargetLab, lost: Lost) -> str:
    """Cut the connection at COMMIT, then load again until it succeeds, as Airflow's retries do."""
    with lab.target() as target:
        lab.load(WINDOW, rows(WINDOW, 5), token=1)
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 7, "new"), token=2)
        cut = _load_and_cut(lab, manifest, lost)
        first = target.count(WINDOW)
        if first not in (TargetCounts(5, 5), TargetCounts(7, 7)):
            raise NotMetError(
                f"after the cut the window has {first}: neither the old rows (5) nor the new ones (7)"
            )
        result = lab.load_manifest(manifest)
        expect("rows and distinct ids", target.count(WINDOW), TargetCounts(7, 7))
        expect("tokens of the commit rows", [row.token for row in target.commits()], [1, 2])
        if lost == "reply" and not result.already:
            raise NotMetError("the transaction was committed, and the next try loaded it again")
    found = "already loaded" if result.already else "not loaded, so loaded again"
    return f"{cut}; the next try found it {found}: 7 rows, one commit row"


def _load_and_cut(lab: TargetLab, manifest: Any, lost: Lost) -> str:
    """Load once, with the connection cut at COMMIT; return how it was cut and what the load reported."""
    embedded, before = _sql(lab).is_embedded, open_connections()
    cuts: list[str] = []
    seen: list[str] = []

    @contextmanager
    def see(statement: str) -> Iterator[None]:
        if statement.strip().upper() != "COMMIT" or seen:
            yield
            return
        seen.append(statement)
        if embedded and lost == "request":
            raise TransientError("COMMIT was not sent, on demand")
        with cutting(set() if embedded else open_connections() - before, lost) as cut:
            try:
                yield
            finally:
                cuts.extend(cut)
        if embedded:
            raise TransientError("the reply to COMMIT is lost, on demand")

    with closing(lab.make_target(lab.pipeline_id)) as target:
        assert isinstance(target, SqlTarget)
        watch(target, see)
        try:
            target.load(manifest, lab.stage)
            reported = "the load found out by itself"
        except TransientError:
            reported = "the load ended with a temporary error"
    if not seen:
        raise NotTestedError("the target commits by another statement than COMMIT")
    if embedded:
        return f"embedded, so simulated in this process; {reported}"
    if not cuts:
        raise NotTestedError("COMMIT was sent over a connection that could not be found in this process")
    return f"connection cut; {reported}"


# --- names, sizes, times


def loads_by(way: LoadWay, lab: TargetLab) -> str:
    """Load several parts in one of the target's ways."""
    if way.changes is None:
        raise NotTestedError(way.why_not)
    with lab.target(**way.changes) as target:
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 1000), token=1, part_bytes=4_000)
        expect("the load", target.load(manifest, lab.stage), LoadResult(1000, 1000))
        expect("rows and distinct ids", target.count(WINDOW), TargetCounts(1000, 1000))
    return f"1,000 rows in {len(manifest.parts)} parts from {lab.stage.base}"


def quotes_names(lab: TargetLab) -> str:
    """Load into a table whose name needs quotes."""
    scratch = _sql(lab)
    opening, closing_mark = scratch.target.dialect.quoting.split("{}")
    name = f"{scratch.name}_quoted Name-1"
    schema = ".".join(f"{opening}{part}{closing_mark}" for part in scratch.schema.parts)
    with lab.target(table=f"{schema}.{opening}{name}{closing_mark}") as target:
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 5), token=1)
        expect("the load", target.load(manifest, lab.stage), LoadResult(5, 5))
        expect("rows and distinct ids", target.count(WINDOW), TargetCounts(5, 5))
        expect("tokens", [row.token for row in target.commits()], [1])
    if not any(found.endswith(name) for found in scratch.remaining()):
        raise NotMetError(f"no table in the catalogue has the name {name!r}, with its case, spaces and dash")
    return f"table {name!r} keeps its case, spaces and dash"


def stores_document_of(size: int, lab: TargetLab) -> str:
    """Load one document of this size."""
    with lab.target() as target:
        assert isinstance(target, SqlTarget)
        limit = target.limits.max_body_bytes
        if limit is not None and limit < size:
            raise NotApplicableError(f"the largest document is {limit / MIB:g} MiB by the target's options")
        body = '{"x":"' + "a" * (size - 8) + '"}'
        try:
            target.load(lab.stage_rows(WINDOW, [Row("large", MIDNIGHT, body)], token=1), lab.stage)
        except DataError as error:
            raise NotMetError(
                f"refused ({str(error)[:300]}); set target.max_document_size to what the account stores"
            ) from None
        expect("rows", target.count(WINDOW), TargetCounts(1, 1))
        if length := _sql(lab).body_length:
            expect("length of the text that was read back", _length(target, length), size - 8)
            return f"{size:,} bytes stored, and their length read back"
    return f"{size:,} bytes stored and counted; their length was not read back"


def _length(target: SqlTarget[Any], expression: str) -> int:
    with target.open_session("certify") as session:
        tables = target.find_tables(session)
        protocol = target.protocol(session, tables)
        read = f"SELECT {expression.format(tables.columns.body)} FROM {tables.data} {protocol.inside}"
        [(length,)] = session.execute(read, protocol.bounds(WINDOW))
    return int(length)


def keeps_instants(lab: TargetLab) -> str:
    """Load instants of all centuries, and count each of them in sessions of other time zones."""
    times = [datetime.fromisoformat(text).replace(tzinfo=timezone.utc) for text in _INSTANTS]
    set_zone = _sql(lab).time_zone
    whole = Interval(times[0], _END)
    with lab.target() as target:
        assert isinstance(target, SqlTarget)
        of = [Row(f"t{number}", moment) for number, moment in enumerate(times)]
        expect("the load", target.load(lab.stage_rows(whole, of, token=1), lab.stage), LoadResult(7, 7))
        if not set_zone:
            raise NotTestedError("the target's scratch does not say how a session sets its time zone")
        for zone in _ZONES:
            with target.open_session("certify") as session:
                session.execute(set_zone.format(zone))
                protocol = target.protocol(session, target.find_tables(session))
                for moment in times:
                    found = protocol.read_counts(Interval(moment, moment + MICRO)).rows
                    expect(f"rows at {moment.isoformat()} in a session of {zone}", found, 1)
                [commit] = protocol.read_commits(whole)
                expect(f"the interval of the commit row in a session of {zone}", commit.interval, whole)
    return f"{len(times)} instants from 1900 to 9999, to the microsecond, in sessions of {', '.join(_ZONES)}"


# --- time limits


def limits_statements(lab: TargetLab) -> str:
    """Run a statement that takes 30 seconds under a limit of 3 seconds."""
    scratch = _sql(lab)
    if scratch.is_embedded:
        raise NotApplicableError("an embedded database has no limit for statements")
    if not scratch.slow_statement:
        raise NotTestedError("the target's scratch names no slow statement")
    with lab.target(statement_timeout="3s") as target:
        assert isinstance(target, SqlTarget)
        start = time.monotonic()
        try:
            with target.open_session("certify") as session:
                session.execute(scratch.slow_statement)
        except TransientError as error:
            seconds = time.monotonic() - start
            if seconds > _LATEST:
                raise NotMetError(
                    f"the statement was ended after {seconds:.0f} s, with a limit of 3 s"
                ) from None
            return f"ended after {seconds:.1f} s by a temporary error: {str(error)[:160]}"
        except PipelineError as error:
            raise NotTestedError(f"{scratch.slow_statement} cannot be run here: {str(error)[:200]}") from None
    raise NotMetError(f"{scratch.slow_statement} ended without an error under a limit of 3 s")


def properties(scratch: SqlScratch) -> tuple[Property[TargetLab], ...]:
    """Return the properties of a SQL target, one for each way in which it can load."""
    ways = [
        Property(way.name, "every part that the manifest lists is read whole", partial(loads_by, way))
        for way in scratch.load_ways()
    ]
    return (
        *ways,
        Property("DDL", "no statement of a load commits its transaction early", keeps_ddl_out),
        Property(
            "lost COMMIT reply",
            "a load whose reply is lost is found committed, and not loaded twice",
            lambda lab: survives_lost(lab, "reply"),
        ),
        Property(
            "lost COMMIT request",
            "a load whose COMMIT never arrives changes nothing",
            lambda lab: survives_lost(lab, "request"),
        ),
        Property("quoted names", "a table's name keeps its case, spaces and dashes", quotes_names),
        Property(
            "document of 16 MiB",
            "a document of this size is stored whole",
            partial(stores_document_of, 16 * MIB),
        ),
        Property(
            "document of 128 MiB",
            "a document of this size is stored whole",
            partial(stores_document_of, 128 * MIB),
        ),
        Property("time zones", "an instant is the same in sessions of any time zone", keeps_instants),
        Property(
            "statement time-out",
            "a statement that takes too long ends with an error",
            limits_statements,
        ),
    )


RIGHTS: Property[TargetLab] = Property(
    "rights", "the role may run each statement of preparing and loading", has_rights
)
