"""Changed fields of documents, from the command line: what is shown, and how a change is accepted."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.conftest import AFTER, Place, lines

AT = ("--reference-time", AFTER)
RUN = ("run", "flights", "--until-done", *AT)
HALVES = [
    [("2013-11-03T05:00:00Z", '{"a": 1}')],
    [("2013-11-03T18:00:00Z", '{"a": "x", "b": null}')],
]


@pytest.fixture
def changed(place: Place) -> Place:
    """The documents of the day's second window have other fields than those of the first."""
    for rows in HALVES:
        for time, body in rows:
            place.rows().put(time, time, body)
    return place


def test_history_and_status_show_changes(changed: Place) -> None:
    changed.write(granularity="13h", contract={})
    assert changed(*RUN).code == 0
    shown = lines(changed("history", "flights", "2013-11-03").out)
    assert "documents: 1 new field: b" in shown
    assert "documents: a holds string, expected integer" in shown
    assert any(re.fullmatch("fields [0-9a-f]{16}", line) for line in shown)
    assert not any("integer" in line and "kinds" in line for line in shown), "not the whole set"
    status = changed("status", "flights", *AT)
    assert "source: documents of the last window: 1 new field: b" in lines(status.out)
    result = changed("status", "flights", *AT, "-o", "json").json
    assert result["schema_changes"] == ["1 new field: b", "a holds string, expected integer"]
    assert lines(changed("status", *AT).out)[-1].endswith("window: a holds string, expected integer")


def test_a_refused_change_is_accepted_by_the_command_that_the_error_prints(changed: Place) -> None:
    changed.write(granularity="13h", contract={"type_change": "fail"})
    refused = changed(*RUN)
    assert refused.code == 4
    (command,) = re.findall("`(airflow-pipelines reprocess [^`]*)`", refused.err)
    assert changed("status", "flights", *AT, "-o", "json").json["days"][0]["status"] != "complete"
    assert changed(*shlex.split(command)[1:], folder=False).code == 0
    assert changed("status", "flights", *AT, "-o", "json").json["days"][0]["status"] == "complete"


def test_accept_changes_needs_this_process(changed: Place) -> None:
    changed.write(granularity="13h", contract={})
    span = ("--from", "2013-11-03", "--to", "2013-11-03")
    result = changed("reprocess", "flights", *span, "--accept-changes")
    assert (result.code, "--accept-changes: only works with --here" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("contract", "problem"),
    [
        ({"new_field": "stop"}, "contract.new_field"),
        ({"new_fields": "warn"}, "contract.new_fields"),
        ("warn", "contract"),
    ],
)
def test_check_reports_a_wrong_contract(place: Place, contract: object, problem: str) -> None:
    place.write(contract=contract)
    result = place("check")
    assert (result.code, problem in result.out + result.err) == (1, True)


def test_a_contract_without_keys_has_the_default_levels(changed: Place) -> None:
    changed.write(granularity="13h", contract={})
    assert changed(*RUN).code == 0
    assert changed("status", "flights", *AT, "-o", "json").json["schema_changes"] != []
