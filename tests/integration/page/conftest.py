"""A real browser in front of a real Airflow (tests/services/page).

`open_page` opens a page of it as a user; with `answers` the JSON API's answers are those of `answers.py`, so that
every state can be looked at. A page that writes an error to the console, or asks another host, fails its test.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect, sync_playwright

from tests.integration.page import answers as made_up

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
TAB = "/dags/flights/plugin/windows"
NAV = "/plugin/pipelines"
PATIENCE = 30_000
"""Milliseconds that a browser on a loaded machine may take for anything."""
Open = Callable[..., Page]

# The scope "package" ends server and browser before the tests of other folders: an open page goes on asking.


@pytest.fixture(scope="package")
def page_url(request: pytest.FixtureRequest) -> str:
    from tests.integration.conftest import provide

    return provide("page", request, {"RESET": "1"})["PAGE_URL"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    binary = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if binary is None:
        pytest.fail("no Chromium: apt-get install chromium", False)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def token(page_url: str) -> Callable[[str], str]:
    known: dict[str, str] = {}

    def token(user: str) -> str:
        if user not in known:
            body = json.dumps({"username": user, "password": user}).encode()
            login = urllib.request.Request(
                f"{page_url}/auth/token", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(login, timeout=30) as answer:
                known[user] = json.load(answer)["access_token"]
        return known[user]

    return token


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what the page asks of the API, which no `expect` sees."""
    end = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < end, "the page did not ask for it"
        page.wait_for_timeout(50)


def at_rest(page: Page) -> None:
    """Wait until dialogs and drawers have moved to their places; spinners go on for ever."""
    page.wait_for_function(
        "document.getAnimations().every(one => one.playState !== 'running'"
        " || one.effect.getComputedTiming().endTime === Infinity)"
    )


class Answers:
    """Answers of the JSON API by the last part of the path; `posted` are the bodies that the page sent."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.asked: list[str] = []
        self.changed: dict[str, Any] = {}

    def __call__(self, route: Route) -> None:
        parts = urlsplit(route.request.url)
        query = dict(parse_qsl(parts.query))
        path = unquote(parts.path.split("/api/", 1)[1])
        name = path.rsplit("/", 1)[-1] if path.count("/") > 1 else ("pipeline" if "/" in path else path)
        self.asked.append(name)
        body: Any = None
        if route.request.method == "POST":
            body = json.loads(route.request.post_data or "null")
            self.posted.append((name, body, route.request.headers))
        status, answer = self.answer(name, query, body)
        route.fulfill(status=status, content_type="application/json", body=json.dumps(answer))

    def answer(self, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if name in self.changed:
            changed = self.changed[name]
            found = changed(query) if callable(changed) else changed
            return found if isinstance(found, tuple) else (200, found)
        if name == "windows":
            return 200, made_up.lanes(date.fromisoformat(query["from"]), date.fromisoformat(query["to"]))
        if name == "window":
            return 200, made_up.window(query["start"])
        if name == "preview":
            return 200, made_up.preview(body)
        if body is not None:
            return 200, {"detail": f"{name}: one run was created."}
        return 200, {"pipelines": made_up.pipelines, "gaps": made_up.gaps, "pipeline": made_up.pipeline}[
            name
        ]()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def allowed_errors() -> list[str]:
    """Texts that the console of this test's pages may hold."""
    return []


class Screen:
    """A page of one user and theme that stays open: Airflow is loaded once, its router goes from place to place."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.answers: Answers | None = None
        self.wrong: list[str] = []
        self.page = context.new_page()
        self.page.on("request", self._check_host)
        self.page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.route(
            "**/airflow-pipelines/api/**",
            lambda route: self.answers(route) if self.answers else route.fallback(),
        )
        self.page.goto(f"{url}/plugins")
        self.page.wait_for_selector("main, table")

    def go(self, path: str) -> None:
        go = "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate', {state: {}})); }"
        self.page.evaluate(go, path)

    def rest(self) -> None:
        """Leave for a place without the page, so that the next test finds nothing of this one."""
        self.page.evaluate("localStorage.removeItem('timezone')")
        self.page.emulate_media(reduced_motion="no-preference")
        self.page.mouse.move(0, 0)
        self.go("/plugins")
        self.page.wait_for_function("!document.querySelector('.pp')")

    def _check_host(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.wrong.append(f"asked another host: {request.url}")


@pytest.fixture(scope="package")
def screens(browser: Browser, page_url: str, token: Callable[[str], str]) -> Iterator[Callable[..., Screen]]:
    known: dict[tuple[str, str], Screen] = {}

    def screen(user: str, theme: str) -> Screen:
        if (user, theme) not in known:
            context = browser.new_context(
                viewport={"width": 1440, "height": 1000},
                color_scheme="dark" if theme == "dark" else "light",
            )
            context.set_default_timeout(PATIENCE)
            context.add_cookies([{"name": "_token", "value": token(user), "url": page_url}])
            context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
            known[user, theme] = Screen(context, page_url)
        return known[user, theme]

    yield screen
    for one in known.values():
        one.page.context.close()


@pytest.fixture
def open_page(screens: Callable[..., Screen], allowed_errors: list[str]) -> Iterator[Open]:
    """`open_page(path, answers)`: go there as a user, and wait for a selector."""
    used: list[Screen] = []

    def open_page(
        path: str,
        answers: Answers | None = None,
        *,
        user: str = "admin",
        theme: str = "light",
        wait: str = ".pp",
    ) -> Page:
        screen = screens(user, theme)
        if screen in used:
            screen.rest()
        used.append(screen)
        screen.answers = answers
        screen.wrong.clear() if len(used) == 1 else None
        screen.go(path)
        screen.page.wait_for_selector(wait)
        return screen.page

    yield open_page
    wrong = [text for screen in {id(one): one for one in used}.values() for text in screen.wrong]
    for screen in used:
        screen.rest()
        screen.wrong.clear()
    left = [text for text in wrong if not any(allowed in text for allowed in allowed_errors)]
    assert not left, left


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: docs/images if PAGE_IMAGES names it, else a folder that is thrown away."""
    named = os.environ.get("PAGE_IMAGES")
    return Path(named).resolve() if named else tmp_path_factory.mktemp("pictures")
