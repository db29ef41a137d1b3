"""Renamed pipelines, changed sources and targets on the command line, and who did what by hand."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.cli.arguments import read_person
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import ConfigError
from tests.doubles.memory_source import MemorySource

from .conftest import AFTER, Place

AT = ("--reference-time", AFTER)
FIRST = ("--window-start", "2013-11-03T04:00:00Z", "--window-end", "2013-11-03T09:00:00Z")


@pytest.fixture
def moved(place: Place) -> Place:
    """A complete day in one window of two."""
    place.write(granularity="20h")
    place.seed()
    assert place("run", "flights", "--until-done", *AT).code == 0
    return place


def other_target(place: Place) -> dict[str, Any]:
    return {"type": "duckdb", "path": str(place.folder.parent / "flights.duckdb"), "table": "main.trips"}


# --- check


def test_two_files_with_one_source_and_one_table_are_refused(moved: Place) -> None:
    twin = moved.write("copy", source={"type": "memory", "table": "flights"}, target=place_target(moved))
    result = moved("check", "-o", "json")
    assert result.code == 1
    said = {Path(one["file"]).name: [p["message"] for p in one["problems"]] for one in result.json["files"]}
    assert "flights.yaml, which loads the same source" in said[twin.name][0]
    assert "copy.yaml, which loads the same source" in said["flights.yaml"][0]
    assert moved("check", str(moved.folder), folder=False).code == 1


def place_target(place: Place) -> dict[str, Any]:
    return {"type": "duckdb", "path": str(place.folder.parent / "flights.duckdb"), "table": "main.moved"}


def test_another_spelling_of_the_target_file_is_the_same_table(moved: Place) -> None:
    spelled = {**place_target(moved), "path": str(moved.folder.parent / "x" / ".." / "flights.duckdb")}
    moved.write("copy", source={"type": "memory", "table": "flights"}, target=spelled)
    assert moved("check").code == 1


@pytest.mark.parametrize(
    "other",
    [
        {"source": {"type": "memory", "table": "weather"}},
        {"start_day": "2013-11-04", "end_day": None},
        {"target": "main.trips"},
        {"target": None},
    ],
    ids=["another source", "other days", "another table", "another file"],
)
def test_files_that_share_less_are_well(place: Place, other: dict[str, Any]) -> None:
    place.write()
    values = {"source": {"type": "memory", "table": "flights"}, "target": place_target(place), **other}
    if values["target"] == "main.trips":
        values["target"] = other_target(place)
    elif values["target"] is None:
        values["target"] = {**place_target(place), "path": str(place.folder.parent / "x.duckdb")}
    place.write("copy", **values)
    assert place("check").code == 0


# --- a changed target


def test_a_renamed_table_is_refused_and_shown(moved: Place) -> None:
    moved.write(granularity="20h", target=other_target(moved))
    change = 'target.table was "main.moved" and is "main.trips"'
    for arguments in (("run", "flights", *AT), ("run", "flights", *FIRST), ("status", "flights", *AT)):
        result = moved(*arguments)
        assert (result.code, change in result.err) == ({"run": 2, "status": 1}[arguments[0]], True)
        assert "up to date" not in result.out
        assert "next: " not in result.out
    assert moved("status", "flights", *AT, "-o", "json").json["changes"] == [change]
    every = moved("status", *AT)
    assert (every.code, "changed" in every.out, "complete" in every.out) == (1, True, False)
    before = list(moved.state().entries())
    for command in (("gaps", "flights", *AT), ("recheck", "flights", "--no-reload", *AT)):
        result = moved(*command)
        assert (result.code, change in result.err, "no gap" in result.out) == (2, True, False)
    assert moved.state().entries() == before
    found = moved("doctor", "flights", *AT, "-o", "json").json["findings"]
    assert [one["kind"] for one in found] == ["source_or_target_changed"]
    refused = moved("adopt", "flights", "--reason", "renamed")
    assert (refused.code, "lacks 2 of 2 committed windows" in refused.err) == (4, True)


def test_reprocess_all_moves_every_window_into_the_new_table(moved: Place) -> None:
    moved.write(granularity="20h", target=other_target(moved))
    dry = moved("reprocess", "flights", "--all", "--dry-run", "-o", "json")
    assert [one["action"] for one in dry.json["windows"]] == ["replace", "replace"]
    assert moved("run", "flights", *AT).code == 2  # a dry run accepts nothing
    result = moved("reprocess", "flights", "--all", "--here", "--by", "ann", "-o", "json")
    assert (result.code, [one["status"] for one in result.json["windows"]]) == (0, ["committed", "committed"])
    status = moved("status", "flights", *AT, "-o", "json").json
    assert (status["changes"], status["days"][-1]["status"]) == ([], "complete")
    assert moved("doctor", "flights", *AT).code == 0
    text = moved("history", "flights", "2013-11-03").out
    assert 'reprocess --all by ann: changes ["target.table was' in text


@pytest.mark.parametrize("arguments", [(), ("--from", "2013-11-03"), ("--all", "--to", "2013-11-03")])
def test_reprocess_wants_days_or_all(place: Place, arguments: tuple[str, ...]) -> None:
    place.write()
    result = place("reprocess", "flights", *arguments)
    assert (result.code, "--from and --to, or --all" in result.err) == (2, True)


def test_adopt_of_nothing(moved: Place) -> None:
    result = moved("adopt", "flights", "--reason", "x")
    assert (result.code, "nothing to adopt" in result.out) == (0, True)


def test_adopt_of_another_source(moved: Place) -> None:
    MemorySource.tables["renamed"] = MemorySource.tables["flights"]
    moved.write(granularity="20h", source={"type": "memory", "table": "renamed"})
    assert moved("run", "flights", *AT).code == 2
    result = moved("adopt", "flights", "--reason", "the table was renamed", "--by", "ann", "-o", "json")
    assert (result.code, result.json["windows"], result.json["by"]) == (0, None, "ann")
    assert moved("run", "flights", *AT).code == 0
    [act] = moved("history", "flights", "2013-11-03", "-o", "json").json["by_hand"]
    assert (act["what"], act["by"], act["why"]) == ("adopt", "ann", "the table was renamed")


# --- rename


def test_a_renamed_pipeline_continues_under_its_new_id(moved: Place) -> None:
    (moved.folder / "flights.yaml").unlink()
    moved.write(
        "trips", granularity="20h", source={"type": "memory", "table": "flights"}, target=place_target(moved)
    )
    refused = moved("run", "trips", *AT)
    assert (refused.code, "`airflow-pipelines state rename flights trips --folder" in refused.err) == (
        2,
        True,
    )
    result = moved("state", "rename", "flights", "trips", "-o", "json", "--by", "ann")
    assert result.json == {"pipeline_id": "trips", "renamed_from": "flights", "entries": 6, "rows": 50}
    again = moved("run", "trips", "--until-done", *AT, "-o", "json")
    assert (again.code, again.json["windows"]) == (0, [])
    assert moved.moved("flights") == 50
    assert moved("doctor", "trips", *AT).code == 0
    assert "rename by ann: from flights" in moved("history", "trips", "2013-11-03").out


def test_the_old_file_of_a_renamed_pipeline_is_never_called_complete(moved: Place) -> None:
    old = (moved.folder / "flights.yaml").read_text()
    (moved.folder / "flights.yaml").unlink()
    moved.write(
        "trips", granularity="20h", source={"type": "memory", "table": "flights"}, target=place_target(moved)
    )
    assert moved("state", "rename", "flights", "trips").code == 0
    (moved.folder / "flights.yaml").write_text(old)
    sentence = "pipeline 'flights' was renamed to 'trips', which has its state and rows"
    back = "airflow-pipelines state rename trips flights --folder"
    status = moved("status", "flights", *AT)
    assert (status.code, sentence in status.out, back in status.err) == (1, True, True)
    assert "up to date" not in status.out
    assert moved("status", "flights", *AT, "-o", "json").json["renamed"] == sentence
    every = moved("status", *AT)
    assert (every.code, sentence in every.out.replace("\n", " ")) == (1, True)
    for command in (("gaps", "flights", *AT), ("recheck", "flights", "--no-reload", *AT)):
        result = moved(*command)
        assert (result.code, sentence in result.err, "no gap" in result.out) == (2, True, False)
    [found] = moved("doctor", "flights", *AT, "-o", "json").json["findings"]
    assert (found["kind"], found["sentence"], found["safe"]) == ("renamed", sentence, False)
    assert back in found["command"]
    assert moved("doctor", "flights", "--fix", *AT, "-o", "json").json["fixed"] == []


def test_doctor_offers_no_run_to_a_copied_file(moved: Place) -> None:
    moved.write(
        "copy", granularity="20h", source={"type": "memory", "table": "flights"}, target=place_target(moved)
    )
    [found] = moved("doctor", "copy", *AT, "-o", "json").json["findings"]
    assert (found["kind"], found["safe"]) == ("source_taken", False)
    assert "state rename flights copy" in found["sentence"]
    assert "adopt copy" in found["command"]
    assert moved("run", "copy", *AT).code == 2
    assert moved("adopt", "copy", "--reason", "both are wanted in one table").code == 0
    assert moved("run", "copy", "--until-done", *AT).code == 0
    shared = moved("doctor", "copy", *AT, "-o", "json")
    assert [(one["kind"], one["harmless"]) for one in shared.json["findings"]] == [("source_shared", True)]
    assert shared.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rename", "flights"), "state rename OLD NEW"),
        (("rename", "trips", "trips"), "expected the id that pipeline 'trips' had before"),
        (("rename", "no id!", "trips"), "expected the id that pipeline 'trips' had before"),
        (("rename", "flights", "trips"), "flights.yaml still has the id 'flights'"),
        (("rename", "never", "trips"), "knows no pipeline 'never'"),
    ],
)
def test_a_rename_that_is_not_one(place: Place, arguments: tuple[str, ...], said: str) -> None:
    place.write()
    place.write("trips")
    result = place("state", *arguments)
    assert (result.code, said in result.err) == (2, True)


# --- who did it


def test_the_author_of_a_reprocess_is_recorded(moved: Place) -> None:
    for arguments in (
        ("run", "flights", *FIRST, "--exact", "--by", "ann"),
        (
            "reprocess",
            "flights",
            "--from",
            "2013-11-03",
            "--to",
            "2013-11-03",
            "--here",
            "--by",
            " bob  ross ",
        ),
        ("run", "flights", *FIRST, "--exact"),
    ):
        assert moved(*arguments).code == 0
    entries = moved("history", "flights", "2013-11-03", "-o", "json").json["entries"]
    by = [one["detail"].get("by") for one in entries if one["kind"] == "attempt"]
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert by == [me, me, "ann", "bob ross", "bob ross", me]
    assert "by ann" in moved("history", "flights", "2013-11-03").out


def test_the_authors_of_waive_and_unlock_are_recorded(place: Place, interval: Any) -> None:
    place.write()
    place.rows()
    place.state().acquire(interval, "flights/run", 3600)
    assert place("unlock", "flights", "--force", "--by", "ann").code == 0
    span = ("--from", "2013-11-03T04:00:00Z", "--to", "2013-11-03T09:00:00Z")
    assert place("waive", "flights", *span, "--reason", "lost", "--by", "bob").code == 0
    text = place("history", "flights", "2013-11-03").out
    assert "unlock of 2013-11-03" in text
    assert "by ann: owner flights/run, status forced" in text
    [waived] = [e for e in place.state().entries() if e.kind is Kind.WAIVED]
    assert waived.detail == {"reason": "lost", "by": "bob"}


def test_the_author_of_a_fix_is_recorded(moved: Place) -> None:
    entries = moved.store.pipelines["flights"].entries
    del entries[-1]
    assert moved("doctor", "flights", "--fix", "--by", "ann", *AT).code == 0
    assert "ann" in {entry.detail.get("by") for entry in entries} | {a.by for a in moved.state().about().acts}


def test_the_author_of_an_import_is_recorded(moved: Place, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    assert moved("state", "export", "flights", str(file)).code == 0
    moved.store.pipelines.clear()
    assert moved("state", "import", "flights", str(file), "--by", "ann").code == 0
    acts = moved("history", "flights", "2013-11-03", "-o", "json").json["by_hand"]
    assert [(act["what"], act["by"], act["detail"]) for act in acts] == [
        ("state import", "ann", {"file": str(file)})
    ]


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[2J", "x" * 201, "a\u202eb"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--by: expected a name"):
        read_person(name)


def test_the_environment_cannot_name_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "mallory")
    assert read_person(None) == pwd.getpwuid(os.geteuid()).pw_name != "mallory"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> str:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert read_person(None) == f"uid {os.geteuid()}"
