"""Report every problem of a pipeline file with its message, path and line."""

# ruff: noqa: E501  (one case per line, however long its message is)

from __future__ import annotations

import os
import pickle
import textwrap
from pathlib import Path

import pytest

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    load_folder,
)
from airflow_pipeline_provider.exceptions import ConfigError
from tests.unit.config_examples import (
    LEAST,
    load,
    options_model,
    problems,
)

# --- errors -------------------------------------------------------------------------------------------------------

SEARCH = "source: {type: search, index: flights}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("pipeline_id: 2013", "pipeline_id: must be text, got 2013 (put it in quotes) (flights.yaml:1)", id="number as id"),
        pytest.param("pipeline_id: ''", "pipeline_id: must start with a letter or digit and contain only letters, digits, '_', '-' and single '.' between them, got '' (flights.yaml:1)", id="empty id"),
        pytest.param("pipeline_id: a..b", "got 'a..b'", id="two dots"),
        pytest.param("pipeline_id: ../x", "got '../x'", id="path as id"),
        pytest.param("pipeline_id: a/b", "got 'a/b'", id="slash in id"),
        pytest.param("pipeline_id: .a", "got '.a'", id="dot first"),
        pytest.param("pipeline_id: a.", "got 'a.'", id="dot last"),
        pytest.param('pipeline_id: "a\\n"', "pipeline_id: must start", id="line end in id"),
        pytest.param("pipeline_id: é", "got 'é'", id="umlaut in id"),
        pytest.param(f"pipeline_id: {'a' * 121}", "pipeline_id: must be at most 120 characters long, got 121", id="long id"),
        pytest.param("timezone: America/New York", "timezone: must be an IANA timezone such as America/New_York, got 'America/New York'; did you mean 'America/New_York'? (flights.yaml:5)", id="zone with a space"),
        pytest.param("timezone: europe/berlin", "did you mean 'Europe/Berlin'?", id="zone in lower case"),
        pytest.param("timezone: CEST", "got 'CEST'; an abbreviation is a fixed offset and has no clock changes (flights.yaml:5)", id="abbreviation of an offset"),
        pytest.param("timezone: ETS", "got 'ETS'; an abbreviation", id="no abbreviation is suggested"),
        pytest.param("timezone: utcc", "did you mean 'UTC'?", id="UTC misspelled"),
        pytest.param("timezone: '+02:00'", "got '+02:00' (", id="offset"),
        pytest.param("timezone: ../../etc/passwd", "got '../../etc/passwd'", id="path as zone"),
        pytest.param("timezone: America", "got 'America'", id="folder as zone"),
        pytest.param("timezone: right/UTC", "got 'right/UTC'", id="leap seconds"),
        pytest.param("timezone: localtime", "got 'localtime'", id="the machine's own zone"),
        pytest.param("timezone: null", "got null", id="no zone"),
        pytest.param("granularity: 59s", "granularity: must be 1m or more, got '59s' (flights.yaml:5)", id="granularity too short"),
        pytest.param("granularity: 0s", "granularity: must be 1m or more", id="granularity of nothing"),
        pytest.param("granularity: 2h\nbacklog_granularity: 5h", "backlog_granularity: must be 1d or a multiple of granularity (2h), got 5h (flights.yaml:6)", id="backlog_granularity is no multiple"),
        pytest.param("granularity: 2h\nbacklog_granularity: 1h", "backlog_granularity: must be 1d or a multiple of granularity (2h), got 1h", id="backlog_granularity is shorter"),
        pytest.param("granularity: 1d\nbacklog_granularity: 12h", "backlog_granularity: must be 1d or a multiple of granularity (1d), got 12h", id="backlog_granularity below a day"),
        pytest.param("backlog_granularity: 2d", "backlog_granularity: must be at most 1d, got 2d: no window crosses midnight (flights.yaml:5)", id="backlog_granularity over midnight"),
        pytest.param("backlog_granularity: daily", "backlog_granularity: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'daily'", id="backlog_granularity is no duration"),
        pytest.param("backlog_granularty: 1d", "did you mean 'backlog_granularity'?", id="backlog_granularity misspelled"),
        pytest.param("granularity: 2 h", "granularity: must be a duration such as 30s, 10m, 2h or 1d2h30m, got '2 h'", id="space in duration"),
        pytest.param("granularity: 1:30", "got '1:30'", id="no base sixty"),
        pytest.param("granularity: null", "granularity: must be a duration such as 30s, 10m, 2h or 1d2h30m, got null", id="no granularity"),
        pytest.param("x_time_back: -1d", "got '-1d'", id="negative duration"),
        pytest.param("x_time_back: 10001d", "x_time_back: must be at most 10000d, got '10001d'", id="out of the calendar"),
        pytest.param("settle: 10", "settle: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 10", id="bare number as duration"),
        pytest.param("start_day: 2013-02-29", "start_day: must be a day of the calendar such as 2013-11-01, got '2013-02-29'", id="no such day"),
        pytest.param("start_day: 20131101", "start_day: must be a day such as 2013-11-01, got 20131101", id="day as a number"),
        pytest.param("start_day: 2013-11-01T00:00:00", "start_day: must be a day such as 2013-11-01, got '2013-11-01T00:00:00'", id="time as a day"),
        pytest.param("start_day: 0001-01-01", "start_day: must be a day of the years 1900 to 2199, got 0001-01-01", id="first day of all"),
        pytest.param("end_day: 9999-12-31", "end_day: must be a day of the years 1900 to 2199", id="last day of all"),
        pytest.param("max_backlog_days: 0", "max_backlog_days: must be between 1 and 100000, got 0", id="no backlog"),
        pytest.param("max_backlog_days: 1.5", "max_backlog_days: must be a whole number, got 1.5", id="half a day"),
        pytest.param("max_attempts: '5'", "max_attempts: must be a whole number, got '5'", id="text as a number"),
        pytest.param("max_attempts: true", "max_attempts: must be a whole number, got true", id="bool as a number"),
        pytest.param("schedule: hourly", "schedule: must be auto, null or a cron expression with five fields such as '0 * * * *', got 'hourly'", id="text as schedule"),
        pytest.param("schedule: '* * * * * *'", "got '* * * * * *'", id="six fields"),
        pytest.param("schedule: '61 * * * *'", "got '61 * * * *', which is not valid or never fires", id="minute 61"),
        pytest.param("schedule: '0 0 30 2 *'", "which is not valid or never fires", id="30 February"),
        pytest.param("schedule: '@once'", "got '@once'", id="once"),
        pytest.param("backlog: drian", "backlog: must be drain or wait, got 'drian'", id="choice"),
        pytest.param("audit: {on_mismatch: fial}", "audit.on_mismatch: must be reextract or fail, got 'fial'", id="choice in a section"),
        pytest.param("audit: strict", "audit: must be a mapping, got 'strict'", id="text as section"),
        pytest.param("validate: {max_staleness: forever}", "validate.max_staleness: must be a duration", id="staleness"),
        pytest.param("validation: {}", "validation: unknown key; did you mean 'validate'?", id="the attribute's name is no key"),
        pytest.param("airflow: {tags: flights}", "airflow.tags: must be a list of text such as [a, b], got 'flights'", id="text as list"),
        pytest.param("airflow: {tags: [1]}", "airflow.tags: must be a list of text such as [a, b], got 1 in it", id="number in a list"),
        pytest.param("airflow: {pool: ''}", "airflow.pool: must be given, not empty, got ''", id="empty pool"),
        pytest.param("airflow: {retries: -1}", "airflow.retries: must be between 0 and 100, got -1", id="negative retries"),
        pytest.param("airflow: {retry_delay: 30}", "airflow.retry_delay: must be a duration such as 30s", id="delay without a unit"),
        pytest.param("airflow: {retry: 1}", "airflow.retry: unknown key; did you mean 'retries'?", id="unknown key in a section"),
        pytest.param("default_record: [1]", "default_record: must be a mapping, got a list", id="list as record"),
        pytest.param("record_functions: {partner: a.b}", "record_functions.partner: the field's name must be UPPERCASE letters, digits and '_' (flights.yaml:5)", id="lower case field"),
        pytest.param("record_functions: {PARTNER: b}", "record_functions.PARTNER: must be the dotted path of a function such as mycompany.records.partner_of, got 'b'", id="no dotted path"),
        pytest.param("record_functions: {WINDOW_ID: a.b}", "record_functions.WINDOW_ID: is set from the window: choose another name", id="field of the window"),
        pytest.param("record_functions: {PARTNER: null}", "record_functions.PARTNER: must be text, got null", id="no function"),
        pytest.param("x-time-back: 1d", "x-time-back: unknown key; did you mean 'x_time_back'?", id="hyphens"),
        pytest.param("zzz: 1", "zzz: unknown key; known: airflow, audit, backlog, ", id="nothing like it"),
    ],
)  # fmt: skip
def test_an_invalid_key_is_reported(tmp_path, text, expected):
    least = (
        LEAST.replace("pipeline_id: flights\n", f"{text}\n", 1)
        if text.startswith("pipeline_id")
        else f"{LEAST}{text}\n"
    )
    found = problems(tmp_path, least)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param("source: search", "source: must be a mapping with a type and its keys, got 'search' (flights.yaml:2)", id="text"),
        pytest.param("source: {index: a}", "source.type: is missing (flights.yaml:2)", id="no type"),
        pytest.param("source: {type: 5}", "source.type: must be text, got 5 (flights.yaml:2)", id="number as type"),
        pytest.param("source: {type: serach}", "source.type: unknown 'serach'; did you mean 'search'? (flights.yaml:2)", id="unknown type"),
        pytest.param("source: {type: unimportable}", "source.type: the connector 'unimportable' cannot be used: ImportError: No module named 'kafka'", id="connector that cannot be imported"),
        pytest.param("source: {type: broken, x: 1}", "source.type: the connector 'broken' cannot be used: KeyError", id="connector with a bug"),
        pytest.param("source: {type: foreign}", "source.type: the connector 'foreign' cannot be used: its Options must be a subclass of SourceOptions", id="options of another kind"),
        pytest.param("source:", "source: is missing (flights.yaml:2)", id="empty"),
        pytest.param("source: {type: search}", "source.index: is missing (flights.yaml:2)", id="missing key"),
        pytest.param("source: {type: search, index: a, page_size: 0}", "source.page_size: must be between 1 and 10000, got 0 (flights.yaml:2)", id="bounds"),
        pytest.param("source: {type: search, index: a, ratio: 0}", "source.ratio: must be more than 0, got 0", id="one bound"),
        pytest.param("source: {type: search, index: a, slices: 65}", "source.slices: must be auto or between 1 and 64, got 65", id="bounds of a shared key"),
        pytest.param("source: {type: search, index: a, slices: true}", "source.slices: must be auto or a whole number, got true", id="bool as a number"),
        pytest.param("source: {type: search, index: a, page_size: '10'}", "source.page_size: must be a whole number, got '10'", id="text as a number"),
        pytest.param("source: {type: search, index: a, compress: yes}", "source.compress: must be true or false, got 'yes'", id="yes"),
        pytest.param("source: {type: search, index: 5}", "source.index: must be text or a list, got 5 (put it in quotes)", id="alternatives"),
        pytest.param("source: {type: search, index: [a, 5]}", "source.index[1]: must be text, got 5 (put it in quotes)", id="inside a list"),
        pytest.param("source: {type: search, index: a, keep_alive: 300}", "source.keep_alive: must be a duration", id="duration"),
        pytest.param("source: {type: search, index: a, buffer: 12 potatoes}", "source.buffer: must be a size such as 128MB or 64MiB, got '12 potatoes'", id="size"),
        pytest.param("source: {type: search, index: a, buffer: 1B}", "source.buffer: must be between 1KB and 5GB, got '1B'", id="size too small"),
        pytest.param("source: {type: search, index: a, keys: ['*']}", "source.keys: must not hold '*'", id="the connector's own check"),
        pytest.param("source: {type: search, index: a, keys: [b], query: {a: 1}}", "source: needs one of query and keys, got both (flights.yaml:2)", id="the connector's check across keys"),
        pytest.param("source: {type: search, index: a, pagesize: 5}", "source.pagesize: unknown key; did you mean 'page_size'?", id="unknown key"),
        pytest.param("source: {type: search, index: a, password: canary}", "source.password: must be a whole number, got a value that is not shown", id="a secret"),
        pytest.param("source: {type: search, index: a, slices: 'https://u:canary@h'}", "got 'https://u:***@h'", id="a secret in a url"),
        pytest.param(f"source: {{type: search, index: a, slices: {'x' * 500}}}", f"got '{'x' * 59}…'", id="a long value"),
        pytest.param("source: {type: search, index: a, slices: {a: {b: canary}}}", "source.slices: must be auto or a whole number, got a mapping", id="a mapping is not shown"),
    ],
)  # fmt: skip
def test_an_invalid_section_is_reported(tmp_path, section, expected):
    found = problems(tmp_path, LEAST.replace(SEARCH, section))
    assert len(found) == 1
    assert expected in found[0]
    assert "canary" not in found[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("compression: lz5", "stage.compression: must be zstd or lz4, got 'lz5' (flights.yaml:3)", id="unknown codec"),
        pytest.param("compression: null", "stage.compression: must be zstd or lz4, got null", id="null"),
        pytest.param("kompression: lz4", "stage.kompression: unknown key; did you mean 'compression'?", id="unknown key"),
    ],
)  # fmt: skip
def test_an_invalid_key_of_the_stage_is_reported(tmp_path, value, expected):
    found = problems(tmp_path, LEAST.replace("stage: {type: files, ", f"stage: {{type: files, {value}, "))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param("", ["is empty: a pipeline needs at least pipeline_id, source, stage and target (flights.yaml)"], id="empty"),
        pytest.param("# nothing\n", ["is empty: a pipeline needs"], id="comments alone"),
        pytest.param("{}", ["is empty: a pipeline needs"], id="empty mapping"),
        pytest.param("- a\n- b\n", ["must contain a mapping (lines of 'key: value'), got a list (flights.yaml:1)"], id="list"),
        pytest.param("flights", ["must contain a mapping (lines of 'key: value'), got a single value (flights.yaml:1)"], id="scalar"),
        pytest.param(LEAST + "a: b: c\n", ["is not valid YAML: mapping values are not allowed in this context (flights.yaml:5)"], id="syntax"),
        pytest.param(LEAST + "audit:\n\ton_empty: fail\n", ["is not valid YAML: a tab cannot indent a line: use spaces (flights.yaml:6)"], id="tab"),
        pytest.param(LEAST + "default_record:\n  A: @x\n", ["is not valid YAML: text that starts with @ needs quotes (flights.yaml:6)"], id="an unquoted @"),
        pytest.param(LEAST + "default_record: {A: `x`}\n", ["is not valid YAML: text that starts with ` needs quotes (flights.yaml:5)"], id="an unquoted backquote"),
        pytest.param(LEAST + "default_record:\n  A: *\n", ["is not valid YAML: text that starts with * needs quotes (flights.yaml:6)"], id="an unquoted *"),
        pytest.param(LEAST + "x: 'a\n", ["found unexpected end of stream"], id="quote without end"),
        pytest.param(LEAST.encode() + b"x: \xe9\n", ["is not UTF-8 text: byte 0xe9 at offset 136; save it as UTF-8 (flights.yaml:5)"], id="latin 1"),
        pytest.param(LEAST.encode("utf-16"), ["is not UTF-8 text: byte 0xff at offset 0"], id="utf-16"),
        pytest.param(LEAST + "x: \0\n", ["is not valid YAML: unacceptable character #x0000"], id="control character"),
        pytest.param(LEAST + "---\n" + LEAST, ["contains a second document (---): write each pipeline in its own file (flights.yaml:5)"], id="two documents"),
        pytest.param(LEAST + "settle: 1m\nsettle: 2m\n", ["settle: is defined twice, first in line 5: remove one (flights.yaml:6)"], id="duplicate key"),
        pytest.param(LEAST.replace("index: flights", "index: a, index: b"), ["source.index: is defined twice, first in line 2: remove one (flights.yaml:2)"], id="duplicate key in a section"),
        pytest.param(LEAST + "x: &a 1\ny: *b\n", ["y: the alias *b has no anchor before it, or is inside its own; text that starts with * needs quotes (flights.yaml:6)"], id="unknown alias"),
        pytest.param(LEAST + "default_record: &a {x: *a}\n", ["default_record.x: the alias *a has no anchor before it, or is inside its own"], id="alias inside itself"),
        pytest.param(LEAST + "x: !!python/object/apply:os.system [ls]\n", ["x: the tag !!python/object/apply:os.system is not supported (flights.yaml:5)"], id="python object"),
        pytest.param(LEAST + "x: !vault abc\n", ["x: the tag !vault is not supported"], id="own tag"),
        pytest.param(LEAST + "settle: {{ var.value.x }}\n", ["settle: a key must be text, got a mapping (text like {{ … }} needs quotes) (flights.yaml:5)"], id="template without quotes"),
        pytest.param(LEAST + "default_record: {1: a}\n", ["default_record.1: a key must be text: write '1' in quotes (flights.yaml:5)"], id="number as key"),
        pytest.param(LEAST + "x: " + "[" * 200_000, ["is nested deeper than 50 levels (flights.yaml:5)"], id="deep flow"),
        pytest.param(LEAST + "x:\n  " + "- " * 5_000, ["is nested deeper than 50 levels (flights.yaml:6)"], id="deep block"),
        pytest.param(LEAST + "x: " + "{a: " * 5_000, ["is nested deeper than 50 levels"], id="deep mappings"),
        pytest.param(LEAST + "#" * 1_000_001, ["is larger than 1,000,000 bytes: split it into several files (flights.yaml)"], id="large"),
        pytest.param(
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)),
            ["has more than 20000 values after its aliases are expanded"],
            id="aliases of aliases, wide",
        ),
        pytest.param(
            "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)),
            ["has more than 50 levels after its aliases are expanded"],
            id="aliases of aliases, deep",
        ),
    ],
)  # fmt: skip
def test_an_unreadable_file_is_reported(tmp_path, data, expected):
    found = problems(tmp_path, data)
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text


def test_hostile_files_are_refused_with_short_messages(tmp_path):
    hostile = (
        *("[" * 999_000, "{" * 999_000, "- " * 499_000, "? " * 400_000, "!" * 999_000, "x" * 999_000 + ": 1"),
        *(
            "a: &a [" + "*a," * 300_000 + "]",
            "a: [" + "x," * 450_000 + "]",
            "a: 1\n" * 200_000,
            "&a " * 300_000,
        ),
        "".join(f"a{n}: 1\n" for n in range(15_000)),
        "pipeline_id: " + "a" * 900_000,
        LEAST + "settle: " + "1" * 900_000,
    )
    for data in hostile:
        messages = problems(tmp_path, data)
        assert len(messages) <= 51
        assert sum(map(len, messages)) < 20_000


def test_folders_links_and_pipes_are_reported(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    messages = {
        path.name: str(error)
        for path, error in load_folder(tmp_path, options_model=options_model).errors.items()
    }
    assert messages == {
        "folder.yaml": "is a folder (folder.yaml)",
        "dangling.yaml": "does not exist (dangling.yaml)",
        "pipe.yaml": "is not a regular file (pipe.yaml)",
    }


def test_all_problems_are_reported_at_once_by_line(tmp_path):
    text = """\
        pipeline_id: flights
        granularity: soon
        sourc: {}
        source:
          type: search
          page_size: 0
          pagesize: 1
        stage: {type: files, path: 7}
        start_day: 2013-11-02
        end_day: 2013-11-01
        airflow: {max_active_runs: 2, tags: a}
        """
    with pytest.raises(ConfigFileError) as raised:
        load(tmp_path, textwrap.dedent(text))
    assert str(raised.value).splitlines() == [
        "flights.yaml has 9 problems:",
        "  target: is missing (flights.yaml)",
        "  granularity: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'soon' (flights.yaml:2)",
        "  sourc: unknown key; did you mean 'source'? (flights.yaml:3)",
        "  source.index: is missing (flights.yaml:4)",
        "  source.page_size: must be between 1 and 10000, got 0 (flights.yaml:6)",
        "  source.pagesize: unknown key; did you mean 'page_size'? (flights.yaml:7)",
        "  stage.path: must be text, got 7 (put it in quotes) (flights.yaml:8)",
        "  start_day: must not be after end_day (2013-11-01), got 2013-11-02 (flights.yaml:9)",
        "  airflow.tags: must be a list of text such as [a, b], got 'a' (flights.yaml:11)",
    ]
    assert isinstance(raised.value, ConfigError)
    assert isinstance(raised.value, ValueError)
    problem = raised.value.problems[4]
    assert (problem.path, problem.line, Path(problem.file)) == (
        "source.page_size",
        6,
        tmp_path / "flights.yaml",
    )
    assert "pydantic" not in str(raised.value)


def test_the_error_survives_pickling(tmp_path):
    with pytest.raises(ConfigFileError) as raised:
        load(tmp_path, LEAST + "settle: x\nbacklog: y\n")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.problems) == (str(raised.value), raised.value.problems)


# --- across fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("start_day: 2013-11-02\nend_day: 2013-11-01", "start_day: must not be after end_day (2013-11-01), got 2013-11-02 (flights.yaml:5)", id="days in the wrong order"),
        pytest.param("airflow: {max_active_runs: 2}", "airflow.max_active_runs: must be 1 with state.type variable, which allows one run at a time, got 2: use state.type sql (flights.yaml:5)", id="two runs on variables"),
    ],
)  # fmt: skip
def test_conflicting_fields_are_an_error(tmp_path, text, expected):
    assert problems(tmp_path, LEAST + text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "start_day: 2013-11-01\nend_day: 2013-11-01",
        "airflow: {max_active_runs: 2}\nstate: {type: sql}",
        "granularity: 1d\nx_time_back: 1d10m",
        "granularity: 1d",
        "schedule: '@hourly'\ngranularity: 1h",
        "schedule: '*/5 8-9 * * 1'\ngranularity: 5m",
    ],
)
def test_compatible_fields_cause_no_warning(tmp_path, text):
    assert load(tmp_path, LEAST + text).warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x_time_back: 2h\ngranularity: 2h", "x_time_back: 2h is shorter than granularity + settle (2h + 10m): windows wait for settle instead (flights.yaml:5)", id="x_time_back"),
        pytest.param("granularity: 1d\nx_time_back: 2d\nbacklog_granularity: 1d", "backlog_granularity: 1d is the granularity: it has no effect (flights.yaml:7)", id="backlog_granularity"),
        pytest.param("granularity: 2d\nx_time_back: 3d", "granularity: 2d is longer than a day: every window ends with its day (flights.yaml:5)", id="granularity"),
        pytest.param("schedule: '@daily'", "schedule: runs at most every 1d, but a window is 1h long: each run drains the windows that are ready (flights.yaml:5)", id="coarse cron, drained"),
        pytest.param("schedule: '0 */6 * * *'\nbacklog: wait", "schedule: runs at most every 6h, but a window is 1h long: with backlog: wait the pipeline never catches up (flights.yaml:5)", id="coarse cron, waiting"),
        pytest.param("default_record: {WINDOW_ID: 1}", "default_record.WINDOW_ID: is overwritten by the value of each window (flights.yaml:5)", id="default_record"),
    ],
)  # fmt: skip
def test_probable_mistakes_are_warnings(tmp_path, text, expected):
    config = load(tmp_path, LEAST + text + "\n")
    assert [str(warning) for warning in config.warnings] == [expected]
    assert {warning.severity for warning in config.warnings} == {"warning"}


def test_a_warning_about_a_default_names_the_defaults(tmp_path):
    (warning,) = load(tmp_path, LEAST, "# hourly\nx_time_back: 10m\n").warnings
    assert str(warning).endswith("(defaults.yaml:2)")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        pytest.param("12h", "stage.keep: must be 1d or more, got 12h (flights.yaml:3)", id="too short"),
        pytest.param(
            "month",
            "stage.keep: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 'month' (flights.yaml:3)",
            id="no duration",
        ),
    ],
)
def test_an_invalid_age_of_part_files_is_reported(tmp_path, keep, expected):
    text = LEAST.replace("path: /stage}", f"path: /stage, keep: {keep}}}")
    assert problems(tmp_path, text) == [expected]
