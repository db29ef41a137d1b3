"""Test that a SQL target meets its contract: `TargetConformance`, and what a crash or a second session changes.

Subclass `SqlTargetConformance` and override the fixtures of `TargetConformance`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import LoadResult, Stage, Target
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.core.intervals import Interval, to_utc
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from airflow_pipeline_provider.testing.properties.target import STEPS, TargetLab, rolls_back_at, takes_turns
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, Loader, MakeTarget, Row, hours, rows
from airflow_pipeline_provider.testing.target_kit import Fetch, TargetConformance

LIMITS = TargetLimits(max_body_bytes=10)
ODD = ' it\'s %s "?" \\ü'
TOO_LONG = '{"text":"too long"}'


class SqlTargetConformance(TargetConformance):
    """Tests of a subclass of `connectors.sql_target.SqlTarget`."""

    @pytest.mark.parametrize("step", STEPS)
    def test_a_load_that_ends_at_any_step_changes_nothing(self, lab: TargetLab, step: str) -> None:
        rolls_back_at(lab, step)

    @pytest.mark.parametrize("tokens", [(2, 1), (1, 2)], ids=["the newer is first", "the older is first"])
    def test_a_load_that_waits_for_the_fence_sees_what_was_committed_meanwhile(
        self, lab: TargetLab, tokens: tuple[int, int]
    ) -> None:
        """The second one begins while the first holds the fence; a snapshot from then would hide the first."""
        takes_turns(lab, tokens)

    # --- the table of quarantined rows

    @pytest.fixture
    def quarantine(self, target: Target) -> Callable[[], set[tuple[str, int]]]:
        """Return the record ids in the table of quarantined rows, with the tokens of their loads."""

        def read() -> set[tuple[str, int]]:
            counts = target.quarantined() or []
            found = [row for count in counts for row in target.quarantined_rows(count.token, 1_000)]
            assert len(found) == sum(count.rows for count in counts)
            return {(row.record_id, row.token) for row in found}

        return read

    def test_a_load_writes_its_quarantined_rows(
        self, load: Loader, target: Target, fetch: Fetch, stage: Stage
    ) -> None:
        window = hours(0, 2)
        manifest = _mixed(load, window, 3, 4, token=7)
        assert load.load(manifest) == LoadResult(3, 3)
        found = fetch("_QUARANTINE")
        assert len({row["RECORD_ID"] for row in found}) == len(found) == 4
        [one] = [row for row in found if row["RECORD_ID"] == f"q/040000000000{ODD}"]
        assert to_utc(one["EVENT_TIME"], "EVENT_TIME") == MIDNIGHT
        assert one["REASON"] == "its body has 19 bytes, the target accepts at most 10"
        assert one["STAGE_FILE"] == stage.url(manifest.quarantined[0].path)
        assert (one["PIPELINE_ID"], one["TOKEN"]) == ("flights", 7)
        assert Interval(one["WINDOW_START"], one["WINDOW_END"]) == window
        assert to_utc(one["LOADED_AT"], "LOADED_AT") >= max(row.event_time for row in rows(window, 3))
        [count] = target.quarantined(window) or []
        assert (count.interval, count.token, count.rows, count.reasons) == (
            window,
            7,
            4,
            ((one["REASON"], 4),),
        )
        [first] = target.quarantined_rows(7, 1)
        assert (first.record_id, first.interval, first.stage_file) == (
            one["RECORD_ID"],
            window,
            one["STAGE_FILE"],
        )

    def test_without_quarantined_rows_there_is_no_table_for_them(self, load: Loader, target: Target) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load(hours(0, 2), rows(hours(0, 2), 6), token=2)
        assert target.quarantined() is None
        assert target.quarantined_rows(1, 10) == []

    def test_quarantined_rows_are_replaced_with_their_window(
        self, load: Loader, quarantine: Callable[[], set[tuple[str, int]]]
    ) -> None:
        load.load(_mixed(load, hours(0, 4), 4, 4, token=1))
        load.load(_mixed(load, hours(4, 6), 4, 2, token=2))
        load.load(_mixed(load, hours(0, 4), 4, 9, token=1, pipeline_id="weather"))
        before = quarantine()
        load.load(_mixed(load, hours(1, 2), 1, 0, token=3))  # a part of the first window
        left = {(name, token) for name, token in before if not (token == 1 and name.startswith("q/05"))}
        assert quarantine() == left
        assert len(left) == len(before) - 1
        load.load(_mixed(load, hours(0, 5), 1, 1, token=4))  # all of the first, a part of the second
        assert {token for _, token in quarantine()} == {4, 2}
        load(hours(0, 6), rows(hours(0, 6), 3), token=5)
        assert quarantine() == set()

    @pytest.mark.parametrize("step", ["load.quarantined", "load.commit_row_written"])
    def test_quarantined_rows_stay_if_their_load_ends_at_any_step(
        self, load: Loader, quarantine: Callable[[], set[tuple[str, int]]], step: str
    ) -> None:
        load.load(_mixed(load, hours(0, 2), 3, 2, token=1))
        before = quarantine()
        manifest = _mixed(load, hours(0, 2), 3, 4, token=2)
        with failing_at(step), pytest.raises(Crash):
            load.load(manifest)
        assert quarantine() == before
        assert load.load(manifest) == LoadResult(3, 3)
        assert {token for _, token in quarantine()} == {2}
        assert load.load(manifest) == LoadResult(3, 3, already=True)
        assert len(quarantine()) == 4

    def test_a_missing_file_of_quarantined_rows_is_rolled_back(
        self, load: Loader, target: Target, stage: Stage, quarantine: Callable[[], set[tuple[str, int]]]
    ) -> None:
        load.load(_mixed(load, hours(0, 2), 3, 2, token=1))
        before = quarantine()
        manifest = _mixed(load, hours(0, 2), 5, 4, token=2)
        stage.delete([part.path for part in manifest.quarantined])
        with pytest.raises(DataError):
            load.load(manifest)
        assert (quarantine(), target.count(hours(0, 2))) == (before, (3, 3))

    def test_a_rename_moves_quarantined_rows(self, load: Loader, make_target: MakeTarget) -> None:
        load.load(_mixed(load, hours(0, 2), 3, 2, token=1))
        renamed, old = make_target("trips"), make_target("flights")
        assert renamed.rename_pipeline("flights") == 3
        assert [count.rows for count in renamed.quarantined() or []] == [2]
        assert old.quarantined() == []
        renamed.close()
        old.close()

    def test_a_lost_table_of_quarantined_rows_is_written_again(
        self, load: Loader, target: Target, stage: Stage, quarantine: Callable[[], set[tuple[str, int]]]
    ) -> None:
        assert isinstance(target, SqlTarget)
        manifest = _mixed(load, hours(0, 4), 3, 4, token=1)
        load.load(manifest)
        load.load(_mixed(load, hours(1, 2), 1, 0, token=2))
        before, rows_before = quarantine(), target.count(hours(0, 4))

        def drop(session: Any, protocol: Any) -> None:
            session.execute(f"DROP TABLE {protocol.tables.quarantine}")

        target.transact("drop", drop)
        assert target.quarantined() is None
        assert [target.restore_quarantine(manifest, stage) for _ in range(2)] == [3, 3]
        assert quarantine() == before
        assert target.count(hours(0, 4)) == rows_before
        with pytest.raises(DataError, match="no commit row of token 9"):
            target.restore_quarantine(_mixed(load, hours(0, 4), 3, 4, token=9), stage)

    def test_a_table_of_another_shape_is_not_used_for_quarantined_rows(
        self, load: Loader, target: Target
    ) -> None:
        """A load that needs no such table leaves it alone; one that does is refused before it begins."""
        assert isinstance(target, SqlTarget)

        def create(session: Any, protocol: Any) -> None:
            text = protocol.tables.dialect.text
            session.execute(f'CREATE TABLE {protocol.tables.quarantine} ("RECORD_ID" {text})')

        target.transact("create", create)
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load(hours(0, 2), rows(hours(0, 2), 6), token=2)
        with pytest.raises(FatalError, match=r"exists and has another shape: column EVENT_TIME"):
            load.load(_mixed(load, hours(0, 2), 3, 2, token=3))
        assert target.count(hours(0, 2)) == (6, 6)
        assert target.quarantined() is None


def _mixed(
    load: Loader, window: Interval, loaded: int, rejected: int, *, token: int, pipeline_id: str = "flights"
) -> Manifest:
    """Return a manifest with so many rows to load, and so many that exceed the limits."""
    step = (window.end - window.start) / max(rejected, 1)
    names = [f"q/{(window.start + i * step):%H%M%S%f}" for i in range(rejected)]
    if names:
        names[0] += ODD
    times = [window.start + i * step for i in range(rejected)]
    more = [Row(name, time, TOO_LONG) for name, time in zip(names, times, strict=True)]
    found = [*rows(window, loaded), *more]
    return load.manifest(window, found, token=token, pipeline_id=pipeline_id, limits=LIMITS)
