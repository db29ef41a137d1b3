"""What the tests of source elasticsearch share: a server's plain HTTP, and the kit on any server that speaks it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from airflow_pipeline_provider.connectors.base import Identity, Slice
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.envelope.schema import IDS
from airflow_pipeline_provider.testing.source_kit import (
    START,
    WINDOW,
    Expected,
    KitRow,
    Loaded,
    SnapshotConformance,
    expected_within,
    read_all,
    rows_of,
)

Ask = Callable[[ElasticsearchSource], Any]
CONN_ID = "elasticsearch_under_test"


class Server:
    """Indices made here have names of their own and are removed by `clean`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.made: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if "_bulk" in path else "application/json"
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": kind}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def must(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status in (200, 201), (method, path, status, answer)
        return answer

    def name(self, prefix: str = "kit") -> str:
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    def index(
        self,
        name: str | None = None,
        *,
        time: dict[str, Any] | None = None,
        shards: int = 1,
        settings: dict[str, Any] | None = None,
        **mappings: Any,
    ) -> str:
        """A new index whose field `ts` is mapped as `time` (default: date) and nothing else is."""
        name = name or self.name()
        properties = {"ts": time or {"type": "date"}, **mappings.pop("properties", {})}
        self.must(
            "PUT",
            f"/{name}",
            {
                "settings": {"number_of_shards": shards, "number_of_replicas": 0, **(settings or {})},
                "mappings": {"dynamic": False, "properties": properties, **mappings},
            },
        )
        self.made.append(name)
        return name

    def put(self, index: str, documents: dict[str, str]) -> None:
        """Documents by id, as the very text that is indexed; searchable at once."""
        if documents:
            lines = [
                f"{json.dumps({'index': {'_index': index, '_id': key}})}\n{text}\n"
                for key, text in documents.items()
            ]
            answer = self.must("POST", "/_bulk?refresh=true", "".join(lines).encode())
            assert not answer["errors"], answer

    def remove(self, index: str, keys: Sequence[str]) -> None:
        lines = [json.dumps({"delete": {"_index": index, "_id": key}}) + "\n" for key in keys]
        self.must("POST", "/_bulk?refresh=true", "".join(lines).encode())

    def clean(self) -> None:
        for name in self.made:
            self.ask("DELETE", f"/{name}")
        self.made.clear()


def iso(moment: datetime, timespec: str = "microseconds") -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")


def make(index: str | list[str], **options: Any) -> ElasticsearchSource:
    """A source of field `ts` on the server that the connection of the tests names."""
    chosen = {"time_field": "ts", "page_size": 50, **options}
    parsed = ElasticsearchSource.Options.model_validate(
        {"type": "elasticsearch", "conn_id": CONN_ID, "index": index, **chosen}
    )
    return ElasticsearchSource(parsed, Identity("kit", "UTC"))


def read_ids(source: ElasticsearchSource) -> list[str]:
    """The ids of the window, in order, as `diff` reads them."""
    with source.open_ids(Slice(0, 1, WINDOW)) as iterators:
        batches = [batch for iterator in iterators for batch in iterator]
    assert all(batch.schema.equals(IDS) for batch in batches)
    return sorted(one for batch in batches for one in batch.column("RECORD_ID").to_pylist())


class ElasticsearchTests:
    """Gives the fixture `server`; a subclass says where it is by the fixture `url`."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def server(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", url)
        server = Server(url)
        yield server
        server.clean()


class ElasticsearchConformance(ElasticsearchTests, SnapshotConformance):
    """The kit; `time` is the mapping of the time field, `shards` of each index."""

    precision: ClassVar[timedelta] = timedelta(milliseconds=1)
    time: ClassVar[dict[str, Any]] = {"type": "date"}
    shards: ClassVar[int] = 1
    space: ClassVar[str] = " "  # white space that nobody needs, where the server keeps it

    def written(self, moment: datetime) -> Any:
        """The event time as the documents hold it."""
        return iso(moment)

    @pytest.fixture
    def load(self, server: Server) -> Iterator[Callable[[Sequence[KitRow]], Loaded]]:
        sources = []

        def load(rows: Sequence[KitRow]) -> Loaded:
            index = server.index(time=self.time, shards=self.shards)
            documents = {row.key: self.document(row) for row in rows}
            server.put(index, documents)
            sources.append(make(index, page_size=self.page_size))
            expected = {
                f"{index}/{row.key}": Expected(row.event_time, documents[row.key])
                for row in rows
                if row.event_time
            }
            return Loaded(
                sources[-1],
                expected,
                lambda: server.remove(index, list(documents)),
                lambda: server.put(index, documents),
            )

        yield load
        for source in sources:
            source.close()

    def document(self, row: KitRow) -> str:
        """JSON that any rendering but the original changes: spaces, numbers, escapes, order of keys."""
        time = (
            "" if row.event_time is None else f'"ts":{json.dumps(self.written(row.event_time))},{self.space}'
        )
        text = json.dumps(row.text)
        return (
            f'{{{time}"z":1.10,"e":{self.space}1.0E3,"u":"\\u00e9","text":{text},"big":12345678901234567890}}'
        )

    @pytest.fixture
    def missing(self, server: Server) -> ElasticsearchSource:
        return make("no-such-index")


def milliseconds(row: int) -> str:
    return iso(START + timedelta(milliseconds=row), "milliseconds")


def documents(count: int, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{i}": f'{{"ts":"{milliseconds(i)}","n":{i}}}' for i in range(count)}


class ElasticsearchBehaviour(ElasticsearchTests):
    """What is peculiar to Elasticsearch, on whatever server the subclass names."""

    # --- fields

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"include": ["user.*", "n"]}, {"n": 1, "user": {"email": "e", "name": "x"}}),
            ({"include": ["user"], "exclude": ["*.name"]}, {"user": {"email": "e"}}),
            ({"exclude": ["user", "items.name", "ts"]}, {"n": 1, "items": [{"kg": 2}, {"kg": 3}]}),
            ({"include": ["no_such_field"]}, {}),
        ],
    )
    def test_the_server_leaves_fields_out(
        self, server: Server, fields: dict[str, list[str]], expected: dict[str, Any]
    ) -> None:
        index = server.index()
        items = '[{"name":"a","kg":2},{"name":"b","kg":3}]'
        text = f'{{"ts":"{iso(START)}","n":1,"user":{{"email":"e","name":"x"}},"items":{items}}}'
        server.put(index, {"one": text})
        source = make(index, fields=fields)
        try:
            ((record_id, event_time, body),) = rows_of(read_all(source, WINDOW))
            assert source.rewritten() is not None
        finally:
            source.close()
        assert (record_id, event_time, json.loads(body)) == (f"{index}/one", START, expected)

    # --- several indices

    @pytest.mark.parametrize("readers", [1, 2, 3])
    def test_a_pattern_is_read_whole(self, server: Server, readers: int) -> None:
        """The tiebreak must tell apart documents of the same number in the shards of several indices."""
        prefix = server.name("multi")
        for number in range(4):
            server.put(server.index(f"{prefix}-{number}", shards=1 + number % 2), documents(37))
        source = make(f"{prefix}-*", page_size=7)
        assert source.count(WINDOW) == 4 * 37
        rows = rows_of(read_all(source, WINDOW, readers))
        assert sum(rows.values()) == len(rows) == 4 * 37
        assert {key.partition("/")[0] for key, _, _ in rows} == {f"{prefix}-{number}" for number in range(4)}
        source.close()

    def test_a_list_may_leave_an_index_out(self, server: Server) -> None:
        prefix = server.name("list")
        for number in range(3):
            server.put(server.index(f"{prefix}-{number}"), documents(5))
        source = make([f"{prefix}-*", f"-{prefix}-1"])
        assert source.count(WINDOW) == 10
        assert sum(rows_of(read_all(source, WINDOW)).values()) == 10
        source.close()

    def test_date_and_date_nanos_behind_one_pattern(self, server: Server) -> None:
        prefix = server.name("mixed")
        server.put(server.index(f"{prefix}-a"), {"1": f'{{"ts":"{iso(START)}"}}'})
        server.put(
            server.index(f"{prefix}-b", time={"type": "date_nanos"}),
            {"1": '{"ts":"2013-11-03T05:00:00.000001999Z"}'},
        )
        source = make(f"{prefix}-*")
        times = {time for _, time, _ in rows_of(read_all(source, WINDOW))}
        assert times == {START, START + timedelta(microseconds=1)}
        source.close()

    def test_an_alias_with_a_filter_stays_filtered(self, server: Server) -> None:
        index, alias = server.index(properties={"kind": {"type": "keyword"}}), server.name("alias")
        server.put(index, {str(i): f'{{"ts":"{milliseconds(i)}","kind":"{"ab"[i % 2]}"}}' for i in range(9)})
        add = {"index": index, "alias": alias, "filter": {"term": {"kind": "a"}}}
        server.must("POST", "/_aliases", {"actions": [{"add": add}]})
        source = make(alias)
        rows = rows_of(read_all(source, WINDOW, 2))
        assert sum(rows.values()) == source.count(WINDOW) == 5
        assert all(key.startswith(f"{index}/") for key, _, _ in rows)
        source.close()

    # --- dates

    @pytest.mark.parametrize(
        ("mapping", "text", "moment"),
        [
            ({"type": "date", "format": "epoch_second"}, "1383454800", START),
            ({"type": "date", "format": "yyyy-MM-dd HH:mm:ss"}, '"2013-11-03 05:00:00"', START),
            ({"type": "date", "format": "dd/MM/yyyy HH:mm:ss.SSS"}, '"03/11/2013 05:00:00.001"', None),
            ({"type": "date"}, "1383454800000", START),
            ({"type": "date"}, '"2013-11-03T01:00:00.000-04:00"', START),
            (
                {"type": "date_nanos"},
                '"2013-11-03T05:00:00.123456789Z"',
                START + timedelta(microseconds=123456),
            ),
            ({"type": "date_nanos"}, '"2013-11-03T05:00:00.1Z"', START + timedelta(microseconds=100000)),
            ({"type": "date_nanos"}, '"2013-11-03T05:00:00.000000999Z"', START),
        ],
        ids=[
            "epoch s",
            "space",
            "day first",
            "epoch ms",
            "offset",
            "nanos",
            "short fraction",
            "below a microsecond",
        ],
    )
    def test_the_event_time_is_what_the_server_understood(
        self, server: Server, mapping: dict[str, Any], text: str, moment: datetime | None
    ) -> None:
        index = server.index(time=mapping)
        server.put(index, {"1": f'{{"ts":{text}}}'})
        source = make(index)
        ((_, time, body),) = rows_of(read_all(source, WINDOW))
        assert time == (moment or START + timedelta(milliseconds=1))
        assert body == f'{{"ts":{text}}}'
        assert source.count(WINDOW) == 1
        source.close()

    @pytest.mark.parametrize(
        "moment", ["1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00.001Z", "9998-12-31T00:00:00Z"]
    )
    def test_dates_far_away(self, server: Server, moment: str) -> None:
        index = server.index()
        server.put(index, {"1": f'{{"ts":"{moment}"}}'})
        source, expected = make(index), datetime.fromisoformat(moment.replace("Z", "+00:00"))
        window = type(WINDOW)(expected - timedelta(microseconds=1000), expected + timedelta(seconds=1))
        ((_, time, _),) = rows_of(read_all(source, window))
        assert time == expected
        source.close()

    def test_a_date_nanos_field_is_asked_for_windows_before_1970(self, server: Server) -> None:
        index = server.index(time={"type": "date_nanos"})
        server.put(index, {"1": '{"ts":"1970-01-01T00:00:00Z"}'})
        source, epoch = make(index), datetime(1970, 1, 1, tzinfo=timezone.utc)
        assert source.count(type(WINDOW)(epoch - timedelta(days=9), epoch)) == 0
        assert source.count(type(WINDOW)(epoch - timedelta(days=9), epoch + timedelta(days=999999))) == 1
        source.close()

    def test_an_array_of_dates_is_refused_by_name(self, server: Server) -> None:
        index = server.index()
        server.put(index, {"two": '{"ts":["2013-11-03T05:00:00Z","2013-11-04T05:00:00Z"]}', **documents(3)})
        self.refused(
            lambda source: read_all(source, WINDOW), make(index), "DataError", f"{index}/two", "2 dates"
        )
        self.refused(read_ids, make(index), "DataError", f"{index}/two", "2 dates")

    # --- documents

    @pytest.mark.parametrize(
        "body",
        [
            '{"ts":1383454800000,"a":1.10,"b":1.0E3,"c":-0,"d":1e400,"e":0.1000000000000000055511151231257827}',
            '{"ts":1383454800000,"u":"\\u00e9\\ud83d\\ude00 é😀","slash":"\\/"}',
            '{"ts":1383454800000,"deep":{"b":[1,[2,{}]],"a":null},"empty":{},"list":[]}',
            '{"z":1,"ts":1383454800000,"a":2}',
        ],
        ids=["numbers", "escapes", "nested", "order"],
    )
    def test_documents_are_byte_exact(self, server: Server, body: str) -> None:
        index = server.index()
        server.put(index, {"1": body})
        source = make(index)
        ((_, _, seen),) = rows_of(read_all(source, WINDOW))
        assert seen == body
        source.close()

    @pytest.mark.parametrize("text", ["\\ud800", "\\udc00 a", "a\\ud83d\\ud83d\\ude00"])
    def test_half_a_surrogate_pair_is_refused_by_name(self, server: Server, text: str) -> None:
        index = server.index()
        server.put(index, {"ok": '{"ts":1383454800000}', "lone": f'{{"ts":1383454800000,"s":"{text}"}}'})
        self.refused(self.ASKS["open"], make(index), "DataError", f"{index}/lone", "surrogate")

    def test_an_index_without_source_is_refused(self, server: Server) -> None:
        index = server.index(_source={"enabled": False})
        server.put(index, documents(2))
        self.refused(
            lambda source: read_all(source, WINDOW), make(index), "FatalError", f"{index}/", "_source"
        )

    def test_ids_are_read_without_source(self, server: Server) -> None:
        index = server.index(_source={"enabled": False})
        server.put(index, documents(30))
        source = make(index, page_size=7)
        assert read_ids(source) == sorted(f"{index}/{key}" for key in documents(30))
        source.close()

    # --- which documents have a time

    @pytest.mark.parametrize(
        ("mapping", "values", "untimed"),
        [
            ({"type": "date"}, ["1383454800000", "null"], 1),
            ({"type": "date", "ignore_malformed": True}, ["1383454800000", '"today"', "{}", "true"], 3),
            ({"type": "date"}, ["1383454800000", "1383454800000000", "-99999999999999"], 2),
            ({"type": "date_nanos", "ignore_malformed": True}, ["1383454800000", '"9999-01-01"'], 1),
        ],
        ids=["missing", "malformed", "out of the calendar", "nanos"],
    )
    def test_documents_that_no_window_can_hold_are_counted(
        self, server: Server, mapping: dict[str, Any], values: list[str], untimed: int
    ) -> None:
        index = server.index(time=mapping)
        server.put(index, {str(n): f'{{"ts":{value}}}' for n, value in enumerate(values)})
        source = make(index)
        source.check()
        assert (source.count(WINDOW), source.count_untimed()) == (1, untimed)
        assert len(rows_of(read_all(source, WINDOW))) == 1
        source.close()

    def test_an_index_without_the_time_field_is_named(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        prefix = server.name("some")
        server.put(server.index(f"{prefix}-with"), documents(3))
        without = f"{prefix}-without"
        server.must("PUT", f"/{without}", {"mappings": {"dynamic": False}})
        server.made.append(without)
        server.put(without, documents(2))
        source = make(f"{prefix}-*")
        source.check()
        assert (source.count(WINDOW), source.count_untimed()) == (3, 2)
        assert f"ts is unmapped in {without}: " in caplog.text
        source.close()

    @pytest.mark.parametrize("more", [{}, {"include_in_root": True}], ids=["hidden", "in the root too"])
    def test_a_time_field_below_a_nested_object(self, server: Server, more: dict[str, Any]) -> None:
        """Searches see the nested documents only where they are asked for; every window would be empty."""
        events = {"type": "nested", "properties": {"ts": {"type": "date"}}, **more}
        index = server.index(properties={"events": events})
        server.put(index, {"1": '{"events":[{"ts":1383454800000}]}'})
        source = make(index, time_field="events.ts")
        if more:
            source.check()
            assert source.count(WINDOW) == len(rows_of(read_all(source, WINDOW))) == 1
            source.close()
        else:
            self.refused(ElasticsearchSource.check, source, "FatalError", "events.ts", "nested")

    # --- what _source is

    @pytest.mark.parametrize(
        ("kept", "kind", "says"),
        [
            ({}, "as_indexed", ""),
            ({"excludes": ["secret"]}, "filtered", "leaves secret out"),
            ({"includes": ["ts"]}, "filtered", "keeps only ts"),
            ({"includes": ["*"]}, "rebuilt", "includes: *"),
            ({"enabled": False}, "filtered", "stores no _source"),
        ],
        ids=["all", "excludes", "includes", "includes everything", "disabled"],
    )
    def test_a_mapping_that_leaves_fields_out_is_refused(
        self, server: Server, kept: dict[str, Any], kind: str, says: str
    ) -> None:
        index = server.index(**({"_source": kept} if kept else {}))
        if kind == "filtered":
            self.refused(
                ElasticsearchSource.check, make(index), "FatalError", index, says, "on_filtered_source"
            )
        source = make(index, on_filtered_source="warn")
        source.check()
        report = source.body_report()
        assert report.kind.value == kind
        assert says in "; ".join(report.reasons)
        source.close()

    def test_the_worst_index_of_a_pattern_decides(self, server: Server) -> None:
        prefix = server.name("worst")
        server.index(f"{prefix}-whole")
        server.index(f"{prefix}-less", _source={"excludes": ["secret"]})
        self.refused(ElasticsearchSource.check, make(f"{prefix}-*"), "FatalError", f"index {prefix}-less")

    def test_the_query_filters_counts_and_rows(self, server: Server) -> None:
        index = server.index(properties={"n": {"type": "integer"}})
        server.put(index, documents(20))
        source = make(index, query={"range": {"n": {"lt": 4}}})
        source.check()
        assert source.count(WINDOW) == sum(rows_of(read_all(source, WINDOW, 2)).values()) == 4
        assert sum(source.count(piece.interval) for piece in source.plan_slices(WINDOW, 3)) == 4
        assert source.newest_event_time() == START + timedelta(milliseconds=3)
        source.close()

    def test_slices_hold_about_as_many_rows_each(self, server: Server) -> None:
        index = server.index()
        server.put(index, documents(1000))  # all in the first second of two hours
        source = make(index)
        counts = [source.count(piece.interval) for piece in source.plan_slices(WINDOW, 4)]
        assert sum(counts) == 1000
        assert len(counts) == 4
        assert max(counts) < 400
        source.close()

    # --- what cannot be read: one sentence each

    @staticmethod
    def refused(
        ask: Callable[[ElasticsearchSource], Any], source: ElasticsearchSource, kind: str, *words: str
    ) -> None:
        with pytest.raises(Exception) as caught:
            ask(source)
        message = str(caught.value)
        assert type(caught.value).__name__ == kind, message
        assert all(word in message for word in words), message
        assert "\n" not in message
        source.close()

    ASKS: ClassVar[dict[str, Ask]] = {
        "check": lambda source: source.check(),
        "count": lambda source: source.count(WINDOW),
        "open": lambda source: read_all(source, WINDOW),
        "plan": lambda source: source.plan_slices(WINDOW, 2),
    }

    @pytest.mark.parametrize("ask", ASKS)
    def test_a_missing_index(self, server: Server, ask: str) -> None:
        self.refused(self.ASKS[ask], make("no-such-index"), "FatalError", "no index 'no-such-index'")

    @pytest.mark.parametrize("ask", ASKS)
    def test_a_pattern_without_an_index(self, server: Server, ask: str) -> None:
        self.refused(self.ASKS[ask], make("no-such-*"), "DataError", "no-such-*", "no open index")

    @pytest.mark.parametrize("ask", ASKS)
    def test_a_closed_index(self, server: Server, ask: str) -> None:
        index = server.index()
        server.must("POST", f"/{index}/_close")
        self.refused(self.ASKS[ask], make(index), "FatalError", index, "closed")

    @pytest.mark.parametrize("ask", ["check", "count", "open"])
    def test_a_closed_index_behind_a_pattern(self, server: Server, ask: str) -> None:
        prefix = server.name("half")
        server.put(server.index(f"{prefix}-open"), documents(3))
        server.must("POST", f"/{server.index(f'{prefix}-closed')}/_close")
        self.refused(self.ASKS[ask], make(f"{prefix}-*"), "FatalError", f"{prefix}-closed", "closed")

    @pytest.mark.parametrize("ask", ASKS)
    @pytest.mark.parametrize(
        ("field", "words"),
        [
            ("nowhere", ["no field 'nowhere'"]),
            ("word", ["type keyword", "expected date"]),
            ("number", ["type long", "expected date"]),
            ("bare", ["doc_values"]),
        ],
    )
    def test_a_time_field_that_is_none(self, server: Server, ask: str, field: str, words: list[str]) -> None:
        index = server.index(
            properties={
                "word": {"type": "keyword"},
                "number": {"type": "long"},
                "bare": {"type": "date", "doc_values": False},
            }
        )
        self.refused(self.ASKS[ask], make(index, time_field=field), "FatalError", index, *words)

    @pytest.mark.parametrize("ask", ["check", "count", "open"])
    @pytest.mark.parametrize(
        "query",
        [
            {"nope": {}},
            {"term": {"a": 1, "b": 2}},
            {"range": {"ts": {"gte": "soon"}}},
            {"bool": {"filter": 1}},
        ],
    )
    def test_a_bad_query(self, server: Server, ask: str, query: dict[str, Any]) -> None:
        index = server.index()
        server.put(index, documents(1))
        self.refused(self.ASKS[ask], make(index, query=query), "FatalError", "source.query")

    def test_a_page_larger_than_the_index_allows(self, server: Server) -> None:
        index = server.index(settings={"index.max_result_window": 10})
        server.put(index, documents(30))
        self.refused(
            self.ASKS["open"], make(index, page_size=11), "FatalError", "max_result_window", "page_size"
        )

    def test_a_window_cut_below_a_millisecond_over_mixed_dates(self, server: Server) -> None:
        prefix = server.name("mixed")
        server.index(f"{prefix}-a")
        server.index(f"{prefix}-b", time={"type": "date_nanos"})
        window = type(WINDOW)(START, START + timedelta(microseconds=1))
        self.refused(
            lambda source: source.count(window), make(f"{prefix}-*"), "DataError", "whole milliseconds"
        )

    # --- points in time

    def test_the_point_in_time_lost_while_reading(self, server: Server) -> None:
        index = server.index(shards=2)
        server.put(index, documents(300))
        source = make(index, page_size=10)

        def read() -> None:
            with source.open(source.plan_slices(WINDOW, 1)[0], 2) as iterators:
                next(iter(iterators[0]))
                server.must("DELETE", f"/{index}")
                for rows in iterators:
                    list(rows)

        self.refused(lambda _: read(), source, "SnapshotLostError", "read again")

    def test_rows_come_whole_while_others_write(self, server: Server) -> None:
        index = server.index(shards=2)
        server.put(index, documents(200))
        source = make(index, page_size=10)
        with source.open(source.plan_slices(WINDOW, 1)[0], 2) as iterators:
            batches = [next(iter(iterators[1]))]
            server.put(index, {"5": '{"ts":"2013-11-03T05:00:01Z","changed":true}', **documents(50, "new")})
            server.must("POST", f"/{index}/_forcemerge?max_num_segments=1")
            batches += [batch for rows in iterators for batch in rows]
        rows = rows_of(batches)
        assert sum(rows.values()) == 200
        assert {body for _, _, body in rows} == set(documents(200).values())
        source.close()

    def test_any_bound_is_exact_for_a_date(self, server: Server) -> None:
        index = server.index()
        server.put(index, documents(3))
        source, expected = make(index), Loaded(make(index), {})
        expected.expected = {str(i): Expected(START + timedelta(milliseconds=i), "") for i in range(3)}
        for micros in (0, 1, 999, 1000, 1001, 1999, 2000, 2001):
            window = type(WINDOW)(START, START + timedelta(microseconds=micros))
            assert source.count(window) == sum(expected_within(expected, window).values())
        source.close()

    def test_types_come_from_the_mapping(self, server: Server) -> None:
        first = server.index(
            properties={
                "carrier": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
                "dep": {"properties": {"day": {"type": "date", "format": "yyyy-MM-dd"}}},
                "legs": {"type": "nested", "properties": {"gate": {"type": "keyword"}}},
                "n": {"type": "integer"},
            }
        )
        second = server.index(properties={"n": {"type": "double"}})
        source = make([first, second])
        assert [(".".join(f.path), str(f.type), f.formats, f.note) for f in source.field_types()] == [
            ("carrier", "text", (), None),
            ("dep.day", "date", ("yyyy-MM-dd",), None),
            ("legs", "rows", (), None),
            ("legs.gate", "text", (), None),
            ("n", "double", (), "indices differ: double, integer"),
            ("ts", "timestamp", ("strict_date_optional_time", "epoch_millis"), None),
        ]
        source.close()

    def test_types_of_an_index_that_does_not_exist_are_refused(self, server: Server) -> None:
        self.refused(lambda source: source.field_types(), make(server.name("gone")), "FatalError", "no index")
