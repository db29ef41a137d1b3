"""Untrusted text cannot move the cursor, forge a log line or hide itself."""

from __future__ import annotations

import io
import json
import logging

import pytest

from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem
from airflow_pipeline_provider.escaping import visible, visible_json
from airflow_pipeline_provider.exceptions import DataError, PipelineError
from airflow_pipeline_provider.observability.log_generator import log_event, render

HOSTILE = {
    "terminal escape": ("\x1b[2K\x1b]0;owned\x07", r"\x1b[2K\x1b]0;owned\x07"),
    "8-bit terminal escape": ("\x9b2J", r"\x9b2J"),
    "line ends": ("a\r\nINFO committed\n", r"a\r\nINFO committed\n"),
    "line separators": ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
    "bidirectional marks": ("\u202eevil\u2066x\u2069", r"\u202eevil\u2066x\u2069"),
    "zero width": ("a\u200bb\ufeffc", r"a\u200bb\ufeffc"),
    "tag characters": ("a\U000e0041", r"a\U000e0041"),
    "NUL": ("a\x00b", r"a\x00b"),
    "lone surrogate": ("a\ud800b", r"a\ud800b"),
    "printable": ("ünïcode 漢字 \\ {x} 'q'", "ünïcode 漢字 \\ {x} 'q'"),
}


@pytest.mark.parametrize(("text", "escaped"), HOSTILE.values(), ids=HOSTILE)
class TestHostileText:
    def test_it_is_shown_with_escapes(self, text: str, escaped: str) -> None:
        assert visible(text) == escaped
        assert visible(escaped) == escaped

    def test_an_error_contains_it_escaped(self, text: str, escaped: str) -> None:
        error = DataError(f"document {text}: too deep")
        error.add_context(f"window {text}")
        assert error.message == f"document {escaped}: too deep"
        assert str(error) == f"window {escaped}: document {escaped}: too deep"
        assert str(error).isprintable()

    def test_an_error_of_a_file_has_only_its_own_line_ends(self, text: str, escaped: str) -> None:
        error = ConfigFileError([Problem("a", text), Problem("b", "bad")])
        assert error.message.split("\n") == ["the pipeline has 2 problems:", f"  a: {escaped}", "  b: bad"]

    def test_a_log_line_stays_one_printable_line(self, text: str, escaped: str) -> None:
        for as_json in (False, True):
            line = render({"pipeline": "p", "reason": text, text: 1}, as_json=as_json)
            assert line.isprintable()
        value = json.loads(render({"reason": text}, as_json=True))["reason"]
        assert value == text.encode("utf-8", "backslashreplace").decode()

    def test_a_logged_error_stays_one_printable_line(self, text: str, escaped: str) -> None:
        stream = io.StringIO()
        logger = logging.getLogger("test_escaping")
        handler = logging.StreamHandler(stream)
        logger.addHandler(handler)
        try:
            logger.error("%s", PipelineError(text))
            log_event(logger, {"message": text}, level=logging.ERROR)
        finally:
            logger.removeHandler(handler)
        lines = stream.getvalue().split("\n")
        assert len(lines) == 3
        assert all(line.isprintable() for line in lines)

    @pytest.mark.parametrize("as_json", [False, True])
    def test_the_command_line_prints_no_control(self, text: str, escaped: str, as_json: bool) -> None:
        out, err = io.StringIO(), io.StringIO()
        screen = Screen(out, err, as_json=as_json)
        if as_json:
            screen.print_json({text: [text]})
            assert json.loads(out.getvalue()) == {text: [text]}
        else:
            screen.print_table(["column"], [[text]])
            screen.print_line(text)
        screen.print_note(text)
        screen.print_error(text)
        for written in (out, err):
            assert all(line.isprintable() for line in written.getvalue().split("\n"))


def test_json_keeps_its_layout() -> None:
    document = json.dumps({"a": ["\u202e", "\U000e0041"]}, indent=2, ensure_ascii=False)
    assert visible_json(document) == '{\n  "a": [\n    "\\u202e",\n    "\\udb40\\udc41"\n  ]\n}'
