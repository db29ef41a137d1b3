"""Test that a state store meets its contract: subclass `StateConformance` and override the fixture `open_state`.

::

    class TestMyState(StateConformance):
        @pytest.fixture
        def open_state(self, tmp_path):
            return partial(open_my_state, str(tmp_path))      # called with (pipeline_id, timezone)

`open_state(pipeline_id, timezone)` returns a new `State` over the same store each time. For a `concurrent` store it
must be picklable, because other processes call it too; set `processes = False` for a store in a single process.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError, SupersededError
from airflow_pipeline_provider.state.about import NOTHING, DayEvent, Task
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.owners import Execution, Owner
from airflow_pipeline_provider.testing.sample_rows import DAY, MIDNIGHT, hours
from airflow_pipeline_provider.testing.state_fixtures import FAR, entry
from airflow_pipeline_provider.testing.state_sharing_kit import StateSharingConformance


def without_times(executions: Iterable[Execution]) -> list[Execution]:
    """Return the executions without the times of their renewals."""
    return [execution._replace(at=0.0) for execution in executions]


class StateConformance(StateSharingConformance):
    """Tests of the contract `state.base.State`: ledger, leases, token and runs of one pipeline, and shared use."""

    # --- an empty store

    def test_an_empty_store_has_no_entries_leases_or_runs(self, state: State) -> None:
        assert state.entries() == []
        assert state.entries(hours(0, 25)) == []
        assert state.leases() == []
        assert state.bound("dag/run") is None
        assert state.latest_timestamp_available(DAY) is None

    def test_its_clock_is_aware_and_near_ours(self, state: State) -> None:
        assert state.now().utcoffset() == timedelta(0)
        assert abs(state.now() - datetime.now(timezone.utc)) < timedelta(minutes=5)

    def test_a_store_may_be_closed_twice_and_used_again(self, state: State) -> None:
        state.mint_token()
        state.close()
        state.close()
        assert state.mint_token() == 2

    # --- ledger

    def test_entries_are_read_as_written_in_order(self, state: State, reopened: State) -> None:
        odd = Interval(
            MIDNIGHT + timedelta(microseconds=1), MIDNIGHT + timedelta(seconds=1, microseconds=999_999)
        )
        written = [
            entry(Kind.ATTEMPT, hours(4, 6), attempt="a1", run="dag/scheduled__2013-11-03T00:00:00-04:00"),
            entry(
                Kind.FAILED,
                hours(0, 2),
                detail={"error": "DataError", "message": 'é "∑" \\', "n": [1, None, 0.1]},
            ),
            entry(Kind.REPLACING, hours(2, 4), 2**53 + 1, attempt="a2", manifest="ab" * 32, rows=0),
            entry(Kind.COMMITTED, hours(2, 4), 2**53 + 1, attempt="a2", manifest="ab" * 32, rows=2**40),
            entry(Kind.WAIVED, odd, detail={"reason": "lost at the source"}),
        ]
        before = state.now()
        for one in written:
            state.append(one)
        read = reopened.entries()
        assert [replace(one, at=MIDNIGHT) for one in read] == written
        assert [one.at for one in read] == sorted(one.at for one in read)
        assert all(before <= one.at <= state.now() for one in read)

    def test_stored_coverage_matches_the_entries(self, state: State, reopened: State) -> None:
        for number in range(30):  # enough for a store to keep its coverage
            state.append(entry(Kind.WAIVED, hours(number, number + 1)))
            state.append(entry(Kind.FAILED, hours(40, 41), detail={"error": "DataError"}))
        whole = hours(0, 50)
        for asked in (state, reopened, state):
            assert asked.coverage(whole, keep=True) == Coverage((hours(0, 30),), ((hours(40, 41), 30),))
        state.append(entry(Kind.WAIVED, hours(-1, 0)))
        state.append(entry(Kind.REPLACING, hours(35, 36), 1))
        with reopened.session():
            assert reopened.coverage(hours(-2, 50)).done == (hours(-1, 30),)
            reopened.append(entry(Kind.COMMITTED, hours(35, 36), 1))
            reopened.append(
                entry(Kind.WAIVED, hours(40.5, 41))
            )  # overlaps the failures, so they do not count
            assert reopened.coverage(hours(-2, 50)).blocked(1) == []
        assert state.coverage(hours(-2, 50)).done == (hours(-1, 30), hours(35, 36), hours(40.5, 41))

    def test_entries_of_several_days_are_in_order(self, state: State) -> None:
        starts = [48, 0, -24, 24, 0]
        for number, start in enumerate(starts):
            state.append(entry(Kind.ATTEMPT, hours(start, start + 1), attempt=str(number)))
            time.sleep(0.002)
        assert [one.attempt for one in state.entries()] == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize(
        ("within", "expected"),
        [
            pytest.param(hours(0, 25), ["a", "b", "long"], id="the day"),
            pytest.param(
                hours(2, 4), ["b", "long"], id="exactly one: its neighbours touch and do not overlap"
            ),
            pytest.param(hours(1.5, 2.5), ["a", "b", "long"], id="across two"),
            pytest.param(hours(3, 3.001), ["b", "long"], id="inside one"),
            pytest.param(hours(30, 40), ["long"], id="inside one that started two days before"),
            pytest.param(hours(72, 90), [], id="after all"),
            pytest.param(hours(-48, -24), [], id="before all, touching"),
            pytest.param(hours(3, 3), [], id="an empty interval overlaps nothing"),
        ],
    )
    def test_entries_within_an_interval(self, state: State, within: Interval, expected: list[str]) -> None:
        state.append(entry(Kind.ATTEMPT, hours(0, 2), attempt="a"))
        state.append(entry(Kind.ATTEMPT, hours(2, 4), attempt="b"))
        state.append(entry(Kind.WAIVED, hours(-24, 72), attempt="long"))
        assert [one.attempt for one in state.entries(within)] == expected

    @pytest.mark.parametrize(
        ("spans", "expected"),
        [
            ([], []),
            ([hours(7, 8)], ["both"]),
            ([hours(0, 2), hours(10, 12)], ["late", "both", "early"]),
            ([hours(0, 2), hours(4, 6), hours(10, 12)], ["late", "both", "early", "between"]),
        ],
    )
    def test_entries_in_spans_keep_the_order_of_writing(
        self, state: State, spans: list[Interval], expected: list[str]
    ) -> None:
        intervals = {"late": (10, 12), "both": (0, 12), "early": (0, 2), "between": (4, 6)}
        for attempt, (start, end) in intervals.items():
            state.append(entry(Kind.ATTEMPT, hours(start, end), attempt=attempt))
            time.sleep(0.002)
        assert [one.attempt for one in state.entries_in(spans)] == expected

    @pytest.mark.parametrize("kind", list(Kind))
    def test_every_kind_of_entry_is_stored(self, state: State, reopened: State, kind: Kind) -> None:
        if kind is Kind.COMMITTED:
            state.append(entry(Kind.REPLACING, hours(0, 2), 5))
        detail = {"source": 3, "target": 4, "verdict": "shrank"}
        state.append(entry(kind, hours(0, 2), 5, detail=detail))
        written = reopened.entries()[-1]
        assert (written.kind, written.interval, written.detail) == (kind, hours(0, 2), detail)

    @pytest.mark.parametrize("kind", [Kind.REPLACING, Kind.COMMITTED])
    def test_writing_a_keyed_entry_again_changes_nothing(
        self, state: State, reopened: State, kind: Kind
    ) -> None:
        state.append(entry(Kind.REPLACING, hours(0, 2), 5, rows=1))
        state.append(entry(kind, hours(0, 2), 5, rows=1))
        before = state.entries()
        reopened.append(entry(kind, hours(0, 2), 5, rows=2))
        assert state.entries() == before

    def test_attempts_and_failures_add_up(self, state: State) -> None:
        for _ in range(2):
            state.append(entry(Kind.ATTEMPT, hours(0, 2), attempt="a"))
            state.append(entry(Kind.FAILED, hours(0, 2), attempt="a", detail={"error": "DataError"}))
        assert len(state.entries()) == 4

    @pytest.mark.parametrize(
        "interval",
        [
            pytest.param(hours(2, 4), id="the same interval"),
            pytest.param(hours(3, 5), id="a part of it"),
            pytest.param(hours(0, 25), id="an interval around it"),
            pytest.param(hours(2.5, 3), id="an interval inside it"),
        ],
    )
    @pytest.mark.parametrize("newer", [Kind.REPLACING, Kind.COMMITTED])
    def test_an_older_token_is_refused_on_any_overlap(
        self, state: State, reopened: State, interval: Interval, newer: Kind
    ) -> None:
        state.append(entry(Kind.REPLACING, hours(2, 4), 7))
        state.append(entry(newer, hours(2, 4), 7))
        before = state.entries()
        for kind in (Kind.REPLACING, Kind.COMMITTED):
            with pytest.raises(SupersededError, match="7"):
                reopened.append(entry(kind, interval, 6))
        assert state.entries() == before

    def test_a_miss_of_a_day_or_of_a_commit_is_written_once(self, state: State, reopened: State) -> None:
        for token in (None, None, 1, 1, 2):
            state.append(entry(Kind.MISSED, hours(0, 2), token))
        assert [one.token for one in reopened.entries()] == [None, 1, 2]

    def test_an_older_token_is_refused_even_if_it_was_committed_before(self, state: State) -> None:
        state.append(entry(Kind.REPLACING, hours(0, 2), 1))
        state.append(entry(Kind.COMMITTED, hours(0, 2), 1))
        state.append(entry(Kind.REPLACING, hours(1, 2), 2))
        with pytest.raises(SupersededError):
            state.append(entry(Kind.COMMITTED, hours(0, 2), 1))

    def test_an_older_token_on_another_interval_is_accepted(self, state: State) -> None:
        state.append(entry(Kind.REPLACING, hours(2, 4), 7))
        state.append(entry(Kind.REPLACING, hours(0, 2), 6))
        assert [one.token for one in state.entries()] == [7, 6]

    def test_a_commit_without_its_replacing_entry_is_refused(self, state: State) -> None:
        for bad in (entry(Kind.COMMITTED, hours(0, 2), 3), entry(Kind.REPLACING, hours(0, 2), None)):
            with pytest.raises(PipelineError, match="token"):
                state.append(bad)
        assert state.entries() == []

    def test_the_continuation_is_the_days_contiguous_prefix(self, state: State, reopened: State) -> None:
        for interval, token in ((hours(0, 2), 1), (hours(4, 6), 2)):
            state.append(entry(Kind.REPLACING, interval, token))
            state.append(entry(Kind.COMMITTED, interval, token))
        assert reopened.latest_timestamp_available(DAY) == hours(0, 2).end
        state.append(entry(Kind.WAIVED, hours(2, 4)))
        assert reopened.latest_timestamp_available(DAY) == hours(4, 6).end
        assert reopened.latest_timestamp_available(hours(24.5, 25).start) == hours(4, 6).end
        assert reopened.latest_timestamp_available(DAY + timedelta(days=1)) is None

    # --- leases

    def test_a_lease_is_acquired_listed_and_released(self, state: State, reopened: State) -> None:
        before = state.now()
        lease = state.acquire(hours(0, 2), "dag/run-1", FAR)
        assert (lease.interval, lease.owner) == (hours(0, 2), "dag/run-1")
        assert before <= lease.since <= state.now()
        assert lease.until - lease.since == timedelta(seconds=FAR)
        assert reopened.leases() == [lease]
        reopened.release(hours(0, 2), "dag/run-1")
        assert state.leases() == []
        reopened.release(hours(0, 2), "dag/run-1")

    @pytest.mark.parametrize(
        ("interval", "held"),
        [
            pytest.param(hours(2, 4), True, id="the same interval"),
            pytest.param(hours(1, 2.001), True, id="one that reaches in"),
            pytest.param(hours(0, 25), True, id="one around it"),
            pytest.param(hours(3, 3.5), True, id="one inside it"),
            pytest.param(hours(0, 2), False, id="one that ends where it starts"),
            pytest.param(hours(4, 6), False, id="one that starts where it ends"),
        ],
    )
    def test_leases_conflict_on_overlap(
        self, state: State, reopened: State, interval: Interval, held: bool
    ) -> None:
        first = state.acquire(hours(2, 4), "one", FAR)
        if not held and state.concurrent:
            reopened.acquire(interval, "two", FAR)
            assert {lease.owner for lease in state.leases()} == {"one", "two"}
            return  # a store with a single writer refuses every other owner
        with pytest.raises(LeaseHeldError) as caught:
            reopened.acquire(interval, "two", FAR)
        assert (caught.value.owner, caught.value.since, caught.value.until) == (
            "one",
            first.since,
            first.until,
        )
        assert state.leases() == [first]

    def test_renewing_keeps_since_and_moves_until(self, state: State, reopened: State) -> None:
        first = state.acquire(hours(0, 2), "one", FAR)
        time.sleep(0.01)
        renewed = reopened.acquire(hours(0, 2), "one", FAR)
        assert renewed.since == first.since
        assert renewed.until > first.until
        assert state.leases() == [renewed]
        for _ in range(5):
            reopened.acquire(hours(0, 2), "one", FAR)  # also within one tick of the store's clock
        assert len(state.leases()) == 1

    def test_an_owners_own_leases_do_not_conflict(self, state: State) -> None:
        state.acquire(hours(0, 2), "one", FAR)
        state.acquire(hours(1, 3), "one", FAR)
        assert [lease.interval for lease in state.leases()] == [hours(0, 2), hours(1, 3)]

    def test_an_expired_lease_is_not_listed_and_can_be_taken_over(
        self, state: State, reopened: State
    ) -> None:
        short = state.acquire(hours(0, 2), "one", 0.05)
        while state.now() < short.until:
            time.sleep(0.01)
        assert state.leases() == []
        taken = reopened.acquire(hours(1, 3), "two", FAR)
        assert taken.since >= short.until
        with pytest.raises(LeaseHeldError, match="two"):
            state.acquire(hours(0, 2), "one", FAR)

    def test_releasing_the_lease_of_another_owner_does_nothing(self, state: State) -> None:
        lease = state.acquire(hours(0, 2), "one", FAR)
        state.release(hours(0, 2), "two")
        state.release(hours(0, 1), "one")
        assert state.leases() == [lease]

    def test_a_lease_that_was_renewed_since_it_was_read_stays(self, state: State, reopened: State) -> None:
        read = state.acquire(hours(0, 2), "one", FAR)
        renewed = read
        while renewed.until == read.until:
            time.sleep(0.01)
            renewed = reopened.acquire(hours(0, 2), "one", FAR)
        reopened.release(hours(0, 2), "one", until=read.until)
        assert state.leases() == [renewed]
        reopened.release(hours(0, 2), "one", until=renewed.until)
        assert state.leases() == []

    # --- installations and executions

    def test_equal_run_ids_of_two_installations_do_not_share_a_lease(
        self, state: State, reopened: State
    ) -> None:
        blue, green = Owner("dag/run", "blue"), Owner("dag/run", "green")
        first = state.acquire(hours(0, 2), blue, FAR)
        assert (first.owner, first.installation, first.holder) == (
            "dag/run",
            "blue",
            "dag/run (installation blue)",
        )
        with pytest.raises(LeaseHeldError, match=r"held by dag/run \(installation blue\) since") as caught:
            reopened.acquire(hours(1, 3), green, FAR)
        assert (caught.value.owner, caught.value.holder) == (first.owner, first.holder)
        reopened.release(hours(0, 2), green)
        assert reopened.leases() == [first]
        assert reopened.acquire(hours(0, 2), blue, FAR).since == first.since
        reopened.release(hours(0, 2), blue)
        assert reopened.acquire(hours(0, 2), green, FAR).installation == "green"

    def test_an_expired_lease_of_another_installation_is_taken_over(
        self, state: State, reopened: State
    ) -> None:
        short = state.acquire(hours(0, 2), Owner("dag/run", "blue"), 0.05)
        while state.now() < short.until:
            time.sleep(0.01)
        taken = reopened.acquire(hours(0, 2), Owner("dag/run", "green"), FAR)
        assert state.leases() == [taken]
        with pytest.raises(LeaseHeldError, match="installation green"):
            state.acquire(hours(0, 2), Owner("dag/run", "blue", renews=True), FAR)

    def test_the_tasks_of_a_run_share_its_lease(self, state: State, reopened: State) -> None:
        executions = [
            Execution("extract 0", 1, "p1"),
            Execution("extract 1", 2, "p2"),
            Execution("stage", 1, "p3"),
        ]
        for execution in executions:
            state.acquire(hours(0, 2), Owner("dag/run", "blue", execution), FAR)
        for execution in reversed(executions):
            lease = reopened.acquire(hours(0, 2), Owner("dag/run", "blue", execution, renews=True), FAR)
            assert without_times(lease.executions) == executions
        assert reopened.leases() == [lease]

    @pytest.mark.parametrize(
        ("stale", "renews"),
        [
            pytest.param(Execution("load", 1, "stale"), True, id="an earlier try renews"),
            pytest.param(Execution("load", 1, "stale"), False, id="an earlier try begins late"),
            pytest.param(Execution("load", 2, "stale"), True, id="the same try, taken earlier"),
        ],
    )
    def test_a_stale_execution_of_a_task_is_refused_and_releases_nothing(
        self, state: State, reopened: State, stale: Execution, renews: bool
    ) -> None:
        state.acquire(hours(0, 2), Owner("dag/run", "blue", stale), FAR)
        newest = Owner("dag/run", "blue", Execution("load", 2, "newest"))
        reopened.acquire(hours(0, 2), newest, FAR)  # at once: a retry does not wait for the lease to expire
        with pytest.raises(SupersededError, match=r"another execution of this task \(try 2\)"):
            state.acquire(hours(0, 2), Owner("dag/run", "blue", stale, renews), FAR)
        state.release(hours(0, 2), Owner("dag/run", "blue", stale))
        assert [without_times(lease.executions) for lease in reopened.leases()] == [[newest.execution]]
        reopened.acquire(hours(0, 2), newest._replace(renews=True), FAR)
        reopened.release(hours(0, 2), newest)
        assert state.leases() == []

    @pytest.mark.parametrize("try_number", [1, 2], ids=["a deleted run was created again", "a later try"])
    def test_a_new_process_may_begin_after_the_lease_has_expired(
        self, state: State, reopened: State, try_number: int
    ) -> None:
        short = state.acquire(hours(0, 2), Owner("dag/run", None, Execution("load", 2, "crashed")), 0.05)
        while state.now() < short.until:
            time.sleep(0.01)
        again = Execution("load", try_number, "again")
        taken = reopened.acquire(hours(0, 2), Owner("dag/run", None, again), FAR)
        assert without_times(taken.executions) == [again]

    def test_one_of_a_mapped_tasks_executions_leaves_the_lease_to_the_others(
        self, state: State, reopened: State
    ) -> None:
        owners = [
            Owner("dag/run", "blue", Execution(task, 1, f"p{number}"))
            for number, task in enumerate(["validate -1", "extract 0", "extract 1", "extract 12"])
        ]
        for owner in owners:
            state.acquire(hours(0, 2), owner, FAR)
        for ended in (1, 3):
            reopened.release(hours(0, 2), owners[ended])
            with pytest.raises(LeaseHeldError):
                reopened.acquire(hours(0, 2), "dag/other", FAR)
            state.acquire(hours(0, 2), owners[2]._replace(renews=True), FAR)
        [lease] = reopened.leases()
        assert [execution.task for execution in lease.executions] == ["extract 1", "validate -1"]
        reopened.release(hours(0, 2), owners[2])
        assert state.leases() == []

    def test_an_execution_that_renews_no_more_keeps_no_lease(self, state: State, reopened: State) -> None:
        """The other one of the mapped task has ended long ago, or crashed."""
        first, second = (Owner("dag/run", None, Execution(f"extract {n}", 1, f"p{n}")) for n in (0, 1))
        began = state.acquire(hours(0, 2), first, 1.5).since
        while (state.now() - began).total_seconds() < 1.1:
            state.acquire(hours(0, 2), second, 1.5)
            time.sleep(0.05)
        reopened.release(hours(0, 2), second)
        assert state.leases(expired=True) == []

    @pytest.mark.parametrize("ttl", [0, -1.0])
    def test_a_lease_without_time_is_refused(self, state: State, ttl: float) -> None:
        with pytest.raises(ValueError, match="ttl_seconds"):
            state.acquire(hours(0, 2), "one", ttl)

    def test_expired_leases_are_listed_on_request_and_dropped(self, state: State, reopened: State) -> None:
        if not state.concurrent:
            return self._expired_leases_of_one_owner(state, reopened)
        kept = state.acquire(hours(4, 6), "alive", FAR)
        first = state.acquire(hours(0, 2), "dead", 0.5)
        other = state.acquire(hours(2, 4), "dead too", 0.5)
        assert state.drop_expired(hours(4, 25)) == []
        while state.now() < max(first.until, other.until):
            time.sleep(0.01)
        assert reopened.leases() == [kept]
        assert reopened.leases(expired=True) == [first, other, kept]
        assert reopened.drop_expired(hours(1, 2)) == [first]
        assert state.drop_expired() == [other]
        assert state.leases(expired=True) == [kept]
        assert state.drop_expired() == []
        return None

    @staticmethod
    def _expired_leases_of_one_owner(state: State, reopened: State) -> None:
        state.acquire(hours(0, 2), "dead", 0.5)
        last = state.acquire(hours(2, 4), "dead", 0.5)
        assert state.drop_expired(hours(4, 25)) == []
        while state.now() < last.until:
            time.sleep(0.01)
        assert reopened.leases() == []
        assert [lease.interval for lease in reopened.leases(expired=True)] == [hours(0, 2), hours(2, 4)]
        assert [lease.interval for lease in reopened.drop_expired(hours(1, 2))] == [hours(0, 2)]
        assert [lease.interval for lease in state.drop_expired()] == [hours(2, 4)]
        assert state.leases(expired=True) == []
        assert state.drop_expired() == []

    # --- tokens

    def test_tokens_grow_above_the_floor(self, state: State, reopened: State) -> None:
        minted = [state.mint_token(), reopened.mint_token(), state.mint_token(floor=100)]
        minted += [reopened.mint_token(floor=50), state.mint_token(floor=2**53)]
        assert minted == [1, 2, 101, 102, 2**53 + 1]
        assert state.newest_token() == reopened.newest_token() == 2**53 + 1

    def test_the_newest_token_of_an_empty_store_is_zero(self, state: State) -> None:
        assert state.newest_token() == 0

    # --- runs

    def test_the_first_binding_of_a_run_wins(self, state: State, reopened: State) -> None:
        run = "dag/manual__2013-11-03T05:30:00+00:00"
        assert state.bind_run(run, hours(0, 2)) == hours(0, 2)
        assert reopened.bind_run(run, hours(2, 4)) == hours(0, 2)
        assert reopened.bound(run) == hours(0, 2)
        assert reopened.bind_run(run, hours(4, 6), replace=True) == hours(4, 6)
        assert state.bound(run) == hours(4, 6)
        assert state.bound("dag/another") is None
        assert state.bind_run("dag/new", hours(0, 1), replace=True) == hours(0, 1)

    def test_the_first_day_is_stored_and_only_moves_earlier(self, state: State, reopened: State) -> None:
        assert state.first_day(None) is None
        assert state.first_day(DAY) == DAY
        assert state.first_day(None) == DAY
        assert reopened.first_day(DAY + timedelta(days=9)) == DAY
        assert reopened.first_day(DAY - timedelta(days=9)) == DAY - timedelta(days=9)
        assert state.first_day(DAY) == DAY - timedelta(days=9)
        assert type(reopened.first_day(DAY)) is date

    # --- the pipeline as a whole

    def test_source_target_and_acts_are_stored(self, state: State, reopened: State) -> None:
        assert state.about() == NOTHING
        source, target = {"type": "sql", "table": "ü"}, {"type": "duckdb"}
        state.change_about(
            lambda about: replace(about, source=source, target=target, days=("2013-11-03", None))
        )
        reopened.record_act("unlock", "ann", "stuck", hours(0, 2), owner="x")
        reopened.change_about(lambda about: replace(about, renamed_to="trips", renaming_from="rides"))
        about = state.about()
        assert (about.source, about.target, about.days) == (source, target, ("2013-11-03", None))
        assert (about.renamed_to, about.renaming_from) == ("trips", "rides")
        [act] = about.acts
        assert (act.what, act.by, act.why, act.interval, act.detail) == (
            "unlock",
            "ann",
            "stuck",
            hours(0, 2),
            {"owner": "x"},
        )
        assert state.entries() == []
        assert state.mint_token() == 1
        assert reopened.about() == about

    def test_day_events_are_remembered(self, state: State, reopened: State) -> None:
        task = Task("dag/run", "audit")
        first, second = DayEvent(DAY, 3, task, True), DayEvent(DAY + timedelta(days=1), 4, task, False, task)
        state.change_about(lambda about: about.with_day_event(second.day, second))
        reopened.change_about(lambda about: about.with_day_event(first.day, first))
        assert state.about().day_events == (first, second)
        assert (state.about().day_event(DAY), state.about().day_event(date.min)) == (first, None)
        state.change_about(lambda about: about.with_day_event(DAY, None))
        assert reopened.about().day_events == (second,)
