"""Both ends of the pipelines under test, seen without the package: documents in Elasticsearch, rows in Snowflake."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import httpx

from demo import nyc

NEW_YORK = ZoneInfo("America/New_York")
NOVEMBER = (date(2013, 11, 2), date(2013, 11, 4))  # the 3rd has 25 hours
MARCH = (date(2013, 3, 9), date(2013, 3, 11))  # the 10th has 23 hours
MILLISECOND = timedelta(milliseconds=1)
SHARDS = 3

Span = tuple[datetime, datetime]


def instant(day: date) -> datetime:
    """The first instant of the day in New York, in UTC."""
    return datetime.combine(day, datetime.min.time(), NEW_YORK).astimezone(timezone.utc)


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def whole(first: date, last: date) -> Span:
    """[first instant of the first day, first instant after the last day)"""
    return instant(first), instant(last + timedelta(days=1))


def windows(first: date, last: date, hours: int) -> list[Span]:
    """The windows of the days, by the calendar alone: elapsed hours from each midnight, cut at the next."""
    found = []
    for day in days(first, last):
        start, end = whole(day, day)
        while start < end:
            following = min(start + timedelta(hours=hours), end)
            found.append((start, following))
            start = following
    return found


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class Row(NamedTuple):
    """What identifies and makes up a record; the body as JSON value."""

    at: datetime
    body: Any


class Elasticsearch:
    """Indices `PREFIX-weather-2013-11`, ... on a real server, and what was put into them."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.rows: defaultdict[str, dict[str, Row]] = defaultdict(dict)  # by name, then by "index/id"
        url = os.environ["ELASTICSEARCH_URL"]
        self._http = httpx.Client(base_url=url, timeout=120)

    def ask(self, method: str, path: str, body: Any = None, text: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        content = text if text is not None else json.dumps(body) if body is not None else None
        answer = self._http.request(method, path, content=content, headers=headers)
        assert not answer.is_error, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def fill(self) -> None:
        """The real rows of both spans with a day around each, and seeds; the indices have several segments."""
        for name in nyc.NAMES:
            real: list[nyc.Document] = []
            for first, last in (MARCH, NOVEMBER):
                span = whole(first - timedelta(days=1), last + timedelta(days=1))
                real += [*nyc.documents(name, *span), *seeds(name, first, last)]
            for index in sorted({document.index_name for document in real}):
                self.make(f"{self.prefix}-{index}", name)
            for part in range(3):  # several segments in each shard
                self.put(name, real[part::3])
        self.ask("POST", f"/{self.prefix}-weather-2013-11/_forcemerge?max_num_segments=1")
        self.ask("POST", f"/{self.prefix}-flights-2013-03/_forcemerge?max_num_segments=1")

    def put(self, name: str, documents: Iterable[nyc.Document]) -> None:
        """Index the documents and make them visible."""
        lines = []
        for document in documents:
            index = f"{self.prefix}-{document.index_name}"
            lines += [json.dumps({"index": {"_index": index, "_id": document.id}}), document.body]
            self.rows[name][f"{index}/{document.id}"] = Row(document.time_hour, json.loads(document.body))
        answer = self.ask("POST", "/_bulk?refresh=true", text="\n".join(lines) + "\n")
        refused = [item for item in answer["items"] if "error" in item["index"]]
        assert not refused, refused[0]

    def make(self, index: str, name: nyc.Name) -> str:
        settings = {"number_of_shards": SHARDS, "number_of_replicas": 0, "refresh_interval": "-1"}
        mappings = {"properties": nyc.MAPPINGS[name]}
        self.ask("PUT", f"/{index}", {"settings": settings, "mappings": mappings})
        return index

    def late(self, story: str, at: datetime) -> None:
        """A document that only this story's pipeline reads, at an instant that it may have moved already."""
        document = nyc.Document(f"late-{story}", f"late-{iso(at)}", at, json.dumps({"time_hour": iso(at)}))
        self.put(f"late-{story}", [document])

    def inside(self, span: Span, *names: str) -> dict[str, Row]:
        """Record id -> row of what lies in the span, of all these names."""
        rows = {key: row for name in names for key, row in self.rows[name].items()}
        return {key: row for key, row in rows.items() if span[0] <= row.at < span[1]}

    def close(self) -> None:
        for index in self.ask("GET", f"/_cat/indices/{self.prefix}-*?format=json&expand_wildcards=all"):
            self.ask("DELETE", f"/{index['index']}")
        self._http.close()


def seeds(name: str, first: date, last: date, hours: int = 2) -> list[nyc.Document]:
    """An event on every boundary of windows and days, and one a millisecond on either side of it."""
    boundaries = sorted({edge for window in windows(first, last, hours) for edge in window})
    found = []
    odd = {"origin": "JFK", "text": 'é "\\\n', "empty": None, "of": [{"a": 2.5}, {"a": [1]}]}
    for at in (edge + n * MILLISECOND for edge in boundaries for n in (-1, 0, 1)):
        body = {"time_hour": iso(at), **odd}
        found.append(nyc.Document(f"{name}-{at:%Y-%m}", f"seed-{iso(at)}", at, json.dumps(body)))
    return found


class Snowflake:
    """Tables of one schema in the warehouse, and the external stage through which it reads the bucket."""

    def __init__(self, schema: str, bucket_path: str) -> None:
        import snowflake.connector

        self.schema = f"{os.environ['SNOWFLAKE_DATABASE']}.{schema}"
        self._connection = snowflake.connector.connect(
            host=os.environ["SNOWFLAKE_HOST"],
            port=int(os.environ["SNOWFLAKE_PORT"]),
            account=os.environ["SNOWFLAKE_ACCOUNT"],
            user=os.environ["SNOWFLAKE_USER"],
            password=os.environ["SNOWFLAKE_PASSWORD"],
            database=os.environ["SNOWFLAKE_DATABASE"],
            schema=os.environ["SNOWFLAKE_SCHEMA"],
            insecure_mode=True,
        )
        self.query(f"CREATE SCHEMA {self.schema}")
        key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        self.query(
            f"CREATE STAGE {self.schema}.LAKE URL = '{bucket_path}/' "
            f"CREDENTIALS = (AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}')"
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def raw(self, pipeline_id: str) -> list[dict[str, Any]]:
        """All rows of the pipeline's table, instants aware."""
        found = self.query(f"SELECT * FROM {self.schema}.{pipeline_id.upper()}")
        for row in found:
            for column in ("EVENT_TIME", "WINDOW_START", "WINDOW_END"):
                at = row[column]
                row[column] = at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at
        return found

    def rows(self, pipeline_id: str) -> dict[str, Row]:
        """Record id -> row; a doubled record fails, and so does one outside of the window it came with."""
        raw = self.raw(pipeline_id)
        found = {row["RECORD_ID"]: Row(row["EVENT_TIME"], json.loads(row["BODY"])) for row in raw}
        assert len(found) == len(raw), f"{len(raw) - len(found)} rows of {pipeline_id} stand there twice"
        for row in raw:
            assert row["WINDOW_START"] <= row["EVENT_TIME"] < row["WINDOW_END"], row
            assert row["PIPELINE_ID"] == pipeline_id, row
        return found

    def tokens(self, pipeline_id: str) -> dict[Span, int]:
        """Window -> token of its rows."""
        sql = f"SELECT DISTINCT WINDOW_START, WINDOW_END, TOKEN FROM {self.schema}.{pipeline_id.upper()}"
        found = {}
        for row in self.query(sql):
            start, end = (row[c].replace(tzinfo=timezone.utc) for c in ("WINDOW_START", "WINDOW_END"))
            assert (start, end) not in found, f"window {start} holds rows of two tokens"
            found[start, end] = row["TOKEN"]
        return found

    def close(self) -> None:
        self.query(f"DROP SCHEMA {self.schema} CASCADE")
        self._connection.close()
