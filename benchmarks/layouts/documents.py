"""The small documents of the group `layouts`: a few in each hour, or a few for each pipeline."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from benchmarks.digest import digest

START = datetime(2026, 3, 2, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
TIME_FIELD = "at"
BULK_DOCUMENTS = 5_000
MAPPING = {
    "settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"},
    "mappings": {
        "dynamic": False,
        "properties": {TIME_FIELD: {"type": "date"}, "pipeline": {"type": "keyword"}},
    },
}
_TEXTS = ("request accepted", 'für Straße "7"', "покупка 注文 😀", "tab\there, path\\to", "")


class Document(NamedTuple):
    id: str
    body: str


def of_windows(windows: int, hours: int, docs: int) -> Iterator[Document]:
    """Yield `docs` documents in each of so many windows of so many hours, all in its first hour."""
    for number in range(windows):
        yield from _in_hour("week", START + number * hours * HOUR, docs)


def of_pipelines(pipelines: int, docs: int) -> Iterator[Document]:
    """Yield `docs` documents in the first hour for each of so many pipelines."""
    for number in range(pipelines):
        yield from _in_hour(name_of(number), START, docs)


def name_of(number: int) -> str:
    """Return what tells a pipeline's documents, table and id from those of the others."""
    return f"{number:04d}"


def _in_hour(pipeline: str, start: datetime, docs: int) -> Iterator[Document]:
    """The first one at the hour's start, the last one a millisecond before its end."""
    last = HOUR - timedelta(milliseconds=1)
    for number in range(docs):
        at = start + last * number / max(1, docs - 1)
        body = {
            "at": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "pipeline": pipeline,
            "number": number,
            "text": _TEXTS[number % len(_TEXTS)],
            "of": {"amount": number + 0.25, "tags": ["a", None, {"b": number}]},
        }
        yield Document(f"{pipeline}-{start:%Y%m%dT%H}-{number}", json.dumps(body, ensure_ascii=False))


def load(url: str, index: str, documents: Iterator[Document]) -> int:
    """Make the index of exactly these documents; return their number."""
    _ask(f"{url}/{index}?ignore_unavailable=true", "DELETE")
    _ask(f"{url}/{index}", "PUT", json.dumps(MAPPING).encode())
    lines: list[str] = []
    count = 0
    for document in documents:
        lines += [json.dumps({"index": {"_id": document.id}}), document.body]
        count += 1
        if len(lines) >= 2 * BULK_DOCUMENTS:
            _bulk(url, index, lines)
            lines = []
    if lines:
        _bulk(url, index, lines)
    _ask(f"{url}/{index}/_refresh", "POST")
    return count


def _bulk(url: str, index: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    answer = json.loads(_ask(f"{url}/{index}/_bulk", "POST", text.encode(), "application/x-ndjson"))
    if answer["errors"]:
        raise RuntimeError(f"{url} did not take the documents of {index}")


def _ask(url: str, method: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    request = urllib.request.Request(url, body, {"content-type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return bytes(answer.read())


def main() -> None:
    """Load both indices; print for each what a table must hold afterwards."""
    url, windows, hours, pipelines, docs = sys.argv[1], *map(int, sys.argv[2:])
    found = {}
    for index in ("layouts-week", "layouts-many"):

        def make(index: str = index) -> Iterator[Document]:
            return (
                of_windows(windows, hours, docs) if index == "layouts-week" else of_pipelines(pipelines, docs)
            )

        load(url, index, make())
        rows, figure, _ = digest((document.id, document.body) for document in make())
        found[index] = {"rows": rows, "digest": figure}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
