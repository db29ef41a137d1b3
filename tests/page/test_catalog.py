"""Attribute Airflow's import errors to pipelines, of which only the name of the file is known."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.state.facts import PipelineFacts
from airflow_pipeline_provider.web.catalog import ListedPipeline, _broken_files

HELD = ("flights.yaml", "a", True)  # file, bundle, stale
ERROR = ("pipelines/flights.yaml", "a")


def pipeline(dag_id: str, file: str | None, bundle: str, stale: bool) -> ListedPipeline:
    facts = PipelineFacts(dag_id, "UTC", "1h", "0s", 0, {}, {}, {}, {"type": "variable"}, file=file)
    return ListedPipeline(dag_id, facts, False, stale, (), None, "1", bundle)


@pytest.mark.parametrize(
    ("held", "errors", "expected"),
    [
        ([HELD], [ERROR], ["p0"]),
        ([HELD, ("flights.yaml", "b", False)], [ERROR], ["p0"]),
        ([HELD], [ERROR, ("x/flights.yaml", "b")], ["p0", None]),
        ([HELD], [("flights.yaml", "b")], [None]),  # of another team
        ([("flights.yaml", "a", False)], [ERROR], [None]),  # healthy, so it has another file
        ([HELD, HELD], [ERROR], [None]),
        ([HELD, ("flights.yaml", "a", False)], [ERROR], [None]),
        ([HELD], [ERROR, ("x/flights.yaml", "a")], [None, None]),
        ([(None, "a", True)], [ERROR], [None]),
        ([HELD], [("pipelines/more_flights.yaml", "a")], [None]),
    ],
)
def test_an_error_is_shown_at_a_pipeline_only_if_it_is_of_its_file(
    held: list[tuple[str | None, str, bool]], errors: list[tuple[str, str]], expected: list[str | None]
) -> None:
    listed = {f"p{n}": pipeline(f"p{n}", *one) for n, one in enumerate(held)}
    rows = [(file, "ConfigError: the index is invalid", bundle) for file, bundle in errors]
    assert [broken.dag_id for broken in _broken_files(rows, listed)] == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("timezone: must be (flights.yaml:7), in variant p2 of line 4", ["p2"]),
        ("timezone: must be (flights.yaml:7), in 2 variants: p2, p3.x", ["p2", "p3.x"]),
        ("timezone: must be (flights.yaml:7), in variant p1 of line 3", [None]),  # its DAG is healthy
        ("timezone: must be (flights.yaml:7), in variant new of line 9", [None]),  # never loaded
    ],
)
def test_an_error_of_a_file_with_variants_is_shown_at_those_that_it_names(
    message: str, expected: list[str | None]
) -> None:
    stale = {"p1": False, "p2": True, "p3.x": True}
    listed = {name: pipeline(name, "flights.yaml", "a", gone) for name, gone in stale.items()}
    rows = [("pipelines/flights.yaml", f"ConfigError: {message}", "a")]
    assert [broken.dag_id for broken in _broken_files(rows, listed)] == expected
