"""Load pipeline files: defaults, every key, and record functions."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    parse_pipeline,
)
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from tests.unit.config_examples import (
    ALLOWED_MODULES,
    LEAST,
    WHOLE,
    SearchOptions,
    load,
    options_model,
    write,
)


@pytest.fixture(autouse=True)
def _mycompany_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_MODULES, "mycompany")


# --- loading -----------------------------------------------------------------------------------------------------


def test_a_minimal_pipeline_has_the_documented_defaults(tmp_path):
    config = load(tmp_path, LEAST)
    assert (config.pipeline_id, config.timezone, config.schedule, config.backlog) == (
        "flights",
        "UTC",
        "auto",
        "drain",
    )
    assert (str(config.x_time_back), str(config.granularity), config.settle) == ("1d", "1h", 600)
    assert (config.start_day, config.end_day, config.max_backlog_days) == (None, None, 31)
    assert (config.source.slices, config.source.distribute) == ("auto", "threads")
    assert (config.stage.part_size, config.stage.keep_attempts) == (128_000_000, 0)
    assert (config.state.type, config.state.lease_seconds) == ("variable", 120)
    assert (config.validate_.on_unavailable, config.validate_.max_staleness_seconds) == ("fail", None)
    assert (config.audit.on_mismatch, config.audit.on_shrink, config.audit.on_empty) == (
        "reextract",
        "fail",
        "commit",
    )
    assert (config.max_attempts, config.on_blocked) == (5, "pass")
    assert (config.airflow.retries, config.airflow.pool, config.airflow.tags) == (3, None, ())
    assert config.airflow.retry_delay == 30
    assert (config.airflow.max_active_runs, config.default_record, config.record_functions) == (1, {}, {})
    assert config.warnings == ()


def test_every_key_is_read(tmp_path):
    config = load(tmp_path, WHOLE)
    assert (config.x_time_back, config.granularity) == (Duration(1, 7200), Duration(0, 7200))
    assert (config.start_day, config.end_day, config.max_backlog_days) == (date(2013, 11, 1), None, None)
    assert config.source == SearchOptions(
        type="search",
        index=["flights-a", "flights-b"],
        page_size=100,
        slices=2,
        distribute="tasks",
        keep_alive="1m30s",  # type: ignore[arg-type]
    )
    assert (config.source.keep_alive, config.stage.part_size, config.target.schema_name) == (
        90,
        64 * 2**20,
        "raw",
    )
    assert config.validate_.max_staleness_seconds == 6 * 3600
    assert (config.airflow.tags, config.airflow.owner) == (("a", "b"), "ops")
    assert config.default_record == {"team": "ops", "nested": {"list": [1, None]}}


def test_a_configuration_is_immutable(tmp_path):
    config = load(tmp_path, LEAST)
    for thing, name in ((config, "timezone"), (config.source, "slices"), (config.audit, "on_empty")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(thing, name, "x")


def test_rules_follow_the_file(tmp_path):
    config = load(tmp_path, WHOLE)
    assert config.rules == PlanRules(
        timezone="America/New_York",
        x_time_back=Duration(1, 7200),
        granularity=Duration(0, 7200),
        settle_seconds=600,
        start_day=date(2013, 11, 1),
        end_day=None,
        max_backlog_days=None,
        on_blocked="stop",
    )
    assert config.rules.zone == ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "state:\nvalidate:\naudit:\nairflow:\ndefault_record:\nrecord_functions:\n", id="empty sections"
        ),
        pytest.param("schedule: auto\nmax_backlog_days: 31\n", id="defaults spelled out"),
    ],
)
def test_empty_sections_and_explicit_defaults_equal_a_minimal_file(tmp_path, text):
    assert load(tmp_path, LEAST + text) == load(tmp_path, LEAST)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LEAST.encode("utf-8-sig"), id="byte order mark"),
        pytest.param(LEAST.replace("\n", "\r\n").encode(), id="windows line ends"),
        pytest.param(b"---\n" + LEAST.encode() + b"...\n", id="document marks"),
        pytest.param(b"%YAML 1.2\n---\n" + LEAST.encode(), id="version"),
    ],
)
def test_encodings_and_document_marks_are_accepted(tmp_path, data):
    assert load(tmp_path, data).pipeline_id == "flights"


def test_a_pipeline_is_loaded_from_a_mapping():
    data = {
        "pipeline_id": "p",
        "source": {"type": "search", "index": "i"},
        "stage": {"type": "files", "path": "/s"},
        "target": {"type": "table", "table": "t"},
    }
    assert parse_pipeline(data, options_model=options_model).pipeline_id == "p"
    with pytest.raises(ConfigFileError) as raised:
        parse_pipeline(data | {"settle": "soon"}, options_model=options_model)
    assert str(raised.value) == "settle: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'soon'"


@pytest.mark.parametrize(
    "schedule", ["auto", "null", "'0 * * * *'", "'@daily'", "'*/5 8-18 * * 1-5'", "'0 0 29 2 *'"]
)
def test_valid_schedules_are_accepted(tmp_path, schedule):
    assert load(tmp_path, LEAST + f"schedule: {schedule}\n").schedule == (
        None if schedule == "null" else schedule.strip("'")
    )


# --- record functions ---------------------------------------------------------------------------------------------


@pytest.fixture
def _modules(tmp_path, monkeypatch):
    write(
        tmp_path,
        "cfg_records.py",
        "from os import system\nimport os, functools\nlater = functools.partial(print)\n"
        "def one(record): return 1\nclass K:\n    @staticmethod\n    def two(record): return 2\nnumber = 5\n",
    )
    write(tmp_path, "cfg_needs.py", "import cfg_not_installed\n")
    write(tmp_path, "cfg_raises.py", "raise RuntimeError('at import')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(ALLOWED_MODULES, "cfg_records, cfg_no cfg_needs,cfg_raises")
    yield
    for name in ("cfg_records", "cfg_needs", "cfg_raises"):
        sys.modules.pop(name, None)


def with_function(folder: Path, path: str) -> Any:
    return load(folder, LEAST + f"record_functions: {{PARTNER: '{path}'}}\n")


@pytest.mark.usefixtures("_modules")
@pytest.mark.parametrize(
    ("path", "value"), [("cfg_records.one", 1), ("cfg_records:one", 1), ("cfg_records:K.two", 2)]
)
def test_record_functions_are_imported_on_request(tmp_path, path, value):
    config = with_function(tmp_path, path)
    assert "cfg_records" not in sys.modules
    assert config.resolve_record_functions()["PARTNER"]({}) == value


@pytest.mark.usefixtures("_modules")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cfg_no.where", "cannot be imported: there is no module 'cfg_no' on the path"),
        ("cfg_records.three", "module 'cfg_records' has no 'three'"),
        ("cfg_records.number", "must be a function, got int"),
        ("cfg_needs.one", "cannot be imported: there is no module 'cfg_not_installed' on the path"),
        ("cfg_raises.one", "cannot be imported: module 'cfg_raises' raised RuntimeError: at import"),
    ],
)
def test_an_invalid_record_function_is_reported(tmp_path, path, message):
    with pytest.raises(PipelineError) as raised:
        with_function(tmp_path, path).resolve_record_functions()
    assert isinstance(raised.value, ConfigError)
    assert str(raised.value) == f"record_functions.PARTNER: '{path}' {message}" or (
        str(raised.value) == f"record_functions.PARTNER: '{path}': {message}"
    )


@pytest.mark.usefixtures("_modules")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("cfg_records_evil.one", "module 'cfg_records_evil' is not allowed"),
        (
            "os.system",
            "module 'os' is not allowed: add it .* .pipelines. allowed_modules .* allows cfg_records",
        ),
        ("subprocess:check_output", "module 'subprocess' is not allowed"),
        ("cfg_records.os.system", "module 'cfg_records.os' is not allowed|no module"),
        ("cfg_records:os.system", "module '(posix|nt)' is not allowed"),
        ("cfg_records.system", "module '(posix|nt)' is not allowed"),
        ("cfg_records.later", "module 'functools' is not allowed"),
    ],
)
def test_only_functions_of_allowed_modules_are_called(tmp_path, path, words):
    with pytest.raises(ConfigError, match=words):
        with_function(tmp_path, path).resolve_record_functions()


def test_no_module_is_allowed_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv(ALLOWED_MODULES, raising=False)
    with pytest.raises(
        ConfigFileError, match=r"PARTNER: module 'os' is not allowed.*allows no module \(flights"
    ):
        with_function(tmp_path, "os.getcwd")


def test_a_module_that_is_no_longer_allowed_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED_MODULES, "cfg_never")
    config = with_function(tmp_path, "cfg_never.imported")
    monkeypatch.setenv(ALLOWED_MODULES, "")
    with pytest.raises(ConfigError, match="module 'cfg_never' is not allowed"):
        config.resolve_record_functions()
