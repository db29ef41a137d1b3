"""The page without a mouse, with reduced motion, and as a checker of accessibility sees it."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from .conftest import NAV, TAB, Answers, Open, at_rest


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.dataset.cell ?? document.activeElement.textContent"))


def test_arrow_keys_move_along_the_lane_and_enter_opens(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    stops = page.locator('.pp-lanes [data-cell][tabindex="0"]')
    assert stops.count() == 1  # one stop for Tab, at what needs a look
    stops.focus()
    assert focused(page) == "2013-11-06T19:00:00Z/2013-11-06T20:00:00Z"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "2013-11-06T20:00:00Z/2013-11-06T21:00:00Z"
    expect(page.get_by_role("tooltip")).to_contain_text("15:00–16:00 EST: missing")
    page.keyboard.press("ArrowDown")  # the same time of the day before
    assert focused(page) == "2013-11-05T20:00:00Z/2013-11-05T21:00:00Z"
    page.keyboard.press("Home")
    assert focused(page) == "2013-11-05T05:00:00Z/2013-11-05T06:00:00Z"
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "2013-11-07T04:00:00Z/2013-11-07T05:00:00Z"
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("23:00–24:00 EST")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_tooltip_stays_with_the_focus(open_page: Open, answers: Answers) -> None:
    """The focus scrolls the page, which sends events of scroll, and of a pointer that rests above other cells."""
    page = open_page(TAB, answers, wait=".pp-cell")
    lanes = page.locator(".pp-lanes")
    lanes.hover(position={"x": 4, "y": 4})
    for key in ("ArrowRight", "ArrowLeft"):
        page.evaluate("scrollTo(0, 0); document.querySelector('.pp').parentElement.scrollTop = 0")
        lanes.locator('[data-cell][tabindex="0"]').focus()
        page.keyboard.press(key)
        tip = page.get_by_role("tooltip")
        expect(tip).to_contain_text("EST: ")
        before = tip.bounding_box()
        page.mouse.wheel(0, 40)
        page.wait_for_timeout(300)
        after = tip.bounding_box()
        assert before
        assert after
        cell = page.locator("[data-cell]:focus").bounding_box()
        assert cell
        assert abs(after["x"] + after["width"] / 2 - cell["x"] - cell["width"] / 2) < 2
        assert abs(after["y"] + after["height"] - cell["y"]) < 12
    cells = lanes.locator(".pp-cell")
    cells.nth(30).hover()
    expect(page.get_by_role("tooltip")).to_contain_text(
        (cells.nth(30).get_attribute("data-tip") or "").splitlines()[0]
    )


def test_space_selects_and_the_selection_can_be_moved(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.locator('.pp-lanes [data-cell][tabindex="0"]').focus()
    for key in (" ", "ArrowRight", " "):
        page.keyboard.press(key)
    expect(page.get_by_text("2 windows selected")).to_be_visible()
    page.get_by_role("status").get_by_role("button", name="Move again…").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Move 2 windows").wait_for()
    name, body, _ = answers.posted[0]
    assert name == "preview"
    assert [one["start"] for one in body["windows"]] == ["2013-11-06T19:00:00Z", "2013-11-06T20:00:00Z"]


def test_days_of_the_year_open_by_keyboard(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-day")
    page.locator('.pp-day[tabindex="0"]').focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == "2013-10-23"
    page.keyboard.press("Enter")
    page.wait_for_url("**day=2013-10-23*")
    page.locator('[data-day="2013-10-23"].pp-chosen').wait_for()


def test_everything_is_reached_by_tab(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="UTC").focus()
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(focused(page))
    for text in ("Open", "Move…", "A year earlier", "Earlier", "View as table", "Recheck…"):
        assert any(one == text for one in seen), (text, seen)
    assert sum(one.startswith("20") and "/" in one for one in seen) == 1  # the lanes are one stop
    page.keyboard.press("Shift+Tab")


def test_reduced_motion_stops_the_animation(open_page: Open, answers: Answers) -> None:
    running = ".pp-cell.pp-running"
    name = "cell => getComputedStyle(cell).animationName"
    page = open_page(TAB, answers, wait=running)
    assert page.locator(running).evaluate(name) == "pp-sweep"
    page.emulate_media(reduced_motion="reduce")
    assert page.locator(running).evaluate(name) == "none"


PLACES = {
    "list": (NAV, "[data-pipeline]"),
    "pipeline": (TAB, ".pp-cell"),
    "table": (f"{TAB}?view=table", ".pp table"),
    "window": (f"{TAB}?window=2013-11-05T15:00:00Z/2013-11-05T16:00:00Z", ".pp-counts"),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, answers: Answers, theme: str) -> None:
    for name, (path, ready) in PLACES.items():
        page = open_page(path, answers, theme=theme, wait=ready)
        at_rest(page)
        if name == "pipeline":
            page.get_by_role("button", name="Move this day again…").click()
            page.get_by_role("button", name="Move 3 windows").wait_for()
            at_rest(page)
            assert serious(page, "[role=dialog]") == [], f"dialog, {theme}"
            page.get_by_role("button", name="Cancel").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
        assert serious(page, "[role=dialog]" if name == "window" else ".pp") == [], f"{name}, {theme}"


def serious(page: Page, where: str) -> list[str]:
    found = Axe().run(page, context=where).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
