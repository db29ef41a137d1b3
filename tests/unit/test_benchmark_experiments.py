"""The native scanner of the experiments gives what the page decoder gives, or nothing."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.experiments import native_spans, pages
from benchmarks.shapes import SHAPES, TIME_FIELD

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_scanner_finds_the_rows_that_the_decoder_finds(shape: str) -> None:
    page, documents = pages.page_of(shape, size=400_000)
    batch = native_spans.to_batch(page, TIME_FIELD)
    assert batch is not None
    assert batch.num_rows == documents > 100
    assert batch.equals(pages.decoder(page))


HIT = b'{"_index":"i","_id":"a","_source":{"x":[1,{"y":"]}\\\\"}]},"fields":{"@timestamp":["7"]},"sort":[1]}'


@pytest.mark.parametrize(
    ("hits", "understood"),
    [
        pytest.param(HIT, True, id="brackets and a backslash in a text"),
        pytest.param(HIT.replace(b'"7"', b'"-7"'), True, id="before 1970"),
        pytest.param(HIT + b"," + HIT.replace(b'"a"', b'"b"'), True, id="two"),
        pytest.param(b"", True, id="none"),
        pytest.param(HIT.replace(b'"a"', b'"a\\"b"'), False, id="an escaped id"),
        pytest.param(HIT.replace(b'"7"', b'"7.5"'), False, id="a fraction of a millisecond"),
        pytest.param(HIT.replace(b'"7"', b'"7","8"'), False, id="two dates"),
        pytest.param(HIT.replace(b',"fields":{"@timestamp":["7"]}', b""), False, id="no date"),
        pytest.param(HIT.replace(b'"_source"', b'"_other"'), False, id="no document"),
        pytest.param(HIT[:-20], False, id="cut off"),
    ],
)
def test_the_scanner_understands_a_page_or_leaves_it_to_the_decoder(hits: bytes, understood: bool) -> None:
    page = pages.HEAD + hits + b"]}}"
    batch = native_spans.to_batch(page, TIME_FIELD)
    assert (batch is not None) is understood
    if batch is not None and hits:
        assert batch.equals(pages.decoder(page))
