"""A run that the page starts goes through a real scheduler to a commit, which the page then shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import Open

MINUTES = 60_000
TAB = "/dags/moved/plugin/windows"
DRAWER = ".chakra-drawer__content[data-state=open]"


@pytest.fixture
def scheduler(page_url: str, tmp_path: Path) -> Iterator[Path]:
    """A scheduler with its executor in the home of the page's Airflow; yields its log."""
    from tests.integration.conftest import plain_environment

    settings = Path(os.environ["PAGE_ENV_FILE"]).read_text()
    env = {
        **plain_environment(),
        **dict(line.split("=", 1) for line in shlex.split(settings)),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{page_url}/execution/",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "0",
    }
    log = tmp_path / "scheduler.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "airflow", "scheduler", "--skip-serve-logs"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        ) as process,
    ):
        yield log
        process.terminate()


def unpause(page_url: str, token: str) -> None:
    request = urllib.request.Request(
        f"{page_url}/api/v2/dags/moved",
        json.dumps({"is_paused": False}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        method="PATCH",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["is_paused"] is False


def test_run_of_the_page_commits_and_the_page_shows_the_ledger(
    open_page: Open, page_url: str, token: Callable[[str], str], scheduler: Path
) -> None:
    unpause(page_url, token("admin"))
    page = open_page(TAB, wait=".pp-look")
    page.locator(".pp-look li").first.get_by_role("button", name="Open").click()
    drawer = page.locator(DRAWER)
    expect(drawer.locator(".pp-mark").first).to_have_text("missing")
    expect(drawer).to_contain_text("No run has tried this window.")
    drawer.get_by_role("button", name="Move again…").click()
    page.get_by_role("button", name="Move 1 window").click()
    expect(page.locator(".pp-note.pp-good[role=status]")).to_contain_text("run page__moved.")
    try:
        expect(drawer.locator(".pp-mark").first).to_have_text("complete", timeout=5 * MINUTES)
    except AssertionError:
        print(scheduler.read_text()[-4000:])
        raise
    expect(drawer.locator(".pp-counts")).to_have_text("3source3staged3target3distinct")
    attempt = drawer.locator(".pp-attempt").first
    expect(attempt).to_contain_text(re.compile("Attempt 1.*committed.*page__moved.*committed", re.DOTALL))
    attempt.get_by_role("link", name=re.compile("page__moved")).click()
    expect(page.get_by_text("extract", exact=True).first).to_be_visible()  # Airflow's own page of the run
