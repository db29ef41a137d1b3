"""The detector for leaked secrets finds a canary in every form."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tests.canaries import canary, leaks

BIRD = canary("lake")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "form",
    [
        str,
        repr,
        json.dumps,
        quote,
        lambda text: quote(text, safe=""),
        quote_plus,
        html.escape,
        shlex.quote,
        str.upper,
        encoded,
        lambda text: encoded(f"me:{text}"),
        lambda text: encoded(f"you:{text}"),
        lambda text: encoded(f"them:{text}"),
        lambda text: f"postgresql://me:{quote(text, safe='')}@host/db",
    ],
    ids=["itself", "repr", "JSON", "URL", "URL without slashes", "form", "HTML", "shell", "capitals", "base64",
         "header", "header 2", "header 3", "a URL"],
)  # fmt: skip
@pytest.mark.parametrize("planted", [BIRD.password, BIRD.plain], ids=["password", "key"])
def test_a_planted_canary_is_found(form: Callable[[str], str], planted: str) -> None:
    text = f"before {form(planted)} after"
    (found,) = leaks([canary("other"), BIRD], text)
    assert found.startswith("lake: ")
    assert leaks([BIRD], text.encode())
    assert not leaks([canary("other")], text)


def test_an_innocent_text_contains_no_canary() -> None:
    assert not leaks([BIRD], "canary lake password *** p@/")
