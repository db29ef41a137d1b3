"""Test that a target meets its contract: subclass `TargetConformance` and override its fixtures.

::

    class TestMyTarget(TargetConformance):
        @pytest.fixture
        def make_target(self, tmp_path):      # pipeline id -> a target; one table, new for each test
            return lambda pipeline_id: MyTarget(MyTarget.Options(...), Identity(pipeline_id, "UTC"))

        @pytest.fixture
        def fetch(self): ...                  # "" or "_LATEST" -> rows as dicts; bodies as text, aware times

        @pytest.fixture
        def make_other_shape(self): ...       # () -> create the table with only "RECORD_ID" text and "BODY" integer
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.config.options import Compression
from airflow_pipeline_provider.connectors.base import Identity, LoadResult, Stage, Target, TargetCounts
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.core.intervals import Interval, to_utc
from airflow_pipeline_provider.envelope.manifest import Manifest, Part
from airflow_pipeline_provider.envelope.part_writer import micros
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.testing.properties import target as properties
from airflow_pipeline_provider.testing.properties.target import TargetLab
from airflow_pipeline_provider.testing.sample_rows import (
    MICRO,
    MIDNIGHT,
    Loader,
    MakeTarget,
    Row,
    hours,
    rows,
)

Fetch = Callable[[str], list[dict[str, Any]]]


def listed(target: Target, interval: Interval, *, content: bool) -> list[Any]:
    """Return what `records` yields, in the order of record ids."""
    with target.records(interval, content=content) as portions:
        return sorted(row for portion in portions for row in portion)


def codec_of(stage: Stage, part: Part) -> str:
    """Return the codec of a part file; pyarrow has one name, LZ4, for writing and reading LZ4_RAW."""
    with stage.open_read(part.path) as file:
        return str(pq.read_metadata(file).row_group(0).column(0).compression)


class TargetConformance:
    """Tests of the contract `connectors.base.Target`.

    `body_exact` is true if bodies are stored byte for byte, false if only their JSON value is kept.
    `lists_records` is false for a target that does not implement `records`.
    """

    body_exact: ClassVar[bool] = True
    lists_records: ClassVar[bool] = True

    @pytest.fixture
    def make_target(self) -> MakeTarget:
        raise NotImplementedError("override the fixture `make_target`")

    @pytest.fixture
    def fetch(self) -> Fetch:
        raise NotImplementedError("override the fixture `fetch`")

    @pytest.fixture
    def make_other_shape(self) -> Callable[[], None]:
        raise NotImplementedError("override the fixture `make_other_shape`")

    @pytest.fixture
    def stage(self, tmp_path: Path) -> Stage:
        options = ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "kit-stage"))
        return ObjectStoreStage(options, Identity("kit", "UTC"))

    @pytest.fixture
    def target(self, make_target: MakeTarget) -> Iterator[Target]:
        target = make_target("flights")
        target.prepare()
        yield target
        target.close()

    @pytest.fixture
    def load(self, target: Target, make_target: MakeTarget, stage: Stage) -> Loader:  # noqa: ARG002
        return Loader(make_target, stage)

    @pytest.fixture
    def lab(self, make_target: MakeTarget, stage: Stage, fetch: Fetch) -> TargetLab:
        """Return the place for the properties that `certify` tests too."""
        return TargetLab(make_target, stage, fetch=lambda: fetch(""))

    # --- before the first load

    def test_before_prepare_there_are_no_commits_or_rows(self, make_target: MakeTarget) -> None:
        target = make_target("flights")
        assert target.commits() == []
        assert target.newest_token() == 0
        assert target.newest_commit(hours(0, 2)) is None
        assert target.count(hours(0, 24)) == TargetCounts(0, 0)
        target.close()
        target.close()

    def test_prepare_may_be_repeated_and_keeps_rows(self, load: Loader, make_target: MakeTarget) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        other = make_target("weather")
        other.prepare()
        other.prepare()
        assert make_target("flights").count(hours(0, 2)) == (5, 5)
        assert load(hours(0, 2), rows(hours(0, 2), 6), token=2).rows == 6

    def test_concurrent_prepares_succeed(self, make_target: MakeTarget, stage: Stage) -> None:
        gate = threading.Barrier(4)

        def prepare(number: int) -> None:
            target = make_target(f"p{number}")
            gate.wait()
            for attempt in range(20):
                try:
                    target.prepare()
                    break
                except TransientError:
                    assert attempt < 19
                    time.sleep(0.05)
            target.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(prepare, range(4)))
        load = Loader(make_target, stage)
        for number in range(4):
            assert load(hours(0, 2), rows(hours(0, 2), 3), token=1, pipeline_id=f"p{number}").rows == 3

    def test_a_table_of_another_shape_is_refused(
        self, make_target: MakeTarget, make_other_shape: Callable[[], None]
    ) -> None:
        make_other_shape()
        with pytest.raises(FatalError) as caught:
            make_target("flights").prepare()
        message = str(caught.value)
        assert "EVENT_TIME" in message
        assert "missing" in message
        assert "BODY" in message
        assert "RECORD_ID" not in message

    # --- one load

    def test_a_load_writes_every_row_with_its_window(
        self, load: Loader, target: Target, fetch: Fetch
    ) -> None:
        window = hours(0, 2)
        manifest = load.manifest(window, rows(window, 2500), token=7, part_bytes=5_000)
        assert len(manifest.parts) > 1
        assert load.load(manifest) == LoadResult(2500, 2500, already=False)
        assert target.count(window) == (2500, 2500)
        [commit] = target.commits()
        assert commit == target.newest_commit(window)
        assert (commit.interval, commit.token, commit.manifest_sha, commit.rows) == (
            window,
            7,
            manifest.sha256,
            2500,
        )
        assert target.newest_token() == 7
        found = {row["RECORD_ID"]: row for row in fetch("")}
        for row in rows(window, 2500):
            assert to_utc(found[row.record_id]["EVENT_TIME"], "EVENT_TIME") == row.event_time
            assert json.loads(found[row.record_id]["BODY"]) == json.loads(row.body)
        one = found[rows(window, 1)[0].record_id]
        assert (one["PIPELINE_ID"], one["TOKEN"], one["SOURCE_NAME"]) == ("flights", 7, "kit")
        assert Interval(one["WINDOW_START"], one["WINDOW_END"]) == window
        assert abs(to_utc(one["LOADED_AT"], "LOADED_AT") - datetime.now(timezone.utc)) < timedelta(minutes=10)

    def test_part_files_of_each_compression_are_loaded_together(
        self, load: Loader, target: Target, stage: Stage, fetch: Fetch
    ) -> None:
        """`stage.compression` may change between the slices of one attempt."""
        window = hours(0, 2)
        names: tuple[Compression, ...] = ("zstd", "lz4")
        of = {name: rows(window, 300, name) for name in names}
        zstd, lz4 = (load.manifest(window, of[name], token=1, compression=name) for name in of)
        both = replace(zstd, parts=zstd.parts + lz4.parts)
        assert [codec_of(stage, part) for part in both.parts] == ["ZSTD", "LZ4"]
        assert load.load(both) == LoadResult(600, 600)
        assert target.count(window) == (600, 600)
        found = {(row["RECORD_ID"], json.dumps(json.loads(row["BODY"]))) for row in fetch("")}
        assert found == {(row.record_id, json.dumps(json.loads(row.body))) for name in of for row in of[name]}

    def test_the_same_manifest_again_changes_nothing(self, lab: TargetLab) -> None:
        properties.loads_once(lab)

    def test_the_same_manifest_needs_no_files(self, load: Loader, stage: Stage) -> None:
        manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load.load(manifest)
        stage.delete([part.path for part in manifest.parts])
        assert load.load(manifest) == LoadResult(5, 5, already=True)

    def test_an_empty_manifest_empties_the_window(self, load: Loader, target: Target) -> None:
        assert load(hours(0, 2), [], token=1) == LoadResult(0, 0)
        load(hours(0, 2), rows(hours(0, 2), 5), token=2)
        load(hours(2, 4), rows(hours(2, 4), 3), token=3)
        assert load(hours(0, 2), [], token=4) == LoadResult(0, 0)
        assert target.count(hours(0, 4)) == (3, 3)
        assert [(row.token, row.rows) for row in target.commits(hours(0, 2))] == [(1, 0), (2, 5), (4, 0)]

    @pytest.mark.parametrize(
        "body",
        [
            '{"ü": "🛩", "quote": "\'\\"", "esc": "\\u00fc\\n\\\\", "empty": "", "null": null}',
            '{ "spaces" : [ 1, 2 ],\n "deep": {"a": {"b": [{}]}} }',
            '{"number": 1234567890123456789, "float": 1.5, "exp": 1e3, "neg": -0.25}',
            '"text"',
            "[1, 2, 3]",
            "null",
            "false",
            '{"percent": "%s %(a)s ?", "dollar": "$1 $$", "semicolon": "; DROP TABLE x --"}',
        ],
        ids=["unicode", "whitespace", "numbers", "a string", "a list", "null", "false", "sql"],
    )
    def test_bodies_are_stored_unchanged(self, load: Loader, fetch: Fetch, body: str) -> None:
        load(hours(0, 2), [Row("a", MIDNIGHT, body)], token=1)
        [row] = fetch("")
        if self.body_exact:
            assert row["BODY"] == body
        else:
            assert json.loads(row["BODY"]) == json.loads(body)

    @pytest.mark.parametrize(
        "text", ["o'neil", 'say "x"', "back\\slash", "ü/🛩", "%s", "?", "$1", " a ", "--", ""]
    )
    def test_ids_are_stored_unchanged(
        self, load: Loader, make_target: MakeTarget, fetch: Fetch, text: str
    ) -> None:
        pipeline = f"p{text}"
        interval = hours(0, 2)
        folder_safe = load.manifest(interval, [Row(f"id{text}", MIDNIGHT)], token=1)
        load.load(replace(folder_safe, pipeline_id=pipeline))
        [row] = fetch("")
        assert (row["RECORD_ID"], row["PIPELINE_ID"]) == (f"id{text}", pipeline)
        assert make_target(pipeline).count(interval) == (1, 1)
        assert [c.token for c in make_target(pipeline).commits(interval)] == [1]

    def test_microseconds_at_both_bounds(self, load: Loader, target: Target) -> None:
        window = Interval(MIDNIGHT + MICRO, MIDNIGHT + timedelta(hours=1) + 5 * MICRO)
        load(Interval(MIDNIGHT, window.start), [Row("before", MIDNIGHT)], token=1)
        load(Interval(window.end, window.end + MICRO), [Row("after", window.end)], token=2)
        load(window, [Row("first", window.start), Row("last", window.end - MICRO)], token=3)
        assert target.count(window) == (2, 2)
        assert target.count(Interval(window.start + MICRO, window.end)) == (1, 1)
        assert target.count(Interval(window.start, window.end - MICRO)) == (1, 1)
        assert target.count(Interval(MIDNIGHT, window.end + MICRO)) == (4, 4)
        load(window, [], token=4)
        assert target.count(Interval(MIDNIGHT, window.end + MICRO)) == (2, 2)

    # --- replacing

    def test_a_newer_token_replaces_the_window(self, load: Loader, target: Target, fetch: Fetch) -> None:
        load(hours(0, 2), rows(hours(0, 2), 50, "old"), token=1)
        assert load(hours(0, 2), rows(hours(0, 2), 20, "new"), token=2) == LoadResult(20, 20)
        assert {row["RECORD_ID"].partition("/")[0] for row in fetch("")} == {"new"}
        assert [row.token for row in target.commits()] == [1, 2]

    def test_a_part_of_a_window_is_replaced(self, load: Loader, target: Target) -> None:
        load(hours(0, 4), rows(hours(0, 4), 40), token=1)
        assert load(hours(1, 2), rows(hours(1, 2), 3, "new"), token=2) == LoadResult(3, 3)
        assert target.count(hours(0, 4)) == (33, 33)
        assert target.count(hours(1, 2)) == (3, 3)

    def test_another_granularity_replaces_several_windows(self, load: Loader, target: Target) -> None:
        for n in range(4):
            load(hours(n, n + 1), rows(hours(n, n + 1), 10), token=n + 1)
        assert load(hours(0.5, 3.5), rows(hours(0.5, 3.5), 7, "new"), token=9) == LoadResult(7, 7)
        assert target.count(hours(0, 4)) == (17, 17)
        assert [row.token for row in target.commits(hours(0, 1))] == [1, 9]
        assert target.newest_commit(hours(3.5, 4)).token == 4  # type: ignore[union-attr]

    def test_neighbours_and_other_pipelines_stay(
        self, load: Loader, make_target: MakeTarget, fetch: Fetch
    ) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load(hours(4, 6), rows(hours(4, 6), 6), token=2)
        load(hours(2, 4), rows(hours(2, 4), 8), token=99, pipeline_id="weather")
        before = {row["RECORD_ID"] + row["PIPELINE_ID"]: str(row) for row in fetch("")}
        load(hours(2, 4), rows(hours(2, 4), 7), token=3)
        load(hours(2, 4), rows(hours(2, 4), 9), token=4)
        after = {row["RECORD_ID"] + row["PIPELINE_ID"]: str(row) for row in fetch("")}
        assert before.items() <= after.items()
        assert make_target("flights").count(hours(0, 6)) == (20, 20)
        assert make_target("weather").count(hours(0, 6)) == (8, 8)
        assert make_target("flights").newest_token() == 4
        assert [c.token for c in make_target("weather").commits()] == [99]

    # --- refused loads

    @pytest.mark.parametrize(
        "late",
        [
            hours(0, 2),
            hours(1, 2),
            hours(1, 5),
            hours(0, 24),
            Interval(MIDNIGHT + timedelta(hours=2) - MICRO, MIDNIGHT + timedelta(hours=3)),
        ],
        ids=["same", "part", "across the end", "around", "by a microsecond"],
    )
    def test_an_older_token_on_an_overlapping_interval_is_refused(
        self, load: Loader, target: Target, fetch: Fetch, late: Interval
    ) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=5)
        before = sorted(fetch(""), key=str)
        with pytest.raises(SupersededError, match="5"):
            load(late, rows(late, 9, "late"), token=4)
        assert sorted(fetch(""), key=str) == before
        assert [row.token for row in target.commits()] == [5]

    def test_an_older_token_on_another_interval_is_accepted(self, load: Loader, target: Target) -> None:
        load(hours(2, 4), rows(hours(2, 4), 5), token=5)
        assert load(hours(0, 2), rows(hours(0, 2), 9), token=4) == LoadResult(9, 9)
        assert target.newest_token() == 5

    def test_the_same_token_with_another_manifest_is_refused(self, load: Loader, target: Target) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=5)
        with pytest.raises(SupersededError):
            load(hours(0, 2), rows(hours(0, 2), 6), token=5)
        with pytest.raises(SupersededError):
            load(hours(1, 3), rows(hours(1, 3), 6), token=5)
        assert target.count(hours(0, 4)) == (5, 5)

    def test_a_replaced_manifest_does_not_count_as_loaded(self, load: Loader, target: Target) -> None:
        first = load.manifest(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load.load(first)
        load(hours(1, 2), rows(hours(1, 2), 1), token=2)
        with pytest.raises(SupersededError):
            load.load(first)
        assert (
            target.count(hours(0, 2)).rows == 4
        )  # three of the first load outside the replaced hour, and one

    def test_a_count_that_differs_is_rolled_back(self, lab: TargetLab) -> None:
        properties.refuses_other_counts(lab)

    def test_the_same_id_twice_is_rolled_back(self, load: Loader, target: Target) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        with pytest.raises(DataError, match="distinct"):
            load(hours(0, 2), [Row("a", MIDNIGHT), Row("a", MIDNIGHT + MICRO)], token=2)
        assert target.count(hours(0, 2)) == (5, 5)

    def test_rows_outside_the_window_are_rolled_back(self, load: Loader, target: Target) -> None:
        wide = load.manifest(hours(0, 4), rows(hours(0, 4), 8), token=1)
        with pytest.raises(DataError):
            load.load(replace(wide, interval=hours(0, 2)))
        assert target.count(hours(0, 24)) == (0, 0)

    def test_a_missing_part_is_rolled_back(self, load: Loader, target: Target) -> None:
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        gone = Part("flights/none/part-0-0-none.parquet", 3, 100, MIDNIGHT, MIDNIGHT)
        with pytest.raises(DataError):
            load.load(Manifest("flights", hours(0, 2), "a2", 2, parts=(gone,)))
        assert target.count(hours(0, 2)) == (5, 5)
        assert [row.token for row in target.commits()] == [1]

    # --- concurrent loads

    def test_of_concurrent_loads_of_one_window_the_newest_token_wins(
        self, lab: TargetLab, fetch: Fetch
    ) -> None:
        properties.newest_of_many_wins(lab)
        assert {row["RECORD_ID"].partition("/")[0] for row in fetch("")} == {"t4"}

    def test_concurrent_loads_of_different_windows_all_succeed(self, load: Loader, target: Target) -> None:
        manifests = [load.manifest(hours(n, n + 1), rows(hours(n, n + 1), 10), token=n + 1) for n in range(6)]
        with ThreadPoolExecutor(3) as pool:
            assert [result.rows for result in pool.map(load.load, manifests)] == [10] * 6
        assert target.count(hours(0, 6)) == (60, 60)
        assert [row.token for row in target.commits()] == [1, 2, 3, 4, 5, 6]

    # --- reading

    def test_commits_within_an_interval(self, load: Loader, target: Target) -> None:
        for n, token in enumerate((30, 10, 20)):
            load(hours(2 * n, 2 * n + 2), rows(hours(2 * n, 2 * n + 2), 1), token=token)
        assert [row.token for row in target.commits()] == [10, 20, 30]
        assert [row.token for row in target.commits(hours(1, 3))] == [10, 30]
        assert [row.token for row in target.commits(hours(2, 4))] == [10]
        assert target.commits(hours(6, 8)) == []
        assert target.newest_token() == 30

    def test_latest_has_one_row_per_record(self, load: Loader, fetch: Fetch) -> None:
        load(hours(0, 2), [Row("moved", MIDNIGHT, '{"v":1}'), Row("stays", MIDNIGHT, '{"v":1}')], token=1)
        load(hours(2, 4), [Row("moved", MIDNIGHT + timedelta(hours=3), '{"v":2}')], token=2)
        load(hours(0, 2), [Row("moved", MIDNIGHT, '{"v":7}')], token=1, pipeline_id="w")
        found = sorted(
            (row["PIPELINE_ID"], row["RECORD_ID"], json.loads(row["BODY"])["v"]) for row in fetch("_LATEST")
        )
        assert found == [("flights", "moved", 2), ("flights", "stays", 1), ("w", "moved", 7)]
        assert len([r for r in fetch("") if r["RECORD_ID"] == "moved"]) == 3
        [moved] = [r for r in fetch("_LATEST") if (r["PIPELINE_ID"], r["RECORD_ID"]) == ("flights", "moved")]
        assert moved["EVENT_TIME"] == MIDNIGHT + timedelta(hours=3)

    # --- records

    def test_records_are_the_rows_of_the_interval(
        self, load: Loader, target: Target, make_target: MakeTarget
    ) -> None:
        if not self.lists_records:
            with pytest.raises(ConfigError, match="diff"):
                listed(target, hours(0, 2), content=False)
            return
        edge = MIDNIGHT + timedelta(hours=2) - MICRO
        bodies = {
            "ü ✈/1": '{"b": 1.50, "a": "ü🛫\\u00fc", "c": [1, {"d": null}]}',
            "a'b": "{}",
            'a"b': '{"n": 12345678901234567, "e": 1e5}',
        }
        load(hours(0, 2), [Row(name, edge, body) for name, body in bodies.items()], token=1)
        load(hours(2, 4), rows(hours(2, 4), 2), token=2)
        load(hours(0, 2), rows(hours(0, 2), 2), token=1, pipeline_id="weather")
        assert listed(target, hours(0, 2), content=False) == [
            (name, micros(edge), None, False) for name in sorted(bodies)
        ]
        digests = {name: target.digest(body.encode()) for name, body in bodies.items()}
        assert all(proves and digest is not None for digest, proves in digests.values())
        assert target.digest(bodies["ü ✈/1"].replace("1.50", "1.51").encode()) not in digests.values()
        assert listed(target, hours(0, 2), content=True) == [
            (name, micros(edge), *digests[name]) for name in sorted(bodies)
        ]
        first = rows(hours(2, 4), 2)[0]
        assert listed(target, hours(1.5, 3), content=False) == sorted(
            [(name, micros(edge), None, False) for name in bodies]
            + [(first.record_id, micros(first.event_time), None, False)]
        )
        assert listed(target, hours(6, 8), content=True) == []
        other = make_target("flights")
        with other.records(hours(0, 4), content=True) as portions:
            assert next(iter(portions))  # left early
        assert other.count(hours(0, 2)) == (3, 3)
        other.close()

    def test_before_prepare_there_are_no_records(self, make_target: MakeTarget) -> None:
        if self.lists_records:
            target = make_target("flights")
            assert listed(target, hours(0, 2), content=True) == []
            target.close()

    # --- registered pipelines

    def test_a_pipeline_is_registered_after_the_others_are_checked(
        self, target: Target, make_target: MakeTarget
    ) -> None:
        other = make_target("weather")
        assert target.pipelines() == {}
        target.register({"source": {"table": "ü'"}}, lambda _: None)
        seen: list[dict[str, Any]] = []
        other.register({"n": 1}, seen.append)
        target.register({"n": 2}, seen.append)
        assert seen == [{"flights": {"source": {"table": "ü'"}}}, {"weather": {"n": 1}}]
        assert other.pipelines() == {"flights": {"n": 2}, "weather": {"n": 1}}
        other.close()

    def test_a_refused_registration_changes_nothing(self, target: Target, make_target: MakeTarget) -> None:
        def refuse(_others: Any) -> None:
            raise ConfigError("no")

        target.register({"n": 1}, lambda _: None)
        other = make_target("weather")
        with pytest.raises(ConfigError):
            other.register({"n": 2}, refuse)
        other.close()
        assert target.pipelines() == {"flights": {"n": 1}}

    def test_before_prepare_no_pipeline_is_registered(self, make_target: MakeTarget) -> None:
        target = make_target("flights")
        assert target.pipelines() == {}
        target.close()

    def test_a_rename_moves_rows_and_commits_to_the_new_id(
        self, load: Loader, target: Target, make_target: MakeTarget
    ) -> None:
        target.register({"n": 1}, lambda _: None)
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        load(hours(2, 4), rows(hours(2, 4), 3), token=2)
        load(hours(0, 2), rows(hours(0, 2), 4), token=1, pipeline_id="weather")
        commits, renamed = target.commits(), make_target("trips")
        assert [renamed.rename_pipeline("flights"), renamed.rename_pipeline("flights")] == [8, 0]
        assert (renamed.count(hours(0, 4)), renamed.commits()) == ((8, 8), commits)
        assert (target.count(hours(0, 4)), target.commits()) == ((0, 0), [])
        assert renamed.pipelines() == {"trips": {"n": 1}}
        load(hours(0, 2), rows(hours(0, 2), 6), token=3, pipeline_id="trips")
        assert renamed.count(hours(0, 4)) == (9, 9)
        renamed.close()
        weather = make_target("weather")
        assert weather.count(hours(0, 2)) == (4, 4)
        with pytest.raises(DataError, match="both 'trips'"):
            weather.rename_pipeline("trips")
        weather.close()

    # --- history: changes

    @pytest.fixture
    def keeping(self, make_target: MakeTarget) -> MakeTarget:
        """Return a factory of targets for pipelines with `source.history: changes`."""

        def make(pipeline_id: str) -> Target:
            target = make_target(pipeline_id)
            target.identity = target.identity._replace(keeps_history=True)
            return target

        return make

    def test_older_versions_stay_if_history_is_kept(
        self, keeping: MakeTarget, stage: Stage, fetch: Fetch
    ) -> None:
        load, target = Loader(keeping, stage), keeping("flights")
        target.prepare()
        assert target.can_keep_history
        assert (target.count_by_token(hours(0, 4)), target.count_newest(hours(0, 4), 1)) == ({}, 0)
        early, late = MIDNIGHT, MIDNIGHT + timedelta(hours=3)
        first = [Row(name, early, '{"v":1}') for name in ("moved", "inside", "same", "gone")]
        assert load(hours(0, 2), first, token=1) == LoadResult(4, 4)
        assert load(hours(2, 4), [Row("moved", late, '{"v":2}')], token=2) == LoadResult(1, 1)
        # "moved" and "gone" left the window, "inside" has a later time in it, "same" comes again, "new" is late
        second = [
            Row("inside", early + timedelta(hours=1), '{"v":2}'),
            Row("same", early, '{"v":3}'),
            Row("new", early, '{"v":1}'),
        ]
        manifest = load.manifest(hours(0, 2), second, token=3)
        assert load.load(manifest) == LoadResult(3, 3)
        assert load.load(manifest) == LoadResult(3, 3, already=True)
        found = {(r["RECORD_ID"], json.loads(r["BODY"])["v"], int(r["TOKEN"])) for r in fetch("")}
        assert found == {
            *{("moved", 1, 1), ("inside", 1, 1), ("gone", 1, 1)},
            *{("moved", 2, 2), ("inside", 2, 3), ("same", 3, 3), ("new", 1, 3)},
        }
        assert len(fetch("")) == len(found)
        assert target.count_by_token(hours(0, 2)) == {1: (3, 3), 3: (3, 3)}
        assert [target.count_newest(hours(0, 2), token) for token in (1, 2, 3)] == [1, 0, 3]
        assert target.count_newest(hours(2, 4), 2) == 1
        target.close()

    def test_the_latest_version_is_the_one_with_the_latest_time(
        self, make_target: MakeTarget, keeping: MakeTarget, stage: Stage, fetch: Fetch
    ) -> None:
        """Also if the window of an older version was loaded last, and if the table was one of events before."""
        make_target("flights").prepare()
        load, later = Loader(keeping, stage), MIDNIGHT + timedelta(hours=3)
        keeping("flights").prepare()
        load(hours(2, 4), [Row("a", later, '{"v":2}')], token=1)
        load(hours(0, 2), [Row("a", MIDNIGHT, '{"v":1}'), Row("b", MIDNIGHT, '{"v":1}')], token=2)
        assert {r["RECORD_ID"]: json.loads(r["BODY"])["v"] for r in fetch("_LATEST")} == {"a": 2, "b": 1}

    def test_an_empty_window_deletes_no_versions(self, keeping: MakeTarget, stage: Stage) -> None:
        load, target = Loader(keeping, stage), keeping("flights")
        target.prepare()
        load(hours(0, 2), rows(hours(0, 2), 5), token=1)
        assert load(hours(0, 2), [], token=2) == LoadResult(0, 0)
        assert target.count(hours(0, 2)) == (5, 5)
        assert target.newest_commit(hours(0, 2)).token == 2  # type: ignore[union-attr]
        target.close()

    def test_a_shared_table_keeps_its_order_of_versions(self, load: Loader, keeping: MakeTarget) -> None:
        load(hours(0, 2), rows(hours(0, 2), 1), token=1, pipeline_id="weather")
        with pytest.raises(FatalError, match=r"weather.*another target.table"):
            keeping("flights").prepare()
