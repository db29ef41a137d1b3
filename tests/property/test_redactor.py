"""Outside of redacted paths a document keeps every token; inside, nothing of a value survives."""

from __future__ import annotations

import json
import re
from fnmatch import translate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.core.field_patterns import RedactRule
from airflow_pipeline_provider.envelope.redactor import HashKey, Redactor

KEY = HashKey(b"a key for tests, long enough")
MARK = "Canary7Qx93ZvK"
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
NAMES = ["a", "b", "user", "email", "a.b", "user.email", "b.user.email", "é", 'q"uote', "sl/ash", ""]

# A document as tokens: a scalar is its own text, an array a list, an object a tuple of (key as written, value).
scalars = st.one_of(
    st.sampled_from(
        ["null", "true", "false", "0", "-0.0", "1e400", "12345678901234567890123", "1.10", "1E-7"]
    ),
    st.text(max_size=8).filter(lambda text: text.isprintable()).map(lambda text: json.dumps(text + MARK)),
    st.text(max_size=8)
    .filter(lambda text: text.isprintable())
    .map(lambda t: json.dumps(t + MARK, ensure_ascii=False)),
    st.sampled_from([f'"\\u0041\\/{MARK}"', f'"\\"{{[,:]}}{MARK}"', f'"{MARK}\\\\"']),
)
keys = st.sampled_from(NAMES).flatmap(
    lambda name: st.sampled_from(
        [
            json.dumps(name),
            json.dumps(name, ensure_ascii=False),
            '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"',
        ]
    )
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.tuples(keys, inner), max_size=5).map(lambda members: ("{", *members)),
    ),
    max_leaves=25,
)
documents = st.lists(st.tuples(keys, values), max_size=6).map(lambda members: ("{", *members))
paths = st.lists(st.sampled_from([*filter(None, NAMES[:4]), "*", "u*", "**"]), min_size=1, max_size=3).map(
    lambda parts: ".".join(parts if parts[-1] != "**" else [*parts, "email"])
)
rules = st.lists(
    st.builds(RedactRule, paths, st.sampled_from(["drop", "hash", "mask"])), min_size=1, max_size=4
)


def tokens(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    if isinstance(node, list):
        return ["[", *_joined([tokens(one) for one in node]), "]"]
    return ["{", *_joined([[key, ":", *tokens(value)] for key, value in node[1:]]), "}"]


def _joined(parts: list[list[str]]) -> list[str]:
    return [token for number, part in enumerate(parts) for token in ([","] if number else []) + part]


def matches(path: list[str], keys_: list[str]) -> bool:
    """Match by trying everything; `**` is any number of keys."""
    if not path:
        return not keys_
    if path[0] == "**":
        return any(matches(path[1:], keys_[n:]) for n in range(len(keys_) + 1))
    return bool(keys_) and re.match(translate(path[0]), keys_[0]) is not None and matches(path[1:], keys_[1:])


def rule_at(ruled: list[RedactRule], above: list[str], key: str) -> RedactRule | None:
    parts = key.split(".")
    for end in range(1, len(parts) + 1):
        for rule in ruled:
            if matches(rule.path.split("."), [*above, *parts[:end]]):
                return rule
    return None


def replaced(node: Any, rule: RedactRule) -> Any:
    if isinstance(node, list):
        return [replaced(one, rule) for one in node]
    return node if node == "null" else f"<{rule.how}>"


def expected(node: Any, ruled: list[RedactRule], above: list[str]) -> Any:
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return [expected(one, ruled, above) for one in node]
    members = []
    for key, value in node[1:]:
        name = json.loads(key)
        rule = rule_at(ruled, above, name)
        if rule is None:
            members.append((key, expected(value, ruled, [*above, *name.split(".")])))
        elif rule.how != "drop":
            members.append((key, replaced(value, rule)))
    return ("{", *members)


def shown(token: str) -> str:
    if token == '"***"':
        return "<mask>"
    return "<hash>" if re.fullmatch(r'"hmac:[0-9a-f]{8}:[0-9a-f]{64}"', token) else token


@settings(max_examples=150, deadline=None)
@given(documents, rules, st.lists(st.sampled_from(["", " ", "\n\t"]), min_size=1, max_size=7))
def test_every_token_outside_of_redacted_paths_stays(
    document: Any, ruled: list[RedactRule], spaces: list[str]
) -> None:
    written = tokens(document)
    text = "".join(token + spaces[n % len(spaces)] for n, token in enumerate(written))
    result = Redactor(ruled, KEY).body(text.encode())
    assert result is not None
    json.loads(result)
    assert [shown(token) for token in TOKEN.findall(result.decode())] == tokens(expected(document, ruled, []))
    if tokens(expected(document, ruled, [])) == written:
        assert result == text.encode()


@settings(max_examples=60, deadline=None)
@given(documents, st.sampled_from(["drop", "hash", "mask"]))
def test_nothing_survives_below_a_pattern_of_all_keys(document: Any, how: Any) -> None:
    result = Redactor([RedactRule("*", how)], KEY).body("".join(tokens(document)).encode())
    assert result is not None
    assert MARK.encode() not in result


@settings(max_examples=60, deadline=None)
@given(values)
def test_equal_values_have_equal_hashes_however_they_are_written(value: Any) -> None:
    def hashed(text: str) -> bytes | None:
        return Redactor([RedactRule("a", "hash")], KEY).body(f'{{"a":{text}}}'.encode())

    plain = "".join(tokens(value))
    loaded = json.loads(plain, parse_int=lambda text: f"<{text}>", parse_float=lambda text: f"<{text}>")
    if isinstance(loaded, str) and not loaded.startswith("<"):
        assert hashed(plain) == hashed(json.dumps(loaded)) == hashed(json.dumps(loaded, ensure_ascii=False))
    else:
        assert _tokens(hashed(plain)) == _tokens(hashed(" ".join(tokens(value))))


def _tokens(text: bytes | None) -> list[str]:
    return TOKEN.findall((text or b"").decode())


@pytest.mark.parametrize(
    "text", ["{", '{"a":}', '{"a":1', '{"a" 1}', '{"a":"x\ny"}', "nul", '{"a":"\\x"}', "", '{"a":NaN}']
)
def test_a_body_that_is_not_json_leaves_nothing(text: str) -> None:
    assert Redactor([RedactRule("b", "drop")], None).body(text.encode()) is None
