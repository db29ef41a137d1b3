"""The page on a real ledger (tests/page/world.py): states made by real runs, and a change from click to ledger."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.page.world import last_window_waits

from .conftest import NAV, TAB, Open


def test_list_shows_pipelines_in_every_state(open_page: Open) -> None:
    page = open_page(NAV, wait="[data-pipeline=flights]")
    for name, said in {
        "broken": "does not load",
        "unreachable": "unreadable",
        "gone": "no DAG",
        "flights": "unverified",
        "never_ran": "no run has moved a window yet",
        "clocks": "complete",
    }.items():
        expect(page.locator(f"[data-pipeline={name}]")).to_contain_text(said)
    expect(page.locator("[data-pipeline=broken]")).to_contain_text("Mars/Phobos")
    expect(page.locator("[data-pipeline=unreachable]")).to_contain_text("connection state_down")


def test_lanes_show_each_state_that_runs_left(open_page: Open) -> None:
    page = open_page(TAB, wait=".pp-cell")
    labels = page.locator(".pp-cell").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    newest = page.locator(".pp-lanes [data-row]").first.get_attribute("data-row")
    page.get_by_role("button", name="Earlier").click()
    expect(page.locator(f'.pp-lanes [data-row="{newest}"]')).to_have_count(0)
    labels += page.locator(".pp-cell").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    said = {re.split(r", ", label.split(": ", 1)[1])[0] for label in labels}
    assert said >= {
        "complete",
        "replaced 2 times",
        "drifted (grew)",
        "drifted (shrank)",
        "waived",
        "failed 2 of 5",
        "blocked 5 of 5",
        "unverified",
        "missing",
        "running",
        "ready",
        *(["not settled"] if last_window_waits() else []),
    }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dags/clocks/plugin/windows", "01:00–02:00 comes twice: EDT, then EST"),
        ("/dags/clocks/plugin/windows", "last day 2013-11-05"),
        ("/dags/changed/plugin/windows", "committed with other bounds than those that are planned now"),
        ("/dags/never_ran/plugin/windows", "No run has moved a window yet."),
        ("/dags/too_old/plugin/windows", "too old"),
        ("/dags/plain/plugin/windows", "plain is not a pipeline"),
        ("/plugin/pipelines?pipeline=gone", "Airflow has no DAG of it any more"),
        ("/dags/unreachable/plugin/windows", "The state store cannot be read (connection state_down)"),
    ],
)
def test_odd_pipelines_explain_themselves(
    open_page: Open, allowed_errors: list[str], path: str, said: str
) -> None:
    allowed_errors += ["404", "503"] if "plain" in path or "unreachable" in path else []
    page = open_page(path)
    expect(page.locator(".pp").first).to_contain_text(said)


def test_viewer_reads_and_is_told_what_is_missing(open_page: Open) -> None:
    page = open_page(TAB, user="viewer", wait=".pp-look")
    button = page.locator(".pp-look").get_by_role("button", name="Move…").first
    assert button.get_attribute("aria-disabled") == "true"
    assert "can create on DAG Runs" in (button.get_attribute("title") or "")


def test_preview_lists_what_would_be_moved(open_page: Open) -> None:
    page = open_page(TAB, wait=".pp-look")
    page.locator(".pp-look").get_by_role("button", name="Move…").first.click()
    box = page.get_by_role("dialog")
    expect(box.get_by_role("button", name=re.compile("Move 1 window"))).to_be_enabled()
    expect(box).to_contain_text("airflow-pipelines reprocess flights")
    box.get_by_role("button", name="Cancel").click()


def test_waiver_by_click_is_what_the_ledger_then_says(open_page: Open) -> None:
    page = open_page(TAB, wait=".pp-cell")
    page.locator(".pp-lanes .pp-cell.pp-missing").last.click()
    page.get_by_role("button", name="Waive…").click()
    box = page.get_by_role("alertdialog")
    box.get_by_label("Reason").fill("<b>lost</b> at the source")
    box.get_by_role("button", name="Waive", exact=True).click()
    drawer = page.get_by_role("dialog")
    expect(drawer.locator(".pp-mark").first).to_have_text("waived")
    expect(drawer).to_contain_text("<b>lost</b> at the source")
    expect(drawer.get_by_role("table", name="Waivers")).to_contain_text("admin")
