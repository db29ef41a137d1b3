"""Which counts pass, and the sentence for those that do not."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.core.reconciliation import Counts, reconcile


@pytest.mark.parametrize("rows", [0, 1, 20_000])
def test_four_equal_counts_pass(rows: int) -> None:
    result = reconcile(Counts(rows, rows, rows, rows))
    assert result.ok
    assert result.sentence == f"source = manifest = target = distinct ids = {rows:,}"


def test_quarantined_rows_were_extracted_and_are_not_in_the_target() -> None:
    result = reconcile(Counts(20_000, 19_998, 19_998, 19_998, quarantined=2))
    assert result.ok
    assert result.sentence == (
        "source 20,000 = manifest 19,998 + quarantined 2, and manifest = target = distinct ids"
    )


def test_records_that_left_the_window_are_no_mismatch_where_history_is_kept() -> None:
    result = reconcile(Counts(97, 100, 100, 100), keeps_history=True)
    assert result.ok
    assert result.sentence == (
        "manifest = target = distinct ids = 100, and 3 rows left the source's window since"
    )
    assert reconcile(Counts(100, 100, 100, 100), keeps_history=True).sentence.startswith("source = manifest")
    grew = reconcile(Counts(101, 100, 100, 100), keeps_history=True)
    assert not grew.ok
    assert "the source has 1 row more" in grew.sentence


@pytest.mark.parametrize(
    ("counts", "sentences"),
    [
        pytest.param(
            (10, 10, 10, 10, 2),
            ["source 10, manifest 10, quarantined 2, target 10", "2 rows fewer than were extracted"],
            id="as many in the target as in the source: two of them are gone from there",
        ),
        pytest.param(
            (13, 10, 10, 10, 2),
            ["the source has 1 row more than were extracted"],
            id="source grew",
        ),
        pytest.param(
            (12, 10, 12, 12, 2),
            ["2 rows that the manifest does not list"],
            id="they are in the target after all",
        ),
        pytest.param(
            (1, 0, 0, 0, 3),
            ["2 rows fewer"],
            id="fewer in the source than were quarantined",
        ),
        pytest.param(
            (None, 10, 10, 10, 2),
            ["source unknown, manifest 10, quarantined 2"],
            id="unknown source",
        ),
    ],
)
def test_differences_with_a_quarantine(
    counts: tuple[int | None, int, int, int, int],
    sentences: list[str],
) -> None:
    result = reconcile(Counts(*counts))
    assert not result.ok
    for words in sentences:
        assert words in result.sentence


@pytest.mark.parametrize(
    ("counts", "sentences"),
    [
        pytest.param(
            (20_000, 20_000, 20_000, 18_000),
            [
                "source 20,000, manifest 20,000, target 20,000, distinct ids 18,000",
                "2,000 rows",
                "extract read them twice",
            ],
            id="slices of different points in time: all counts equal but the distinct one",
        ),
        pytest.param(
            (10, 10, 20, 10),
            [
                "10 rows in the target repeat a record id",
                "the load wrote them twice",
                "10 rows that the manifest does",
            ],
            id="loaded twice",
        ),
        pytest.param(
            (10, 10, 9, 9),
            ["the load lost 1 row of the manifest"],
            id="load lost",
        ),
        pytest.param(
            (10, 10, 12, 12),
            ["2 rows that the manifest does not list", "something else wrote"],
            id="a foreign writer",
        ),
        pytest.param(
            (11, 10, 10, 10),
            ["1 row more than were extracted", "grew after the extraction"],
            id="source grew",
        ),
        pytest.param(
            (9, 10, 10, 10),
            ["1 row fewer than were extracted", "shrank after the extraction"],
            id="source shrank",
        ),
        pytest.param((0, 10, 10, 10), ["10 rows fewer"], id="source emptied"),
        pytest.param((5, 0, 0, 0), ["source has 5 rows more"], id="nothing extracted"),
        pytest.param(
            (12, 10, 9, 8),
            ["1 row in the target repeat", "the load lost 1 row", "2 rows more than were extracted"],
            id="everything at once is all said",
        ),
        pytest.param(
            (None, 10, 10, 10),
            ["source unknown", "the source could not be counted"],
            id="unknown source: a failure, never a pass",
        ),
        pytest.param(
            (None, 10, 9, 9),
            ["could not be counted", "the load lost 1 row"],
            id="unknown source, lost rows",
        ),
        pytest.param(
            (10, 10, 10, 11),
            ["1 distinct id more than it has rows"],
            id="the target contradicts itself",
        ),
    ],
)
def test_differences(counts: tuple[int | None, int, int, int], sentences: list[str]) -> None:
    result = reconcile(Counts(*counts))
    assert not result.ok
    for words in sentences:
        assert words in result.sentence


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", -1),
        ("manifest", -1),
        ("target", 1.5),
        ("distinct", None),
        ("manifest", True),
        ("target", "9"),
        ("quarantined", -1),
        ("quarantined", None),
    ],
)
def test_bad_counts_are_named(field: str, value: object) -> None:
    counts = {"source": 1, "manifest": 1, "target": 1, "distinct": 1, field: value}
    with pytest.raises(ValueError, match=f"^{field}: expected a count of 0 or more, got ") as caught:
        Counts(**counts)  # type: ignore[arg-type]
    assert repr(value) in str(caught.value)
