"""Structured logs: one line per event, in two formats, without secrets."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import DataError, SupersededError, TransientError
from airflow_pipeline_provider.observability import redaction
from airflow_pipeline_provider.observability.log_generator import (
    event_fields,
    log_event,
    phase_log,
    register_secret,
    render,
)

CANARY = "canary-7Q/x+9 z"
AT = datetime(2013, 11, 3, 2, 10, 0, 5_000, tzinfo=timezone(timedelta(hours=-5)))
logger = logging.getLogger("test.log_generator")


@pytest.fixture(autouse=True)
def _no_secrets_left():
    redaction.forget_secrets()
    yield
    redaction.forget_secrets()


@pytest.fixture(autouse=True)
def _all_levels(caplog, monkeypatch):
    monkeypatch.delenv("AIRFLOW_PIPELINES_LOG_FORMAT", raising=False)
    caplog.set_level(logging.DEBUG, logger=logger.name)


def run_phase(block=lambda record: None, **keywords):
    ticks = iter((10.0, 13.2504))
    given = {"pipeline": "flights", "window": "flights.w1", "attempt": "a1", "phase": "extract"} | keywords
    with phase_log(logger, **given, clock=lambda: AT, monotonic=lambda: next(ticks)) as record:
        block(record)


# --- lines --------------------------------------------------------------------------------------------------------


def test_a_phase_logs_its_start_and_its_end(caplog):
    run_phase(lambda record: record.counts.update(rows=1200, parts=2, token=7))
    tail = "window=flights.w1 pipeline=flights attempt=a1"
    assert caplog.messages == [
        f"phase=extract status=started {tail}",
        f"phase=extract status=ok rows=1200 parts=2 token=7 seconds=3.25 {tail}",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_handler_reads_the_fields_of_an_event(caplog, as_json):
    log_event(logger, {"phase": "extract", "rows": 7}, as_json=as_json)
    logger.info("phase=%s status=%s", "extract", "started")
    logger.info("phase=extract status=started")
    event, *others = (event_fields(record) for record in caplog.records)
    assert event is not None
    assert (event["phase"], event["rows"]) == ("extract", 7)
    assert others == [None, None]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_the_same_fields_as_json(caplog, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("AIRFLOW_PIPELINES_LOG_FORMAT", "JSON")
    run_phase(lambda record: record.counts.update(rows=3), as_json=True if how == "argument" else None)
    assert json.loads(caplog.messages[1]) == {
        "at": "2013-11-03T07:10:00.005Z",
        "pipeline": "flights",
        "window": "flights.w1",
        "attempt": "a1",
        "phase": "extract",
        "status": "ok",
        "seconds": 3.25,
        "rows": 3,
    }


def skip(record):
    record.status, record.reason = "skipped", "not_settled"


def skip_and_raise(record):
    skip(record)
    raise DataError("after all")


def raising(error):
    def block(record):
        raise error

    return block


@pytest.mark.parametrize(
    ("block", "level", "status", "more"),
    [
        pytest.param(skip, "INFO", "skipped", {"reason": "not_settled"}, id="skipped by the block"),
        pytest.param(skip_and_raise, "INFO", "skipped", {"reason": "not_settled"}, id="skipped, then raised"),
        pytest.param(
            raising(SupersededError("another run")),
            "INFO",
            "skipped",
            {"reason": "superseded"},
            id="superseded",
        ),
        pytest.param(
            raising(TransientError("429")),
            "WARNING",
            "failed",
            {"error": "TransientError"},
            id="transient: a retry follows",
        ),
        pytest.param(
            raising(DataError("counts differ")),
            "ERROR",
            "failed",
            {"error": "DataError", "message": "counts differ"},
            id="failed",
        ),
        pytest.param(
            raising(KeyboardInterrupt()), "ERROR", "failed", {"error": "KeyboardInterrupt"}, id="interrupted"
        ),
    ],
)
def test_how_a_phase_ends(caplog, block, level, status, more):
    with contextlib.suppress(BaseException):
        run_phase(block, as_json=True)
    last = json.loads(caplog.messages[-1])
    assert (last["status"], caplog.records[-1].levelname) == (status, level)
    assert more.items() <= last.items()
    assert last["seconds"] == 3.25


def test_an_error_is_raised_unchanged():
    error = DataError("counts differ")
    with pytest.raises(DataError) as raised:
        run_phase(raising(error))
    assert raised.value is error


def test_window_and_attempt_may_be_set_inside_the_block(caplog):
    def block(record):
        record.window, record.attempt = "w2", "a2"

    run_phase(block, window=None, attempt=None, as_json=True)
    first, last = map(json.loads, caplog.messages)
    assert "window" not in first
    assert "attempt" not in first
    assert (last["window"], last["attempt"]) == ("w2", "a2")


@pytest.mark.parametrize(
    ("zone", "as_json", "expected"),
    [
        pytest.param("America/New_York", False, "2013-11-03 [01:00 EDT, 01:00 EST)", id="local time in text"),
        pytest.param(
            "America/New_York", True, "[2013-11-03T05:00:00Z, 2013-11-03T06:00:00Z)", id="UTC in JSON"
        ),
        pytest.param(None, False, "[2013-11-03T05:00:00Z, 2013-11-03T06:00:00Z)", id="no time zone"),
    ],
)
def test_a_window_is_logged_in_local_time_with_its_zone(caplog, zone, as_json, expected):
    start = datetime(2013, 11, 3, 5, tzinfo=timezone.utc)
    run_phase(window=Interval(start, start + timedelta(hours=1)), timezone=zone, as_json=as_json)
    assert expected in caplog.messages[0]


def test_a_count_cannot_replace_the_status(caplog):
    run_phase(lambda record: record.counts.update(status=1, rows=2), as_json=True)
    last = json.loads(caplog.messages[-1])
    assert (last["status"], last["status_"], last["rows"]) == ("ok", 1, 2)


def test_a_disabled_level_renders_nothing(caplog):
    logger.setLevel(logging.WARNING)
    log_event(logger, {"value": SimpleNamespace(__str__=None)}, level=logging.INFO)
    assert caplog.messages == []


# --- values -------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text", "in_json"),
    [
        pytest.param("plain", "plain", "plain", id="text"),
        pytest.param("two words", '"two words"', "two words", id="space"),
        pytest.param("", '""', "", id="empty"),
        pytest.param("a=b", '"a=b"', "a=b", id="equals sign"),
        pytest.param('say "x"', r'"say \"x\""', 'say "x"', id="quotes"),
        pytest.param("100%s %d", '"100%s %d"', "100%s %d", id="percent signs"),
        pytest.param("a\nlevel=ERROR", r'"a\nlevel=ERROR"', "a\nlevel=ERROR", id="a forged line"),
        pytest.param("a\u2028b", r'"a\u2028b"', "a\u2028b", id="unicode line separator"),
        pytest.param("\x1b[31mred", r'"\u001b[31mred"', "\x1b[31mred", id="terminal escape"),
        pytest.param("Zürich", "Zürich", "Zürich", id="umlaut"),
        pytest.param("\ud800", '"\\\\ud800"', "\\ud800", id="lone surrogate"),
        pytest.param(None, "null", None, id="none"),
        pytest.param(True, "true", True, id="bool"),
        pytest.param(10**20, "1" + 20 * "0", 10**20, id="large int"),
        pytest.param(1.23456, "1.235", 1.235, id="float"),
        pytest.param(float("nan"), "nan", "nan", id="nan"),
        pytest.param(Decimal("1.50"), "1.50", "1.50", id="decimal"),
        pytest.param(date(2013, 11, 3), "2013-11-03", "2013-11-03", id="date"),
        pytest.param(Colour.RED, "red", "red", id="enum"),
        pytest.param([1, "a"], '[1, "a"]', [1, "a"], id="list"),
        pytest.param({"a": {1}}, '{"a": [1]}', {"a": [1]}, id="mapping with a set"),
        pytest.param(b"abc", '"<3 bytes>"', "<3 bytes>", id="bytes"),
        pytest.param(
            Unprintable(),
            '"<Unprintable that cannot be shown>"',
            "<Unprintable that cannot be shown>",
            id="unprintable",
        ),
    ],
)
def test_how_a_value_is_shown(value, text, in_json):
    line = render({"key": value}, as_json=False)
    assert line == f"key={text}"
    assert len(line.splitlines()) == 1
    as_json = render({"key": value}, as_json=True)
    assert json.loads(as_json) == {"key": in_json}


def test_long_values_are_cut_with_their_length():
    assert render({"key": "x" * 5000}) == f'key="{"x" * 2000}… (5000 characters)"'


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"password": CANARY}, id="field password"),
        pytest.param({"Password": 12345}, id="a secret that is a number"),
        pytest.param({"aws_secret_access_key": CANARY}, id="field with a prefix"),
        pytest.param({"apiKey": CANARY}, id="camel case"),
        pytest.param({"api-key": CANARY}, id="hyphen"),
        pytest.param({"token": CANARY}, id="a token that is text"),
        pytest.param({"auth_token": CANARY}, id="field auth_token"),
        pytest.param({"extra": {"headers": [{"Authorization": CANARY}]}}, id="nested"),
        pytest.param({"secrets": [CANARY, {"a": CANARY}]}, id="list below a secret name"),
        pytest.param({"url": "postgresql://u:canary-7Q@db/x"}, id="password in a url"),
        pytest.param({"url": "https://u:p@canary-7Q@db/x"}, id="password with an at sign"),
        pytest.param({"url": "redis://:canary-7Q/x@db"}, id="url without a user"),
        pytest.param({"message": "header Authorization: Basic canary-7Q"}, id="header in a text"),
        pytest.param({"message": "sent Bearer canary-7Q"}, id="bearer in a text"),
        pytest.param({"message": "password=canary-7Q, user=x"}, id="assignment in a text"),
        pytest.param({"message": "{'api_key': 'canary-7Q x'}"}, id="repr of a dict in a text"),
        pytest.param({"message": '{\\"password\\": \\"canary-7Q x\\"}'}, id="escaped JSON in a text"),
        pytest.param({"message": 'password="canary-7Q and it never ends'}, id="quote that never ends"),
        pytest.param({"message": "GET /x?X-Amz-Signature=canary-7Q&a=1"}, id="signed url"),
        pytest.param({"message": "access_token: canary-7Q"}, id="token in a text"),
        pytest.param(
            {"message": "-----BEGIN PRIVATE KEY-----\ncanary-7Q\n-----END PRIVATE KEY-----"}, id="private key"
        ),
        pytest.param({"error": DataError("mysql://u:canary-7Q@h refused")}, id="inside of an exception"),
        pytest.param({"password=canary-7Q": 1}, id="in a field's name"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_text_that_looks_like_a_secret_is_masked(fields, as_json):
    line = render(fields, as_json=as_json)
    assert "canary" not in line
    assert "12345" not in line
    assert "***" in line


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"before{CANARY}after",
        "canary-7Q%2Fx%2B9%20z",
        "canary-7Q%2Fx%2B9+z",
        "Y2FuYXJ5LTdRL3grOSB6",
    ],
    ids=["itself", "inside of a word", "url-quoted", "form-quoted", "base64"],
)
def test_a_registered_value_is_never_logged(text):
    register_secret(CANARY)
    assert "***" in render({"anything": text})
    assert "canary" not in render({text: 1})


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_registered_secret_is_masked_in_every_field_of_a_phase(caplog, as_json):
    register_secret(CANARY)

    def block(record):
        record.reason = f"reason {CANARY}"
        raise DataError(f"cannot log in with {CANARY}")

    with pytest.raises(DataError):
        run_phase(block, pipeline=CANARY, window=CANARY, attempt=CANARY, phase=CANARY, as_json=as_json)
    assert len(caplog.messages) == 2
    assert "canary" not in caplog.text
    assert caplog.text.count("***") >= 8


def test_cutting_a_long_text_shows_no_part_of_a_secret():
    register_secret("s" * 500)
    assert "sss" not in render({"message": "x" * 1900 + "s" * 500})
    assert "canary" not in render({"message": "x" * 19_990 + " password=canary"})


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"token": 7}, id="the fencing token"),
        pytest.param({"message": "token=5 is older than token=7"}, id="fencing tokens in a text"),
        pytest.param({"token": None}, id="no token"),
        pytest.param({"password": None}, id="no password"),
        pytest.param({"path": "s3://aws_default@lake/flights"}, id="a connection id in a stage path"),
        pytest.param({"host": "http://127.0.0.1:9200/idx"}, id="a port"),
        pytest.param({"message": "the password must be set, Basic authentication failed"}, id="words"),
    ],
)
def test_values_that_are_not_secret_are_logged(fields):
    assert "***" not in render(fields)


@pytest.mark.parametrize("value", ["", "a", "ab", None], ids=repr)
def test_registering_a_short_value_has_no_effect(value):
    register_secret(value)
    assert render({"key": "abc ab a"}) == 'key="abc ab a"'
