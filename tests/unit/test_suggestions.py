"""Suggestions for misspelled names."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        pytest.param("flihgts", {}, "did you mean 'flights'?", id="letters swapped"),
        pytest.param("FLIGHTS", {}, "did you mean 'flights'?", id="upper case"),
        pytest.param("new york", {}, "did you mean 'New_York'?", id="space for underscore"),
        pytest.param("page-size", {}, "did you mean 'page_size'?", id="hyphen for underscore"),
        pytest.param(
            "flight", {"count": 2}, "did you mean 'flights' or 'flight_delays'?", id="several names"
        ),
        pytest.param("fli", {"cutoff": 0.9}, None, id="below the least similarity"),
        pytest.param("zzz", {}, None, id="no similar name"),
    ],
)
def test_the_most_similar_known_names_are_suggested(
    name: str, options: dict[str, float], expected: str | None
) -> None:
    known = ["flights", "flight_delays", "New_York", "page_size"]
    assert did_you_mean(name, known, **options) == expected  # type: ignore[arg-type]
