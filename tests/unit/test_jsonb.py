"""Find JSON documents that PostgreSQL cannot cast to jsonb, without a server."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.envelope import jsonb
from airflow_pipeline_provider.envelope.jsonb import uncastable
from tests.connectors.postgres.jsonb_examples import BEYOND, CAST, REFUSED, nested


def found(*bodies: str) -> dict[int, str]:
    return dict(uncastable(pa.array(bodies, pa.string())))


@pytest.mark.parametrize("body", CAST.values(), ids=CAST)
def test_a_document_that_casts_is_accepted(body: str) -> None:
    assert found("{}", body) == {}


@pytest.mark.parametrize(("body", "words"), [*REFUSED.values(), *BEYOND.values()], ids=[*REFUSED, *BEYOND])
def test_a_document_that_does_not_cast_is_refused_by_its_row(body: str, words: str) -> None:
    rows = pa.array(["{}", body, "[]", body], pa.string())
    for some, expected in ((rows, [1, 3]), (rows.slice(1), [0, 2])):
        reasons = dict(uncastable(some))
        assert list(reasons) == expected
        assert all(re.search(words, reason) for reason in reasons.values())


def test_the_depth_limit_is_exact() -> None:
    assert found(nested(jsonb.MAX_DEPTH)) == {}
    assert list(found(nested(jsonb.MAX_DEPTH + 2))) == [0]


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        pytest.param("[" + "1," * 400 + "1]", True, id="values"),
        pytest.param('["' + "1," * 400 + '1", 2]', False, id="commas in a text"),
        pytest.param('["' + "x" * 700 + '"]', False, id="one long text"),
    ],
)
def test_too_many_values_are_refused(body: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonb, "_LONG", 10)
    monkeypatch.setattr(jsonb, "_LARGE", 10)
    for name, limit in (("MAX_VALUES", 300), ("MAX_JSONB_BYTES", 2_000)):
        with monkeypatch.context() as patch:
            patch.setattr(jsonb, name, limit)
            assert bool(found(body)) is refused
    assert found(body) == {}


@pytest.mark.parametrize("required", [True, False])
def test_the_target_requires_jsonb_unless_disabled(required: bool) -> None:
    options = PostgresTarget.Options(table="raw.flights", require_jsonb=required)
    limits = PostgresTarget(options, Identity("flights", "UTC")).limits
    assert (limits.needs_json, limits.needs_jsonb, limits.takes_nul) == (required, required, False)
