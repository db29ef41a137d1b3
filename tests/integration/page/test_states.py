"""Every state is told by its icon, its word and its pattern, on a lane, in the year and in the list."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from playwright.sync_api import Page, expect

from .answers import HOUR, LAST, MAY, ODD, day_row, interval, pipeline
from .conftest import NAV, TAB, Answers, Open, until

SAID = {
    ("2013-11-06", 14): "failed 3 of 5",
    ("2013-11-06", 15): "missing",
    ("2013-11-06", 21): "running",
    ("2013-11-06", 22): "ready",
    ("2013-11-06", 23): "not settled",
    ("2013-11-05", 9): "drifted (grew)",
    ("2013-11-05", 10): "drifted (shrank)",
    ("2013-11-04", 6): "blocked 5 of 5",
    ("2013-11-04", 18): "unverified",
    ("2013-11-03", 5): "waived",
    ("2013-11-02", 3): "replaced 2 times",
    ("2013-11-02", 4): "complete",
}
STYLE = """cells => cells.map(cell => {
  const style = getComputedStyle(cell);
  const hollow = style.backgroundColor === "rgba(0, 0, 0, 0)";
  return [style.backgroundImage, style.outlineStyle, style.boxShadow === "none" ? "" : "edge", hollow].join();
})"""


def cells(page: Page, day: str) -> list[str]:
    return page.locator(f'[data-day="{day}"] .pp-cell').evaluate_all(
        "cells => cells.map(cell => cell.getAttribute('aria-label'))"
    )


def test_each_state_of_a_window_has_a_word_an_icon_and_a_pattern(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    assert set(SAID) >= set(ODD)
    for (day, index), said in SAID.items():
        assert f": {said}" in cells(page, day)[index], (day, index)
    one_each = {odd["state"]: (day, index) for (day, index), odd in ODD.items()}
    looks = {
        state: page.locator(f'[data-day="{day}"] .pp-cell').nth(index)
        for state, (day, index) in {**one_each, "complete": ("2013-11-02", 4)}.items()
    }
    icons = {state: cell.locator("svg").inner_html() for state, cell in looks.items()}
    assert len(set(icons.values())) == len(looks)
    patterns = {state: cell.evaluate(f"cell => ({STYLE})([cell])[0]") for state, cell in looks.items()}
    assert len(set(patterns.values())) == len(looks), patterns


def test_hour_of_yesterday_that_is_missing_is_the_first_thing_said(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-look")
    first = page.locator(".pp-look li").first
    expect(first).to_contain_text("failed 3 times")
    expect(first).to_contain_text("2013-11-06 14:00–15:00 EST")
    expect(first).to_contain_text("the cluster es-prod answered 503")
    expect(first).to_be_in_viewport()


def test_summary_says_how_far_behind_and_who_holds_a_window(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-chips")
    chips = page.locator(".pp-chip")
    for text in (
        "Behind9 hcaught up about 2013-11-07 09:29 EST",
        "Days that need a look3",
        "2013-11-06 21:00–22:00 ESTby scheduled__2013-11-07T14:00:00+00:00, last sign of life 12 s ago",
        "2013-11-06 23:00–24:00 ESTready in 40 min, at 10:00 EST",
        "Sunday 2014-03-09that day has 23 hours",
    ):
        expect(chips.filter(has_text=text)).to_have_count(1)


def test_lane_is_as_long_as_its_day(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    widths = {
        day: page.locator(f'[data-day="{day}"] .pp-track').bounding_box()["width"]  # type: ignore[index]
        for day in ("2013-11-03", "2013-11-04")
    }
    assert abs(widths["2013-11-03"] / widths["2013-11-04"] - 25 / 24) < 0.005
    assert len(cells(page, "2013-11-03")) == 25
    lane = page.locator('[data-day="2013-11-03"]')
    expect(lane).to_contain_text("25 hours")
    expect(lane).to_contain_text("01:00–02:00 comes twice: EDT, then EST")
    bracket, first, second = (
        lane.locator(selector).bounding_box()
        for selector in (".pp-twice", ".pp-cell >> nth=1", ".pp-cell >> nth=2")
    )
    assert bracket
    assert first
    assert second
    assert abs(bracket["x"] - first["x"]) < 4
    assert abs(bracket["x"] + bracket["width"] - second["x"] - second["width"]) < 4
    texts = cells(page, "2013-11-03")
    assert "01:00 EDT–01:00 EST: complete" in texts[1]
    assert "01:00–02:00 EST: complete" in texts[2]


@pytest.mark.parametrize(
    ("zone", "day", "start", "end", "twice"),
    [
        ("America/Santiago", "2026-04-04", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z", "23:00–24:00"),
        ("Asia/Beirut", "2026-10-24", "2026-10-23T21:00:00Z", "2026-10-24T22:00:00Z", "23:00–24:00"),
        ("Africa/Cairo", "2026-10-29", "2026-10-28T21:00:00Z", "2026-10-29T22:00:00Z", "23:00–24:00"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "00:00–01:00"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "02:00–03:00"),
        ("America/Santiago", "2026-09-05", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z", None),
        ("America/New_York", "2026-10-30", "2026-10-30T04:00:00Z", "2026-10-31T04:00:00Z", None),
    ],
)
def test_lane_marks_the_hour_that_comes_twice_and_ends_at_24(
    open_page: Open, answers: Answers, zone: str, day: str, start: str, end: str, twice: str | None
) -> None:
    """In Chile, Lebanon and Egypt clocks go back at midnight; in Chile they also skip the hour after it."""
    begin, stop = (datetime.fromisoformat(one.replace("Z", "+00:00")) for one in (start, end))
    hours = (stop - begin) // HOUR
    windows = [
        {"window": interval(begin + n * HOUR, begin + (n + 1) * HOUR), "state": "complete", "rows": 1}
        for n in range(hours)
    ]
    lane = {"day": day, "hours": hours, "start": start, "end": end, "windows": windows, "commits": []}
    one = day_row(LAST) | {"day": day, "hours": hours, "state": "complete"}
    facts = pipeline()["facts"] | {"timezone": zone}
    answers.changed |= {
        "pipeline": pipeline(days=[one], facts=facts, leases=[], next=None),
        "windows": {"at": start, "days": [lane]},
        "gaps": {"at": start, "total": 0, "gaps": []},
    }
    page = open_page(TAB, answers, wait=".pp-cell")
    brackets = page.locator(f'[data-day="{day}"] .pp-twice-text')
    expect(brackets).to_have_count(1 if twice else 0)
    if twice:
        expect(brackets).to_contain_text(f"{twice} comes twice")
    texts = cells(page, day)
    assert len(texts) == hours
    assert re.search(r" 23:00–24:00 \S+: complete", texts[-1]), texts[-1]


def test_commits_that_do_not_follow_the_plan_are_below_the_lane(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    below = page.locator('[data-day="2013-11-01"] .pp-off')
    expect(below.locator("span")).to_have_count(3)
    assert "08:00–09:00 EDT, 402 rows" in (below.get_attribute("aria-label") or "")
    wide = page.locator('[data-day="2013-11-01"] .pp-cell').nth(2).bounding_box()
    mark = below.locator("span").first.bounding_box()
    assert wide
    assert mark
    assert abs(mark["x"] - wide["x"]) < 4


def test_year_marks_days_of_23_and_25_hours(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-day")
    assert page.locator(".pp-day").count() == 366
    odd = page.locator(".pp-day[data-hours]").evaluate_all(
        "all => all.map(one => [one.dataset.cell, one.dataset.hours])"
    )
    assert sorted(odd) == [["2013-03-10", "23"], ["2013-11-03", "25"]]
    tip = page.locator('.pp-day[data-cell="2013-11-03"]').get_attribute("aria-label") or ""
    assert "Sunday 2013-11-03: waived" in tip
    assert "25 hours" in tip


def test_list_shows_the_worst_first_and_a_file_that_does_not_load(open_page: Open, answers: Answers) -> None:
    page = open_page(NAV, answers, wait="[data-pipeline]")
    rows = page.locator("[data-pipeline]")
    expect(rows.nth(0)).to_contain_text("does not load")
    expect(rows.nth(0)).to_contain_text("granularity: must be 1m or more, got '0s'")
    expect(rows.nth(0)).to_contain_text("/opt/airflow/dags/pipelines/orders.yaml, line 12")
    expect(rows.nth(0)).to_contain_text("stopped 5 h ago")
    expect(rows.nth(1)).to_contain_text("failed")
    expect(rows.nth(1)).to_contain_text("by scheduled__2013-11-07T14:00:00+00:00")
    assert rows.nth(1).locator(".pp-pixel").count() == 14


def test_search_filter_and_page_are_asked_of_the_server(open_page: Open, answers: Answers) -> None:
    asked: list[dict[str, str]] = []

    def many(query: dict[str, str]) -> dict[str, object]:
        asked.append(query)
        from .answers import pipelines

        return pipelines() | {"total": 1000}

    answers.changed["pipelines"] = many
    page = open_page(NAV, answers, wait="[data-pipeline]")
    page.get_by_label("Search pipelines").fill("fli")
    page.wait_for_url("**search=fli*")
    page.get_by_label("State", exact=True).select_option("failed")
    page.get_by_label("Tag", exact=True).select_option("raw")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("51 to 100 of 1,000")).to_be_visible()
    last = {"search": "fli", "state": "failed", "tag": "raw", "limit": "50", "offset": "50"}
    until(page, lambda: asked[-1] == last)


def test_window_shows_its_attempts_with_links_to_runs_and_logs(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-look")
    page.locator(".pp-look li").first.get_by_role("button", name="Open").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("2013-11-06 19:00–20:00 UTC")
    expect(drawer.locator(".pp-attempt")).to_have_count(3)
    expect(drawer.locator(".pp-attempt").first).to_contain_text("Attempt 3")
    run = "/dags/flights/runs/scheduled__2013-11-07T13%3A00%3A00%2B00%3A00"
    assert drawer.get_by_role("link", name="scheduled__").first.get_attribute("href") == run
    logs = drawer.get_by_role("link", name="Logs of extract").first
    assert logs.get_attribute("href") == f"{run}/tasks/extract?try_number=3"
    drawer.locator(".pp-attempt summary").last.click()
    expect(drawer.locator(".pp-attempt").last).to_contain_text("the run was deleted")
    expect(drawer.get_by_text("airflow-pipelines history flights 2013-11-06T19:00:00Z")).to_be_visible()


def test_drifted_window_shows_which_count_differs(open_page: Open, answers: Answers) -> None:
    page = open_page(f"{TAB}?window=2013-11-05T15:00:00Z/2013-11-05T16:00:00Z", answers, wait=".pp-counts")
    counts = page.locator(".pp-counts > div")
    assert counts.all_inner_texts() == [
        "1,185\nsource",
        "1,188\nstaged ≠ source",
        "1,188\ntarget ≠ source",
        "1,188\ndistinct ≠ source",
    ]
    drawer = page.get_by_role("dialog")
    for text in ("sha256", "188.4 kB", "shrank", "Changes by hand", "token 43"):
        expect(drawer).to_contain_text(text)


def test_table_says_the_same(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="View as table").click()
    page.wait_for_url("**view=table*")
    table = page.get_by_role("table", name="Windows of 2013-11-06")
    row = table.get_by_role("row", name="14:00–15:00 EST").first
    expect(row).to_contain_text("failed 3 of 5")
    expect(row).to_contain_text("19:00–20:00 UTC")
    expect(page.get_by_role("table", name="Windows of 2013-11-03").locator("tbody tr")).to_have_count(25)
    expect(
        page.get_by_text("source 29,200 · staged 29,191 · target 29,191 · distinct 29,191")
    ).to_be_visible()


def test_buttons_that_a_viewer_may_not_press_say_why(open_page: Open, answers: Answers) -> None:
    why = "You need the permission to create runs of this DAG."
    answers.changed["pipeline"] = pipeline(may=dict.fromkeys(MAY, why))
    page = open_page(TAB, answers, wait=".pp-look")
    button = page.locator(".pp-look").get_by_role("button", name="Move…").first
    assert button.get_attribute("aria-disabled") == "true"
    assert button.get_attribute("title") == why
    button.dispatch_event("click")
    page.wait_for_timeout(200)
    assert page.get_by_role("dialog").count() == 0
    assert not answers.posted
