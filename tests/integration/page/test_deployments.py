"""The page where Airflow is deployed otherwise: below a path, and with a content security policy."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from .conftest import PATIENCE, Answers, Screen

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self';"
    " form-action 'self'; frame-ancestors 'self'"
)
DRAWER = ".chakra-drawer__content[data-state=open]"
DIALOG = ".chakra-dialog__content[data-state=open]"


def settings() -> dict[str, str]:
    return dict(line.split("=", 1) for line in shlex.split(Path(os.environ["PAGE_ENV_FILE"]).read_text()))


@pytest.fixture(scope="module")
def below_a_path(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second api-server of the same home; its base URL has a path."""
    from tests.integration.conftest import plain_environment

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/airflow"
    env = {
        **plain_environment(),
        **settings(),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
    }
    log = tmp_path_factory.mktemp("api-server") / "log"
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "api-server"]
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        ) as process,
    ):
        end = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/v2/version", timeout=30).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < end, log.read_text()[-3000:]
                time.sleep(0.5)
        yield url
        process.terminate()


def open_as_admin(browser: Browser, url: str, token: Callable[[str], str]) -> Screen:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(PATIENCE)
    context.add_cookies([{"name": "_token", "value": token("admin"), "url": url}])
    return Screen(context, url)


def test_page_below_a_path_of_the_base_url(
    browser: Browser, below_a_path: str, token: Callable[[str], str]
) -> None:
    screen = open_as_admin(browser, below_a_path, token)
    page = screen.page
    page.goto(f"{below_a_path}/plugin/pipelines")
    page.locator("[data-pipeline=flights]").get_by_role("link", name="flights", exact=True).click()
    page.locator(".pp-lanes .pp-cell.pp-blocked").first.click()
    assert page.url.startswith(f"{below_a_path}/dags/flights/plugin/windows?window=")
    attempt = page.locator(f"{DRAWER} .pp-attempt").first
    expect(attempt).to_contain_text("DataError")
    page.locator(DRAWER).get_by_role("button", name="Move again…").click()  # a POST
    expect(page.locator(DIALOG).get_by_role("button", name="Move 1 window")).to_be_enabled()
    page.locator(DIALOG).get_by_role("button", name="Cancel").click()
    page.context.close()
    # Airflow 3.2 itself asks for its version without the path
    assert not [one for one in screen.wrong if not one.endswith("/api/v2/version")]


def test_page_under_a_policy_that_forbids_inline_script_and_foreign_hosts(
    browser: Browser, page_url: str, token: Callable[[str], str]
) -> None:
    """Airflow has no setting for a policy, so that a proxy sets one; here the browser gets it with each document."""
    screen = open_as_admin(browser, page_url, token)
    page = screen.page

    def add_policy(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": POLICY})

    page.route(lambda url: re.match(rf"{re.escape(page_url)}/(dags|plugin)/", url) is not None, add_policy)
    screen.answers = Answers()
    page.goto(f"{page_url}/plugin/pipelines")
    page.locator("[data-pipeline]").first.wait_for()
    page.goto(f"{page_url}/dags/flights/plugin/windows")
    page.locator(".pp-lanes .pp-cell").first.hover()
    expect(page.get_by_role("tooltip")).to_be_visible()
    assert not screen.wrong
    inline = "const one = document.createElement('script'); one.textContent = 'owned = 1'; document.body.append(one)"
    page.evaluate(inline)
    assert page.evaluate("window.owned") is None, "the policy is not in force"
    page.context.close()
