"""Test that a SQL target meets its contract: `TargetConformance`, and what a crash or a second session changes.

Subclass `SqlTargetConformance` and override the fixtures of `TargetConformance`.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from airflow_pipeline_provider.connectors.base import LoadResult, Target
from airflow_pipeline_provider.exceptions import SupersededError
from airflow_pipeline_provider.testing.faults import Crash, failing_at, hooked
from airflow_pipeline_provider.testing.sample_rows import Loader, hours, rows
from airflow_pipeline_provider.testing.target_kit import Fetch, TargetConformance

STEPS = ("load.fence_taken", "load.deleted", "load.copied", "load.commit_row_written")


class SqlTargetConformance(TargetConformance):
    """Tests of a subclass of `connectors.sql_target.SqlTarget`."""

    @pytest.mark.parametrize("step", STEPS)
    def test_a_load_that_ends_at_any_step_changes_nothing(
        self, load: Loader, target: Target, fetch: Fetch, step: str
    ) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        before = sorted(fetch(""), key=str)
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 7, "new"), token=2)
        with failing_at(step), pytest.raises(Crash):
            load.load(manifest)
        assert sorted(fetch(""), key=str) == before
        assert [row.token for row in target.commits()] == [1]
        assert load.load(manifest) == LoadResult(7, 7)

    @pytest.mark.parametrize("tokens", [(2, 1), (1, 2)], ids=["the newer is first", "the older is first"])
    def test_a_load_that_waits_for_the_fence_sees_what_was_committed_meanwhile(
        self, load: Loader, target: Target, tokens: tuple[int, int]
    ) -> None:
        """The second one begins while the first holds the fence; a snapshot from then would hide the first."""
        first, second = (
            load.manifest(hours(0, 2), rows(hours(0, 2), 5 + token, f"t{token}"), token=token)
            for token in tokens
        )
        inside, go_on = threading.Event(), threading.Event()

        def hold(point: str) -> None:
            if point == "load.commit_row_written" and not inside.is_set():
                inside.set()
                go_on.wait(60)

        with hooked(hold), ThreadPoolExecutor(2) as pool:
            holding = pool.submit(load.load, first)
            try:
                assert inside.wait(60)
                waiting = pool.submit(load.load, second)
                assert not wait([waiting], timeout=0.5).done, "it did not wait for the fence"
            finally:
                go_on.set()
            assert holding.result(60).rows == 5 + tokens[0]
            if tokens[1] > tokens[0]:
                assert waiting.result(60).rows == 5 + tokens[1]
            else:
                with pytest.raises(SupersededError):
                    waiting.result(60)
        assert target.count(hours(0, 2)) == (7, 7)
        assert target.newest_token() == 2
