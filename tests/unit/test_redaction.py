"""Registered values are masked in every form that a vendor's message may contain."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from airflow_pipeline_provider.observability import redaction
from airflow_pipeline_provider.observability.redaction import forms_of

SECRET = "canary/7Q@:%&+=\"'<é> \\"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    redaction.forget_secrets()
    yield
    redaction.forget_secrets()


def mixed(text: str) -> str:
    """Escape characters alternately by percent-encoding and as HTML entities."""
    pieces = [quote(c, safe="") if n % 2 else f"&#{ord(c)};" for n, c in enumerate(text)]
    return "".join(c if c.isalnum() and c.isascii() else piece for c, piece in zip(text, pieces, strict=True))


DATA = SECRET.encode()
FORMS = {
    "itself": SECRET,
    "URL": quote(SECRET, safe=""),
    "URL with slashes": quote(SECRET),
    "URL, lower-case hex": re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
    "URL twice": quote(quote(SECRET, safe=""), safe=""),
    "form": quote_plus(SECRET),
    "JSON": json.dumps(SECRET),
    "JSON, upper-case hex": json.dumps(SECRET).replace("\\u00e9", "\\u00E9"),
    "JSON in UTF-8": json.dumps(SECRET, ensure_ascii=False),
    "JSON with escaped slashes": json.dumps(SECRET).replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(SECRET)),
    "repr": repr(SECRET),
    "ascii": ascii(SECRET),
    "repr of bytes": repr(DATA)[1:],
    "HTML": html.escape(SECRET),
    "HTML, decimal": html.escape(SECRET).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "HTML, every character": "".join(c if c.isalnum() else f"&#x{ord(c):X};" for c in SECRET),
    "SQL": SECRET.replace("'", "''"),
    "libpq": SECRET.replace("\\", "\\\\").replace("'", "\\'"),
    "UTF-8 read as Latin-1": DATA.decode("latin-1"),
    "hex": DATA.hex(),
    "base64": base64.b64encode(DATA).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(DATA).decode(),
    "two escapes in turn": mixed(SECRET),
    "upper case": SECRET.upper(),
    "lower case": SECRET.lower(),
    "upper case in a URL": quote(SECRET.upper(), safe=""),
    "upper case in JSON": json.dumps(SECRET.upper()),
    "capitalized": SECRET.capitalize(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("surroundings", ["{}", "a{}b", "postgresql://me:{}@host/db", "\n{}\n"])
def test_no_form_of_a_registered_value_is_shown(form: str, surroundings: str) -> None:
    redaction.register_secret(SECRET)
    for cleaned in (redaction.redact_values, redaction.redact_text):
        text = cleaned(surroundings.format(form))
        assert form.strip("\"'=") not in text
        assert "canary" not in text.lower()
        assert DATA.hex()[4:] not in text
        assert "***" in text


@pytest.mark.parametrize("secret", ["Straße-2024/x", "n0t-a-W0rd!"])
def test_a_value_in_another_case_is_masked(secret: str) -> None:
    redaction.register_secret(secret)
    for form in (secret.upper(), secret.lower(), secret.swapcase()):
        assert redaction.redact_values(f"a {form} b") == "a *** b"
    assert {secret.upper(), secret.lower()} <= forms_of(secret)


@pytest.mark.parametrize("secret", ["airflow", "Abc12", "Node-12"])
def test_a_short_value_is_masked_in_its_own_case_only(secret: str) -> None:
    redaction.register_secret(secret)
    assert redaction.redact_values(f"a {secret} b") == "a *** b"
    for text in (secret.upper(), secret.lower()):
        if text != secret:
            assert redaction.redact_values(f"a {text} b") == f"a {text} b"
            assert text not in forms_of(secret)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("airflow_pipeline_provider", "airflow_pipeline_provider", id="inside of a name"),
        pytest.param("airflow-pipelines run", "airflow-pipelines run", id="before a hyphen"),
        pytest.param("postgresql://u:airflow@h", "postgresql://u:***@h", id="in a URL"),
        pytest.param("password airflow is wrong", "password *** is wrong", id="as a word"),
        pytest.param("got 'airflow'", "got '***'", id="quoted"),
    ],
)
def test_a_password_that_is_a_plain_word_is_masked_as_a_word(text: str, expected: str) -> None:
    redaction.register_secret("airflow")
    assert redaction.redact_values(text) == expected


def test_words_of_this_packages_messages_are_not_masked() -> None:
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
def test_a_connection_that_was_read_is_masked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.connectors.airflow_connections import get_connection

    values, secrets = CONNECTIONS[name]
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"conn_type": "http", **values}))
    get_connection("place")
    for secret in secrets:
        for form in forms_of(secret):
            assert "canary" not in redaction.redact_values(f"<{form}>")
            assert redaction.redact_values(f"<{form}>").startswith("<***"), form


@pytest.mark.parametrize("login", ["", "a:", "me:", "user:", "elastic:"])
def test_base64_of_a_longer_text_does_not_show_the_value_inside(login: str) -> None:
    redaction.register_secret(SECRET)
    header = base64.b64encode(f"{login}{SECRET}:more".encode()).decode()
    inside = base64.b64encode(SECRET.encode()).decode()[4:-4]
    assert "***" in redaction.redact_values(header)
    assert inside not in redaction.redact_values(header)


GROWING = {
    "URLs without an end": "://a:",
    "names": "password",
    "names and spaces": "authorization: ",
    "quotes": "password='",
    "backslashes": "\\",
    "percent signs": "%25",
    "entities": "&amp;#",
    "key blocks": "-----BEGIN PRIVATE KEY-----",
    "beginnings of the secret": SECRET[:-1],
}


@pytest.mark.parametrize("unit", GROWING.values(), ids=GROWING)
def test_redacting_half_a_megabyte_takes_linear_time(unit: str) -> None:
    """A pattern that searches from each position to the end would take hours."""
    redaction.register_secret(SECRET)
    text = (unit * (500_000 // len(unit))) + "@"
    assert len(redaction.redact_text(text, cut=False)) <= 2 * len(text)


def test_a_secret_reaches_airflows_masker_once_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form is a message to the task's supervisor; a forked process has another supervisor."""
    from airflow.sdk import log

    from airflow_pipeline_provider.connectors import airflow_connections

    masked: list[str] = []
    monkeypatch.setattr(log, "mask_secret", masked.append)
    monkeypatch.setattr(airflow_connections, "_hidden", set())
    seen = []
    for process in (1, 1, 2):
        monkeypatch.setattr(airflow_connections.os, "getpid", lambda process=process: process)
        airflow_connections.hide("canary-once")
        seen.append(len(masked))
    assert 0 < seen[0] == seen[1] < seen[2] == 2 * seen[0]
