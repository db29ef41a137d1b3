"""How much source elasticsearch asks for at once."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.sizes import (
    FIRST_PAGE,
    PAGE_BYTES,
    SHARED_PAGE_BYTES,
    PageSizes,
    readers_for,
)

KB = 1000


@pytest.mark.parametrize(
    ("most", "document_bytes", "expected"),
    [
        pytest.param(5000, 700, [10, 320, 5000, 5000], id="log lines"),
        pytest.param(10_000, 700, [10, 320, PAGE_BYTES // 700], id="by bytes where page_size leaves room"),
        pytest.param(5000, 100 * KB, [10, 40, 40], id="heavy"),
        pytest.param(5000, 10_000 * KB, [10, 1, 1], id="one alone is more than a page should have"),
        pytest.param(3, 700, [3, 3], id="a page_size below the first page"),
        pytest.param(5000, 1, [10, 320, 5000], id="tiny"),
    ],
)
def test_pages_grow_until_they_have_their_bytes(most: int, document_bytes: int, expected: list[int]) -> None:
    sizes = PageSizes(most)
    seen = []
    for _ in expected:
        seen.append(sizes.next())
        sizes.record(sizes.next(), sizes.next() * document_bytes)
    assert seen == expected


@pytest.mark.parametrize("readers", [1, 2, 3, 5, 8])
def test_pages_of_all_readers_share_their_bytes(readers: int) -> None:
    sizes = PageSizes(10**6, readers)
    for _ in range(4):
        sizes.record(sizes.next(), sizes.next() * 700)
    assert sizes.next() == min(PAGE_BYTES, SHARED_PAGE_BYTES // readers) // 700
    assert sizes.next() * 700 * readers <= SHARED_PAGE_BYTES


def test_documents_that_become_large_and_small_again() -> None:
    sizes = PageSizes(5000)
    sizes.record(320, 320 * 700)
    sizes.too_large(sizes.next(), for_server=False)
    assert sizes.next() == 2500
    sizes.record(2500, 2500 * 700)
    assert sizes.next() == 5000


def test_what_the_server_could_not_answer_is_not_asked_for_again() -> None:
    sizes = PageSizes(5000)
    sizes.record(320, 320 * 700)
    sizes.too_large(5000, for_server=True)
    for _ in range(3):
        sizes.record(sizes.next(), sizes.next() * 700)
        assert sizes.next() == 2500


def test_an_empty_page_teaches_nothing() -> None:
    sizes = PageSizes(5000)
    sizes.record(0, 100)
    assert sizes.next() == FIRST_PAGE


@pytest.mark.parametrize(
    ("rows", "shards", "readers"),
    [(0, 1, 1), (24_999, 5, 1), (50_000, 5, 2), (10**6, 1, 2), (10**6, 2, 2), (10**6, 5, 5), (10**9, 12, 8)],
)
def test_readers(rows: int, shards: int, readers: int) -> None:
    assert readers_for(rows, shards) == readers
