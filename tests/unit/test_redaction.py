"""Registered values are found in whatever form a vendor's message may hold them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from airflow_pipeline_provider.observability import redaction

SECRET = "canary/7Q@:%&+=\"'<é> \\"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    redaction.forget_secrets()
    yield
    redaction.forget_secrets()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(SECRET, id="itself"),
        pytest.param(quote(SECRET, safe=""), id="URL"),
        pytest.param(quote(SECRET), id="URL with slashes"),
        pytest.param(quote_plus(SECRET), id="form"),
        pytest.param(json.dumps(SECRET), id="JSON"),
        pytest.param(json.dumps(SECRET, ensure_ascii=False), id="JSON in UTF-8"),
        pytest.param(repr(SECRET), id="repr"),
        pytest.param(html.escape(SECRET), id="HTML"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="base64"),
    ],
)
@pytest.mark.parametrize("surroundings", ["{}", "a{}b", "postgresql://me:{}@host/db", "\n{}\n"])
def test_no_form_of_a_registered_value_is_shown(form: str, surroundings: str) -> None:
    redaction.register_secret(SECRET)
    for cleaned in (redaction.redact_values, redaction.redact_text):
        text = cleaned(surroundings.format(form))
        assert form.strip("\"'=") not in text
        assert "canary" not in text
        assert "***" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("airflow_pipeline_provider", "airflow_pipeline_provider", id="inside of a name"),
        pytest.param("airflow-pipelines run", "airflow-pipelines run", id="before a hyphen"),
        pytest.param("postgresql://u:airflow@h", "postgresql://u:***@h", id="in a URL"),
        pytest.param("password airflow is wrong", "password *** is wrong", id="as a word"),
        pytest.param("got 'airflow'", "got '***'", id="quoted"),
    ],
)
def test_a_password_that_is_a_plain_word_is_masked_as_a_word(text: str, shown: str) -> None:
    redaction.register_secret("airflow")
    assert redaction.redact_values(text) == shown


def test_words_of_our_own_sentences_stay() -> None:
    sentence = "source.password: must be a whole number, token: 5"
    assert redaction.redact_values(sentence) == sentence


def test_a_traceback_keeps_its_end() -> None:
    redaction.register_secret(SECRET)
    text = redaction.redact_text("frame\n" * 10_000 + f"DataError: {SECRET}\n", cut=False)
    assert text.endswith("DataError: ***\n")


CONNECTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "password": ({"login": "me", "password": SECRET}, [SECRET, "me:" + SECRET]),
    "URL in the host": (
        {"host": f"one,https://me:{quote(SECRET, safe='')}@two:9200"},
        [SECRET, quote(SECRET, safe=""), f"me:{SECRET}"],
    ),
    "api_key": ({"extra": {"api_key": SECRET}}, [SECRET]),
    "api_key as a pair": ({"extra": {"api_key": ["id", SECRET]}}, [SECRET, f"id:{SECRET}"]),
    "bearer_auth": ({"extra": {"bearer_auth": SECRET}}, [SECRET]),
    "aws": ({"extra": {"aws_secret_access_key": SECRET, "aws_session_token": SECRET[::-1]}}, [SECRET, SECRET[::-1]]),
    "nested": ({"extra": {"config_kwargs": {"deep": [{"password": SECRET}]}}}, [SECRET]),
    "private key": ({"extra": {"private_key_content": SECRET}}, [SECRET]),
    "connection string": ({"extra": {"connection_string": SECRET}}, [SECRET]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_connection_that_was_read_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.connectors.airflow_connections import get_connection

    values, secrets = CONNECTIONS[name]
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"conn_type": "http", **values}))
    get_connection("place")
    for secret in secrets:
        for form in redaction.forms_of(secret):
            assert "canary" not in redaction.redact_values(f"<{form}>")
            assert redaction.redact_values(f"<{form}>").startswith("<***"), form
