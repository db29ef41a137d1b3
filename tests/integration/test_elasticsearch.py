"""Source elasticsearch against the real server that ELASTICSEARCH_URL names."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.connectors.elasticsearch.field_types import fields_of_caps
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.exceptions import SnapshotLostError
from airflow_pipeline_provider.testing.source_kit import START, WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.places import (
    ElasticsearchBehaviour,
    ElasticsearchConformance,
    ElasticsearchTests,
    Server,
    documents,
    iso,
    make,
    milliseconds,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def real() -> str:
    url = os.environ.get("ELASTICSEARCH_URL")
    assert url, "ELASTICSEARCH_URL is not set: start the server (tests/services) and name it"
    return url.rstrip("/")


class RealServer(ElasticsearchTests):
    @pytest.fixture
    def url(self, real: str) -> str:
        return real


class TestOneShard(RealServer, ElasticsearchConformance):
    pass


class TestNanosOnFiveShards(RealServer, ElasticsearchConformance):
    precision = timedelta(microseconds=1)
    time = {"type": "date_nanos"}  # noqa: RUF012
    shards = 5


class TestDatesOfAnotherFormat(RealServer, ElasticsearchConformance):
    precision = timedelta(milliseconds=1)
    time = {"type": "date", "format": "dd.MM.yyyy HH:mm:ss.SSS"}  # noqa: RUF012
    shards = 2

    def written(self, moment: datetime) -> Any:
        return f"{moment:%d.%m.%Y %H:%M:%S}.{moment.microsecond // 1000:03d}"


class TestBehaviour(RealServer, ElasticsearchBehaviour):
    pass


class TestReal(RealServer):
    @pytest.fixture
    def source(self, server: Server) -> ElasticsearchSource:
        """20,000 documents on five shards, 10,001 of them at one instant."""
        index = server.index(shards=5)
        server.put(index, {f"same{i}": f'{{"ts":"{iso(START)}","n":{i}}}' for i in range(10_001)})
        server.put(index, documents(9_999))
        return make(index, page_size=1000)

    def test_ten_thousand_and_one_equal_times(self, source: ElasticsearchSource) -> None:
        window = type(WINDOW)(START, START + timedelta(milliseconds=1))
        assert source.count(window) == 10_002
        for readers in range(1, 9):
            rows = rows_of(read_all(source, window, readers))
            assert len(rows) == sum(rows.values()) == 10_002
        source.close()

    @pytest.mark.parametrize("n", [1, 2, 3, 8])
    def test_slices_and_readers_together(self, source: ElasticsearchSource, n: int) -> None:
        pieces = source.plan_slices(WINDOW, n)
        batches = [batch for piece in pieces for batch in read_all(source, piece.interval, n)]
        rows = rows_of(batches)
        assert len(rows) == sum(rows.values()) == source.count(WINDOW) == 20_000
        source.close()

    def test_updates_and_a_force_merge_while_reading(self, server: Server) -> None:
        index = server.index(shards=2)
        texts = documents(20_000)
        for start in range(0, 20_000, 2000):  # several segments
            keys = list(texts)[start : start + 2000]
            server.put(index, {key: texts[key] for key in keys})
        source = make(index, page_size=500)
        batches = []
        with source.open(Slice(0, 1, type(WINDOW)(START, START + timedelta(minutes=1))), 4) as iterators:
            batches += [next(iter(rows)) for rows in iterators]
            server.put(
                index, {str(i): '{"ts":"2013-11-03T05:00:00Z","updated":1}' for i in range(0, 20_000, 3)}
            )
            server.must("POST", f"/{index}/_forcemerge?max_num_segments=1")
            for rows in iterators:
                batches += list(rows)
        rows_seen = rows_of(batches)
        assert len(rows_seen) == sum(rows_seen.values()) == 20_000
        assert {body for _, _, body in rows_seen} == set(texts.values())
        source.close()

    @pytest.mark.parametrize("end", ["read", "left early", "error", "lost"])
    def test_no_point_in_time_stays_open(self, server: Server, end: str) -> None:
        def open_contexts() -> int:
            return int(
                server.must("GET", f"/{index}/_stats/search")["_all"]["total"]["search"]["open_contexts"]
            )

        index = server.index(shards=2)
        server.put(index, documents(300))
        source = make(index, page_size=20)

        def read() -> None:
            with source.open(Slice(0, 1, WINDOW), 2) as iterators:
                next(iter(iterators[0]))
                assert open_contexts() >= 2
                if end == "error":
                    raise ZeroDivisionError
                if end == "lost":
                    server.must("POST", f"/{index}/_close")
                if end != "left early":
                    for rows in iterators:
                        list(rows)

        if end == "error":
            with pytest.raises(ZeroDivisionError):
                read()
        elif end == "lost":
            with pytest.raises(SnapshotLostError):
                read()
            server.must("POST", f"/{index}/_open?wait_for_active_shards=1")
        else:
            read()
        assert open_contexts() == 0
        source.close()

    @pytest.mark.parametrize("space", ["\n", "\r\n", "\t", "  "], ids=["newline", "crlf", "tab", "spaces"])
    def test_white_space_of_a_document_is_kept(self, server: Server, space: str) -> None:
        index, body = (
            server.index(),
            f'{{{space}"ts":{space}1383454800000,{space}"a":[{space}1.0,{space}2 ]{space}}}',
        )
        server.must("PUT", f"/{index}/_doc/1?refresh=true", body.encode())
        source = make(index)
        ((_, _, seen),) = rows_of(read_all(source, WINDOW))
        assert seen == body
        source.close()

    def test_an_index_that_disappears_behind_a_pattern_is_noticed(self, server: Server) -> None:
        prefix = server.name("two")
        for name in ("a", "b"):
            server.put(server.index(f"{prefix}-{name}"), documents(100))
        source = make(f"{prefix}-*", page_size=10)

        def read() -> None:
            with source.open(Slice(0, 1, WINDOW)) as (rows,):
                next(iter(rows))
                server.must("DELETE", f"/{prefix}-b")
                list(rows)

        with pytest.raises(SnapshotLostError, match="read again"):
            read()
        source.close()

    @pytest.mark.parametrize(
        ("settings", "kind", "says"),
        [
            ({"index.mapping.source.mode": "synthetic"}, "rebuilt", "synthetic"),
            ({"index.mapping.source.mode": "disabled"}, "filtered", "no _source"),
            ({"index.mode": "logsdb"}, "rebuilt", "synthetic"),
            ({"index.mode": "logsdb", "index.mapping.source.mode": "stored"}, "as_indexed", ""),
            ({"index.mode": "lookup"}, "as_indexed", ""),
            (
                {
                    "index.mode": "time_series",
                    "index.routing_path": ["host"],
                    "index.time_series.start_time": "2013-11-01T00:00:00Z",
                    "index.time_series.end_time": "2013-11-30T00:00:00Z",
                },
                "rebuilt",
                "synthetic",
            ),
        ],
        ids=["synthetic", "disabled", "logsdb", "logsdb stored", "lookup", "time series"],
    )
    def test_settings_that_rebuild_source_are_reported(
        self, server: Server, settings: dict[str, Any], kind: str, says: str
    ) -> None:
        index = server.index(
            settings=settings,
            properties={
                "@timestamp": {"type": "date"},
                "host": {
                    "type": "keyword",
                    "time_series_dimension": settings.get("index.mode") == "time_series",
                },
            },
        )
        source = make(index, time_field="@timestamp", on_filtered_source="warn")
        source.check()
        report = source.body_report()
        assert report.kind.value == kind
        assert says in "; ".join(report.reasons)
        assert index in "; ".join(report.reasons) or not report.reasons
        source.close()

    @pytest.mark.parametrize("kept_out", [True, False], ids=["kept out of _source", "kept in _source"])
    def test_vectors_arrive(self, server: Server, kept_out: bool) -> None:
        """Since 9.2 the server keeps them out of `_source` and searches leave them out unless asked."""
        index = server.index(
            settings={"index.mapping.exclude_source_vectors": kept_out},
            properties={
                "emb": {"type": "dense_vector", "dims": 3},
                "deep": {"type": "nested", "properties": {"words": {"type": "sparse_vector"}}},
            },
        )
        document = {"ts": 1383454800000, "emb": [0.5, 0.25, 1.0], "deep": [{"words": {"a": 1.5}}]}
        server.put(index, {"1": json.dumps(document)})
        source = make([f"{index}*"])
        source.check()
        assert source.body_report().kind.value == ("rebuilt" if kept_out else "as_indexed")
        ((_, _, body),) = rows_of(read_all(source, WINDOW, 2))
        assert json.loads(body) == document
        if not kept_out:
            assert body == json.dumps(document)
        source.close()

    def test_an_alias_and_a_runtime_field_tell_the_time(self, server: Server) -> None:
        index = server.index(
            properties={"when": {"type": "alias", "path": "ts"}}, runtime={"later": {"type": "date"}}
        )
        server.put(index, {"1": '{"ts":1383454800000,"later":1383454800000}', "2": "{}"})
        for field in ("when", "later"):
            source = make(index, time_field=field)
            source.check()
            assert (source.count(WINDOW), source.count_untimed()) == (1, 1)
            assert len(rows_of(read_all(source, WINDOW))) == 1
            source.close()

    @pytest.mark.parametrize(
        "field", ["event time", 'q"uote', "back\\slash", "a/b#c%41", "x:y|z", "a b.c d", "été😀", "it's <x>"]
    )
    def test_any_name_of_a_field_tells_the_time(self, server: Server, field: str) -> None:
        index = server.index(properties={field: {"type": "date"}})
        server.put(index, {"1": json.dumps({field: 1383454800000}), "2": "{}"})
        source = make(index, time_field=field)
        source.check()
        assert (source.count(WINDOW), source.count_untimed()) == (1, 1)
        assert len(rows_of(read_all(source, WINDOW, 2))) == 1
        source.close()

    @pytest.mark.parametrize(
        ("made", "named"),
        [
            ("{name}-it's", "{name}-it's"),
            ("{name}-50%25", "{name}-50%25"),
            ("{name}-a+b(c)~$&;=[d]{{e}}`", "{name}-a+b(c)~$&;=[d]{{e}}`"),
            ("{name}-é", "{name}-é"),
            ("<{name}-{{now/y{{yyyy}}}}>", "<{name}-{{now/y{{yyyy}}}}>"),
            ("{name}", "{name}::data"),
        ],
        ids=["apostrophe", "percent", "signs", "accent", "date math", "selector"],
    )
    def test_any_legal_name_of_an_index(self, server: Server, made: str, named: str) -> None:
        name = server.name()
        mapping = {
            "settings": {"number_of_replicas": 0},
            "mappings": {"properties": {"ts": {"type": "date"}}},
        }
        index = server.must("PUT", f"/{quote(made.format(name=name), safe='')}", mapping)["index"]
        server.made.append(quote(index, safe=""))
        server.put(index, documents(3))
        source = make(named.format(name=name))
        source.check()
        assert source.count(WINDOW) == len(rows_of(read_all(source, WINDOW))) == 3
        source.close()

    # --- one _id under several routings

    ROUTINGS: ClassVar = ("é/", "x?routing=y", "z", "w")  # of different shards

    def routed(self, server: Server, **mappings: Any) -> str:
        """Document `a/b` under several routings, and one without where the mapping allows it."""
        index = server.index(shards=16, **mappings)
        for number, routing in enumerate(self.ROUTINGS):
            path = f"/{index}/_doc/a%2Fb?refresh=true&routing={quote(routing, safe='')}"
            server.must("PUT", path, {"ts": milliseconds(number)})
        if not mappings:
            server.put(index, {"plain": f'{{"ts":"{milliseconds(9)}"}}'})
        return index

    def test_the_routing_is_part_of_the_record_id_where_it_is_required(self, server: Server) -> None:
        index = self.routed(server, _routing={"required": True})
        source = make(index)
        source.check()
        form = source.record_id_form()
        assert (form.form, form.is_set, index in form.why) == ("id_routing", False, True)
        with source.open(Slice(0, 1, WINDOW, record_id=form.form)) as (rows,):
            ids = sorted(one for batch in rows for one in batch.column("RECORD_ID").to_pylist())
        assert ids == [f"{index}/a/b?routing={r}" for r in ("%C3%A9%2F", "w", "x%3Frouting%3Dy", "z")]
        source.close()

    @pytest.mark.parametrize(("chosen", "form"), [("id", None), ("id_routing", "id_routing")])
    def test_the_form_of_record_ids_can_be_set(self, server: Server, chosen: str, form: str | None) -> None:
        source = make(server.index(_routing={"required": True}), record_id=chosen)
        assert source.record_id_form() == (form, True, "")
        source.close()

    def test_documents_that_share_an_id_are_explained(self, server: Server) -> None:
        """Custom routing without `required`, as with join fields."""
        index = self.routed(server)
        source = make(index)
        assert source.record_id_form() == (None, False, "")
        why = source.explain_repeated([f"{index}/plain", f"{index}/a/b"])
        assert why is not None
        assert f"document {index}/a/b exists 4 times, under the routings w, x?routing=y, z, é/" in why
        assert "source.record_id: id_routing" in why
        assert source.explain_repeated([f"{index}/plain"]) is None
        with source.open(Slice(0, 1, WINDOW, record_id="id_routing")) as (rows,):
            ids = [one for batch in rows for one in batch.column("RECORD_ID").to_pylist()]
        assert len(set(ids)) == 5
        assert f"{index}/plain?routing=" in ids
        source.close()

    def test_types_of_a_large_mapping(self, server: Server) -> None:
        """Each kind of field that this server accepts, by mapping, and what field capabilities show of it."""
        properties = {
            "all": {"type": "text"},
            "other": {"type": "alias", "path": "amount"},
            "amount": {"type": "double"},
            "blob": {"type": "object", "enabled": False},
            "made": {"type": "date_nanos"},
            "place": {"type": "geo_point"},
            "title": {"type": "text", "copy_to": "all", "fields": {"raw": {"type": "keyword"}}},
            **{f"f{i:04d}": {"type": "keyword"} for i in range(900)},
        }
        index = server.index(properties=properties, runtime={"day": {"type": "keyword"}})
        source = make(index)
        found = {".".join(f.path): (str(f.type), f.formats) for f in source.field_types()}
        assert sum(name.startswith("f0") for name in found) == 900
        assert {name: kind for name, kind in found.items() if not name.startswith("f0")} == {
            "amount": ("double", ()),
            "blob": ("json", ()),
            "made": ("timestamp", ("strict_date_optional_time_nanos", "epoch_millis")),
            "place": ("json", ()),
            "title": ("text", ()),
            "ts": ("timestamp", ("strict_date_optional_time", "epoch_millis")),
        }
        source.close()
        caps = server.must("GET", f"/{index}/_field_caps?fields=*")["fields"]
        by_caps = {".".join(f.path): str(f.type) for f in fields_of_caps(caps) if f.path[0][:2] != "f0"}
        assert by_caps == {
            "all": "text",
            "amount": "double",
            "day": "text",
            "made": "timestamp",
            "other": "double",
            "place": "json",
            "title": "text",
            "ts": "timestamp",
        }
