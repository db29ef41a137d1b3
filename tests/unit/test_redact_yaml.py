"""A pipeline file is shown with its comments and without secrets (`redact_yaml`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_pipeline_provider.observability.redaction import (
    _NAMES,
    _STEMS,
    forget_secrets,
    redact_text,
    redact_yaml,
    register_secret,
)

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "dags").rglob("*.yaml"))
CANARY = "hunter2-canary"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.name))
def test_a_file_without_secrets_is_shown_as_it_is(file: Path) -> None:
    assert EXAMPLES
    text = file.read_text()
    assert redact_yaml(text) == text


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"password: {CANARY}", id="plain"),
        pytest.param(f"API_KEY:   '{CANARY}'", id="quoted"),
        pytest.param(f'"client_secret" : "{CANARY}"', id="quoted key"),
        pytest.param(f"token: |\n  {CANARY}\n  {CANARY}", id="block"),
        pytest.param(f"passphrase: >-\n\n  {CANARY}\n  more {CANARY}", id="folded block"),
        pytest.param(f"password:\n  {CANARY} and\n  {CANARY}", id="plain over two lines"),
        pytest.param(f"credentials: {{user: {CANARY}, other: [1, {CANARY}]}}", id="flow mapping"),
        pytest.param(f"credentials:\n  user: {CANARY}\n  list:\n    - {CANARY}", id="block mapping"),
        pytest.param(f"secrets:\n- {CANARY}\n- {CANARY}", id="list that is not indented"),
        pytest.param(f"base: &it {CANARY}\npassword: *it", id="alias"),
        pytest.param(
            f"base: &it {{x: {CANARY}, token: {CANARY}, y: {CANARY}}}\npassword: *it", id="alias of a mapping"
        ),
        pytest.param(f"password: !!str {CANARY}", id="tag"),
        pytest.param(f'"pass\\u0077ord": {CANARY}', id="key with an escape"),
        pytest.param(f"url: https://ada:{CANARY}@example.org/x", id="URL"),
        pytest.param(f"# password: {CANARY}", id="comment"),
        pytest.param(f"x: 1  # Authorization: Bearer {CANARY}", id="comment after a value"),
        pytest.param(f"# password is {CANARY}", id="comment in words"),
        pytest.param(f"# {CANARY} is the old password", id="comment that begins with the value"),
        pytest.param(f"# password:\n#   {CANARY}\n#\n#   {CANARY}", id="comment over lines"),
        pytest.param(f"  # secrets:\n  # - {CANARY}\n  #   more: {CANARY}", id="list in a comment"),
        pytest.param(f"x: 1  # password:\n     #     {CANARY}", id="comment after a value, over lines"),
        pytest.param(f"password:\n\n    {CANARY}  # was {CANARY}", id="comment behind a masked value"),
        pytest.param(f"basic_auth: ada:{CANARY}", id="basic_auth"),
        pytest.param(f"http_auth: [ada, {CANARY}]", id="http_auth"),
        pytest.param(f"auth:\n  user: {CANARY}", id="auth"),
        pytest.param(f"pass: {CANARY}", id="pass"),
        pytest.param(f"x: {{url: 'https://h/x?sig={CANARY}&v=1'}}", id="signature of a URL"),
        pytest.param(f"url: https://{CANARY}@example.org/x", id="user of a URL"),
        pytest.param(f"headers: [{{name: Authorization, value: {CANARY}}}]", id="name and value"),
        pytest.param(f"headers:\n  - value: {CANARY}\n    key: X-Token", id="value before its name"),
        pytest.param(
            f"x: |\n  -----BEGIN PRIVATE KEY-----\n  {CANARY}\n  -----END PRIVATE KEY-----", id="key"
        ),
        pytest.param(f"paſſword: {CANARY}", id="a letter that folds to s"),
        pytest.param(f"ünïcode: ⛅\npassword: {CANARY}", id="behind letters of several bytes"),
    ],
)
def test_secrets_are_masked_and_all_else_is_kept(line: str) -> None:
    shown = redact_yaml(f"first: 1  # kept\n{line}\nlast: [a, b]  # kept, too\n")
    assert CANARY not in shown
    assert "***" in shown
    assert shown.startswith("first: 1  # kept\n")
    assert shown.endswith("\nlast: [a, b]  # kept, too\n")


def test_a_masked_block_leaves_the_lines_below_it() -> None:
    shown = redact_yaml(f"credentials:\n  a: {CANARY}\n  b: 1\n# about the stage\nstage: {{type: x}}\n")
    assert shown == "credentials:\n  ***\n# about the stage\nstage: {type: x}\n"
    assert yaml.safe_load(shown.replace("***", "x"))["stage"] == {"type": "x"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("on_blocked: pass  # pass over it\n", id="pass as a word"),
        pytest.param("password:\nindex: flights\n", id="a name without a value"),
        pytest.param("columns: [{name: password, type: string}]\n", id="a column of that name"),
        pytest.param("author: ada\nauth_backend: x\ncompass: n\n", id="names with these letters"),
        pytest.param("url: postgresql://ada@host/db\n", id="user of a database"),
    ],
)
def test_what_only_looks_like_a_secret_is_kept(text: str) -> None:
    assert redact_yaml(text) == text


def test_only_the_comments_below_that_are_deeper_are_masked() -> None:
    shown = redact_yaml(f"# password:\n#   {CANARY}\n# the index\nindex: x  # kept\n")
    assert shown == "# password:\n#   ***\n# the index\nindex: x  # kept\n"


@pytest.mark.parametrize(
    "unit", ["# password\n", "#", " #", "auth ", "auth: a\n", "#   - x\n", "https://a", " \n"]
)
def test_a_long_text_takes_linear_time(unit: str) -> None:
    text = "# password:\n" + unit * (300_000 // len(unit)) + "@"
    assert len(redact_yaml(text)) <= 2 * len(text)


def test_a_registered_secret_is_masked_anywhere() -> None:
    register_secret(CANARY)
    try:
        assert redact_yaml(f"index: {CANARY}\n") == "index: ***\n"
    finally:
        forget_secrets()


def test_a_text_that_is_no_yaml_is_masked_by_its_patterns() -> None:
    assert redact_yaml(f"password: {CANARY}\n\t]") == "password: ***\n\t]"


@pytest.mark.parametrize("name", _NAMES.split("|"))
def test_the_quick_look_finds_each_name(name: str) -> None:
    """Else a text with this name would be shown without a closer look."""
    for dash in ("", "_", "-"):
        text = f"{name.replace('[_-]?', dash)}: {CANARY}"
        assert any(stem in text.casefold() for stem in _STEMS), text
        assert CANARY not in redact_text(text)
        assert CANARY not in redact_yaml(text)
