"""Window generation, record building, and what happens at their edges."""

from __future__ import annotations

import copy
import json
import logging
import threading
from datetime import date, datetime, timezone
from typing import Any

import pendulum
import pytest

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.record_generation import (
    build_complete_pipeline_record,
    build_window_record,
    calculate_time_window,
    generate_pipeline_time_window_record,
    json_safe,
)
from airflow_pipeline_provider.exceptions import ConfigError

NY = "America/New_York"
DAY = pendulum.datetime(2024, 1, 15, tz="UTC")
REFERENCE = "2024-01-16T10:00:00Z"
CONFIG: dict[str, Any] = {
    "timezone": "UTC",
    "x_time_back": "1d",
    "granularity": "2h",
    "default_record": {"source_name": "elasticsearch", "tags": ["a"]},
}


def config(**changes: Any) -> dict[str, Any]:
    """CONFIG with changes; a key set to `...` is taken out."""
    return {key: value for key, value in {**copy.deepcopy(CONFIG), **changes}.items() if value is not ...}


def build(final_config: Any = None, latest: Any = None, **arguments: Any) -> dict[str, Any] | None:
    return build_complete_pipeline_record(
        config() if final_config is None else final_config,
        reference_time=arguments.pop("reference_time", REFERENCE),
        latest_timestamp_available=lambda day: latest,
        **arguments,
    )


def built(final_config: Any = None, latest: Any = None, **arguments: Any) -> dict[str, Any]:
    record = build(final_config, latest, **arguments)
    assert record is not None
    return record


class TestWindowGeneration:
    @pytest.mark.parametrize(
        ("target_day", "granularity", "continuation", "expected"),
        [
            pytest.param(DAY, "2h", None, ("00:00:00+00:00", "02:00:00+00:00", "2h"), id="from the start"),
            pytest.param(DAY, "2h", DAY, ("00:00:00+00:00", "02:00:00+00:00", "2h"), id="continuation at the start"),
            pytest.param(DAY, "90m", DAY.add(hours=3), ("03:00:00+00:00", "04:30:00+00:00", "1h30m"), id="middle"),
            pytest.param(DAY, "1s", DAY, ("00:00:00+00:00", "00:00:01+00:00", "1s"), id="one second"),
            pytest.param(DAY, "1d", None, ("00:00:00+00:00", "00:00:00+00:00", "1d"), id="a whole day"),
            pytest.param(DAY, "1d", DAY.add(hours=6), ("06:00:00+00:00", "00:00:00+00:00", "18h"), id="the rest"),
            pytest.param(DAY, "9d", None, ("00:00:00+00:00", "00:00:00+00:00", "1d"), id="more than the day"),
            pytest.param(DAY.add(hours=15), "2h", None, ("00:00:00+00:00", "02:00:00+00:00", "2h"), id="at 15:00"),
            pytest.param("2024-01-15", "2h", "2024-01-15T05:00:00",
                         ("05:00:00+00:00", "07:00:00+00:00", "2h"), id="text"),
            pytest.param(DAY, "2h", "2024-01-15T04:00:00-05:00",
                         ("09:00:00+00:00", "11:00:00+00:00", "2h"), id="continuation of another zone"),
            pytest.param(DAY, "2h", 1_705_287_600_000, ("03:00:00+00:00", "05:00:00+00:00", "2h"), id="epoch ms"),
            pytest.param(DAY, "2h", DAY.add(microseconds=500_000),
                         ("00:00:00.500000+00:00", "02:00:00.500000+00:00", "2h"), id="a fraction"),
            pytest.param(DAY, "2h", DAY.add(hours=23, minutes=59, seconds=58, microseconds=1),
                         ("23:59:58.000001+00:00", "00:00:00+00:00", "1s"), id="a fraction is floored"),
        ],
    )  # fmt: skip
    def test_window(
        self, target_day: Any, granularity: str, continuation: Any, expected: tuple[str, str, str]
    ) -> None:
        window = calculate_time_window(target_day, granularity, continuation)
        assert window is not None
        start, end, actual = window
        assert type(start) is type(end) is pendulum.DateTime
        assert (start.isoformat()[11:], end.isoformat()[11:], actual) == expected

    @pytest.mark.parametrize(
        ("zone", "day", "granularity", "expected"),
        [
            (NY, (2013, 11, 3), "1d", [("00:00:00-04:00", "00:00:00-05:00", "1d1h")]),
            (NY, (2013, 3, 10), "1d", [("00:00:00-05:00", "00:00:00-04:00", "23h")]),
            (
                NY, (2013, 11, 3), "2h",
                [("00:00:00-04:00", "01:00:00-05:00", "2h"), ("01:00:00-05:00", "03:00:00-05:00", "2h")],
            ),
            (
                NY, (2013, 3, 10), "1h",
                [("00:00:00-05:00", "01:00:00-05:00", "1h"), ("01:00:00-05:00", "03:00:00-04:00", "1h")],
            ),
            ("America/Sao_Paulo", (2018, 11, 4), "3h", [("01:00:00-02:00", "04:00:00-02:00", "3h")]),
            ("America/Havana", (2024, 11, 3), "1h",
             [("00:00:00-04:00", "00:00:00-05:00", "1h"), ("00:00:00-05:00", "01:00:00-05:00", "1h")]),
        ],
    )  # fmt: skip
    def test_clock_changes(
        self, zone: str, day: tuple[int, int, int], granularity: str, expected: list[tuple[str, str, str]]
    ) -> None:
        target_day, continuation, seen = pendulum.datetime(*day, tz=zone), None, []
        for _ in expected:
            window = calculate_time_window(target_day, granularity, continuation)
            assert window is not None
            seen.append((window[0].isoformat()[11:], window[1].isoformat()[11:], window[2]))
            continuation = window[1]
        assert seen == expected

    @pytest.mark.parametrize(
        ("continuation", "reason"),
        [
            (DAY.subtract(microseconds=1), "before_target_day"),
            (DAY.subtract(days=400), "before_target_day"),
            (DAY.add(days=1), "complete"),
            (DAY.add(days=400), "complete"),
        ],
    )
    def test_none_is_logged_with_its_reason(
        self, continuation: Any, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            assert calculate_time_window(DAY, "2h", continuation) is None
        (entry,) = caplog.records
        assert entry.levelno == logging.INFO
        assert entry.name == "airflow_pipeline_provider.core.record_generation"
        assert f"No window: {reason};" in entry.getMessage()

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((None, "2h"), TypeError, "target_day: .*None"),
            (("soon", "2h"), ValueError, "target_day: .*'soon'"),
            (([], "2h"), TypeError, r"target_day: .*\[\]"),
            ((DAY, "0s"), ValueError, "granularity: expected more than 0s, got '0s'"),
            ((DAY, "0d0h"), ValueError, "granularity: expected more than 0s, got '0d0h'"),
            ((DAY, ""), ValueError, "granularity: .*''"),
            ((DAY, "-2h"), ValueError, "granularity: .*'-2h'"),
            ((DAY, None), ValueError, "granularity: .*None"),
            ((DAY, 7200), ValueError, "granularity: .*7200"),
            ((DAY, "2h", "soon"), ValueError, "continuation_timestamp: .*'soon'"),
            ((DAY, "2h", True), TypeError, "continuation_timestamp: .*True"),
            ((DAY, "2h", float("nan")), ValueError, "continuation_timestamp: .*nan"),
            ((DAY, "0s", DAY.add(days=9)), ValueError, "granularity: expected more than 0s, got '0s'"),
        ],
    )
    def test_bad_input_is_named(self, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            calculate_time_window(*arguments)


class TestRecordBuilding:
    def test_window_record(self) -> None:
        asked = []
        record = generate_pipeline_time_window_record(
            config(timezone=NY, granularity="3h"),
            reference_time=datetime(2013, 11, 4, 12, tzinfo=timezone.utc),
            latest_timestamp_available=lambda day: asked.append(day),
        )
        first = pendulum.datetime(2013, 11, 3, tz=NY, fold=0)
        assert record == {
            "target_day": first,
            "target_day_str": "2013-11-03",
            "window_start_time": first,
            "window_end_time": pendulum.datetime(2013, 11, 3, 2, tz=NY),
            "time_interval": "3h",
        }
        assert asked == [first]
        assert {key: value.isoformat() for key, value in record.items() if isinstance(value, datetime)} == {
            "target_day": "2013-11-03T00:00:00-04:00",
            "window_start_time": "2013-11-03T00:00:00-04:00",
            "window_end_time": "2013-11-03T02:00:00-05:00",
        }

    def test_complete_record(self) -> None:
        record = built(config(pipeline_id="flights"), latest="2024-01-15T04:00:00Z")
        window_id = "flights.20240115T040000Z-20240115T060000Z"
        assert json_safe(record) == {
            "source_name": "elasticsearch",
            "tags": ["a"],
            "target_day": "2024-01-15T00:00:00+00:00",
            "target_day_str": "2024-01-15",
            "window_start_time": "2024-01-15T04:00:00+00:00",
            "window_end_time": "2024-01-15T06:00:00+00:00",
            "time_interval": "2h",
            "TARGET_DAY": "2024-01-15",
            "WINDOW_START_TIME": "2024-01-15T04:00:00+00:00",
            "WINDOW_END_TIME": "2024-01-15T06:00:00+00:00",
            "TIME_INTERVAL": "2h",
            "PIPELINE_ID": "flights",
            "WINDOW_ID": window_id,
            "STAGE_PATH": f"2024-01-15/{window_id}",
        }
        assert type(record["TARGET_DAY"]) is date

    @pytest.mark.parametrize("changes", [{}, {"pipeline_id": None}])
    def test_without_a_pipeline_its_fields_are_left_out(self, changes: dict[str, Any]) -> None:
        assert not {"PIPELINE_ID", "WINDOW_ID", "STAGE_PATH"} & set(built(config(**changes)))

    def test_the_default_record_is_copied_deeply(self) -> None:
        final_config = config()
        before = copy.deepcopy(final_config)
        built(final_config)["tags"].append("changed")
        assert final_config == before

    def test_the_window_stands_above_the_default_record(self) -> None:
        record = built(config(default_record={"target_day": "mine", "TARGET_DAY": "mine", "x": 1}))
        assert record["TARGET_DAY"] == date(2024, 1, 15)
        assert record["target_day"] == DAY
        assert record["x"] == 1

    def test_record_functions(self) -> None:
        def partner(record: dict[str, Any]) -> str:
            record["tags"].append("not for others")
            return record["source_name"].upper()

        record = built(
            config(record_functions={"PARTNER": partner, "DOTTED": "package.module.function"}),
            record_functions={
                "DOTTED": lambda record: 5,
                "HOURS": lambda record: record["PARTNER"] + record["TIME_INTERVAL"],
                "NOTHING": lambda record: None,
            },
        )
        assert record["PARTNER"] == "ELASTICSEARCH"
        assert record["HOURS"] == "ELASTICSEARCH2h"
        assert (record["DOTTED"], record["NOTHING"]) == (5, None)
        assert record["tags"] == ["a"]

    def test_a_failing_record_function_is_named_with_its_cause(self) -> None:
        def broken(record: dict[str, Any]) -> str:
            return str(record["no_such_key"])

        with pytest.raises(
            ConfigError, match=r"record_functions\.PARTNER: .*\.broken failed with KeyError"
        ) as caught:
            build(record_functions={"PARTNER": broken})
        assert isinstance(caught.value.__cause__, KeyError)

    def test_a_record_function_that_exits_is_an_error(self) -> None:
        def leaves(record: dict[str, Any]) -> str:
            raise SystemExit(0)

        with pytest.raises(
            ConfigError, match=r"record_functions\.PARTNER: .*\.leaves failed with .*exit\(0\)"
        ):
            build(record_functions={"PARTNER": leaves})

    @pytest.mark.parametrize("value", [1.5, True, b"x", [], {}, date(2024, 1, 1)], ids=repr)
    def test_a_record_function_of_the_wrong_type_is_named(self, value: Any) -> None:
        def odd(record: dict[str, Any]) -> Any:
            return value

        with pytest.raises(ConfigError) as caught:
            build(record_functions={"PARTNER": odd})
        assert "record_functions.PARTNER: expected a str, int or None" in str(caught.value)
        assert "odd, got " + repr(value) in str(caught.value)

    @pytest.mark.parametrize(
        ("functions", "message"),
        [
            (
                {"PARTNER": "a.dotted.path"},
                "record_functions.PARTNER: expected a callable, got 'a.dotted.path'",
            ),
            ({"PARTNER": None}, "record_functions.PARTNER: expected a callable, got None"),
            ({"partner": len}, "record_functions: expected an UPPERCASE field name, got 'partner'"),
            ({"A B": len}, "record_functions: expected an UPPERCASE field name, got 'A B'"),
            ({5: len}, "record_functions: expected an UPPERCASE field name, got 5"),
            ({"TARGET_DAY": len}, "record_functions.TARGET_DAY: every window record has this field"),
            ({"WINDOW_ID": len}, "record_functions.WINDOW_ID: every window record has this field"),
            ([len], "record_functions: expected a mapping"),
        ],
    )
    def test_bad_record_functions_are_named(self, functions: Any, message: str) -> None:
        for arguments in (
            {"record_functions": functions},
            {"final_config": config(record_functions=functions)},
        ):
            with pytest.raises(ConfigError) as caught:
                build(**arguments)
            assert message in str(caught.value)

    def test_the_record_of_a_planned_window(self) -> None:
        """What the planner chose may be a part of the granularity, of an older day."""
        interval = Interval(parse_utc("2013-11-03T05:30:00Z"), parse_utc("2013-11-03T07:00:00Z"))
        final_config = config(timezone=NY, pipeline_id="p")
        record = build_window_record(final_config, interval, record_functions={"ONE": lambda record: 1})
        assert record["target_day_str"] == "2013-11-03"
        assert record["WINDOW_START_TIME"] == "2013-11-03T01:30:00-04:00"
        assert record["WINDOW_END_TIME"] == "2013-11-03T02:00:00-05:00"
        assert record["TIME_INTERVAL"] == "1h30m"
        assert record["WINDOW_ID"] == "p.20131103T053000Z-20131103T070000Z"
        assert record["ONE"] == 1
        day = day_interval(date(2013, 11, 3), NY)
        without = {key: value for key, value in record.items() if key != "ONE"}
        assert build_window_record(final_config, interval, day) == without

    @pytest.mark.parametrize(
        ("start", "end"),
        [("2024-01-15T23:00:00Z", "2024-01-16T00:00:01Z"), ("2024-01-15T23:00:00Z", "2024-01-15T23:00:00Z")],
        ids=["over midnight", "empty"],
    )
    def test_a_planned_window_lies_inside_of_one_day(self, start: str, end: str) -> None:
        interval = Interval(parse_utc(start), parse_utc(end))
        with pytest.raises(ValueError, match="interval: expected a window inside of the day") as caught:
            build_window_record(config(), interval)
        assert str(interval) in str(caught.value)


class TestEdgeCases:
    @pytest.mark.parametrize("key", ["timezone", "x_time_back", "granularity", "default_record"])
    def test_a_missing_key_is_named(self, key: str) -> None:
        with pytest.raises(ConfigError, match=f"^{key}: this key is missing"):
            build(config(**{key: ...}))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"timezone": "Mars/X"}, "timezone: .*'Mars/X'"),
            ({"timezone": None}, "timezone: .*None"),
            ({"timezone": 5}, "timezone: .*5"),
            ({"timezone": ""}, "timezone: .*''"),
            ({"timezone": timezone.utc}, "timezone: .*datetime.timezone.utc"),
            ({"x_time_back": "1 day"}, "x_time_back: .*'1 day'"),
            ({"x_time_back": None}, "x_time_back: .*None"),
            ({"x_time_back": 86_400}, "x_time_back: .*86400"),
            ({"x_time_back": "-1d"}, "x_time_back: .*'-1d'"),
            ({"x_time_back": "9999999d"}, "x_time_back: 9999999d before .* outside of the calendar"),
            ({"granularity": "0s"}, "granularity: expected at least 1m, got '0s'"),
            ({"granularity": "59s"}, "granularity: expected at least 1m, got '59s'"),
            ({"granularity": "2 hours"}, "granularity: .*'2 hours'"),
            ({"granularity": None}, "granularity: .*None"),
            ({"granularity": []}, r"granularity: .*\[\]"),
            ({"default_record": None}, "default_record: .*None"),
            ({"default_record": "x"}, "default_record: .*'x'"),
            ({"default_record": {1: "x"}}, "default_record: .*{1: 'x'}"),
            ({"default_record": {"lock": threading.Lock()}}, r"default_record\.lock: expected a plain value"),
            ({"pipeline_id": ""}, "pipeline_id: .*''"),
            ({"pipeline_id": 5}, "pipeline_id: .*5"),
        ],
    )
    def test_a_bad_value_is_named(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message) as caught:
            build(config(**changes))
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize("final_config", [[], "x", 5], ids=repr)
    def test_a_configuration_that_is_no_mapping_is_named(self, final_config: Any) -> None:
        with pytest.raises(ConfigError, match=r"^final_config: expected a mapping, got ") as caught:
            build(final_config)
        assert repr(final_config) in str(caught.value)

    def test_the_window_record_needs_no_default_record(self) -> None:
        record = generate_pipeline_time_window_record(
            config(default_record=...), reference_time=REFERENCE, latest_timestamp_available=lambda day: None
        )
        assert record is not None

    @pytest.mark.parametrize("reference", [None, "soon", [], True, float("inf")], ids=repr)
    def test_a_bad_reference_time_is_named(self, reference: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^reference_time: ") as caught:
            build(reference_time=reference)
        assert repr(reference) in str(caught.value)

    @pytest.mark.parametrize("answer", ["soon", [], False, float("nan"), b"x", {}], ids=repr)
    def test_a_bad_answer_about_the_latest_timestamp_is_named(self, answer: Any) -> None:
        with pytest.raises((TypeError, ValueError)) as caught:
            build(latest=answer)
        assert str(caught.value).startswith("latest_timestamp_available(2024-01-15): expected ")
        assert repr(answer) in str(caught.value)

    def test_latest_timestamp_available_must_be_callable(self) -> None:
        with pytest.raises(TypeError, match="latest_timestamp_available: expected a callable, got 'x'"):
            generate_pipeline_time_window_record(
                config(), reference_time=REFERENCE, latest_timestamp_available="x"  # type: ignore[arg-type]
            )  # fmt: skip

    def test_an_error_of_the_state_comes_through(self) -> None:
        def unreachable(day: pendulum.DateTime) -> None:
            raise ConnectionError("no route")

        with pytest.raises(ConnectionError, match="no route"):
            generate_pipeline_time_window_record(
                config(), reference_time=REFERENCE, latest_timestamp_available=unreachable
            )

    def test_a_naive_latest_timestamp_is_wall_time_of_the_pipeline(self) -> None:
        record = built(
            config(timezone=NY),
            reference_time="2013-11-04T12:00:00Z",
            latest=datetime(2013, 11, 3, 1, 30, fold=1),
        )
        assert record["WINDOW_START_TIME"] == "2013-11-03T01:30:00-05:00"

    def test_a_skipped_date_is_never_the_target_day(self) -> None:
        record = built(config(timezone="Pacific/Apia"), reference_time="2011-12-30T20:00:00Z")
        assert record["target_day_str"] == "2011-12-29"

    def test_offsets_with_odd_seconds_are_written_out(self) -> None:
        record = built(config(timezone="Africa/Monrovia"), reference_time="1971-06-02T12:00:00Z")
        assert record["WINDOW_START_TIME"] == "1971-06-01T00:00:00-00:44:30"
        assert datetime.fromisoformat(record["WINDOW_START_TIME"]) == record["window_start_time"]

    def test_other_keys_are_no_concern(self) -> None:
        assert built(config(schedule="auto", max_attempts=5)) == built(config())


class TestJsonForm:
    def test_what_json_can_hold_stays(self) -> None:
        record = {
            "text": "x",
            "none": None,
            "yes": True,
            "number": 5,
            "fraction": 0.5,
            "list": [1, (2, {"a": date(2024, 1, 1)})],
            "at": pendulum.datetime(2013, 11, 3, 1, 30, tz=NY, fold=1),
        }
        safe = json_safe(record)
        assert safe["list"] == [1, [2, {"a": "2024-01-01"}]]
        assert safe["at"] == "2013-11-03T01:30:00-05:00"
        assert json.loads(json.dumps(safe, allow_nan=False)) == safe

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            ({"a": {"since": datetime(2024, 1, 1)}}, r"^a\.since: expected a datetime with a timezone, got"),
            ({"a": float("nan")}, "^a: .*nan"),
            ({"a": [0, {1, 2}]}, r"^a\[1\]: .*{1, 2} \(set\)"),
            ({"a": [{"b": b"x"}]}, r"^a\[0\]\.b: .*b'x'"),
            ({"a": object}, "^a: .*class 'object'"),
            ({5: "x"}, "^record: expected text keys only, got 5"),
            ({"a": {None: "x"}}, "^a: expected text keys only, got None"),
            ([], r"^record: expected a mapping, got \[\]"),
            (None, "^record: expected a mapping, got None"),
        ],
    )
    def test_what_json_cannot_hold_is_named(self, record: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            json_safe(record)

    def test_a_record_that_holds_itself_is_refused(self) -> None:
        record: dict[str, Any] = {"a": []}
        record["a"].append(record)
        with pytest.raises(ConfigError, match="one that holds itself"):
            json_safe(record)
