"""Nothing shrinks by itself: each committed piece of a window that is moved again is judged by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind

from .conftest import Pipeline


def hours(start: int, end: int) -> Interval:
    return Interval(*(parse_utc(f"2013-11-03T{hour:02d}:00:00Z") for hour in (start, end)))


def named(start: int, end: int) -> dict[str, Any]:
    return {"kind": RunKind.WINDOW, "interval": hours(start, end)}


def lose(pipeline: Pipeline, interval: Interval, count: int = 1) -> None:
    for row in pipeline.rows.within(interval)[:count]:
        pipeline.rows.delete(row.record_id)


def gain(pipeline: Pipeline, interval: Interval, count: int = 5) -> None:
    for number in range(count):
        at = interval.start + timedelta(seconds=number + 1)
        pipeline.rows.put(f"late-{at.isoformat()}", at)


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    """Six rows an hour; 04-06 and 06-08 are committed."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T12:00:00Z", timedelta(minutes=10))
    for _ in range(2):
        pipeline.move(pipeline.runtime())
    return pipeline


def lost_state(pipeline: Pipeline) -> None:
    pipeline.store.pipelines.clear()


def kept_state(pipeline: Pipeline) -> None:
    """As it is."""


@pytest.mark.parametrize(
    ("shrunk", "grown", "window", "state"),
    [
        pytest.param(hours(6, 8), hours(4, 6), (4, 8), kept_state, id="behind another committed piece"),
        pytest.param(hours(4, 6), hours(8, 10), (4, 10), kept_state, id="behind what was never moved"),
        pytest.param(hours(6, 8), hours(4, 6), (4, 8), lost_state, id="the state is lost"),
    ],
)
def test_a_loss_does_not_hide_behind_a_gain(
    seeded: Pipeline,
    shrunk: Interval,
    grown: Interval,
    window: tuple[int, int],
    state: Callable[[Pipeline], None],
) -> None:
    before = seeded.target_rows()
    lose(seeded, shrunk)
    gain(seeded, grown)
    state(seeded)
    with pytest.raises(DataError) as caught:
        seeded.move(seeded.runtime(), **named(*window))
    assert f"the target holds 12 rows of {shrunk}, which is committed, and the source now gives 11" in str(
        caught.value
    )
    assert seeded.target_rows() == before
    accepting = seeded.runtime(audit={"on_shrink": "accept"})
    assert seeded.move(accepting, **named(*window)).audited is not None
    seeded.assert_target_is(hours(*window), hours(4, 8))


def test_a_wider_window_that_lost_nothing_replaces_its_pieces(seeded: Pipeline) -> None:
    gain(seeded, hours(6, 8))
    assert seeded.move(seeded.runtime(stage={"part_size": "1KB"}), **named(4, 10)).audited is not None
    seeded.assert_target_is(hours(4, 10))


def test_of_a_commit_that_was_replaced_in_part_the_rest_is_judged(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime(), **named(5, 7))  # now 04-05, 05-07 and 07-08 stand for themselves
    lose(seeded, hours(7, 8))
    gain(seeded, hours(6, 7))
    with pytest.raises(DataError) as caught:
        seeded.move(seeded.runtime(), **named(6, 8))
    assert f"holds 6 rows of {hours(7, 8)}, which is committed, and the source now gives 5" in str(
        caught.value
    )
    assert seeded.move(seeded.runtime(), **named(4, 7)).audited is not None


def test_a_loss_does_not_hide_behind_rows_that_somebody_deleted(seeded: Pipeline) -> None:
    """12 were committed and 9 are left: the source's 11 are more than those, and fewer than promised."""
    seeded.delete_in_target(seeded.rows.within(hours(4, 6))[:3])
    lose(seeded, hours(4, 6))
    before = seeded.target_rows()
    with pytest.raises(DataError) as caught:
        seeded.move(seeded.runtime(), **named(4, 6))
    said = (
        "the target was given 12 rows of this committed window, 3 of them deleted since, and the source now"
    )
    assert f"{said} gives 11" in str(caught.value)
    assert seeded.target_rows() == before
    (found,) = recheck(seeded.runtime(), 1).shrunk
    assert (found.interval, found.source, found.target) == (hours(4, 6), 11, 9)


def test_rows_that_somebody_deleted_come_back(seeded: Pipeline) -> None:
    seeded.delete_in_target(seeded.rows.within(hours(4, 6))[:3])
    assert [found.interval for found in recheck(seeded.runtime(), 1).grown] == [hours(4, 6)]
    assert seeded.move(seeded.runtime(), **named(4, 6)).audited is not None
    seeded.assert_target_is(hours(4, 8))


def test_a_part_of_a_committed_window_is_judged_on_that_part(seeded: Pipeline) -> None:
    lose(seeded, hours(4, 5))
    assert seeded.move(seeded.runtime(), **named(5, 6)).audited is not None, "this part lost nothing"
    with pytest.raises(DataError, match="the target holds 6 rows of this committed window"):
        seeded.move(seeded.runtime(), **named(4, 5))
