"""What the dialogs ask for and send; the routes have tests of their own."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from .answers import pipeline
from .conftest import TAB, Answers, Open, until

FAILED = {"start": "2013-11-06T19:00:00Z", "end": "2013-11-06T20:00:00Z"}
SHRANK = {"start": "2013-11-05T15:00:00Z", "end": "2013-11-05T16:00:00Z"}
RUNNING = {"start": "2013-11-07T02:00:00Z", "end": "2013-11-07T03:00:00Z"}


def at(window: dict[str, str]) -> str:
    return f"{TAB}?window={window['start']}/{window['end']}"


def sent(answers: Answers) -> tuple[str, Any]:
    name, body, headers = answers.posted[-1]
    assert headers["content-type"] == "application/json"
    assert headers["x-airflow-pipelines"] == "1"
    return name, body


def dialog(page: Page, title: str) -> Any:
    return (
        page.get_by_role("dialog")
        .filter(has_text=title)
        .or_(page.get_by_role("alertdialog").filter(has_text=title))
        .last
    )


def test_move_a_day_chooses_what_is_not_complete(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="Move this day again…").click()
    box = dialog(page, "Move again")
    expect(box.locator("tbody tr")).to_have_count(3)
    expect(box).to_contain_text("About 1 min 24 s")
    expect(box).to_contain_text("At most 2 downstream runs follow.")
    expect(box).to_contain_text("airflow-pipelines reprocess flights 2013-11-06")
    box.get_by_role("button", name="Also show the 21 windows").click()
    expect(box.locator("tbody tr")).to_have_count(24)
    expect(box.get_by_label("Move 2013-11-06 23:00–24:00 EST")).to_be_disabled()
    expect(box).to_contain_text("cannot be moved here · settles at 2013-11-07 10:00 EST")
    box.get_by_label("Move 2013-11-06 00:00–01:00 EST").check()
    box.get_by_label("Move 2013-11-06 22:00–23:00 EST").uncheck()
    expect(box).to_contain_text("1 complete window will be replaced.")
    box.get_by_label("Reason (optional").fill("source was repaired")
    box.get_by_role("button", name="Move 3 windows").click()
    expect(page.get_by_text("move: one run was created.")).to_be_visible()
    name, body = sent(answers)
    assert name == "move"
    assert body["reason"] == "source was repaired"
    assert [(one["start"], one["state"]) for one in body["windows"]] == [
        ("2013-11-06T05:00:00Z", "complete"),
        ("2013-11-06T19:00:00Z", "failed"),
        ("2013-11-06T20:00:00Z", "missing"),
    ]


def test_a_window_that_shrank_cannot_be_chosen(open_page: Open, answers: Answers) -> None:
    page = open_page(at(SHRANK), answers, wait=".pp-counts")
    page.get_by_role("button", name="Move again…").click()
    box = dialog(page, "Move again")
    expect(box.get_by_role("checkbox")).to_be_disabled()
    expect(box).to_contain_text("cannot be moved here · the source has 3 rows fewer")
    expect(box.get_by_role("button", name="Nothing is chosen")).to_be_disabled()


def test_move_looks_again_when_a_window_has_changed(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("409")
    answers.changed["move"] = (409, {"detail": "1 window is in another state now", "windows": []})
    page = open_page(at(FAILED), answers, wait=".pp-attempt")
    page.get_by_role("button", name="Move again…").click()
    page.get_by_role("button", name="Move 1 window").click()
    expect(dialog(page, "Move again")).to_contain_text("1 window is in another state now")
    until(page, lambda: [name for name, _, _ in answers.posted] == ["preview", "move", "preview"])


def test_what_was_chosen_is_kept_when_it_looks_again(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("409")
    answers.changed["move"] = (409, {"detail": "1 window is in another state now", "windows": []})
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="Move this day again…").click()
    box = dialog(page, "Move again")
    box.get_by_role("button", name="Also show the 21 windows").click()
    failed, complete = (
        box.get_by_label(f"Move 2013-11-06 {hour} EST") for hour in ("14:00–15:00", "00:00–01:00")
    )
    failed.uncheck()
    complete.check()
    expect(box).not_to_contain_text(
        "airflow-pipelines reprocess"
    )  # which moves the windows that were proposed
    expect(box).to_contain_text("At most 2 downstream runs follow.")
    box.get_by_role("button", name="Move 3 windows").click()
    expect(box).to_contain_text("1 window is in another state now")
    until(page, lambda: [name for name, _, _ in answers.posted] == ["preview", "move", "preview"])
    expect(failed).not_to_be_checked()
    expect(complete).to_be_checked()


def test_waive_needs_a_reason(open_page: Open, answers: Answers) -> None:
    page = open_page(at(FAILED), answers, wait=".pp-attempt")
    page.get_by_role("button", name="Waive…").click()
    box = dialog(page, "Waive this window")
    button = box.get_by_role("button", name="Waive", exact=True)
    expect(button).to_be_disabled()
    box.get_by_label("Reason").fill("   ")
    expect(button).to_be_disabled()
    box.get_by_label("Reason").fill("the source lost it (incident 4711)")
    button.click()
    expect(page.get_by_text("waive: one run was created.")).to_be_visible()
    assert sent(answers) == ("waive", {**FAILED, "reason": "the source lost it (incident 4711)"})


def test_shrinkage_needs_the_number_of_rows_that_go(open_page: Open, answers: Answers) -> None:
    page = open_page(at(SHRANK), answers, wait=".pp-counts")
    page.get_by_role("button", name="Accept the shrinkage…").click()
    box = dialog(page, "Accept the shrinkage")
    button = box.get_by_role("button", name="Delete 3 rows from the target")
    box.get_by_label("Reason").fill("duplicates were removed at the source")
    for typed in ("", "1188", "30"):
        box.get_by_label("Type the number").fill(typed)
        expect(button).to_be_disabled()
    box.get_by_label("Type the number").fill("3")
    button.click()
    expect(page.get_by_text("accept-shrink: one run was created.")).to_be_visible()
    assert sent(answers) == (
        "accept-shrink",
        {**SHRANK, "rows": 3, "reason": "duplicates were removed at the source"},
    )


def test_live_lease_needs_the_id_of_its_run(open_page: Open, answers: Answers) -> None:
    page = open_page(at(RUNNING), answers, wait=".pp-attempt, h3")
    page.get_by_role("button", name="Release the lease…").click()
    box = dialog(page, "Release the lease")
    expect(box).to_contain_text("The run may still be working.")
    button = box.get_by_role("button", name="Release", exact=True)
    run = "scheduled__2013-11-07T14:00:00+00:00"
    box.get_by_label("Reason").fill("its worker is gone")
    box.get_by_label("Type the run's id").fill("scheduled__")
    expect(button).to_be_disabled()
    box.get_by_label("Type the run's id").fill(run)
    button.click()
    expect(page.get_by_text("release: one run was created.")).to_be_visible()
    assert sent(answers) == ("release", {**RUNNING, "run_id": run, "reason": "its worker is gone"})


def test_lease_that_ended_meanwhile_has_nothing_to_type(open_page: Open, answers: Answers) -> None:
    answers.changed["pipeline"] = pipeline(leases=[])
    page = open_page(at(RUNNING), answers, wait=".pp-attempt, h3")
    page.get_by_role("button", name="Release the lease…").click()
    box = dialog(page, "Release the lease")
    expect(box).to_contain_text("is not held any more")
    expect(box.get_by_role("textbox")).to_have_count(0)
    expect(box.get_by_role("button", name="Release", exact=True)).to_be_disabled()


def test_recheck_is_one_day(open_page: Open, answers: Answers) -> None:
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="Recheck…").click()
    dialog(page, "Recheck 2013-11-06").get_by_role("button", name="Recheck", exact=True).click()
    expect(page.get_by_text("recheck: one run was created.")).to_be_visible()
    assert sent(answers) == ("recheck", {"day": "2013-11-06"})


def test_refusal_is_shown_and_the_dialog_stays(
    open_page: Open, answers: Answers, allowed_errors: list[str]
) -> None:
    allowed_errors.append("403")
    answers.changed["recheck"] = (403, {"detail": "you may not create runs of the maintenance DAG"})
    page = open_page(TAB, answers, wait=".pp-cell")
    page.get_by_role("button", name="Recheck…").click()
    box = dialog(page, "Recheck 2013-11-06")
    box.get_by_role("button", name="Recheck", exact=True).click()
    expect(box.get_by_role("alert")).to_contain_text("you may not create runs of the maintenance DAG")
