"""What the page says when something is empty, broken, hostile or not there, and when it asks again."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .answers import HOSTILE, LAST, NOW, bounds, day_row, gaps, interval, pipeline, row, utc, window, windows
from .answers import lanes as made_lanes
from .conftest import NAV, TAB, Answers, Open, until

UNREACHABLE = {
    "detail": "connection to server at 10.0.0.5, port 5432 failed: timeout expired",
    "conn_id": "pipeline_state",
    "last_good_at": "2013-11-07T14:08:00Z",
}


def test_dag_that_is_not_a_pipeline_has_one_line(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("404")
    answers.changed["pipeline"] = (404, {"detail": "plain is not a pipeline"})
    page = open_page("/dags/plain/plugin/windows", answers, wait=".pp p")
    assert (
        page.locator(".pp").inner_text()
        == "plain is not a pipeline of airflow-pipeline-provider, so it has no windows."
    )


def test_state_store_that_cannot_be_read_is_named(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("503")
    answers.changed["pipeline"] = answers.changed["pipelines"] = (503, UNREACHABLE)
    for path in (TAB, NAV):
        alert = open_page(path, answers, wait="[role=alert]").get_by_role("alert")
        expect(alert).to_contain_text("The state store cannot be read (connection pipeline_state).")
        expect(alert).to_contain_text("10.0.0.5, port 5432 failed: timeout expired")
        expect(alert).to_contain_text("at 2013-11-07 14:08 UTC")


def test_last_good_answer_stays_while_the_state_is_unreachable(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("503")
    page = open_page(TAB, answers, wait=".pp-cell")
    answers.changed["pipeline"] = (503, UNREACHABLE)
    page.get_by_role("alert").wait_for()  # a window is held: it is asked every 10 seconds
    expect(page.get_by_role("alert")).to_contain_text("Last good answer")
    assert page.locator(".pp-cell").count() > 100


def test_pipeline_that_never_ran_explains_itself(open_page: Open, answers: Answers) -> None:
    answers.changed["pipeline"] = pipeline(
        days=[], leases=[], behind_seconds=0, days_to_review=0, continuation=None
    )
    page = open_page(TAB, answers, wait=".pp-note")
    expect(page.locator(".pp-note")).to_contain_text("No day is planned yet. The first day is 2012-11-06.")
    expect(page.locator(".pp-note")).to_contain_text("The first window is 2013-11-06 23:00–24:00 EST")
    assert "gaps" not in answers.asked


def test_pipeline_with_nothing_to_do_is_calm(open_page: Open, answers: Answers) -> None:
    days = [day_row(LAST) | {"state": "complete", "reason": "every window is committed"}]
    facts = pipeline()["facts"] | {"end_day": LAST.isoformat()}
    answers.changed |= {
        "pipeline": pipeline(
            days=days,
            leases=[],
            behind_seconds=0,
            caught_up=True,
            days_to_review=0,
            facts=facts,
            next=None,
        ),
        "gaps": {"at": utc(NOW), "gaps": []},
    }
    page = open_page(TAB, answers, wait=".pp-good")
    expect(page.locator(".pp-good")).to_contain_text("Nothing needs a look.")
    for text in ("caught up", "last day 2013-11-06", "no run is moving anything"):
        expect(page.locator(".pp-chips")).to_contain_text(text)


def test_more_than_a_year_is_paged(open_page: Open, answers: Answers) -> None:
    asked: list[dict[str, str]] = []

    def years(query: dict[str, str]) -> dict[str, Any]:
        asked.append(query)
        return pipeline()

    answers.changed["pipeline"] = years
    page = open_page(TAB, answers, wait=".pp-day")
    page.get_by_role("button", name="A year earlier").click()
    page.wait_for_url("**until=2012-11-05*")
    page.get_by_role("button", name="Newest").wait_for()
    until(page, lambda: asked[-1] == {"until": "2012-11-05"})


def test_no_pipeline_at_all_says_how_to_begin(open_page: Open, answers: Answers) -> None:
    answers.changed["pipelines"] = {"at": utc(NOW), "total": 0, "pipelines": []}
    page = open_page(NAV, answers, wait=".pp-note")
    expect(page.locator(".pp-note")).to_contain_text("airflow-pipelines init")


def test_fault_of_the_page_does_not_take_airflow_down(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors += [
        "days.map",
        "TypeError",
        "error occurred",
        "cannot read",
        "is not a function",
        "Cannot read",
    ]
    answers.changed["pipeline"] = pipeline(days="nonsense")
    page = open_page(TAB, answers, wait="[role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("This page has a fault.")
    expect(page.get_by_role("link", name="Code")).to_be_visible()
    answers.changed.clear()
    page.get_by_role("button", name="Try again").click()
    page.locator(".pp-cell").first.wait_for()


def test_html_and_script_are_shown_as_text(open_page: Open, answers: Answers) -> None:
    page = open_page(NAV, answers, wait="[data-pipeline]")
    expect(page.locator("[data-pipeline]").last.get_by_role("link")).to_have_text(HOSTILE)
    untouched(page)
    page = open_page(TAB, answers, wait=".pp-cell")
    waived = page.locator('[data-day="2013-11-03"] .pp-cell').nth(5)
    waived.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(HOSTILE)
    untouched(page)
    page = open_page(f"{TAB}?window=2013-11-06T19:00:00Z/2013-11-06T20:00:00Z", answers, wait=".pp-error")
    expect(page.locator(".pp-error").first).to_contain_text(HOSTILE)
    untouched(page)


def untouched(page: Page) -> None:
    assert "owned" not in page.title()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(
    "name",
    [
        "?window=nonsense",
        "?day=tomorrow",
        "?to=x",
        "?to=2013-99-99",
        "?day=0",
        "?zone=Mars%2FPhobos",
        "?until=%3Cscript%3E",
    ],
)
def test_nonsense_in_the_address_is_ignored(open_page: Open, answers: Answers, name: str) -> None:
    open_page(TAB + name, answers, wait=".pp-cell")


def test_zone_can_be_switched_and_is_in_the_address(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="UTC", exact=True).click()
    page.wait_for_url("**zone=utc*")
    expect(page.locator(".pp-look li").first).to_contain_text("2013-11-06 19:00–20:00 UTC")
    page.evaluate("localStorage.setItem('timezone', JSON.stringify('Europe/Paris'))")
    page.reload()
    page.get_by_role("button", name="Europe/Paris (yours)").click()
    expect(page.locator(".pp-look li").first).to_contain_text("2013-11-06 20:00–21:00 CET")
    page.get_by_role("button", name="America/New_York (pipeline)").click()
    expect(page.locator(".pp-look li").first).to_contain_text("2013-11-06 14:00–15:00 EST")


def test_it_asks_again_only_while_it_is_looked_at(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    asked = {"pipeline", "windows", "gaps"}
    until(page, lambda: asked <= set(answers.asked))
    hidden = (
        "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.evaluate(hidden % "true")
    before = len(answers.asked)
    page.wait_for_timeout(11_000)
    assert len(answers.asked) == before
    page.evaluate(hidden % "false")  # what is older than 10 seconds is asked at once
    until(page, lambda: asked <= set(answers.asked[before:]))


def test_gaps_that_are_many_are_shown_in_parts(open_page: Open, answers: Answers) -> None:
    one = gaps()["gaps"][0]
    many = [
        one | {"start": f"2013-10-{n:02}T04:00:00Z", "end": f"2013-10-{n:02}T05:00:00Z"} for n in range(1, 31)
    ]
    answers.changed["gaps"] = {"at": utc(NOW), "gaps": many}
    page = open_page(TAB, answers, wait=".pp-look")
    expect(page.locator(".pp-look li")).to_have_count(5)
    page.get_by_role("button", name="Show all 30").click()
    expect(page.locator(".pp-look li")).to_have_count(30)
    rows = page.get_by_role("table", name="Gaps of all days, worst first").locator("tbody tr")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(30)


def test_another_pipeline_begins_without_what_was_done_to_the_one_before(
    open_page: Open, answers: Answers
) -> None:
    page = open_page(f"{NAV}?pipeline=flights", answers, wait=".pp-cell")
    page.get_by_role("button", name="Recheck…").click()
    page.get_by_role("dialog").get_by_role("button", name="Recheck", exact=True).click()
    done = page.get_by_text("recheck: one run was created.")
    expect(done).to_be_visible()
    go = "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate', {state: {}})); }"
    page.evaluate(go, f"{NAV}?pipeline=weather")
    expect(done).to_have_count(0)
    page.locator(".pp-cell").first.wait_for()


def test_gaps_that_cannot_be_read_are_not_called_good(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("503")
    days = [day_row(LAST) | {"state": "complete", "reason": "every window is committed"}]
    answers.changed |= {"pipeline": pipeline(days=days, leases=[]), "gaps": (503, UNREACHABLE)}
    page = open_page(TAB, answers, wait="[role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("The state store cannot be read")
    expect(page.locator(".pp-good")).to_have_count(0)


def test_gaps_that_were_not_sent_are_counted(open_page: Open, answers: Answers) -> None:
    found = [gap for gap in gaps()["gaps"] if gap["reason"] in ("failed", "blocked")]
    answers.changed["gaps"] = {"at": utc(NOW), "total": len(found) + 300, "gaps": found}
    page = open_page(TAB, answers, wait=".pp-look")
    expect(page.locator(".pp-look h3")).to_contain_text("300 more gaps not listed")
    expect(page.locator("h2").filter(has_text="Gaps of all days")).to_contain_text(
        f"the first {len(found)} of {len(found) + 300}"
    )


def test_late_days_and_unusual_windows_need_a_look(open_page: Open, answers: Answers) -> None:
    one = windows(LAST)[3]["window"]
    late = interval(*bounds(LAST)) | {"what": "late", "sentence": f"{LAST} is late: it was due"}
    few = {**one, "what": "few", "sentence": "it has 3 rows, usual are 20"}
    answers.changed |= {
        "pipeline": pipeline(unexpected=[few, late]),
        "gaps": {"at": utc(NOW), "gaps": []},
        "windows": lambda query: with_unexpected(query, one["start"], few["sentence"]),
        "window": window(one["start"], unexpected=[few["sentence"], late["sentence"]]),
        "pipelines": {
            "at": utc(NOW),
            "total": 1,
            "pipelines": [row("flights", "failed", unexpected=["x", "y"])],
        },
    }
    page = open_page(TAB, answers, wait=".pp-look")
    look = page.locator(".pp-look")
    expect(look.locator("h3")).to_contain_text("2 things need a look")
    expect(look.locator("li").nth(0)).to_contain_text("few rows")
    expect(look.locator("li").nth(0)).to_contain_text("it has 3 rows, usual are 20")
    expect(look.locator("li").nth(1)).to_contain_text(f"{LAST} is late")
    cell = page.locator(f'[data-cell^="{one["start"]}/"]')
    expect(cell).to_have_attribute("data-tip", re.compile("not as expected: it has 3 rows"))
    look.get_by_role("button", name="Open").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.locator("section").filter(has_text="Not as expected")).to_contain_text("usual are 20")
    listed = open_page(NAV, answers, wait="table tbody tr")
    expect(listed.locator("tbody")).to_contain_text("not as expected: x, and 1 more")


def with_unexpected(query: dict[str, str], start: str, sentence: str) -> dict[str, Any]:
    found = made_lanes(date.fromisoformat(query["from"]), date.fromisoformat(query["to"]))
    for lane in found["days"]:
        for one in lane["windows"]:
            one["unexpected"] = sentence if one["window"]["start"] == start else None
    return found
