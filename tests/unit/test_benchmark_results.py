"""Results of the benchmarks: a run of a part keeps what earlier runs measured of the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.contract import Contestant, Goal, Results, Run, Settings
from benchmarks.report import write


def results(race: str, seconds: float) -> Results:
    found = Results()
    run = Run(seconds, seconds, 1.0, 1.0, 1.0, 200_000_000, 0, 0, {"rows": 1000})
    found.add(Contestant(race, "ours", ()), run)
    return found


def group(name: str, *goals: Goal) -> Any:
    return SimpleNamespace(
        __name__=f"benchmarks.groups.{name}", TITLE=f"The {name}", goals=lambda _: list(goals)
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(rounds=3, docs=1000, work=tmp_path, data=tmp_path)


@pytest.fixture
def page(tmp_path: Path, settings: Settings) -> Path:
    """What a run of everything wrote: two races of `one`, one race of `two`, a goal of each."""
    path = tmp_path / "results.md"
    both = results("first", 2.0)
    both.runs |= results("second", 3.0).runs
    groups = [
        (group("one", Goal("work of one", "≤ 4 s", "2 s", True)), both),
        (group("two", Goal("work of two", "≤ 4 s", "5 s", False)), results("third", 5.0)),
    ]
    write(path, groups, settings, [])
    return path


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        pytest.param({}, ["third"], id="a group"),
        pytest.param({"races": ("first",)}, ["second", "third"], id="a race of it"),
        pytest.param({"names": ("ours",)}, ["second", "third"], id="a contestant of it"),
    ],
)
def test_a_narrowed_run_keeps_what_it_did_not_measure(
    page: Path, settings: Settings, chosen: dict[str, Any], kept: list[str]
) -> None:
    before = json.loads(page.with_suffix(".json").read_text())
    narrowed = replace(settings, rounds=1, options={"days": "2"}, **chosen)

    again = group("one", Goal("work of one", "≤ 4 s", "9 s", False))
    write(page, [(again, results("first", 9.0))], narrowed, [], narrowed=True)

    text, medians = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert [race for race in ("first", "second", "third") if f"### {race}\n" in text] == ["first", *kept]
    assert medians == {"first": {"ours": medians["first"]["ours"]}, **{race: before[race] for race in kept}}
    assert medians["first"]["ours"]["seconds"] == 9
    assert text.count("## The one\n") == text.count("## The two\n") == 1
    assert text.count("1 round, 1,000 documents unless the table has another number, days=2; ") == 1
    assert text.count(": 3 rounds, 1,000 documents unless the table has another number; ") == len(kept)
    rows = [line for line in text.splitlines() if line.startswith(("| one", "| two"))]
    assert [row[:5] for row in rows] == ["| one", "| two"]
    assert "| one | work of one | ≤ 4 s | 9 s | **not reached** |" in text
    assert "| two | work of two | ≤ 4 s | 5 s | **not reached** |" in text
    assert "| 2 s |" not in text


def test_a_goal_that_a_narrowed_run_did_not_measure_keeps_its_result(page: Path, settings: Settings) -> None:
    unknown = group("one", Goal("work of one", "≤ 4 s", "", None))
    write(page, [(unknown, results("second", 9.0))], replace(settings, races=("second",)), [], narrowed=True)

    assert "| one | work of one | ≤ 4 s | 2 s | reached |" in page.read_text()


@pytest.mark.parametrize(("lists_all", "kept"), [(True, False), (False, True)])
def test_a_goal_that_a_group_no_longer_has_is_removed_if_it_lists_all_of_its_goals(
    page: Path, settings: Settings, lists_all: bool, kept: bool
) -> None:
    changed = group("one", Goal("other work of one", "≤ 1 s", "", None))
    changed.LISTS_ALL_GOALS = lists_all
    write(page, [(changed, results("second", 9.0))], replace(settings, races=("second",)), [], narrowed=True)

    text = page.read_text()
    assert ("| one | work of one |" in text) is kept
    assert "| one | other work of one | ≤ 1 s |  | not measured |" in text
    assert "| two | work of two |" in text


@pytest.mark.parametrize("narrowed", [True, False])
def test_a_group_that_failed_keeps_the_races_that_were_not_measured_again(
    page: Path, settings: Settings, narrowed: bool
) -> None:
    write(page, [(group("one"), results("second", 9.0))], settings, ["one"], narrowed=narrowed)

    text, medians = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert "**Not finished because of an error: one.**" in text
    assert [race for race in ("first", "second", "third") if f"### {race}\n" in text] == list(medians)
    assert [medians[race]["ours"]["seconds"] for race in ("first", "second", "third")] == [2, 9, 5]
    assert "| one | work of one | ≤ 4 s | 2 s | reached |" in text


def test_a_run_of_everything_keeps_nothing(page: Path, settings: Settings) -> None:
    write(page, [(group("two"), results("third", 1.0))], settings, [])

    assert "The one" not in page.read_text()
    assert list(json.loads(page.with_suffix(".json").read_text())) == ["third"]


def test_the_results_in_the_repository_survive_a_narrowed_run(tmp_path: Path, settings: Settings) -> None:
    """Nothing of the page that is not understood is lost."""
    folder = Path(__file__).parents[2] / "benchmarks"
    for name in ("results.md", "results.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    before = (tmp_path / "results.md").read_text().splitlines()

    write(tmp_path / "results.md", [(group("other"), results("new", 1.0))], settings, [], narrowed=True)

    after = (tmp_path / "results.md").read_text().splitlines()
    missing = [line for line in before if line not in after and not line.startswith("- ")]
    assert missing == []
    assert "### new" in after
