"""What typed columns hold of a document, in each spelling of their paths."""

from __future__ import annotations

from airflow_pipeline_provider.connectors.typed_rest import MOST_SPELLINGS, spellings


def test_a_path_is_spelled_nested_first_and_as_one_key_last() -> None:
    assert spellings(("a",)) == [("a",)]
    assert spellings(("a", "b", "c")) == [("a", "b", "c"), ("a", "b.c"), ("a.b", "c"), ("a.b.c",)]


def test_a_deep_path_has_a_limited_number_of_spellings() -> None:
    """Of 200 keys there are 2**199: only those that are used are computed."""
    path = tuple(f"k{number}" for number in range(200))
    found = spellings(path)
    assert (len(found), len(set(found))) == (MOST_SPELLINGS, MOST_SPELLINGS)
    assert (found[0], found[-1]) == (path, (".".join(path),))
