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
