"""Documents of equal content have equal digests; a digest proves a change only if no database changes a number."""

from __future__ import annotations

import hashlib

import pytest

from airflow_pipeline_provider.envelope.canonical_json import digest_of_bytes, digest_of_json


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param('{"a":1,"b":2}', '{ "b" : 2, "a" : 1 }', id="order and white space"),
        pytest.param('{"a":1.10}', '{"a":1.1}', id="trailing zeros"),
        pytest.param('{"a":1e5}', '{"a":1.000000000000000e+05}', id="an exponent as Snowflake prints it"),
        pytest.param('{"a":100}', '{"a":1e2}', id="an integer and an exponent"),
        pytest.param('{"a":0.1}', '{"a":1.000000000000000e-01}', id="a fraction as a double"),
        pytest.param('{"a":-0}', '{"a":0.00}', id="zero"),
        pytest.param('{"a":"\\u00fc"}', '{"a":"ü"}', id="an escape"),
        pytest.param(
            '{"a":"\\ud83d\\udeeb"}', '{"a":"🛫"}', id="an escape outside of the basic multilingual plane"
        ),
        pytest.param('[{"x":[true,null,"y"]}]', '[ {"x" : [true, null, "y"]} ]', id="nested"),
    ],
)
def test_equal_contents(one: str, other: str) -> None:
    assert digest_of_json(one) == digest_of_json(other.encode())
    assert digest_of_json(one)[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param('{"a":1}', '{"a":"1"}', id="a number and a text"),
        pytest.param('{"a":1}', '{"a":-1}', id="a sign"),
        pytest.param('{"a":1}', '{"a":10}', id="a power of ten"),
        pytest.param('{"a":null}', "{}", id="null and nothing"),
        pytest.param('{"a":[1,2]}', '{"a":[2,1]}', id="the order of an array"),
        pytest.param('{"a":[]}', '{"a":{}}', id="empty array and object"),
        pytest.param('{"a":[[1],2]}', '{"a":[[1,2]]}', id="brackets"),
        pytest.param('{"a":"b\\",\\"c"}', '{"a":"b","c":""}', id="quotes in a text"),
        pytest.param(
            '{"a":12345678901234567890123456789012345678}',
            '{"a":12345678901234567890123456789012345679}',
            id="integers of 38 digits",
        ),
        pytest.param('{"a":"1e0"}', '{"a":1}', id="a text that looks like a canonical number"),
    ],
)
def test_different_contents(one: str, other: str) -> None:
    found, wanted = digest_of_json(one), digest_of_json(other)
    assert found[0] != wanted[0]
    assert found[1]
    assert wanted[1]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("0.12345678901234567", id="17 digits"),
        pytest.param("123456789012345678901234567890123456789", id="an integer of 39 digits"),
        pytest.param("1234567890123456e3", id="16 digits and an exponent"),
        pytest.param("1e301", id="a large exponent"),
        pytest.param("1e-302", id="a small exponent"),
    ],
)
def test_a_number_that_a_double_cannot_hold_proves_no_change(number: str) -> None:
    digest, proves = digest_of_json(f'{{"a":{number}}}')
    assert digest is not None
    assert not proves


def test_a_repeated_key_proves_no_change() -> None:
    assert not digest_of_json('{"a":{"b":1,"b":2}}')[1]


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a":NaN}', '{"a":1e' + "9" * 5000 + "}", "[" * 100_000 + "]" * 100_000, b"\xff\xfe\xfd"],
    ids=["empty", "cut off", "NaN", "an exponent without end", "deep", "not UTF-8"],
)
def test_what_cannot_be_read_has_no_digest(text: str | bytes) -> None:
    assert digest_of_json(text) == (None, False)


def test_bytes_are_compared_as_they_are() -> None:
    assert digest_of_bytes(b"{ }") == (hashlib.sha256(b"{ }").digest(), True)
