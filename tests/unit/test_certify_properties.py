"""The properties of `certify` fail, each by its name, for connectors that do not have them."""

from __future__ import annotations

import io
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from msgspec.structs import replace as changed

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.duckdb import target as duckdb_target
from airflow_pipeline_provider.connectors.duckdb.session import DuckDBSession
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.scratch import ObjectStoreScratch
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.envelope.manifest import Upload
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.testing.properties import source, sql_target, stage, state, target
from airflow_pipeline_provider.testing.properties.cut_connections import cutting, open_connections
from airflow_pipeline_provider.testing.properties.judging import (
    NotTestedError,
    Property,
    PropertyResult,
    is_certified,
    judge,
)
from airflow_pipeline_provider.testing.source_rows import WINDOW, spread
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_state import MemoryState, MemoryStore
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse

SECONDS = timedelta(seconds=1)


def judged(
    properties: Sequence[Property[Any]], lab: Callable[[int], Any], only: Sequence[str] = ()
) -> Counter[str]:
    """Judge the properties, each in a lab of its own; return the names by verdict as "name: verdict"."""
    names = [one.name for one in properties]
    assert set(only) <= set(names), names
    return Counter(
        f"{one.name}: {judge(one, lab(n)).verdict}"
        for n, one in enumerate(properties)
        if not only or one.name in only
    )


# --- targets


@pytest.fixture
def staged(tmp_path: Path) -> ObjectStoreStage:
    return ObjectStoreStage(ObjectStoreStage.Options(path=str(tmp_path / "stage")), Identity("kit", "UTC"))


class WithoutTransactions(DuckDBTarget):
    """Each statement is committed by itself."""

    @contextmanager
    def open_session(self, doing: str, interval: Interval | None = None) -> Iterator[DuckDBSession]:
        with super().open_session(doing, interval) as session:
            original = session.execute

            def execute(statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                ends = statement in ("COMMIT", "ROLLBACK")
                return [] if ends else original(statement, parameters)

            session.execute = execute  # type: ignore[method-assign]
            session.transaction = nullcontext  # type: ignore[assignment,method-assign]
            yield session


def duckdb_lab(
    of: type[DuckDBTarget], folder: Path, staged: ObjectStoreStage
) -> Callable[[int], target.TargetLab]:
    def vary(pipeline_id: str, **changes: object) -> DuckDBTarget:
        section = {"path": str(folder / "x.duckdb"), "table": "scratch.certify_1", **changes}
        return of(of.Options.model_validate(section), Identity(pipeline_id, "UTC"))

    lab = target.TargetLab(vary, staged, vary=vary, scratch=vary("x").scratch())
    return lambda n: replace(lab, pipeline_id=f"certify/{n}")


def test_a_target_without_transactions_fails(tmp_path: Path, staged: ObjectStoreStage) -> None:
    lab = duckdb_lab(WithoutTransactions, tmp_path, staged)
    only = ("load", "counts", "rollback")
    assert judged(target.PROPERTIES, lab, only) == Counter(
        ["load: passed", "counts: failed", "rollback: failed"]
    )


class DDLInLoad(DuckDBTarget):
    """Creates a table between the fence row and COMMIT."""

    def prepare_copy(self, session: Any, *args: Any) -> Callable[[], int]:
        copy = super().prepare_copy(session, *args)

        def with_ddl() -> int:
            session.execute("CREATE TABLE scratch.more (n INTEGER)")
            return copy()

        return with_ddl


def test_ddl_inside_of_a_load_fails(tmp_path: Path, staged: ObjectStoreStage) -> None:
    lab = duckdb_lab(DDLInLoad, tmp_path, staged)
    properties = sql_target.properties(lab(0).scratch)  # type: ignore[arg-type]
    assert judged(properties, lab, ["DDL"]) == Counter(["DDL: failed"])


class LoadsTwice(DuckDBTarget):
    """Does not find its own commit row after a lost reply."""

    def retry_transaction(self, attempt: Callable[[], Any]) -> Any:
        result = attempt()
        return (
            changed(result, already=False)
            if hasattr(result, "__struct_fields__")
            else result._replace(already=False)
        )


def test_a_load_that_is_done_twice_fails(tmp_path: Path, staged: ObjectStoreStage) -> None:
    lab = duckdb_lab(LoadsTwice, tmp_path, staged)
    properties = sql_target.properties(lab(0).scratch)  # type: ignore[arg-type]
    only = ("lost COMMIT reply", "lost COMMIT request")
    assert judged(properties, lab, only) == Counter(
        ["lost COMMIT reply: failed", "lost COMMIT request: passed"]
    )


class WithoutFence(MemoryTarget):
    """Loads do not wait for each other."""

    def _fenced(self) -> Any:
        return nullcontext()


class WithoutTokens(MemoryTarget):
    """Does not look at what other loads committed."""

    def _commits(self, *_args: Any) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (MemoryTarget, ["fence: passed", "older token: passed", "rollback: passed"]),
        (WithoutFence, ["fence: failed", "older token: passed", "rollback: passed"]),
        (WithoutTokens, ["fence: failed", "older token: failed", "rollback: passed"]),
    ],
)
def test_a_target_of_ones_own_is_judged_by_name(
    of: type[MemoryTarget], expected: list[str], staged: ObjectStoreStage
) -> None:
    def lab(n: int) -> target.TargetLab:
        warehouse = MemoryWarehouse()
        return target.TargetLab(
            lambda pipeline_id: of(identity=Identity(pipeline_id, "UTC"), warehouse=warehouse),
            staged,
            f"p{n}",
        )

    assert judged(target.PROPERTIES, lab, ("fence", "older token", "rollback")) == Counter(expected)


def test_a_session_that_never_gives_up_fails(
    tmp_path: Path, staged: ObjectStoreStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = duckdb_lab(DuckDBTarget, tmp_path, staged)
    monkeypatch.setattr(duckdb_target, "BUSY_SECONDS", 0.5)
    assert judged(target.PROPERTIES, lab, ["lock time-out"]) == Counter(["lock time-out: passed"])


# --- stages


class Overwrites(ObjectStoreScratch):
    """Does not know If-None-Match."""

    def create(self, path: str, data: bytes) -> bool:
        self._stage.write(path, data)
        return True


class ShowsUnfinished(ObjectStoreStage):
    """A file is visible while it is written, and stays when the writer fails."""

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        full = Path(self.base.removeprefix("file://"), path)
        full.parent.mkdir(parents=True, exist_ok=True)
        with full.open("wb") as file:
            yield file


class ListsLate(ObjectStoreStage):
    """The listing does not show the newest file."""

    def list(self, folder: str) -> Any:
        return sorted(super().list(folder), key=lambda file: file.modified)[:-1]


class LosesBytes(ObjectStoreStage):
    """Returns fewer bytes than were written."""

    @contextmanager
    def open_read(self, path: str) -> Iterator[BinaryIO]:
        with super().open_read(path) as file:
            yield io.BytesIO(file.read()[:-1])


class BelievesSizes(ObjectStoreStage):
    """Takes a file of the right size for the file that was written."""

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        with super().open_write(path) as inner:
            file = io.BytesIO()
            yield file
            inner.write(file.getvalue())
        file.upload = Upload("AAAAAA==", "etag")  # type: ignore[attr-defined]

    def proves(self, path: str, upload: Upload, size: int) -> bool:
        return self.size(path) == size


ALL_OF_STAGE = {one.name for one in stage.PROPERTIES}


@pytest.mark.parametrize(
    ("of", "scratch", "failing"),
    [
        (ObjectStoreStage, ObjectStoreScratch, set()),
        (ObjectStoreStage, Overwrites, {"conditional create"}),
        (ShowsUnfinished, ObjectStoreScratch, {"large files", "broken uploads"}),
        (ListsLate, ObjectStoreScratch, {"listing", "delete"}),
        (LosesBytes, ObjectStoreScratch, ALL_OF_STAGE - {"broken uploads", "delete", "proofs"}),
        (BelievesSizes, ObjectStoreScratch, {"proofs"}),
    ],
)
def test_a_stage_is_judged_by_name(
    of: type[ObjectStoreStage], scratch: type[ObjectStoreScratch], failing: set[str], tmp_path: Path
) -> None:
    def open_stage() -> ObjectStoreStage:
        return of(of.Options(path=str(tmp_path / "stage")), Identity("kit", "UTC"))

    lab = stage.StageLab(open_stage, scratch=scratch(open_stage()))
    seen = judged(stage.PROPERTIES, lambda _: lab)
    expected = {name: "failed" if name in failing else "passed" for name in ALL_OF_STAGE}
    if "proofs" not in failing:
        expected["proofs"] = "not applicable"  # a folder keeps no checksums
    assert seen == Counter(f"{name}: {verdict}" for name, verdict in expected.items())


# --- states


class WithoutCompareAndSet(MemoryState):
    """Reads and writes in two steps."""

    def append(self, entry: Entry) -> None:
        seen = [one.token or 0 for one in self.entries(entry.interval)]
        time.sleep(0.05)
        if entry.token is None or entry.token >= max(seen, default=0):
            self._mine.entries.append(entry)

    def acquire(self, interval: Interval, owner: Any, ttl_seconds: float) -> Any:
        before = list(self._mine.leases)
        time.sleep(0.05)
        try:
            return super().acquire(interval, owner, ttl_seconds)
        finally:
            self._mine.leases = [*before, self._mine.leases[-1]]

    def mint_token(self, floor: int = 0) -> int:
        token = self._mine.token
        time.sleep(0.01)
        self._mine.token = token + 1
        return token + 1


STATES = ("stale token", "compare-and-set", "concurrent tokens")


@pytest.mark.parametrize(
    ("of", "failing"),
    [(MemoryState, set()), (WithoutCompareAndSet, {"stale token", "compare-and-set", "concurrent tokens"})],
)
def test_a_state_without_compare_and_set_fails(of: type[MemoryState], failing: set[str]) -> None:
    store = MemoryStore()

    def lab(n: int) -> state.StateLab:
        return state.StateLab(
            lambda pipeline_id, zone: of(identity=Identity(pipeline_id, zone), store=store),
            f"p{n}",
            processes=False,
        )

    expected = Counter(f"{name}: {'failed' if name in failing else 'passed'}" for name in STATES)
    assert judged(state.PROPERTIES, lab, STATES) == expected


# --- sources


class LosesRows(MemorySource):
    """Ends a read early without an error."""

    def _read(self, table: Any, view: list[Any], lost: bool) -> Any:
        return super()._read(table, view[: len(view) - 1], lost)


class IsClosed(MemorySource):
    """Counts and reads the end of a window too."""

    def count(self, interval: Interval) -> int:
        return super().count(Interval(interval.start, interval.end + SECONDS))

    def open(self, slice_: Any, readers: int = 1) -> Any:
        wider = Interval(slice_.interval.start, slice_.interval.end + SECONDS)
        return super().open(changed(slice_, interval=wider), readers)


class IsEmptyWhenMissing(MemorySource):
    """A table that does not exist has no rows."""

    def _rows(self) -> Any:
        return self.table(self.options.table)


SOURCES = ("count", "half-open windows", "slices", "missing source")


@pytest.mark.parametrize(
    ("of", "failing"),
    [
        (MemorySource, set()),
        (LosesRows, {"count", "half-open windows", "slices"}),
        (IsClosed, {"half-open windows", "slices"}),
        (IsEmptyWhenMissing, {"missing source"}),
    ],
)
def test_a_source_that_answers_partially_fails(of: type[MemorySource], failing: set[str]) -> None:
    MemorySource.clear()
    table = MemorySource.table("flights")
    for row in spread(41, timedelta(minutes=3)):  # the last one is at the end of the window
        table.put(row.key, row.event_time, "{}")

    def make(**changes: object) -> MemorySource:
        known = {key: value for key, value in changes.items() if key in of.Options.model_fields}
        return of(of.Options.model_validate({"table": "flights", **known}), Identity("kit", "UTC"))

    lab = source.SourceLab(make, WINDOW)
    expected = Counter(f"{name}: {'failed' if name in failing else 'passed'}" for name in SOURCES)
    assert judged(tuple(source.properties()), lambda _: lab, SOURCES) == expected
    MemorySource.clear()


def test_without_rows_of_its_own_or_a_window_a_source_is_not_tested() -> None:
    def make(**_: object) -> MemorySource:
        return MemorySource(MemorySource.Options(table="flights"), Identity("kit", "UTC"))

    MemorySource.table("flights")
    seen = judged(tuple(source.properties()), lambda _: source.SourceLab(make, None))
    assert {text for text in seen if text.endswith("passed")} == {
        "readable: passed",
        "missing source: passed",
    } & set(seen)
    assert seen["stable view: not tested"] == 1
    assert seen["count: not tested"] == 1
    MemorySource.clear()


# --- judging


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (None, "passed"),
        (NotTestedError("no"), "not tested"),
        (TransientError("no answer"), "not tested"),
        (FatalError("no right"), "failed"),
        (ZeroDivisionError("x"), "failed"),
    ],
)
def test_an_error_is_judged(raised: Exception | None, verdict: str) -> None:
    def run(_: None) -> str:
        if raised is not None:
            raise raised
        return "seen"

    assert judge(Property("p", "it", run), None).verdict == verdict


@pytest.mark.parametrize(
    ("verdicts", "certified"),
    [
        (["passed", "not applicable"], True),
        (["passed", "not tested"], False),
        (["passed", "failed"], False),
        (["not applicable"], False),
        ([], False),
    ],
)
def test_certified_needs_everything_tested(verdicts: list[Any], certified: bool) -> None:
    assert is_certified([PropertyResult("p", "it", verdict, "", 0.0) for verdict in verdicts]) is certified


def test_an_interruption_goes_through() -> None:
    def run(_: None) -> str:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        judge(Property("p", "it", run), None)
        pytest.fail("it was judged")


def test_a_connection_is_cut_when_it_is_used_and_no_file_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        files = len(list(Path("/dev/fd").iterdir()))
        for lost, arrived in (("reply", b"COMMIT"), ("request", b"")):
            client = socket.create_connection(server.getsockname(), timeout=10)
            accepted, _ = server.accept()
            accepted.settimeout(10)
            ours = {one for one in open_connections() if one[0] == client.fileno()}
            assert len(ours) == 1
            with client, accepted, cutting(ours, lost) as cut:
                assert cut == []
                client.sendall(b"COMMIT")
                assert accepted.recv(100) == arrived
                with suppress(OSError):
                    accepted.sendall(b"done")
                with suppress(ConnectionError):
                    assert client.recv(100) == b""
                assert len(cut) == 1
        assert len(list(Path("/dev/fd").iterdir())) == files


def test_the_reply_to_an_earlier_request_comes_before_the_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=10)
        accepted, _ = server.accept()
        accepted.settimeout(10)
        ours = {one for one in open_connections() if one[0] == client.fileno()}
        with client, accepted:
            client.sendall(b"page 2")
            with cutting(ours, "reply") as cut:
                assert accepted.recv(100) == b"page 2"
                accepted.sendall(b"two")
                assert client.recv(100) == b"two"
                assert cut == []
                client.sendall(b"page 3")
                assert accepted.recv(100) == b"page 3"
                accepted.sendall(b"three")
                assert client.recv(100) == b""
                assert len(cut) == 1
