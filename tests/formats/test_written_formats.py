"""Files, variables and XComs that version 0.1 wrote are read, and written again as the same bytes.

`written/` was made by that version and never changes; a new format adds a folder of its own: `written-fields/` has
the fields of documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.envelope.manifest import Manifest, Receipt
from airflow_pipeline_provider.phases.values import Audited, Claim, RunKind, Staged, Validated
from airflow_pipeline_provider.state.portable import from_lines, to_lines
from airflow_pipeline_provider.state.variable_lease import read_lease
from airflow_pipeline_provider.state.variable_values import read_day, read_state

WRITTEN = Path(__file__).with_name("written")
WINDOW = Interval(parse_utc("2013-11-03T05:00:00Z"), parse_utc("2013-11-03T06:00:00.5Z"))
XCOMS = json.loads((WRITTEN / "xcoms.json").read_text())


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("manifest.json", lambda text: Manifest.from_bytes(text.encode()).to_bytes().decode()),
        ("manifest-empty.json", lambda text: Manifest.from_bytes(text.encode()).to_bytes().decode()),
        ("receipt.json", lambda text: Receipt.from_bytes(text.encode()).to_bytes().decode()),
        ("coverage.json", lambda text: Coverage.parse(text).dump()),
        ("variable-state.json", lambda text: read_state("key", text).dump()),
        ("variable-day.json", lambda text: read_day("key", text).dump()),
    ],
)
def test_a_file_is_read_and_written_as_the_same_text(name: str, read: Callable[[str], str]) -> None:
    text = (WRITTEN / name).read_text()
    assert read(text) == text


@pytest.mark.parametrize(("name", "kind"), [("manifest.json", Manifest), ("receipt.json", Receipt)])
def test_a_file_with_fields_is_read_and_written_as_the_same_text(
    name: str, kind: type[Manifest | Receipt]
) -> None:
    text = (WRITTEN.with_name("written-fields") / name).read_bytes()
    value = kind.from_bytes(text)
    assert value.to_bytes() == text
    assert value.fields is not None
    assert (value.fields.looked_at, value.fields.kinds["dep.time"]) == (507, ("integer", "string"))


def test_an_export_is_read_and_written_with_the_same_content() -> None:
    lines = (WRITTEN / "state.jsonl").read_text().splitlines()
    again = list(to_lines("flights", from_lines(lines, "flights")))
    assert [json.loads(line) for line in again] == [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["variable-lease.json", "variable-lease-free.json"])
def test_a_lease_gets_the_fields_of_later_versions(name: str) -> None:
    text = (WRITTEN / name).read_text()
    new = json.loads(read_lease("key", text).dump())
    assert new == {"installation": None, "executions": [], **json.loads(text)}


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("manifest.json", "64b437ceb70f905c7f3f1a9574fc14563a7d6788da84f4dba88b5a799eba3d37"),
        ("manifest-empty.json", "19b96b148764b6abe77ea548a1aca86d3576e45f6c7f6576ce05b5a187a3d235"),
    ],
)
def test_a_manifest_keeps_its_hash(name: str, sha256: str) -> None:
    assert Manifest.from_bytes((WRITTEN / name).read_bytes()).sha256 == sha256


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("slices", Slice),
        ("claims", Claim),
        ("staged", Staged),
        ("verdicts", Validated),
        ("audited", Audited),
    ],
)
def test_an_xcom_of_a_run_that_began_before_an_upgrade_is_read(name: str, kind: type[Any]) -> None:
    for old in XCOMS[name]:
        new = msgspec.to_builtins(msgspec.convert(old, kind))
        added = {key: value for key, value in new.items() if key not in old}
        assert not any(added.values()), "what the old version did not write is empty"
        left_out = {key: value for key, value in old.items() if key not in new}
        assert left_out in ({}, {"readers": 1})
        times = {"reference_time"}  # the same instant, in UTC
        assert {key: new[key] for key in old.keys() & new.keys() - times} == {
            key: old[key] for key in old.keys() & new.keys() - times
        }


def test_a_claim_of_an_earlier_version_means_the_same() -> None:
    live, window = (msgspec.convert(value, Claim) for value in XCOMS["claims"])
    assert (live.interval, live.kind, live.replace, live.by) == (WINDOW, RunKind.LIVE, False, None)
    assert live.reference_time == parse_utc("2013-11-04T07:00:00.000005Z")
    assert (window.kind, window.replace, window.by) == (RunKind.WINDOW, True, "ann")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"version": 2}, "Invalid value 2", id="a later version"),
        pytest.param({"token": "7"}, "Expected `int`, got `str`", id="a text for a number"),
        pytest.param({"parts": None}, "Expected `array`", id="no parts"),
        pytest.param({"interval": ["2013-11-03T05:00:00", "2013-11-03T06:00:00Z"]}, "aware", id="no offset"),
        pytest.param(
            {"interval": ["2013-11-03T07:00:00Z", "2013-11-03T06:00:00Z"]}, "at or after", id="order"
        ),
    ],
)
def test_a_manifest_of_another_form_is_refused(change: dict[str, Any], sentence: str) -> None:
    value = {**json.loads((WRITTEN / "manifest.json").read_text()), **change}
    with pytest.raises(ValueError, match=sentence):
        Manifest.from_bytes(json.dumps(value).encode())
