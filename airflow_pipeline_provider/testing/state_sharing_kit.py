"""Test a state store shared by several pipelines and concurrent workers, and its export to another store."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import ConfigError, SupersededError
from airflow_pipeline_provider.state.base import Snapshot, State
from airflow_pipeline_provider.testing.properties import state as properties
from airflow_pipeline_provider.testing.properties.state import StateLab
from airflow_pipeline_provider.testing.sample_rows import DAY, ZONE, hours
from airflow_pipeline_provider.testing.state_fixtures import FAR, OpenState, StateFixtures, entry


class StateSharingConformance(StateFixtures):
    """Tests of export and import, of several pipelines in one store, and of concurrent use."""

    # --- export and import

    def _history(self, state: State) -> None:
        """Write days out of order, every kind of entry, a replaced window, runs and an unused token."""
        state.append(entry(Kind.ATTEMPT, hours(24, 26), attempt="a1", run="dag/one", detail={"slices": 2}))
        for token, interval in ((1, hours(24, 26)), (2, hours(0, 2)), (3, hours(0, 1)), (7, hours(-3, -1))):
            state.append(entry(Kind.REPLACING, interval, token, manifest="ab" * 32, run="dag/one", rows=5))
            state.append(entry(Kind.COMMITTED, interval, token, manifest="ab" * 32, run="dag/one", rows=5))
        state.append(entry(Kind.FAILED, hours(2, 4), detail={"error": "DataError", "message": 'é "∑"'}))
        state.append(entry(Kind.WAIVED, hours(2, 4), detail={"reason": "lost"}))
        for number in range(12):  # more than one digit, so that sorting by name would not restore their order
            state.bind_run(f"dag/run {number}", hours(number, number + 1))
        state.mint_token(floor=40)
        state.first_day(DAY)
        state.change_about(lambda about: replace(about, source={"n": 1}, target={"n": 2}))
        state.record_act("adopt", "ann", "moved")

    def test_a_pipeline_is_exported_and_imported(self, state: State, open_state: OpenState) -> None:
        self._history(state)
        state.acquire(hours(4, 6), "dag/run 4", FAR)
        exported = state.snapshot()
        assert (exported.token, exported.first_day, exported.entries) == (41, DAY, tuple(state.entries()))
        with closing(open_state("copy", ZONE)) as copy:
            copy.restore(exported)
            assert copy.entries() == state.entries()
            assert copy.snapshot() == exported
            assert list(copy.snapshot().runs) == [f"dag/run {number}" for number in range(12)]
            assert copy.bound("dag/run 3") == hours(3, 4)
            assert copy.first_day(None) == DAY
            assert copy.leases(expired=True) == []
            assert copy.latest_timestamp_available(DAY) == hours(2, 4).end
            with pytest.raises(SupersededError):
                copy.append(entry(Kind.REPLACING, hours(0, 2), 2, rows=5, manifest="cd" * 32))
            assert copy.mint_token() == 42
            copy.append(entry(Kind.WAIVED, hours(4, 6)))
            assert copy.entries() == [*state.entries(), copy.entries()[-1]]
            assert copy.entries(hours(5, 6)) == copy.entries()[-1:]

    def test_an_unknown_pipeline_exports_an_empty_snapshot(self, state: State) -> None:
        assert state.snapshot() == Snapshot()
        state.restore(Snapshot())
        assert state.snapshot() == Snapshot()

    def test_a_restore_may_be_repeated(self, state: State, open_state: OpenState) -> None:
        self._history(state)
        exported = state.snapshot()
        with closing(open_state("copy", ZONE)) as copy:
            copy.restore(replace(exported, entries=exported.entries[:5], runs={}))
            copy.restore(exported)
            copy.restore(exported)
            assert copy.snapshot() == exported

    def test_a_restore_lowers_no_token_and_moves_no_first_day_forward(
        self, state: State, open_state: OpenState
    ) -> None:
        self._history(state)
        with closing(open_state("copy", ZONE)) as copy:
            copy.mint_token(floor=99)
            copy.first_day(DAY - timedelta(days=1))
            copy.restore(state.snapshot())
            assert copy.mint_token() == 101
            assert copy.first_day(None) == DAY - timedelta(days=1)
        with closing(open_state("third", ZONE)) as third:  # a snapshot whose token was edited
            third.first_day(DAY + timedelta(days=1))
            third.restore(replace(state.snapshot(), token=0))
            assert third.mint_token() == 8
            assert third.first_day(None) == DAY

    @pytest.mark.parametrize("other", ["an entry", "an entry more", "a binding"])
    def test_a_restore_over_another_history_is_refused(
        self, state: State, open_state: OpenState, other: str
    ) -> None:
        self._history(state)
        exported = state.snapshot()
        with closing(open_state("copy", ZONE)) as copy:
            if other == "an entry":
                copy.append(entry(Kind.WAIVED, hours(10, 12)))
            elif other == "an entry more":
                copy.restore(exported)
                copy.append(entry(Kind.WAIVED, hours(10, 12)))
            else:
                copy.bind_run("dag/run 3", hours(10, 12))
            before = copy.snapshot()
            with pytest.raises(ConfigError, match="empty state"):
                copy.restore(exported)
            assert copy.snapshot() == before

    # --- several pipelines, several workers

    def test_pipelines_do_not_see_each_other(self, state: State, open_state: OpenState) -> None:
        with closing(open_state("flights.2013-11-03", ZONE)) as other:
            state.append(entry(Kind.REPLACING, hours(0, 2), 9))
            state.acquire(hours(0, 2), "one", FAR)
            state.bind_run("dag/run", hours(0, 2))
            state.mint_token(floor=10)
            state.first_day(DAY)
            assert other.entries() == []
            assert other.leases() == []
            assert other.bound("dag/run") is None
            other.append(entry(Kind.REPLACING, hours(0, 2), 1))
            assert other.acquire(hours(0, 2), "two", FAR).owner == "two"
            assert other.mint_token() == 1
            assert other.first_day(DAY + timedelta(days=1)) == DAY + timedelta(days=1)
        assert [one.token for one in state.entries()] == [9]

    def test_first_use_by_many_and_tokens_of_many_are_distinct(
        self, open_state: OpenState, lab: StateLab
    ) -> None:
        probe = open_state("flights", ZONE)
        count = 8 if probe.concurrent else 1
        lists = properties.in_threads(lab, count, lambda state, _: [state.mint_token() for _ in range(10)])
        assert sorted(token for tokens in lists for token in tokens) == list(range(1, count * 10 + 1))

    def test_tokens_of_several_processes_are_distinct(self, open_state: OpenState) -> None:
        if not (open_state("flights", ZONE).concurrent and self.processes):
            lists = [properties.mint_some(open_state, 10) for _ in range(4)]  # one after another
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(4, mp_context=context) as pool:
                lists = [
                    job.result()
                    for job in [pool.submit(properties.mint_some, open_state, 10) for _ in range(4)]
                ]
        assert sorted(token for tokens in lists for token in tokens) == list(range(1, 41))
        assert all(tokens == sorted(tokens) for tokens in lists)

    def test_of_many_acquirers_one_wins(self, open_state: OpenState, lab: StateLab) -> None:
        with closing(open_state("flights", ZONE)) as probe:
            properties.one_acquirer_wins(lab, properties.THREADS if probe.concurrent else 1)

    def test_of_many_writers_of_one_window_the_newest_token_wins(
        self, open_state: OpenState, lab: StateLab
    ) -> None:
        with closing(open_state("flights", ZONE)) as probe:
            properties.newest_writer_wins(lab, properties.THREADS if probe.concurrent else 1)
