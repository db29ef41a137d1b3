"""Arrow columns built from buffers equal those of `pa.array`, without importing pandas."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_pipeline_provider.envelope import schema as columns

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])))
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1))


@given(TEXTS)
def test_text(values: list[str]) -> None:
    assert columns.text(iter(values)).equals(pa.array(values, pa.string()))


@given(TEXTS)
def test_utf8(values: list[str]) -> None:
    data = [value.encode() for value in values]
    assert columns.utf8(data).equals(pa.array(values, pa.string()))


@given(st.lists(st.binary()))
def test_binary(values: list[bytes]) -> None:
    assert columns.binary(values).equals(pa.array(values, pa.binary()))


@given(INTEGERS)
def test_integers_and_instants(values: list[int]) -> None:
    assert columns.integers(iter(values)).equals(pa.array(values, pa.int64()))
    assert columns.instants(values).equals(pa.array(values, pa.timestamp("us", tz="UTC")))


def test_a_single_value_is_not_copied() -> None:
    """Otherwise a page of one document of 10 MB would be in memory twice."""
    body = b"x" * 1000
    assert columns.utf8([body]).buffers()[2].address == pa.py_buffer(body).address


def test_scalars() -> None:
    assert columns.integer_scalar(-5).equals(pa.scalar(-5, pa.int64()))
    assert columns.binary_scalar(b"\0x").equals(pa.scalar(b"\0x", pa.binary()))


@pytest.mark.parametrize(
    ("make", "values", "error"),
    [
        pytest.param(columns.utf8, [b"a", b"\xff"], pa.ArrowInvalid, id="not UTF-8"),
        pytest.param(columns.utf8, [b"a\xc3", b"\xa9b"], pa.ArrowInvalid, id="a character cut in two"),
        pytest.param(columns.text, ["\ud800"], UnicodeEncodeError, id="half a surrogate pair"),
        pytest.param(columns.integers, [2**63], OverflowError, id="beyond 64 bits"),
        pytest.param(columns.instants, [-(2**63) - 1], OverflowError, id="before all instants"),
    ],
)
def test_values_out_of_range_are_refused(make, values, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        make(values)


def test_pandas_is_not_imported() -> None:
    """It costs a task 60 MB; `pa.array` and `pa.scalar` import it if it is installed."""
    code = (
        "import sys\n"
        "from airflow_pipeline_provider.envelope import schema as c\n"
        "from airflow_pipeline_provider.envelope.limits import TargetLimits\n"
        "from airflow_pipeline_provider.envelope.rejections import rejections\n"
        "from airflow_pipeline_provider.envelope.schema import ENVELOPE\n"
        "from airflow_pipeline_provider.connectors.postgres.copy import copy_rows, copy_stream\n"
        "import pyarrow as pa\n"
        "batch = pa.record_batch([c.text('a'), c.instants([1]), c.text('a'), c.utf8([b'{}'])], schema=ENVELOPE)\n"
        "assert rejections(batch, TargetLimits(max_body_bytes=1))\n"
        "assert list(copy_stream(copy_rows([batch], [1])))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
