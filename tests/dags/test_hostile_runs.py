"""Refuse hostile run conf and Params by name on one line, and move nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.generate import run_request

from .conftest import Folder
from .test_generated_dag import states

RUN_AFTER = datetime(2013, 11, 4, 12, tzinfo=timezone.utc)
DECLARED = {"window_start": None, "window_end": None}
END = "2013-11-03T06:00:00Z"


def ask(conf: Any) -> Any:
    run = SimpleNamespace(dag_id="flights", run_id="r1", run_type="manual", run_after=RUN_AFTER, conf=conf)
    params = {**DECLARED, **(conf if isinstance(conf, dict) else {})}
    context: Any = {"dag_run": run, "dag": SimpleNamespace(params=DECLARED), "params": params}
    return run_request(context, SimpleNamespace(schedule="auto"))  # type: ignore[arg-type]


REFUSED: list[tuple[str, Any]] = [
    ("SQL", "'; DROP TABLE flights --"),
    ("parent", "../../etc/passwd"),
    ("placeholder", "%s"),
    ("template", "{{ ds }}"),
    ("newline", "2013-11-03T05:00:00Z\n"),
    ("two lines", "2013-11-03T05:00:00Z\nlevel=INFO all is well"),
    ("escape sequence", "\x1b[31m2013-11-03T05:00:00Z"),
    ("NUL", "2013-11-03T05:00:00Z\0"),
    ("full-width digits", "２０１３-11-03T05:00:00Z"),
    ("right to left", "\u202e2013-11-03T05:00:00Z"),
    ("a minus that is none", "−2013-11-03T05:00:00Z"),
    ("space before the offset", "2013-11-03T05:00:00 Z"),
    ("hour 24", "2013-11-03T24:00:00Z"),
    ("second 60", "2013-11-03T05:00:60Z"),
    ("offset of 99 hours", "2013-11-03T05:00:00+99:00"),
    ("week date", "2013-W44-7T05:00:00Z"),
    ("five thousand characters", "x" * 5000),
    ("year 1", "0001-01-01T00:00:00Z"),
    ("before year 1", "0001-01-01T00:00:00+14:00"),
    ("year 9999", "9999-12-31T23:59:59Z"),
    ("after year 9999", "9999-12-31T23:59:59-14:00"),
    ("no offset", "2013-11-03T05:00:00"),
    ("epoch", 1383454800),
    ("beyond 2^53", 2**53 + 1),
    ("thousands of digits", 10**5000),
    ("fraction", 1.5),
    ("true", True),
    ("false", False),
    ("zero", 0),
    ("list", []),
    ("object", {}),
]  # fmt: skip
BAD = [pytest.param(value, id=name) for name, value in REFUSED]


def refusal(conf: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        ask(conf)
    text = str(caught.value)
    assert text.isprintable(), "one line, nothing hidden in it"
    assert len(text) < 400
    return text


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["window_start", "window_end", "reference_time"])
def test_an_invalid_time_is_refused_by_its_param(name: str, value: Any) -> None:
    others = {"window_start": "2013-11-03T05:00:00Z", "window_end": END}
    conf = {name: value} if name == "reference_time" else {**others, name: value}
    assert refusal(conf).startswith(f"{name}: expected ")


@pytest.mark.parametrize("value", [False, 0, [], {}], ids=repr)
def test_an_empty_value_does_not_select_another_window(value: Any) -> None:
    refusal({"window_start": value, "window_end": value})


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2013-11-03T05:00:00.123456789Z", "2013-11-03T05:00:00.123456Z"),
        ("2013-11-03T05:00:00.999999999Z", "2013-11-03T05:00:00.999999Z"),
        ("2013-11-03T05:00:00.5Z", "2013-11-03T05:00:00.500000Z"),
        ("2013-11-03 05:00Z", "2013-11-03T05:00:00Z"),
        ("2013-11-03T00:59:56-04:00:04", "2013-11-03T05:00:00Z"),
    ],
    ids=["nanoseconds", "never rounded up", "tenths", "minutes", "offset with seconds"],
)
def test_a_time_is_floored_to_microseconds(value: str, instant: str) -> None:
    request = ask({"window_start": value, "window_end": END})
    assert msgspec.to_builtins(request.interval) == [instant, END]


HOSTILE_KEYS = [value for _, value in REFUSED if isinstance(value, str)]


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=ascii)
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    assert refusal({key[:3000]: 1}).startswith("conf: unknown ")


def test_very_many_keys_are_refused_in_a_short_line() -> None:
    refusal({f"window_{n}": n for n in range(10_000)})


@pytest.mark.parametrize("conf", ["text", ["window_start"], 5, True], ids=repr)
def test_a_conf_that_is_not_an_object_is_refused(conf: Any) -> None:
    assert refusal(conf).startswith("conf: expected a JSON object")


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"'; DROP TABLE dag --\n{{ 6007 * 7919 }}": "\u202e../%s"}, id="unknown key"),
        pytest.param({"reference_time": "{{ macros.os.environ }}\n'"}, id="reference time"),
        pytest.param({"window_start": "0001-01-01T00:00:00Z", "window_end": "9999-12-31T00:00:00Z"}, id="ages"),
        pytest.param({"window_start": "2013-11-02T05:00:00Z", "window_end": "2013-11-08T05:00:00Z"}, id="days"),
    ],
)  # fmt: skip
def test_a_hostile_run_fails_in_airflow_and_moves_nothing(
    folder: Folder, run_dag: Callable[..., Any], caplog: pytest.LogCaptureFixture, conf: dict[str, Any]
) -> None:
    folder.write()
    run = run_dag(folder.dag(), run_conf=json.loads(json.dumps(conf)))
    assert str(run.state) == "failed"
    assert states(run)["generate_window"] == "failed"
    assert "47569433" not in caplog.text, "a template in the conf was rendered"
    assert not (folder.path / "lake.duckdb").exists()
    assert not (folder.path / "stage").exists()


def test_hostile_values_of_the_record_reach_the_xcom_unchanged(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    from .test_generated_dag import xcom

    record = {
        "sql": "'; DROP TABLE dag --",
        "template": "{{ 7 * 7 }} {% raw %}",
        "lines": "a\nb\u2028c",
        "path": "../../%s",
        "large": 2**53 + 1,
        "text": "flіghts\u202e✈",
    }
    folder.write(backlog="wait", default_record=json.dumps(record))
    run = run_dag(folder.dag())
    assert str(run.state) == "success"
    pushed = xcom(run, "generate_window")
    assert {key: pushed[key] for key in record} == record
