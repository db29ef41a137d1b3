"""Pieces that a thread makes ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from airflow_pipeline_provider.connectors.postgres.copy import one_ahead


class Source:
    """Counts what was made, and by whom."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.made, self.closed = fails_at, 0, False
        self.threads: set[str] = set()

    def pieces(self, n: int) -> Generator[int, None, None]:
        try:
            for number in range(n):
                if number == self.fails_at:
                    raise ValueError(f"no piece {number}")
                self.threads.add(threading.current_thread().name)
                self.made += 1
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_the_same_pieces_in_the_same_order(n: int) -> None:
    source = Source()
    with one_ahead(source.pieces(n)) as pieces:
        assert list(pieces) == list(range(n))
    assert threading.current_thread().name not in source.threads
    assert source.closed


@pytest.mark.parametrize("at", [0, 1, 5])
def test_an_error_comes_where_its_piece_would_have(at: int) -> None:
    source = Source(fails_at=at)
    with one_ahead(source.pieces(10)) as pieces:
        assert [next(pieces) for _ in range(at)] == list(range(at))
        with pytest.raises(ValueError, match=f"no piece {at}"):
            next(pieces)
    assert source.made == at
    assert source.closed


def test_leaving_early_makes_one_more_at_most() -> None:
    source = Source()
    with one_ahead(source.pieces(100)) as pieces:
        assert next(pieces) == 0
    assert source.made <= 2
    assert source.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_nothing_is_made_before_it_is_asked_for() -> None:
    source = Source()
    with one_ahead(source.pieces(100)):
        pass
    assert source.made == 0
