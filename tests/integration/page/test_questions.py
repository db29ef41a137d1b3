"""What a person on call asks, on the ledger of `tests/page/world.py`: answered in two clicks at most."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import NAV, TAB, Open

SPAN = r"\d{4}-\d\d-\d\d \d\d:\d\d ?– ?[-\d :]*\d\d:\d\d E[SD]T"


class Hand:
    """Finds and clicks, and counts the clicks."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def click(self, target: Locator) -> None:
        target.click()
        self.clicks += 1

    def button(self, name: str, inside: str = ".pp") -> None:
        self.click(self.page.locator(inside).get_by_role("button", name=name, exact=True).first)

    def open(self, state: str) -> None:
        """Click the newest cell of a state on the lanes."""
        self.click(self.page.locator(f".pp-lanes .pp-cell.pp-{state}").first)


class Question(NamedTuple):
    asked: str
    start: str
    clicks: int
    find: Callable[[Hand], None]
    where: str
    answer: tuple[str, ...]


def nothing(hand: Hand) -> None:
    """The answer is there at once."""


def drifted_days(hand: Hand) -> None:
    hand.click(hand.page.locator(".pp-look").get_by_role("button", name=re.compile("Show all")))


def redo_a_day(hand: Hand) -> None:
    hand.click(hand.page.locator(".pp-year .pp-failed, .pp-year .pp-blocked").first)
    hand.button("Move this day again…")


def give_up(hand: Hand) -> None:
    hand.open("missing")
    hand.button("Waive…", "[role=dialog][data-state=open]")


QUESTIONS = [
    Question(
        "which hour of yesterday is missing and why",
        TAB,
        0,
        nothing,
        ".pp-look li:has-text('no run has begun it') >> nth=0",
        (f"missing.*{SPAN}.*no run has begun it",),
    ),
    Question(
        "is a window stuck, who holds it",
        NAV,
        0,
        nothing,
        "[data-pipeline=flights]",
        (f"{SPAN}.*by scheduled__held",),
    ),
    Question(
        "since when has its run given no sign of life",
        NAV,
        1,
        lambda hand: hand.click(hand.page.get_by_role("link", name="flights", exact=True)),
        ".pp-chips",
        (f"Held.*{SPAN}.*by scheduled__held, last sign of life",),
    ),
    Question(
        "did last night's crash double anything",
        TAB,
        1,
        lambda hand: hand.open("unverified"),
        "[role=dialog][data-state=open]",
        (
            "unverified.*a replacement was begun and never committed: move it again",
            "Rows at the last commit.*3source.*3staged.*3target.*3distinct",
            "unfinished.*replacing",
        ),
    ),
    Question(
        "which days drifted since",
        TAB,
        1,
        drifted_days,
        ".pp-look ul",
        (r"drifted\d{4}-\d\d-\d\d",),
    ),
    Question(
        "how far behind are we and when caught up",
        NAV,
        0,
        nothing,
        "[data-pipeline=flights]",
        (r"\d+ [dh].*caught up about \d{4}-\d\d-\d\d \d\d:\d\d E[SD]T",),
    ),
    Question(
        "what will the next clock change do",
        TAB,
        0,
        nothing,
        ".pp-chips",
        (r"Next clock changeSunday \d{4}-\d\d-\d\dthat day has 2[35] hours",),
    ),
    Question(
        "redo this day safely",
        TAB,
        2,
        redo_a_day,
        "[role=dialog][data-state=open]",
        ("Windows that are complete move only if you choose them", "airflow-pipelines reprocess flights"),
    ),
    Question(
        "give this window up, visibly",
        TAB,
        2,
        give_up,
        "[role=alertdialog]",
        ("will count as done although it is not complete.*the day shows that it was waived",),
    ),
    Question(
        "how does the state move elsewhere",
        TAB,
        1,
        lambda hand: hand.click(hand.page.get_by_text("Commands for a shell")),
        ".pp",
        (
            "airflow-pipelines state export flights flights.jsonl",
            "airflow-pipelines state import flights flights.jsonl",
        ),
    ),
    Question(
        "what did this window do, attempt by attempt",
        TAB,
        1,
        lambda hand: hand.open("blocked"),
        "[role=dialog][data-state=open]",
        ("5 attempts, newest first", "Attempt 5.*DataError in load: the source has no row.*Attempt 4"),
    ),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=[one.asked for one in QUESTIONS])
def test_question_is_answered_in_two_clicks(open_page: Open, question: Question) -> None:
    hand = Hand(open_page(question.start, wait="[data-pipeline]" if question.start == NAV else ".pp-cell"))
    question.find(hand)
    assert hand.clicks == question.clicks <= 2
    for text in question.answer:
        shown = hand.page.locator(question.where)
        expect(shown).to_contain_text(re.compile(text, re.DOTALL))
        expect(shown).to_be_visible()
