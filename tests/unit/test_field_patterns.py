"""Patterns of fields: which they cover, in nested and dotted spelling, and which are refused."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.core.body_rules import KEY, UNKNOWN, named, rewritten_by, rewritten_text
from airflow_pipeline_provider.core.field_patterns import RedactRule, is_left_out, parse_pattern, reached_by


@pytest.mark.parametrize(
    ("pattern", "keys", "covered"),
    [
        ("user.email", ["user", "email"], True),
        ("user.email", ["user.email"], True),
        ("user.email", ["user", "email", "work"], True),
        ("user.email", ["user.email.work"], True),
        ("user.email", ["user", "emails"], False),
        ("user.email", ["user"], False),
        ("user.email", ["Email"], False),
        ("user", ["user.email"], True),
        ("user.*", ["user", "x"], True),
        ("user.*", ["user"], False),
        ("ip_*", ["ip_from"], True),
        ("*.ip", ["a", "b", "ip"], False),
        ("**.ip", ["a", "b", "ip"], True),
        ("**.ip", ["ip"], True),
        ("**.ip", ["a.ip"], True),
        ("a.**.b", ["a", "b"], True),
        ("a.**.b", ["a", "x", "y", "b"], True),
        ("a.**.**.b", ["a", "b"], True),
        ("a.**.b", ["x", "b"], False),
        ("a.*b*", ["a", "xby"], True),
    ],
)
def test_a_pattern_covers_a_field_and_what_is_below(pattern: str, keys: list[str], covered: bool) -> None:
    assert (reached_by([parse_pattern(pattern)], keys) is not None) is covered


def test_of_several_patterns_the_first_counts() -> None:
    patterns = [parse_pattern(text) for text in ("x", "user.*", "user.email")]
    assert reached_by(patterns, ["user", "email"]) == 1


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a**", "**", "a.**", " a", "a\n"])
def test_a_pattern_that_can_name_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("field", "include", "exclude", "left_out"),
    [
        ("a.b", [], ["a"], True),
        ("a.b", [], ["a.*"], True),
        ("a.b.c", [], ["a.*c"], True),
        ("a", [], ["a.*"], False),
        ("a.b", ["a"], [], False),
        ("a", ["a.b"], [], False),
        ("a", ["b"], [], True),
        ("a", ["b*"], [], False),
        ("ab", ["a"], [], True),
        ("a.b", ["a"], ["a.b"], True),
    ],
)
def test_a_filter_leaves_out_what_elasticsearch_does(
    field: str, include: list[str], exclude: list[str], left_out: bool
) -> None:
    assert is_left_out(field, include, exclude) is left_out


def test_the_hash_of_rules_changes_with_each_property_and_not_with_the_order_of_a_filter() -> None:
    rules = [RedactRule("a", "drop"), RedactRule("b", "hash")]
    records = [
        rewritten_by(["x", "y"], [], rules, "k1"),
        rewritten_by([], ["x", "y"], rules, "k1"),
        rewritten_by(["x", "y"], [], rules, "k2"),
        rewritten_by(["x", "y"], [], rules[::-1], "k1"),
        rewritten_by(["x", "y"], [], [RedactRule("a", "mask", 4), rules[1]], "k1"),
        rewritten_by(["x", "y"], [], []),
    ]
    assert len({record.rules for record in records if record}) == len(records)
    assert records[0] == rewritten_by(["y", "x"], [], rules, "k1")
    assert [record.body for record in records if record] == ["redacted"] * 5 + ["filtered"]
    assert rewritten_by([], [], []) is None


def test_an_entry_shows_what_its_documents_are() -> None:
    record = rewritten_by([], [], [RedactRule("a", "hash")], "3f2a9c1e")
    assert record is not None
    assert rewritten_text({}) == named(None) == "original"
    assert rewritten_text(UNKNOWN) == "unknown"
    assert rewritten_text(record.detail()) == str(record) == f"redacted (rules {record.rules}, key 3f2a9c1e)"
    assert str(rewritten_by(["a"], [], [])).startswith("filtered (rules ")
    assert list(record.detail()) == [KEY]
