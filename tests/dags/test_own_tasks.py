"""Call functions of `own_tasks` in tasks of a generated DAG."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider import OwnTaskWindow
from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.factory.dag import options_model
from airflow_pipeline_provider.phases.run import Outcome, run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest

from .conftest import Folder
from .test_loader import parsed

RunDag = Callable[..., Any]
CODE = '''
import json
from pathlib import Path

CALLS = Path(__file__).parent.parent.parent / "calls.jsonl"


def note(window):
    """Write what the function was called with; do what the file `do_PLACE` says."""
    with CALLS.open("a") as file:
        file.write(json.dumps({name: str(getattr(window, name)) for name in window.__struct_fields__}) + "\\n")
    do = CALLS.with_name(f"do_{window.place}")
    what = do.read_text() if do.exists() else ""
    if what == "raise":
        raise ValueError("the gate is closed")
    if what == "skip":
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException("later")
    if what == "exit":
        raise SystemExit(0)
    return what != "false"
'''
ALL = ("before_extract", "after_load", "after_commit", "after_day")


@pytest.fixture(autouse=True)
def _files_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "./")


class Own:
    """A pipeline of one day in two windows, with a function at some places."""

    def __init__(self, folder: Folder, *places: str, **changes: Any) -> None:
        self.folder = folder
        named = ", ".join(f"{place}: './tasks.py:note'" for place in places)
        self.file = folder.write(granularity="13h", own_tasks=f"{{{named}}}", **changes)
        (self.file.parent / "tasks.py").write_text(CODE)

    def do(self, **what: str) -> None:
        for place, text in what.items():
            (self.folder.path / f"do_{place}").write_text(text)

    def calls(self) -> list[dict[str, str]]:
        file = self.folder.path / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def kinds(self) -> list[tuple[Kind, Any]]:
        """Return the kinds of the ledger's entries, with the phase of a failure."""
        config = load_pipeline(self.file, options_model=options_model)
        with open_runtime(config) as runtime:
            return [(entry.kind, entry.detail.get("phase")) for entry in runtime.state.entries()]

    def leases(self) -> int:
        with open_runtime(load_pipeline(self.file, options_model=options_model)) as runtime:
            return len(runtime.state.leases())


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


COMMITTED = (Kind.COMMITTED, None)


def moved(own: Own) -> Outcome:
    """Move the first window as the command line does."""
    at = datetime.fromisoformat("2013-11-06T12:00:00+00:00")
    with open_runtime(load_pipeline(own.file, options_model=options_model)) as runtime:
        return run_window(runtime, RunRequest(f"cli/{uuid4()}", RunKind.LIVE, at))


def test_each_function_is_called_at_its_place(folder: Folder, run_dag: RunDag) -> None:
    own = Own(folder, *ALL, backlog="wait")
    dag = folder.dag()
    first = states(run_dag(dag))
    assert (first["after_commit"], first["after_day"]) == ("success", "skipped")  # the day has another window
    calls = own.calls()
    assert [call["place"] for call in calls] == ["before_extract", "after_load", "after_commit"]
    assert {call["start"] for call in calls} == {"2013-11-03 00:00:00-04:00"}
    assert {call["end"] for call in calls} == {"2013-11-03 12:00:00-05:00"}
    before, loaded, committed = calls
    assert (before["source_rows"], before["token"]) == ("39", "None")
    assert before["attempt"] == loaded["attempt"] != "None"
    assert (loaded["token"], loaded["staged_rows"], loaded["table"]) == (
        "1",
        "39",
        f"main.{folder.pipeline_id}",
    )
    assert (committed["token"], committed["target_rows"]) == ("1", "39")
    assert states(run_dag(dag, run_after=datetime.fromisoformat("2013-11-06T13:00:00+00:00")))[
        "after_day"
    ] == ("success")
    (day,) = [call for call in own.calls() if call["place"] == "after_day"]
    assert (day["place"], day["start"], day["end"]) == (
        "after_day",
        "2013-11-03 00:00:00-04:00",
        "2013-11-04 00:00:00-05:00",
    )
    assert (day["day"], day["target_rows"], day["token"]) == ("2013-11-03", "75", "2")


@pytest.mark.parametrize(("place", "what"), [("before_extract", "false"), ("after_load", "skip")])
def test_not_now_ends_the_run_and_the_next_one_asks_again(
    folder: Folder, run_dag: RunDag, place: str, what: str
) -> None:
    own = Own(folder, "before_extract", "after_load", backlog="wait")
    own.do(**{place: what})
    dag = folder.dag()
    run = run_dag(dag)
    assert (run.state, states(run)["audit"], states(run)[place]) == ("success", "skipped", "success")
    assert [kind for kind, _ in own.kinds() if kind in (Kind.FAILED, Kind.COMMITTED)] == []
    assert own.leases() == 0
    own.calls()
    own.do(**{place: ""})
    assert (
        states(run_dag(dag, run_after=datetime.fromisoformat("2013-11-06T13:00:00+00:00")))["audit"]
        == "success"
    )
    assert [call["place"] for call in own.calls()] == {
        "before_extract": ["before_extract", "after_load"],
        "after_load": ["after_load"],  # the window is loaded already
    }[place]
    assert COMMITTED in own.kinds()


def test_an_error_before_the_commit_holds_it_and_is_a_failed_attempt(folder: Folder, run_dag: RunDag) -> None:
    own = Own(folder, "before_extract", "after_load", backlog="wait")
    own.do(after_load="raise")
    dag = folder.dag()
    run = run_dag(dag)
    assert (run.state, states(run)["after_load"], states(run)["audit"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    again = run_dag(dag, run_after=datetime.fromisoformat("2013-11-06T13:00:00+00:00"))
    assert again.state == "failed"  # loaded already, and the gate is asked again
    assert [call["place"] for call in own.calls()] == ["before_extract", "after_load", "after_load"]
    assert own.kinds().count((Kind.FAILED, "after_load")) == 2
    assert (COMMITTED in own.kinds(), own.leases()) == (False, 0)


@pytest.mark.parametrize("place", ["before_extract", "after_load"])
def test_a_gate_that_exits_with_code_0_holds_the_commit(folder: Folder, run_dag: RunDag, place: str) -> None:
    own = Own(folder, "before_extract", "after_load", backlog="wait")
    own.do(**{place: "exit"})
    run = run_dag(folder.dag())
    assert (run.state, states(run)[place]) == ("failed", "failed")
    assert own.kinds()[-1] == (Kind.FAILED, place)
    assert COMMITTED not in own.kinds()
    assert own.leases() == 0


def test_a_run_without_airflow_calls_the_functions_and_keeps_the_gates(folder: Folder) -> None:
    own = Own(folder, *ALL)
    config = load_pipeline(own.file, options_model=options_model)
    at = datetime.fromisoformat("2013-11-06T12:00:00+00:00")
    with open_runtime(config) as runtime:

        def move() -> Outcome:
            return run_window(runtime, RunRequest(f"cli/{uuid4()}", RunKind.LIVE, at))

        own.do(before_extract="raise")
        with pytest.raises(
            DataError, match=r"own_tasks\.before_extract raised ValueError: the gate is closed"
        ):
            move()
        own.do(before_extract="false")
        assert (held := move()).audited is None
        assert held.detail == "a function of own_tasks returned False: the window is not moved now"
        own.do(before_extract="", after_load="skip")
        assert move().audited is None
        own.calls()
        own.do(after_load="")
        assert (first := move()).audited is not None
        assert (second := move()).audited is not None
        assert first.claim != second.claim
    assert [call["place"] for call in own.calls()] == ["after_load", "after_commit", *ALL]
    assert [phase for kind, phase in own.kinds() if kind is Kind.FAILED] == ["before_extract"]


@pytest.mark.parametrize(
    ("what", "state", "run_state"), [("raise", "failed", "failed"), ("skip", "skipped", "success")]
)
def test_after_the_commit_the_window_stays_committed(
    folder: Folder, run_dag: RunDag, what: str, state: str, run_state: str
) -> None:
    own = Own(folder, "after_commit", backlog="drain")
    own.do(after_commit=what)
    run = run_dag(folder.dag())
    assert (run.state, states(run)["after_commit"], states(run)["drain"]) == (run_state, state, "success")
    assert [kind for kind, _ in own.kinds() if kind in (Kind.FAILED, Kind.COMMITTED)] == [Kind.COMMITTED]


def test_a_mismatch_fails_since_after_load_has_not_seen_what_is_read_again(
    folder: Folder, run_dag: RunDag
) -> None:
    own = Own(folder, "after_load", backlog="wait")
    (own.file.parent / "tasks.py").write_text(
        textwrap.dedent(
            f"""
            import sqlite3

            def note(window):
                with sqlite3.connect({str(folder.path / "events.db")!r}) as connection:
                    connection.execute("INSERT INTO events (at) VALUES ('2013-11-03T05:00:01Z')")
                connection.close()
            """
        )
    )
    run = run_dag(folder.dag())
    assert (run.state, states(run)["after_load"], states(run)["audit"]) == ("failed", "success", "failed")
    assert [phase for kind, phase in own.kinds() if kind is Kind.FAILED] == ["audit"]
    assert [kind for kind, _ in own.kinds()].count(Kind.ATTEMPT) == 1


def test_mapped_extract_tasks_wait_for_before_extract(folder: Folder, run_dag: RunDag) -> None:
    own = Own(
        folder,
        "before_extract",
        backlog="wait",
        source="{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
        "distribute: tasks, slices: 2}",
    )
    own.do(before_extract="false")
    dag = folder.dag()
    run = run_dag(dag)
    assert (run.state, states(run)["extract"], states(run)["audit"]) == ("success", "skipped", "skipped")
    own.do(before_extract="")
    assert run_dag(dag, run_after=datetime.fromisoformat("2013-11-06T13:00:00+00:00")).state == "success"
    assert len(folder.target()) == 39


def test_a_missing_function_is_an_import_error_with_its_line_and_nothing_is_imported(folder: Folder) -> None:
    own = Own(folder, "after_load")
    (own.file.parent / "tasks.py").write_text("raise SystemExit\ndef gate(w): ...\n")
    dags, errors = parsed(folder)
    assert dags == []
    (text,) = errors.values()
    assert "own_tasks.after_load: file './tasks.py' defines no function 'note'" in text
    assert f"({own.file.name}:" in text
    own.file.write_text(own.file.read_text().replace(":note", ":gate"))
    assert parsed(folder) == ([folder.pipeline_id], {})


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_that_does_not_run_when_it_is_called_commits_nothing(folder: Folder, kind: str) -> None:
    own = Own(folder, "after_load")
    body = f"{kind} _gate(window):\n    {'yield' if kind == 'def' else 'return'} False\n\nnote = _gate\n"
    (own.file.parent / "tasks.py").write_text(body)
    with pytest.raises(ConfigError, match=r"own_tasks.after_load: .* must be a plain function"):
        moved(own)
    assert COMMITTED not in own.kinds()


@pytest.mark.parametrize(
    ("answer", "commits"),
    [("numpy.bool_(False)", False), ("numpy.bool_(True)", True), ("None", True), ("0", True)],
)
def test_only_a_false_bool_means_not_now(folder: Folder, answer: str, commits: bool) -> None:
    own = Own(folder, "after_load")
    (own.file.parent / "tasks.py").write_text(f"import numpy\n\ndef note(window):\n    return {answer}\n")
    assert (moved(own).audited is not None) is commits
    assert (COMMITTED in own.kinds()) is commits


def test_the_record_is_frozen() -> None:
    noon = datetime.fromisoformat("2013-11-03T12:00:00-05:00")
    window = OwnTaskWindow(
        place="after_day",
        pipeline_id="a",
        timezone="UTC",
        day=noon.date(),
        start=noon,
        end=noon,
        window_id="a",
        run="a/b",
        table=None,
    )
    with pytest.raises(AttributeError, match="immutable"):
        window.token = 1  # type: ignore[misc]
