"""Rows of any number are kept in bounded memory, and come back in sets that hold all rows of their record ids."""

from __future__ import annotations

import errno
import tempfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.phases import record_buckets
from airflow_pipeline_provider.phases.record_buckets import RecordBuckets, paired

ROWS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        st.integers(-(2**62), 2**62),
        st.none() | st.binary(max_size=3),
        st.booleans(),
    ),
    max_size=60,
)


@given(ROWS, ROWS, st.integers(1, 70), st.integers(1, 40), st.integers(1, 5), st.booleans())
def test_every_row_comes_back_once_next_to_those_of_its_id(
    source: list[Row], target: list[Row], buffered: int, characters: int, compared: int, seals: bool
) -> None:
    with (
        patch.multiple(
            record_buckets,
            BUCKETS=4,
            BUFFERED_ROWS=buffered,
            BUFFERED_CHARACTERS=characters,
            COMPARED_ROWS=compared,
        ),
        RecordBuckets() as one,
        RecordBuckets() as other,
    ):
        for side, rows in ((one, source), (other, target)):
            side.add(rows[:7])
            side.add(rows[7:])
            if seals:
                side.seal()
        sets = list(paired(one, other))
    found = [Counter(row for pair in sets for row in pair[side]) for side in (0, 1)]
    assert found == [Counter(source), Counter(target)]
    ids = [{row[0] for rows in pair for row in rows} for pair in sets]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_few_rows_make_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with RecordBuckets() as side:
        side.add([("a", 1, None, False)])
        side.seal()
        assert [rows for (rows,) in paired(side) if rows] == [[("a", 1, None, False)]]


def test_the_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is gone even if the process is killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(record_buckets, "BUFFERED_ROWS", 10)
    side = RecordBuckets()
    side.add((f"r{n}", n, None, False) for n in range(25))
    assert side._file is not None
    assert list(tmp_path.iterdir()) == []
    assert sum(len(rows) for (rows,) in paired(side)) == 25
    side.close()
    side.close()
    assert side._file.closed


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, TransientError), (errno.EACCES, FatalError)], ids=["full", "refused"]
)
def test_a_folder_that_takes_no_file_is_named(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(record_buckets.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(record_buckets, "BUFFERED_ROWS", 1)
    with RecordBuckets() as side, pytest.raises(kind, match="TMPDIR"):
        side.add([("a", 1, None, False)])
