"""Properties of any target: a load takes effect whole and once, and an older one never replaces a newer one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as changed

from airflow_pipeline_provider.connectors.base import LoadResult, Stage, Target, TargetCounts
from airflow_pipeline_provider.connectors.sql_scratch import SqlScratch
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import DataError, SupersededError, TransientError
from airflow_pipeline_provider.testing.faults import Crash, failing_at, hooked
from airflow_pipeline_provider.testing.properties.judging import (
    NotMetError,
    NotTestedError,
    Property,
    expect,
)
from airflow_pipeline_provider.testing.sample_rows import Loader, MakeTarget, Row, hours, rows

STEPS = ("load.fence_taken", "load.deleted", "load.copied", "load.commit_row_written")
WINDOW = hours(0, 2)
_WAIT = 60.0  # seconds until a thread must have answered


@dataclass(frozen=True)
class TargetLab:
    """A scratch table and a stage.

    `make_target` returns a new target on the table for a pipeline id, `vary` one whose options differ. `fetch` reads
    the rows that a property must not change, without the target's own code where it is possible.
    """

    make_target: MakeTarget
    stage: Stage
    pipeline_id: str = "flights"
    fetch: Callable[[], list[Any]] | None = None
    vary: Callable[..., Target] | None = None
    scratch: SqlScratch | None = None

    def made(self, **changes: object) -> Target:
        """Return a new target; `changes` are of its options."""
        if not changes:
            return self.make_target(self.pipeline_id)
        if self.vary is None:
            raise NotTestedError("the options of this target cannot be changed here")
        return self.vary(self.pipeline_id, **changes)

    @contextmanager
    def target(self, **changes: object) -> Iterator[Target]:
        """Yield a prepared target."""
        with closing(self.made(**changes)) as target:
            target.prepare()
            yield target

    def stage_rows(
        self, interval: Interval, of: Sequence[Row], token: int, part_bytes: int = 10**6
    ) -> Manifest:
        """Write rows to the stage and return their manifest."""
        return Loader(self.make_target, self.stage).manifest(
            interval, of, token=token, pipeline_id=self.pipeline_id, part_bytes=part_bytes
        )

    def load(self, interval: Interval, of: Sequence[Row], token: int) -> LoadResult:
        """Stage and load rows."""
        return self.load_manifest(self.stage_rows(interval, of, token))

    def load_manifest(self, manifest: Manifest) -> LoadResult:
        """Load a manifest by a target of its own; temporary errors are retried."""
        return Loader(self.make_target, self.stage).load(manifest)

    def seen(self, target: Target, interval: Interval) -> tuple[Any, ...]:
        """Return everything that a refused load must leave as it is."""
        fetched = sorted(self.fetch(), key=str) if self.fetch else None
        return target.count(interval), target.commits(), fetched


def of_pipeline(lab: TargetLab, pipeline_id: str) -> TargetLab:
    """Return the lab for another pipeline on the same table."""
    return replace(lab, pipeline_id=pipeline_id)


# --- one load


def is_prepared_twice(lab: TargetLab) -> str:
    """Prepare the tables twice, in two sessions."""
    for _ in range(2):
        with lab.target() as target:
            expect("rows of a new pipeline", target.count(WINDOW), TargetCounts(0, 0))
            expect("its commit rows", target.commits(), [])
    return "created once, and unchanged by the second call"


def loads_once(lab: TargetLab) -> str:
    """Load several parts, then the same manifest again."""
    with lab.target() as target:
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 1000), token=7, part_bytes=4_000)
        expect("the load", lab.load_manifest(manifest), LoadResult(1000, 1000))
        before = lab.seen(target, WINDOW)
        expect("rows and distinct ids", before[0], TargetCounts(1000, 1000))
        expect("the same load again", lab.load_manifest(manifest), LoadResult(1000, 1000, already=True))
        expect("rows and commit rows after it", lab.seen(target, WINDOW), before)
        expect("newest token", target.newest_token(), 7)
    return f"1,000 rows in {len(manifest.parts)} parts; again: already loaded"


def replaces_its_window_only(lab: TargetLab) -> str:
    """Replace the middle one of three windows."""
    with lab.target() as target:
        for token, start in enumerate((0, 2, 4), 1):
            window = hours(start, start + 2)
            lab.load(window, rows(window, 5), token)
        expect("the new load", lab.load(hours(2, 4), rows(hours(2, 4), 9, "new"), 4), LoadResult(9, 9))
        counts = [target.count(hours(start, start + 2)).rows for start in (0, 2, 4)]
        expect("rows of the three windows", counts, [5, 9, 5])
        other = of_pipeline(lab, f"{lab.pipeline_id}-other")
        other.load(hours(2, 4), rows(hours(2, 4), 2), 1)
        expect("rows after another pipeline's load", target.count(hours(0, 6)).rows, 19)
    return "neighbours and the other pipeline keep their rows"


def refuses_an_older_token(lab: TargetLab) -> str:
    """Load with an older token, on the same and on an overlapping interval."""
    with lab.target() as target:
        lab.load(WINDOW, rows(WINDOW, 5), token=5)
        before = lab.seen(target, hours(0, 24))
        for late in (WINDOW, hours(1, 5)):
            manifest = lab.stage_rows(late, rows(late, 9, "late"), token=4)
            try:
                lab.load_manifest(manifest)
            except SupersededError:
                pass
            else:
                raise NotMetError(f"token 4 on {late} replaced rows of token 5")
        expect("rows and commit rows", lab.seen(target, hours(0, 24)), before)
    return "refused on the same and on an overlapping interval"


def refuses_other_counts(lab: TargetLab) -> str:
    """Load a manifest that promises one row more than its parts have."""
    with lab.target() as target:
        lab.load(WINDOW, rows(WINDOW, 5), token=1)
        before = lab.seen(target, WINDOW)
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 7, "new"), token=2)
        more = changed(manifest, parts=tuple(changed(part, rows=part.rows + 1) for part in manifest.parts))
        try:
            lab.load_manifest(more)
        except DataError:
            pass
        else:
            raise NotMetError("a load of 7 rows whose manifest has 8 was committed")
        expect("rows and commit rows", lab.seen(target, WINDOW), before)
        expect("the right manifest", lab.load_manifest(manifest), LoadResult(7, 7))
    return "8 rows promised, 7 copied: refused, and rolled back"


# --- transactions


def rolls_back_at(lab: TargetLab, step: str) -> None:
    """End a load at a step of its transaction; nothing may have changed, and a rerun loads everything."""
    with lab.target() as target:
        lab.load(WINDOW, rows(WINDOW, 5), token=1)
        before = lab.seen(target, WINDOW)
        manifest = lab.stage_rows(WINDOW, rows(WINDOW, 7, "new"), token=2)
        try:
            with failing_at(step):
                lab.load_manifest(manifest)
        except Crash:
            pass
        else:
            raise NotTestedError(f"the target does not reach the fault point {step}")
        expect(f"rows and commit rows after a load that ended at {step}", lab.seen(target, WINDOW), before)
        expect("the rerun", lab.load_manifest(manifest), LoadResult(7, 7))
        expect("rows after the rerun", target.count(WINDOW), TargetCounts(7, 7))


def rolls_back(lab: TargetLab) -> str:
    """End a load at each step of its transaction, DELETE and INSERT among them."""
    for number, step in enumerate(STEPS):
        rolls_back_at(of_pipeline(lab, f"{lab.pipeline_id}-{number}"), step)
    return f"ended after {len(STEPS)} steps (fence, DELETE, INSERT, commit row): unchanged each time, reruns load"


def takes_turns(lab: TargetLab, tokens: tuple[int, int]) -> None:
    """Hold one load inside its transaction while another session begins to load the same window."""
    with lab.target() as target:
        first, second = (
            lab.stage_rows(WINDOW, rows(WINDOW, 5 + token, f"t{token}"), token=token) for token in tokens
        )
        inside, go_on = threading.Event(), threading.Event()

        def hold(point: str) -> None:
            if point == "load.commit_row_written" and not inside.is_set():
                inside.set()
                go_on.wait(_WAIT)

        with hooked(hold), ThreadPoolExecutor(2) as pool:
            holding = pool.submit(lab.load_manifest, first)
            try:
                if not inside.wait(_WAIT):
                    raise NotTestedError("the target does not reach the fault point load.commit_row_written")
                waiting = pool.submit(lab.load_manifest, second)
                if wait([waiting], timeout=0.5).done:
                    raise NotMetError(
                        "the second session did not wait for the fence row that the first one holds"
                    )
            finally:
                go_on.set()
            expect("rows of the first load", holding.result(_WAIT).rows, 5 + tokens[0])
            if tokens[1] > tokens[0]:
                expect("rows of the second load", waiting.result(_WAIT).rows, 5 + tokens[1])
            else:
                _expect_superseded(lambda: waiting.result(_WAIT))
        expect("rows and distinct ids at the end", target.count(WINDOW), TargetCounts(7, 7))
        expect("newest token", target.newest_token(), 2)


def _expect_superseded(call: Callable[[], LoadResult]) -> None:
    try:
        result = call()
    except SupersededError:
        return
    raise NotMetError(
        f"the older load waited for the fence, and then replaced what had been committed meanwhile ({result})"
    )


def two_sessions_take_turns(lab: TargetLab) -> str:
    """Let two sessions meet at the fence row, the newer token first and last."""
    for name, tokens in (("newer-first", (2, 1)), ("older-first", (1, 2))):
        takes_turns(of_pipeline(lab, f"{lab.pipeline_id}-{name}"), tokens)
    return "the second session waited, then saw what the first one had committed, in both orders"


def newest_of_many_wins(lab: TargetLab) -> str:
    """Load one window by four sessions at once."""
    with lab.target() as target:
        manifests = [
            lab.stage_rows(WINDOW, rows(WINDOW, 10 + token, f"t{token}"), token) for token in (1, 2, 3, 4)
        ]
        gate = threading.Barrier(len(manifests))

        def run(manifest: Manifest) -> bool:
            gate.wait(_WAIT)
            try:
                lab.load_manifest(manifest)
            except SupersededError:
                return False
            return True

        with ThreadPoolExecutor(len(manifests)) as pool:
            loaded = list(pool.map(run, manifests))
        expect("rows and distinct ids", target.count(WINDOW), TargetCounts(14, 14))
        tokens = [row.token for row in target.commits()]
        expect("tokens of the commit rows", tokens, [n for n, done in enumerate(loaded, 1) if done])
    return f"{sum(loaded)} of 4 loads committed, {4 - sum(loaded)} were refused; the newest token's rows are there"


def gives_up_waiting(lab: TargetLab) -> str:
    """Hold the fence row, and let another session wait for it until its time limit."""
    window, limit = WINDOW, 60.0
    with lab.target() as target:
        has_limit = "statement_timeout" in type(target.options).model_fields
        first, second = (lab.stage_rows(window, rows(window, 4 + n, f"t{n}"), token=n) for n in (1, 2))
        inside, go_on = threading.Event(), threading.Event()

        def hold(point: str) -> None:
            if point == "load.fence_taken" and not inside.is_set():
                inside.set()
                go_on.wait(limit + 30)

        def wait_for_it() -> str:
            try:
                with closing(lab.made(**({"statement_timeout": "3s"} if has_limit else {}))) as other:
                    other.load(second, lab.stage)
            except TransientError as error:
                return str(error)
            raise NotMetError("the second session loaded while the first one held the fence row")

        with hooked(hold), ThreadPoolExecutor(2) as pool:
            holding = pool.submit(lab.load_manifest, first)
            try:
                if not inside.wait(_WAIT):
                    raise NotTestedError("the target does not reach the fault point load.fence_taken")
                waiting = pool.submit(wait_for_it)
                if not wait([waiting], timeout=limit).done:
                    raise NotMetError(f"the second session still waits for the fence row after {limit:.0f} s")
                message = waiting.result()
            finally:
                go_on.set()
            expect("the first load", holding.result(_WAIT), LoadResult(5, 5))
        expect("commit rows", [row.token for row in target.commits()], [1])
        expect("the second load, tried again", lab.load_manifest(second), LoadResult(6, 6))
    return f"temporary error, then loaded by the next try: {message[:160]}"


PROPERTIES: tuple[Property[TargetLab], ...] = (
    Property(
        "tables", "preparing creates the tables, and changes nothing the second time", is_prepared_twice
    ),
    Property("load", "a load writes all rows with their commit row; again it changes nothing", loads_once),
    Property("replacement", "a newer load replaces its window and nothing else", replaces_its_window_only),
    Property("older token", "a stale task cannot replace newer rows", refuses_an_older_token),
    Property("counts", "a load with other rows than its manifest is rolled back", refuses_other_counts),
    Property("rollback", "a load that ends at any step, DELETE and INSERT done, changes nothing", rolls_back),
    Property(
        "fence",
        "of two sessions on one fence row, the second waits for the first",
        two_sessions_take_turns,
    ),
    Property(
        "concurrent loads", "of four sessions on one window, the newest token wins", newest_of_many_wins
    ),
    Property(
        "lock time-out", "a session that waits for a lock ends with a temporary error", gives_up_waiting
    ),
)
