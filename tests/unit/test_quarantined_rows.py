"""Files of quarantined rows are read as every version has written them."""

from __future__ import annotations

import io
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_pipeline_provider.envelope.quarantine import RejectedRow, read_rejected
from airflow_pipeline_provider.exceptions import DataError

AT = datetime(2013, 11, 3, 4, 0, 0, 1, tzinfo=timezone.utc)


def file_of(**columns: pa.Array) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=1)
    file.seek(0)
    return file


def written() -> io.BytesIO:
    """The columns of a file of the first version, one row group for each row."""
    return file_of(
        RECORD_ID=pa.array(["a", "b\0c"]),
        EVENT_TIME=pa.array([AT, AT], pa.timestamp("us", tz="UTC")),
        SOURCE_NAME=pa.array(["s", "s"]),
        BODY=pa.array(["{", "\0"]),
        REASON=pa.array(["not JSON", "NUL"]),
    )


@pytest.mark.parametrize("with_body", [False, True])
def test_rows_are_read_with_their_documents_on_demand(with_body: bool) -> None:
    assert list(read_rejected(written(), with_body=with_body)) == [
        RejectedRow("a", AT, "not JSON", "{" if with_body else None),
        RejectedRow(r"b\u0000c", AT, "NUL", "\0" if with_body else None),
    ]


@pytest.mark.parametrize(
    "file",
    [io.BytesIO(b"no parquet"), file_of(RECORD_ID=pa.array(["a"]))],
    ids=["other bytes", "other columns"],
)
def test_another_file_is_a_data_error(file: io.BytesIO) -> None:
    with pytest.raises(DataError, match="not a readable Parquet file of RECORD_ID, EVENT_TIME, REASON"):
        list(read_rejected(file))
