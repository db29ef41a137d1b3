"""Screenshots of the documentation (docs/images), light and dark: `make page-images`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from . import answers as made_up
from .conftest import NAV, TAB, Answers, Open, at_rest

WHY = "the source lost this hour (incident 4711)"


class PlainAnswers(Answers):
    """The same answers without what tests hide in them."""

    def answer(self, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        status, answer = super().answer(name, query, body)
        if name == "pipelines":
            answer["pipelines"].pop()
            answer["total"] -= 1
        hostile = json.dumps(made_up.HOSTILE)[1:-1]
        return status, json.loads(
            json.dumps(answer).replace(hostile, "the next try may succeed" if name == "window" else WHY)
        )


def move(page: Page) -> None:
    page.get_by_role("button", name="Move this day again…").click()
    page.get_by_role("button", name="Move 3 windows").wait_for()


def lanes(page: Page) -> None:
    page.locator(".pp-lanes").hover()
    page.mouse.wheel(0, 2000)
    page.locator('[data-day="2013-11-06"] .pp-cell').nth(14).hover()
    page.get_by_role("tooltip").wait_for()


PICTURES = {
    "list": (NAV, "[data-pipeline]", None),
    "pipeline": (TAB, ".pp-cell", None),
    "lanes": (TAB, ".pp-cell", lanes),
    "window": (f"{TAB}?window=2013-11-06T19:00:00Z/2013-11-06T20:00:00Z", ".pp-attempt", None),
    "move": (TAB, ".pp-cell", move),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PICTURES)
def test_picture(open_page: Open, pictures: Path, name: str, theme: str) -> None:
    path, ready, prepare = PICTURES[name]
    page = open_page(path, PlainAnswers(), theme=theme, wait=ready)
    assert ("dark" in (page.locator("html").get_attribute("class") or "")) == (theme == "dark")
    page.mouse.move(700, 5)
    at_rest(page)
    if prepare:
        prepare(page)
        at_rest(page)
    file = pictures / f"page-{name}-{theme}.png"
    page.screenshot(path=file, animations="disabled")
    assert file.stat().st_size > 20_000
