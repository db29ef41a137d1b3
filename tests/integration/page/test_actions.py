"""Each action by mouse, through the API to ledger, runs and audit log; and what a viewer may not do."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Open

TAB = "/dags/acted/plugin/windows"
WHY = "<b>seen</b> by on-call"
DRAWER = ".chakra-drawer__content[data-state=open]"
DIALOG = ".chakra-dialog__content[data-state=open]"
Ask = Callable[[str], Any]


class Action(NamedTuple):
    """Steps of an action: the state of its window, its button, what is typed first, and the sentence after it."""

    event: str
    state: str
    button: str
    typed: dict[str, str]
    confirm: str
    said: str
    dag: str | None = None


ACTIONS = [
    Action(
        "pipeline_move", "failed", "Move again…", {}, "Move 1 window", r"run page__acted\..* moves", "acted"
    ),
    Action(
        "pipeline_recheck",
        "complete",
        "Recheck the day…",
        {},
        "Recheck",
        "run recheck__acted__.* counts",
        "pipelines_maintenance",
    ),
    Action(
        "pipeline_accept_shrink",
        "drifted",
        "Accept the shrinkage…",
        {"Type the number of rows": "2"},
        "Delete 2 rows from the target",
        "run accept_shrink__.*: 2 rows go",
        "acted",
    ),
    Action(
        "pipeline_release",
        "running",
        "Release the lease…",
        {"Type the run's id": "scheduled__held"},
        "Release",
        "released the lease of acted/scheduled__held",
    ),
    Action("pipeline_waive", "missing", "Waive…", {}, "Waive", "waived "),
]
IDS = [one.event for one in ACTIONS]


@pytest.fixture
def ask(page_url: str, token: Callable[[str], str]) -> Ask:
    """Read a path of Airflow's or the page's API as the admin."""

    def ask(path: str) -> Any:
        request = urllib.request.Request(
            f"{page_url}/{path}", headers={"Authorization": f"Bearer {token('admin')}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    return ask


def lanes(ask: Ask) -> list[dict[str, Any]]:
    today = datetime.now(timezone.utc).date()
    days = f"from={today - timedelta(days=9)}&to={today}"
    found = ask(f"airflow-pipelines/api/pipelines/acted/windows?{days}")["days"]
    return [one for day in found for one in day["windows"]]


def find_window(ask: Ask, state: str) -> dict[str, Any]:
    found = [one for one in lanes(ask) if one["state"] == state]
    assert found, f"no window is {state}: the home is not new (RESET=1)"
    return dict(found[0]["window"])


def open_window(open_page: Open, window: dict[str, Any], user: str = "admin") -> tuple[Page, Locator]:
    address = f"{TAB}?window={quote(window['start'])}/{quote(window['end'])}"
    page = open_page(address, user=user, wait=f"{DRAWER} .pp-facts, {DRAWER} .pp-command")
    return page, page.locator(DRAWER)


@pytest.mark.parametrize("action", ACTIONS, ids=IDS)
def test_viewer_sees_which_permission_is_missing(open_page: Open, ask: Ask, action: Action) -> None:
    page, drawer = open_window(open_page, find_window(ask, action.state), "viewer")
    button = drawer.get_by_role("button", name=action.button)
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_attribute("title", re.compile(r"can (create|edit|read) on|lack"))
    button.hover()  # waits until the drawer has slid in; a forced click does not
    button.click(force=True)
    page.wait_for_timeout(200)
    expect(page.locator(DIALOG)).to_have_count(0)


@pytest.mark.parametrize("action", ACTIONS, ids=IDS)
def test_action_by_mouse_is_done_and_in_the_audit_log(open_page: Open, ask: Ask, action: Action) -> None:
    window = find_window(ask, action.state)
    page, drawer = open_window(open_page, window)
    drawer.get_by_role("button", name=action.button).click()
    box = page.locator(DIALOG)
    for label, text in action.typed.items():
        confirm = box.get_by_role("button", name=action.confirm, exact=True)
        expect(confirm).to_be_disabled()
        box.get_by_label(re.compile(label)).fill(text)
    box.get_by_label("Reason").fill(WHY)
    box.get_by_role("button", name=action.confirm, exact=True).click()
    done = page.locator(".pp-note.pp-good[role=status]")
    expect(done).to_contain_text(re.compile(action.said))
    expect(page.locator(DIALOG)).to_have_count(0)

    logs = ask(f"api/v2/eventLogs?dag_id=acted&event={action.event}&order_by=-when")["event_logs"]
    newest = logs[0]
    assert newest["owner"] == "admin"
    assert json.loads(newest["extra"])["reason"] == WHY
    if action.dag is not None:
        runs = ask(f"api/v2/dags/{action.dag}/dagRuns?order_by=-run_after")["dag_runs"]
        assert any(WHY in (run["note"] or "") for run in runs), runs
    if action.event == "pipeline_waive":
        expect(drawer.locator(".pp-mark").first).to_have_text("waived")
        expect(drawer.get_by_role("table", name="Waivers")).to_contain_text(WHY)
    if action.event == "pipeline_release":
        expect(drawer.locator(".pp-mark").first).not_to_have_text("running")
        expect(drawer.get_by_role("table", name="Changes by hand")).to_contain_text(WHY)
